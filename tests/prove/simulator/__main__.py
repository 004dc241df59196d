"""The simulator at the command line: `make simulate` and `make plant` run it. What it is, docs/simulator.md says.

PYTHONPATH=tests python -m simulator [run | plant | replay] ...
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import uvloop
from prove.simulator.bugs import BUGS, BY_NAME, Bug, Stale, planted
from prove.simulator.ground import own_ground
from prove.simulator.history import play
from prove.simulator.running import Bar, Job, Result, in_chunks, in_processes
from prove.simulator.sometimes import FEWEST, SOMETIMES
from prove.simulator.telling import shortest, story

HERE = Path(__file__).parent
PAST, RECORDED = HERE / "seeds.txt", HERE / "planted.json"
PAGE = HERE.parents[2] / "docs" / "planted.md"
ENOUGH_TO_COUNT = 1000
MAX_HISTORIES_FOR_A_BUG = 3000
MAX_HISTORIES_FROM_A_SEED = 100
SALES = ("I1", "I5")
"""A ticket with two orders, or with the wrong one: who watches a mistake being caught is shown that, if it happens early."""
EARLY = 15


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulator", description="Histories of a simulated marketplace, each from one seed.")
    parser.add_argument("what", nargs="?", choices=("run", "plant", "replay", "twice"), default="run")
    parser.add_argument("--seeds", type=int, default=1000, help="how many histories (default: 1000)")
    parser.add_argument("--first", type=int, help="the first seed (default: one that follows from the commit)")
    parser.add_argument("--bug", default="", help="plant this mistake and show how it is caught")
    parser.add_argument("--processes", type=int, default=2, help="each with a PostgreSQL of its own (default: 2)")
    given = parser.parse_args()
    if given.seeds < 1 or given.processes < 1:
        print("SEEDS and the number of processes must be 1 or more.", file=sys.stderr)
        return 1
    bug = None
    if given.bug:
        bug = BY_NAME.get(given.bug)
        if bug is None:
            print(unknown(given.bug), file=sys.stderr)
            return 1
    try:
        match given.what:
            case "plant":
                return plant(given.processes, [bug] if bug else BUGS)
            case "replay":
                return replay(given.processes)
            case "twice":
                return twice(given.seeds)
        return show(bug) if bug else run(given.seeds, first_seed() if given.first is None else given.first, given.processes)
    except (Stale, NothingPlanted) as trouble:
        print(trouble, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def unknown(name: str) -> str:
    """What to say to somebody who asks for a mistake that there is not."""
    width = max(len(bug.name) for bug in BUGS)
    names = "\n".join(f"  {bug.name:<{width}}  {bug.sentence}" for bug in BUGS)
    return f"There is no planted bug named {name!r}. There are:\n{names}"


def first_seed() -> int:
    """Another one for each commit, so that every change is tried with histories of its own; the same one for the same code."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False).stdout
    return int(head[:8] or "0", 16)


def past_seeds() -> list[int]:
    """Those that once failed."""
    lines = [line.partition("#")[0].strip() for line in PAST.read_text().splitlines()]
    return [int(line) for line in lines if line]


def run(how_many: int, first: int, processes: int) -> int:
    """Past failures first, then fresh seeds. Fails at the first violation, or where something that should happen sometimes did not."""
    seeds = [*past_seeds(), *range(first, first + how_many)]
    seen: Counter[str] = Counter()
    bar = Bar(len(seeds), "histories")
    failed: Result | None = None
    for result in in_processes(in_chunks(seeds), processes):
        seen.update(result.sometimes)
        bar.step()
        if result.violation is not None:
            failed = result
            break
    bar.end()
    if failed is not None:
        print(f"A rule was broken with seed {failed.seed}; looking for the shortest way there ...")
        print(uvloop.run(told(failed.seed)))
        print(f"\nAgain: make simulate SEEDS=1 FIRST={failed.seed}    (add the seed to {PAST.name} once it is mended)")
        return 1
    print(f"{bar.done} histories from seed {first} on, {bar.done / bar.seconds:.1f} a second, no rule broken.")
    missing = [what for what in SOMETIMES if seen[what] < FEWEST]
    width = max(map(len, SOMETIMES))
    for what in sorted(SOMETIMES, key=lambda what: -seen[what]):
        print(f"  {what:<{width}}  {seen[what]:>6} {'!' if what in missing else ''}")
    if missing and how_many >= ENOUGH_TO_COUNT:
        print(f"The run was blind: {len(missing)} of what should happen in {FEWEST} histories at least did not. First: {missing[0]}.")
        return 1
    return 0


async def told(seed: int, bug: Bug | None = None) -> str:
    async with own_ground() as ground, planted(bug, ground):
        outcome = await shortest(ground, seed)
    return story(outcome) if outcome is not None else f"Seed {seed} breaks no rule when it is played again: report that."


def show(bug: Bug) -> int:
    """One mistake, and how it is caught."""
    print(f"Planted: {bug.sentence}")
    found = search(bug.name, 1)
    if found is None:
        print(f"It was not caught in {MAX_HISTORIES_FOR_A_BUG} histories: a check is missing.")
        return 1
    print(f"Caught in history {found.seed + 1}: {rule(found)}.")
    if rule(found) not in SALES and (sale := first_sale(bug.name, range(found.seed + 1, EARLY))) is not None:
        found = sale
        print(f"History {found.seed + 1} shows what becomes of a ticket: {rule(found)}.")
    print("The shortest way there:\n")
    print(uvloop.run(told(found.seed, bug)))
    return 0


