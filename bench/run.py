"""What all operations share: the stage, the book, how long a round is, and the yardsticks of the round."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.book import Book, cost_of
from bench.client import Request
from bench.load import Load, Plan, put_load
from bench.people import People
from bench.pgbench import run_pgbench
from bench.progress import Progress
from bench.quiet import Watch
from bench.stage import Stage

IDLE_LOOKS, IDLE_SECONDS = 2, 1.0
SPARE = 1.5
"""So many times the tickets are prepared that the last round has needed."""


@dataclass(kw_only=True)
class Options:
    rounds: int
    seconds: float
    quick: bool
    only: frozenset[str]
    conventional: Path | None = None
    """The Python that runs bench/conventional; without one it is left out."""

    def wants(self, *operations: str) -> bool:
        return not self.only or bool(self.only & set(operations))


@dataclass(kw_only=True)
class Run:
    options: Options
    stage: Stage
    people: People
    book: Book
    progress: Progress
    watch: Watch = field(init=False)
    """Of what runs now."""
    hello_url: str = ""
    pgbench: float = 0.0
    """Of this round."""
    hello: float = 0.0
    """Of this round."""
    accepted: float = 0.0
    """Orders per second in `up`, of this round."""
    conventional_url: str = ""
    emails: list[str] = field(default_factory=list)
    """Of accounts that can be signed in to."""
    idle_cores: dict[str, float] = field(default_factory=dict)
    """What each group of processes uses when nothing happens."""
    expected_rate: float = 100.0
    """Orders per second, as far as is known: so many tickets are prepared."""

    @property
    def tickets_of_a_round(self) -> int:
        return int(self.expected_rate * self.options.seconds * SPARE) + 50

    async def load(
        self, requests: Sequence[Request], expected: int, *, url: str = "", again: bool = False, seconds: float | None = None
    ) -> Load:
        """Load against what is measured, or against another address."""
        plan = Plan(
            url=url or self.stage.url,
            requests=requests,
            seconds=seconds or self.options.seconds,
            expected=frozenset({expected}),
            again=again,
        )
        return await put_load(plan, self.stage.folder)

    async def measure_yardsticks(self) -> None:
        """pgbench and hello-world, for the ratios of this round."""
        with self.stage.meter.measure() as used:
            self.pgbench, transactions = await run_pgbench(self.stage, self.options.seconds)
        cost = {"postgres": cost_of(used, transactions, self.idle_cores)["postgres"]}
        self.book.add("pgbench", self.pgbench, used, cost)
        self.book.add("pgbench_cpu", cost["postgres"], used, cost)
        if self.options.wants("list"):
            with self.stage.meter.measure() as used:
                load = await self.load([Request.of("GET", "/")], 200, url=self.hello_url, again=True)
            self.hello = load.rate
            self.book.add("hello", load.rate, used, {"hello": used.cpu["hello"] * 1000 / load.answers})

    async def measure_idle(self) -> None:
        """What is used although nothing happens; it is taken off from then on.

        The least that was ever seen: a vacuum or a checkpoint may be under way at one moment or another.
        """
        for _ in range(IDLE_LOOKS):
            with self.stage.meter.measure() as used:
                await asyncio.sleep(IDLE_SECONDS)
            for group, spent in used.cpu.items():
                self.idle_cores[group] = min(spent / used.seconds, self.idle_cores.get(group, 1.0))
