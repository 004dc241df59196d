"""The connections of a simulated process: real ones, at which it can crash, lose an answer, or be overtaken by another request."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

import asyncpg

if TYPE_CHECKING:
    from prove.simulator.world import Process

Real = asyncpg.Connection
Result = TypeVar("Result")


class Crash(BaseException):
    """The process is gone. No `except Exception` of the product may survive that, and no `finally` of it reaches a database."""


@dataclass(frozen=True)
class Said:
    """A row of an outbox."""

    event_id: UUID
    event: str
    data: dict[str, Any]
    correlation_id: UUID
    causation_id: UUID | None
    created_at: datetime


@dataclass
class Activity:
    """Something that a process does: a request, a batch, a job's turn. It ends, or is parked in a call to the card processor."""

    label: str
    is_request: bool = False
    task: "asyncio.Task[Any] | None" = None
    child: "Activity | None" = None
    """The call to the processor that goes on beside the request which began it."""
    parked: "asyncio.Future[None] | None" = None
    order_id: UUID | None = None
    """What that call is about."""
    ready_at: datetime | None = None
    signal: asyncio.Event = field(default_factory=asyncio.Event)
    stall_at: int | None = None
    """Before this statement it is held until somebody else has been at work: that is how two requests race."""
    statements: int = 0
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None
    backend: int | None = None

    async def task_done(self) -> None:
        """However it ends."""
        assert self.task is not None
        await asyncio.wait({self.task})


ACTIVITY: ContextVar[Activity] = ContextVar("activity")


class Wire:
    """What the product takes for its connection."""

    def __init__(self, real: Real, process: "Process") -> None:
        self.real = real
        self.process = process
        self.said: list[Said] = []
        self.heard: list[tuple[UUID, bool]] = []
        self.in_transaction = False

    async def fetch(self, sql: str, *args: object) -> Any:
        rows = await self._statement(lambda: self.real.fetch(sql, *args))
        if "INSERT INTO inbox" in sql:
            inserted = {row["event_id"] for row in rows}
            for event_id in cast("list[UUID]", args[0]):
                self.heard.append((event_id, event_id in inserted))
                inserted.discard(event_id)
            self._book_outside()
        return rows

    async def fetchrow(self, sql: str, *args: object) -> Any:
        return await self._statement(lambda: self.real.fetchrow(sql, *args))

    async def fetchval(self, sql: str, *args: object) -> Any:
        return await self._statement(lambda: self.real.fetchval(sql, *args))

    async def execute(self, sql: str, *args: Any) -> str:
        status: str = await self._statement(lambda: self.real.execute(sql, *args))
        if "INSERT INTO outbox" in sql:
            *columns, created_at = args
            self.said += [Said(*cast("Any", (*row, created_at))) for row in zip(*columns, strict=True)]
        self._book_outside()
        return status

    def _book_outside(self) -> None:
        if not self.in_transaction:
            self._book()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self.process.check()
        transaction = self.real.transaction()
        await transaction.start()
        self.in_transaction = True
        self.said, self.heard = [], []
        try:
            try:
                yield
                await self._point()
                self.process.before_commit()
            except BaseException:
                await transaction.rollback()
                raise
            await transaction.commit()
        finally:
            self.in_transaction = False
        self._book()
        self.process.after_commit()

    def terminate(self) -> None:
        """The real one is used again."""

    def _book(self) -> None:
        if self.said or self.heard:
            said, heard, self.said, self.heard = self.said, self.heard, [], []
            self.process.world.committed(self.process, said, heard)

    async def _statement(self, run: Callable[[], Awaitable[Result]]) -> Result:
        await self._point()
        result = await run()
        activity = ACTIVITY.get()
        if activity.hold is not None:
            await activity.hold.wait()
        self.process.check()
        return result

    async def _point(self) -> None:
        """Here another request may come in between."""
        self.process.check()
        activity = ACTIVITY.get()
        activity.backend = self.real.get_server_pid()
        activity.statements += 1
        if activity.stall_at == activity.statements:
            activity.stalled.set()
            activity.signal.set()
            await activity.go.wait()
            self.process.check()


class Pool:
    """Gives out the lowest free connection, so that it is the same one each time."""

    def __init__(self, reals: list[Real], process: "Process") -> None:
        self.free = list(enumerate(reals))
        self.process = process
        self._numbers: dict[int, int] = {}

    async def acquire(self, timeout: float | None = None) -> Wire:
        number, real = self.free.pop(0)
        wire = Wire(real, self.process)
        self._numbers[id(wire)] = number
        return wire

    async def release(self, wire: Wire, timeout: float | None = None) -> None:
        self.free.append((self._numbers.pop(id(wire)), wire.real))
        self.free.sort(key=lambda entry: entry[0])