def rule(found: Result) -> str:
    """The one that was broken."""
    return found.violation.rule if found.violation is not None else ""


def first_sale(name: str, seeds: Iterable[int]) -> Result | None:
    """The first of these histories with a double sale or a wrong holder."""
    for result in in_processes([Job(tuple(seeds), name)], 1):
        if rule(result) in SALES and not result.also_without:
            return result
    return None


class NothingPlanted(Exception):
    """What looked like a catch was a failure of the product, or of the simulator."""


def counted(result: Result) -> Result:
    """Raises NothingPlanted."""
    if result.also_without:
        raise NothingPlanted(f"Seed {result.seed} breaks a rule without any planted bug: see make simulate SEEDS=1 FIRST={result.seed}")
    return result


def search(name: str, processes: int) -> Result | None:
    bar = Bar(MAX_HISTORIES_FOR_A_BUG, "histories at most")
    for result in in_processes([Job(tuple(range(MAX_HISTORIES_FOR_A_BUG)), name, stop=True)], processes):
        bar.step()
        if result.violation is not None:
            bar.end()
            return counted(result)
    bar.end()
    return None


def plant(processes: int, bugs: Iterable[Bug]) -> int:
    """Find each mistake anew, from seed 0 on, and write down how long it took."""
    bugs = list(bugs)
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    easy_first = sorted(bugs, key=lambda bug: recorded.get(bug.name, {"histories": MAX_HISTORIES_FOR_A_BUG})["histories"])
    bar, tried, caught = Bar(len(bugs), "bugs"), Counter[str](), dict[str, Result]()
    for result in in_processes([Job(tuple(range(MAX_HISTORIES_FOR_A_BUG)), bug.name, stop=True) for bug in easy_first], processes):
        name = str(counted(result).bug)
        tried[name] += 1
        if result.violation is not None:
            caught[name] = result
            recorded[name] = {"seed": result.seed, "rule": result.violation.rule, "histories": tried[name]}
            record(recorded)
        if result.violation is not None or tried[name] == MAX_HISTORIES_FOR_A_BUG:
            bar.step(f"({name}: {tried[name]})")
    bar.end()
    for bug in bugs:
        if bug.name not in caught:
            recorded.pop(bug.name, None)
            print(f"{bug.name} was not caught in {MAX_HISTORIES_FOR_A_BUG} histories: a check is missing.")
    record(recorded)
    print(f"{len(caught)} of {len(bugs)} caught, in {bar.seconds:.0f} s; written to {PAGE.parent.name}/{PAGE.name}.")
    return 0 if len(caught) == len(bugs) else 1


def record(recorded: dict[str, Any]) -> None:
    RECORDED.write_text(json.dumps({bug.name: recorded[bug.name] for bug in BUGS if bug.name in recorded}, indent=2) + "\n")
    PAGE.write_text(page())


def page() -> str:
    """docs/planted.md, from what was recorded."""
    recorded = json.loads(RECORDED.read_text())
    rows = [
        f"| `{bug.name}` | {bug.sentence} | {found['histories']} | {found['seed']} | {found['rule']} |"
        if (found := recorded.get(bug.name))
        else f"| `{bug.name}` | {bug.sentence} | not caught | | |"
        for bug in BUGS
    ]
    return "\n".join([_HEAD, *rows, ""])


_HEAD = f"""# Planted bugs

Deliberate mistakes, and how many histories [the simulator](simulator.md) needed to catch each. `make plant` finds them all anew, from
seed 0 on, and writes this page; `make simulate BUG=no-fencing` shows one being caught; `make prove` plays each from its recorded seed,
and fails where it is not caught within {MAX_HISTORIES_FROM_A_SEED} histories.

| bug | what it does | histories | seed | caught by |
|---|---|---|---|---|"""


def replay(processes: int) -> int:
    """Each mistake from its recorded seed on."""
    recorded = json.loads(RECORDED.read_text())
    jobs = [
        Job(tuple(range(recorded[bug.name]["seed"], recorded[bug.name]["seed"] + MAX_HISTORIES_FROM_A_SEED)), bug.name, stop=True)
        for bug in BUGS
        if bug.name in recorded
    ]
    survived = {bug.name for bug in BUGS}
    bar = Bar(len(BUGS), "bugs")
    for result in in_processes(jobs, processes):
        if counted(result).violation is not None:
            survived.discard(str(result.bug))
            bar.step()
    bar.end()
    for name in sorted(survived):
        print(f"{name} is not caught from its recorded seed: run make plant, and see what has become of it.")
    print(f"{len(BUGS) - len(survived)} of {len(BUGS)} planted bugs caught, in {bar.seconds:.0f} s.")
    return 1 if survived else 0


def twice(how_many: int) -> int:
    """The same seed, the same trace."""

    async def compare() -> list[int]:
        bar, differing = Bar(how_many, "seeds, each twice"), []
        async with own_ground() as ground, own_ground() as another:
            for seed in range(how_many):
                first, second = await play(ground, seed), await play(another, how_many - 1 - seed)
                traces[seed].append(first.trace)
                traces[how_many - 1 - seed].append(second.trace)
                bar.step()
        bar.end()
        for seed in range(how_many):
            if len(set(traces[seed])) != 1:
                differing.append(seed)
        return differing

    traces: list[list[str]] = [[] for _ in range(how_many)]
    differing = uvloop.run(compare())
    print(f"{how_many} seeds were played twice, on two servers and in two orders; {len(differing)} had two traces. {differing[:10] or ''}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
