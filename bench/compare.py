"""Has anything become dearer? CPU per operation, in transactions of pgbench of the same run: so a slower machine looks the same."""

import json
from typing import Any

from bench.report import RESULTS

WARN_AT = 1.3
"""More than two runs of the same code differ by, also where the machine has other work."""


def newest_results() -> dict[str, Any] | None:
    """Of the last full run; None when there was none."""
    files = sorted(RESULTS.glob("*.json"))
    found: dict[str, Any] | None = json.loads(files[-1].read_text()) if files else None
    return found


def dearer(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """A sentence for each operation that takes at least 30 % more CPU than it did."""
    sentences = []
    new, old = _costs(now["figures"]), _costs(before["figures"])
    for key, cost in new.items():
        if key in old and old[key] > 0 and cost / old[key] >= WARN_AT:
            title = now["figures"][key]["title"]
            sentences.append(f"{title}: {cost / old[key] - 1:.0%} more CPU than on {before['date']} ({before['commit']}).")
    return sentences


def _costs(figures: dict[str, Any]) -> dict[str, float]:
    """CPU of an operation by CPU of a transaction of pgbench."""
    if "pgbench_cpu" not in figures:
        return {}
    yardstick = figures["pgbench_cpu"]["median"]
    compared = {key: found for key, found in figures.items() if key == "list" or ("_cpu" in key and key not in ("pgbench_cpu", "hash_cpu"))}
    return {key: sum(found["cpu_ms"].values()) / yardstick for key, found in compared.items()}
