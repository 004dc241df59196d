"""python -m chaos --cycles 24: see the package's docstring."""

import argparse
import asyncio
import contextlib
import math
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop
from prove.chaos import history, report
from prove.chaos.crowd import Crowd
from prove.chaos.ending import Deliveries, Ending
from prove.chaos.history import Asked, History
from prove.chaos.judging import Violation, clear_shares, judge
from prove.chaos.report import Piece
from prove.chaos.stage import NAMES, Stage
from prove.chaos.talk import Line
from prove.chaos.torment import Inflicted, Torment

from admitone.services import SERVICES

READY_WITHIN_SECONDS = 120
AT_REST_WITHIN_SECONDS = 180
STORIES = 3
"""So many violations are told with all that is known about their tickets and orders."""
KILLED = ("killed", "data lost")
ENGINE_AWAY = "An engine can't be used"


class Progress:
    """One line that changes, where somebody looks at it; a line for every ten cycles, where nobody does."""

    def __init__(self, cycles: int) -> None:
        self.cycles = cycles
        self.begun = time.monotonic()
        self.last = ""

    def show(self, torment: Torment, crowd: Crowd) -> None:
        done = len(torment.inflicted)
        self.last = str(torment.inflicted[-1].fault) if torment.inflicted else ""
        rate = crowd.requests / (time.monotonic() - self.begun)
        told = f"{done} of {self.cycles} cycles, {crowd.requests} requests ({rate:.0f}/s), {crowd.unclear} unclear; {self.last}"
        if sys.stderr.isatty():
            bar = "#" * (30 * done // max(self.cycles, 1))
            print(f"\r\x1b[K[{bar:<30}] {told}", end="", file=sys.stderr, flush=True)
        elif done % 10 == 0:
            print(told, file=sys.stderr, flush=True)

    def end(self) -> None:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


async def one_piece(folder: Path, cycles: int, seed: int, per_second: float, careless: bool, interrupted: asyncio.Event) -> Piece:
    """A marketplace of its own, tormented for so long or until it is interrupted, and judged."""
    chance = random.Random(seed)
    log, faults = History(folder / "history.jsonl"), (folder / "faults.log").open("w", buffering=1)
    async with Stage(folder, careless) as stage, asyncio.TaskGroup() as watch:
        keeping = watch.create_task(stage.keep_running())
        silent = await stage.all_answer(READY_WITHIN_SECONDS)
        if silent:
            raise SystemExit(f"{', '.join(silent)} did not start; see {folder}.")
        services = {service.prefix: Line(stage.ports[service.name]) for service in SERVICES if service.has_database and service.routes}
        crowd = Crowd(Line(stage.ports["gateway"]), services, log, random.Random(f"{seed}/crowd"), per_second)
        await crowd.gathers()
        await stage.processor_misbehaves()
        progress = Progress(cycles)

        def note(inflicted: Inflicted) -> None:
            back = "" if inflicted.back_after is None else f", back after {inflicted.back_after:.2f} s"
            print(f"{time.time():.3f} {inflicted.fault}{back}", file=faults)
            if not back:
                progress.show(torment, crowd)

        torment = Torment(stage, cycles, chance, note, stopped=interrupted)
        begun, began_at = time.monotonic(), time.time()
        asked_before = crowd.requests
        going_on = watch.create_task(crowd.goes_on())
        await torment.run()
        seconds, requests = time.monotonic() - begun, crowd.requests - asked_before
        crowd.slow_down.set()
        await going_on
        progress.end()
        await stage.processor_behaves_again()
        at_rest_since = time.monotonic()
        silent = await stage.all_answer(READY_WITHIN_SECONDS)
        code, verified = await stage.admitone("verify", "--wait", str(AT_REST_WITHIN_SECONDS))
        resting = time.monotonic() - at_rest_since
        asked = history.read((folder / "history.jsonl").read_text().splitlines())
        verdict = judge(asked, await Ending.of(stage))
        killed = [(inflicted.fault.part, inflicted.at) for inflicted in torment.inflicted if inflicted.fault.how in KILLED]
        deliveries = await Deliveries.of(stage, killed)
        failing = [
            (one.at, one.over + one.back_after if one.over and one.back_after is not None else math.inf) for one in torment.inflicted
        ]
        calm_clear, calm_writes = clear_shares([one for one in asked if one.began >= began_at], failing)[True]
        repairs = [int(found[1]) for line in stage.log_lines("stream_events_lost") if (found := re.search(r'"events": ?(\d+)', line))]
        violations = [
            *verdict.violations,
            *(Violation(f"{name} does not answer, although nothing fails any more") for name in silent),
            *(Violation(sentence) for sentence in deliveries.parked),
            *(Violation(f"by itself, {sentence}") for sentence in stage.ended if ENGINE_AWAY not in sentence),
            *(Violation(f"{inflicted.fault} did not answer again") for inflicted in torment.inflicted if inflicted.back_after is None),
            *([Violation(f"admitone verify ended with {code}")] if code else []),
        ]
        print(verified)
        await tell_stories(stage, violations, asked, folder)
        keeping.cancel()
        return Piece(
            seed=seed,
            commit=_commit(),
            ended_at=f"{datetime.now(UTC):%Y-%m-%d}",
            cycles=len(torment.inflicted),
            seconds=round(seconds, 1),
            resting_seconds=round(resting, 1),
            requests=requests,
            writes=verdict.answered,
            answers=dict(crowd.answers),
            faults=dict(Counter(str(inflicted.fault) for inflicted in torment.inflicted)),
            back_after=_back_after(torment.inflicted),
            unclear=verdict.unclear,
            unclear_done=sum(verdict.unclear_done.values()),
            unclear_done_by=verdict.unclear_done,
            handled=deliveries.handled,
            repeated=deliveries.repeated,
            repeated_after_crash=deliveries.repeated_after_crash,
            in_hand=sum(inflicted.in_hand for inflicted in torment.inflicted),
            data_repaired=len(repairs),
            events_said_again=sum(repairs),
            restarts=stage.ended,
            verified=verified.splitlines(),
            calm_writes=calm_writes,
            calm_clear=calm_clear,
            columns_added=stage.columns_added,
            violations=[violation.sentence for violation in violations],
        )


async def tell_stories(stage: Stage, violations: list[Violation], asked: list[Asked], folder: Path) -> None:
    """What is known about the first few: the history of their tickets and orders, and what the services say."""
    for violation in violations:
        print(f"VIOLATION {violation.sentence}")
    for violation in violations[:STORIES]:
        about = set(violation.about)
        if not about:
            continue
        print(f"\n--- {violation.sentence}")
        for one in asked:
            if about & {one.ticket, one.order, str(one.answer.get("id", ""))}:
                print(one.line()[:500])
        for id in sorted(about)[:2]:
            print((await stage.admitone("journey", id))[1])
    if violations:
        print(f"\nEverything is in {folder}: history.jsonl, faults.log, {', '.join(f'{name}.log' for name in NAMES)}, the databases.")


def _back_after(inflicted: list[Inflicted]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in inflicted:
        if one.back_after is not None:
            found.setdefault(str(one.fault), []).append(round(one.back_after, 3))
    return found


def _commit() -> str:
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return told.stdout.strip() or "unknown"


async def main(given: argparse.Namespace) -> int:
    asyncio.get_running_loop().set_exception_handler(_complain)
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _interrupt, interrupted)
    pieces: list[Piece] = []
    left = given.cycles
    while left > 0 and not interrupted.is_set():
        seed = given.seed + len(pieces)
        cycles = min(left, given.piece)
        print(f"Seed {seed}: {cycles} cycles.", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="admitone-chaos-"))
        folder.chmod(0o755)  # The engines may run as another user.
        piece = await one_piece(folder, cycles, seed, given.rate, given.careless, interrupted)
        pieces.append(piece)
        left -= cycles
        if given.results:
            report.keep(piece, given.results)
        if not piece.violations and not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
        elif given.keep:
            print(f"Kept: {folder}")
    all_pieces = report.kept(given.results) if given.results else pieces
    if not all_pieces:
        print("Nothing was tried.")
        return 1
    print("\n".join(report.lines(all_pieces)))
    if given.report:
        cycles = sum(piece.cycles for piece in all_pieces)
        report.write(all_pieces, given.report, f"make chaos CYCLES={cycles} RESULTS=chaos.jsonl REPORT=docs/chaos.md")
    wrong = [
        *report.vacuous(all_pieces),
        *report.unanswered(all_pieces),
        *(violation for piece in all_pieces for violation in piece.violations),
    ]
    for sentence in wrong:
        print(f"FAILED: {sentence}")
    return 1 if wrong else 0


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A connection to what is being killed may fail when nobody waits for it any more."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def _interrupt(interrupted: asyncio.Event) -> None:
    if interrupted.is_set():
        raise SystemExit("Interrupted twice: this piece is lost.")
    print("\nInterrupted: what was done so far is judged; once more ends at once.", file=sys.stderr)
    interrupted.set()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="chaos", description="Kill and freeze everything, again and again, and look what is lost.")
    parser.add_argument("--cycles", type=int, default=24, help="how many faults; with 0, only the report is made")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="draws the faults and what the crowd wants")
    parser.add_argument("--rate", type=float, default=60, help="requests a second")
    parser.add_argument("--piece", type=int, default=100, help="cycles per marketplace; then a new one is begun")
    parser.add_argument("--results", type=Path, help="a file to which each piece adds a line, and which the report sums up")
    parser.add_argument("--report", type=Path, help="write the report there, as markdown")
    parser.add_argument(
        "--careless", action="store_true", help="PostgreSQL says yes before it has written: what is lost by that has to be found"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder of a run that found nothing, too")
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(uvloop.run(main(parser.parse_args())))
