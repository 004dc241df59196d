"""What came of a race, and who runs at the same time as whom."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from support.databases import OwnDatabase

from admitone.kit.data.db import Database, connected

Say = Callable[[int], None]
"""Told how much is done."""


@dataclass
class Outcome:
    counted: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """A sentence per violation."""

    def must(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


@contextlib.asynccontextmanager
async def replicas(own: OwnDatabase, count: int) -> AsyncIterator[list[Database]]:
    """So many processes' worth of connections to one database, eight in each."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected(own.db.service, own.url)) for _ in range(count)]
