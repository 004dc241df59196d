"""What a run has found: a table for people, a file for programs."""

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.goals import BY_KEY
from bench.load import has_wrk
from bench.stage import ROOT

from admitone.runtime.programs import nats_program, postgres_programs

RESULTS = Path(__file__).with_name("results")


def table(figures: dict[str, Any]) -> str:
    """A line for each figure: its median, where its rounds lie, what it must be, and what it costs."""
    lines = [f"{'figure':<54}{'now':>9}{'lowest..highest':>20}{'must':>9}       CPU ms per operation  [cores of the client, of others]"]
    for key, found in figures.items():
        goal = BY_KEY[key]
        digits = goal.digits
        spread = f"{found['min']:,.{digits}f}..{found['max']:,.{digits}f}" if len(found["rounds"]) > 1 else ""
        must = "" if goal.must is None else f"{'>=' if goal.better == 'more' else '<='} {goal.must:g}"
        met = {True: "met", False: "NOT", None: ""}[found["met"]]
        title = f"{goal.title}{f' ({goal.unit})' if goal.unit else ''}"
        lines.append(f"{title:<54}{found['median']:>9,.{digits}f}{spread:>20}{must:>9} {met:<3}   {_cost(found)}".rstrip())
    return "\n".join(lines)


def _cost(found: dict[str, Any]) -> str:
    parts = [f"{group} {spent:.2f}" for group, spent in found["cpu_ms"].items()]
    if found["others_cores"] is not None:
        parts.append(f"[{found['client_cores']:.2f}, {found['others_cores']:.2f}]")
    return "  ".join([*parts, *(["noisy"] if found["noisy"] else [])])


def header() -> dict[str, Any]:
    """What was measured, when and where; taken before a run, during which somebody may go on writing."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"),
        "machine": machine(),
        "client": "wrk" if has_wrk() else "bench.client",
    }


def machine() -> dict[str, Any]:
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgresql": _output(str(postgres_programs() / "postgres"), "--version").rpartition(" ")[2],
        "nats": _output(nats_program(), "--version").rpartition(" ")[2],
        **{package: version(package) for package in ("asyncpg", "litestar", "uvicorn", "uvloop")},
    }


def save(found: dict[str, Any], file: Path | None = None) -> Path:
    """In the folder of results, by its date, unless a file is given."""
    file = file or RESULTS / f"{found['date'][:19].replace(':', '')}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n")
    return file


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
