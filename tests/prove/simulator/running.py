"""Many histories, on as many processes as one likes; each has a PostgreSQL of its own."""

import asyncio
import multiprocessing
import queue
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.queues import Queue
from typing import Any

import uvloop
from prove.simulator.bugs import BY_NAME, planted
from prove.simulator.ground import Ground, own_ground
from prove.simulator.history import Outcome, play
from prove.simulator.world import Violation

HANGS_AFTER_SECONDS = 120.0
AT_ONCE = 10


@dataclass(frozen=True)
class Result:
    """What the runner wants to know of a history."""

    seed: int
    sometimes: tuple[str, ...]
    violation: Violation | None
    bug: str | None = None
    also_without: bool = False
    """The seed breaks a rule when nothing is planted, too: that is no catch, but a failure."""


@dataclass(frozen=True)
class Job:
    """Seeds to be played one after the other, until one fails where `stop` says so."""

    seeds: tuple[int, ...]
    bug: str | None = None
    stop: bool = False


async def played(ground: Ground, seed: int, steps: int | None = None) -> Outcome:
    """A history; one that hangs is no history, but an error of the simulator or a deadlock of the product."""
    async with asyncio.timeout(HANGS_AFTER_SECONDS):
        return await (play(ground, seed) if steps is None else play(ground, seed, steps))


def in_processes(jobs: Iterable[Job], processes: int) -> Iterator[Result]:
    """The results as they come, in no order. Close it to end before all is done. Raises RuntimeError when a process dies."""
    context = multiprocessing.get_context("spawn")
    waiting, results = context.Queue(), context.Queue()
    for job in jobs:
        waiting.put(job)
    for _ in range(processes):
        waiting.put(None)
    workers = [context.Process(target=_work, args=(waiting, results), daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    ended = 0
    try:
        while ended < processes:
            try:
                result = results.get(timeout=1)
            except queue.Empty:
                if any(worker.exitcode not in (None, 0) for worker in workers):
                    raise RuntimeError("a process of the simulator has died; what it said stands above") from None
                continue
            if result is None:
                ended += 1
            else:
                yield result
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _work(waiting: "Queue[Job | None]", results: "Queue[Result | None]") -> None:
    uvloop.run(_play_all(waiting, results))


async def _play_all(waiting: "Queue[Job | None]", results: "Queue[Result | None]") -> None:
    async with own_ground() as ground:
        while (job := waiting.get()) is not None:
            last: Result | None = None
            async with planted(BY_NAME[job.bug] if job.bug else None, ground):
                for seed in job.seeds:
                    if last is not None:
                        results.put(last)
                    outcome = await played(ground, seed)
                    violation = outcome.violations[0] if outcome.violations else None
                    last = Result(seed, tuple(outcome.sometimes), violation, job.bug)
                    if violation is not None and job.stop:
                        break
            if last is not None and last.violation is not None and job.bug is not None:
                last = replace(last, also_without=bool((await played(ground, last.seed)).violations))
            results.put(last)
        results.put(None)


def in_chunks(seeds: Iterable[int]) -> Iterator[Job]:
    chunk: list[int] = []
    for seed in seeds:
        chunk.append(seed)
        if len(chunk) == AT_ONCE:
            yield Job(tuple(chunk))
            chunk = []
    if chunk:
        yield Job(tuple(chunk))


class Bar:
    """How far it is, on one line of a terminal; now and then a line where there is none."""

    def __init__(self, total: int, what: str) -> None:
        self.total = total
        self.what = what
        self.done = 0
        self.began = self._shown = time.monotonic()

    def step(self, note: str = "") -> None:
        self.done += 1
        human = sys.stderr.isatty()
        if time.monotonic() - self._shown < (0.1 if human else 20) and self.done < self.total:
            return
        self._shown = time.monotonic()
        rate = self.done / max(time.monotonic() - self.began, 0.001)
        filled = "#" * (30 * self.done // self.total)
        line = f"[{filled:<30}] {self.done} of {self.total} {self.what}, {rate:.1f} a second {note}"
        print(f"\r{line:<100}" if human else line, end="" if human else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        if sys.stderr.isatty():
            print(file=sys.stderr)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


__all__: list[Any] = ["Bar", "Job", "Result", "in_chunks", "in_processes", "played"]
