"""How quick the marketplace is, and what it costs, against yardsticks that are measured in the same run.

python -m bench [--quick] [--only accept,chain] [--rounds N] [--seconds S]
"""

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

from bench.compare import dearer, newest_results
from bench.load import MISSING, has_wrk
from bench.plot import svg
from bench.report import header, save, table
from bench.run import Options
from bench.script import OPERATIONS, measure
from bench.stage import ROOT, BenchError

import admitone


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the marketplace.")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 3 s instead of 5 of 5 s")
    parser.add_argument("--only", default="", metavar="NAMES", help=f"only these, with commas in between: {', '.join(OPERATIONS)}")
    parser.add_argument("--rounds", type=int, help="how many rounds")
    parser.add_argument("--seconds", type=float, help="how long the load of a round is")
    parser.add_argument("--compare", action="store_true", help="warn where CPU has risen by 30 %% against the newest results")
    parser.add_argument("--conventional", type=Path, metavar="PYTHON", help="measure bench/conventional too, with this Python")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there; a full run writes them to bench/results")
    given = parser.parse_args()
    only = frozenset(name for name in given.only.split(",") if name)
    if unknown := only - set(OPERATIONS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(OPERATIONS)}")
    if "conventional" in only and not given.conventional:
        parser.error("conventional needs a Python that has its dependencies: --conventional VENV/bin/python")
    options = Options(
        rounds=given.rounds or (2 if given.quick else 5),
        seconds=given.seconds or (3.0 if given.quick else 5.0),
        quick=given.quick,
        only=only,
        conventional=given.conventional,
    )
    signal.signal(signal.SIGTERM, _interrupt)
    if not Path(admitone.__file__).is_relative_to(ROOT):
        sys.exit(f"bench: this would measure {ROOT}, by the code of {Path(admitone.__file__).parent}: set PYTHONPATH=src.")
    if not has_wrk():
        say(MISSING)
    about, errors = header(), list[str]()
    try:
        book = asyncio.run(measure(options))
    except* BenchError as group:
        errors += _sentences(group)
    except* KeyboardInterrupt:
        errors.append("interrupted")
    if errors:
        sys.exit(f"bench: {' '.join(errors)}")
    found = about | {"rounds": options.rounds, "seconds": options.seconds, "quick": options.quick, "figures": book.as_json()}
    print(table(found["figures"]))
    before = newest_results() if given.compare else None
    for sentence in dearer(found, before) if before else ():
        print(f"WARNING: {sentence}")
    if given.json or not (only or given.quick):
        file = save(found, given.json)
        file.with_suffix(".svg").write_text(svg(found))
        say(f"written to {file}")


def say(line: str) -> None:
    print(line, file=sys.stderr)


def _sentences(group: BaseExceptionGroup[Any]) -> list[str]:
    """What several tasks have raised together, each sentence once."""
    found = dict[str, None]()
    for error in group.exceptions:
        found |= dict.fromkeys(_sentences(error) if isinstance(error, BaseExceptionGroup) else [str(error)])
    return list(found)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
