"""The benchmark itself, in small: does it still run against this code, and are its figures plausible?"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def bench(folder: Path, *options: str) -> dict[str, Any]:
    """The figures of a run. It ends with an error unless every answer was expected, and unless `admitone verify` finds nothing."""
    results = folder / "results.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--rounds", "1", "--json", str(results), *options],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert results.with_suffix(".svg").read_text().startswith("<svg")
    figures: dict[str, Any] = json.loads(results.read_text())["figures"]
    return figures


def test_orders_are_accepted_and_heard_of_and_the_run_is_clean(tmp_path: Path) -> None:
    """Lists are asked for by wrk where there is one, orders of so short a round by the client that stands in for it."""
    figures = bench(tmp_path, "--only", "accept,chain,list", "--seconds", "0.5")
    for key in ("accept_serve_rate", "accept_up_rate", "chain_rate", "list_rate", "hello", "pgbench"):
        assert 1 < figures[key]["median"] < 100_000, key
    for key in ("accept_serve", "accept_up", "chain", "list"):
        assert 0 < figures[key]["median"] < 1, key
    assert figures["chain_rate"]["median"] <= figures["accept_up_rate"]["median"] * 1.1
    assert set(figures["order_cpu"]["cpu_ms"]) == {"python", "postgres", "nats"}
    assert 0.1 < figures["order_cpu"]["median"] < 100
