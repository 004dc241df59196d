"""A service's database, and a transaction that changes rows and writes events to the outbox together."""

import asyncio
import contextlib
import functools
import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid4

import asyncpg
import msgspec

from admitone.kit.data.clock import Clock, database_clock
from admitone.kit.data.connection import BY_INDEX, Connection, prepare_connection
from admitone.kit.event import OWNERS, Event
from admitone.kit.observe.log import causation_id, correlation, log

Row = TypeVar("Row", bound=msgspec.Struct)

TRANSIENT = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # The server has said goodbye on this connection, and has not closed it yet.
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.InvalidCachedStatementError,  # A table has changed since; asyncpg has dropped its cached statements by now.
)
"""Errors of an engine that is unavailable or busy: the same call may succeed when it is retried."""


ACQUIRE_SECONDS = 8.0
"""Long enough when thousands wait for a few connections: each is to get an answer, not a 503."""
COMMAND_SECONDS = 6.0
"""Longer than the server's statement_timeout of 5 s: only a server that does not respond at all runs into it."""


class Signal:
    """Wakes all waiters of this process when it fires.

    Take `next()` before reading the state and wait for it afterwards, so that nothing in between is missed.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def next(self) -> asyncio.Event:
        return self._event

    def fire(self) -> None:
        self._event.set()
        self._event = asyncio.Event()


async def wait_for_signal(event: asyncio.Event, timeout_seconds: float) -> None:
    """Wait until the signal fires or the timeout has passed.

    (asyncio.wait_for would forget a cancellation that comes with the signal: a loop could not be ended.)
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_seconds):
            await event.wait()


@functools.lru_cache(maxsize=1000)
def _with_columns(row: type[msgspec.Struct], sql: str) -> str:
    """The statement with the struct's columns in place of `*`.

    So a column that a newer version has added changes no result, and no prepared statement becomes invalid by it.
    """
    return re.sub(
        r"\b(SELECT|RETURNING) (\w+\.)?\*(?!,)",
        lambda star: f"{star[1]} " + ", ".join(f'{star[2] or ""}"{name}"' for name in row.__struct_fields__),
        sql,
    )


def _row(row: type[Row], record: asyncpg.Record) -> Row:
    """Without the columns that the struct does not know."""
    try:
        return row(**record)
    except TypeError:
        known = row.__struct_fields__
        return row(**{name: value for name, value in record.items() if name in known})


class Cause(Protocol):
    """What an event follows from."""

    @property
    def event_id(self) -> UUID | None: ...
    @property
    def correlation_id(self) -> UUID: ...


class Tx:
    """An open transaction of one service. `now` was read from the service's clock when it began."""

    def __init__(self, connection: Connection, service: str, now: datetime) -> None:
        self.connection = connection
        self.service = service
        self.now = now
        self._emitted: list[tuple[UUID, str, object, UUID, UUID | None]] = []

    async def one(self, row: type[Row], sql: str, *args: object) -> Row | None:
        """The row that the statement returned, or None."""
        record = await self.connection.fetchrow(_with_columns(row, sql), *args)
        return _row(row, record) if record is not None else None

    async def all(self, row: type[Row], sql: str, *args: object) -> list[Row]:
        """Every row that the statement returned."""
        return [_row(row, record) for record in await self.connection.fetch(_with_columns(row, sql), *args)]

    async def value(self, sql: str, *args: object) -> Any:
        """The first column of the first row, or None."""
        return await self.connection.fetchval(sql, *args)

    async def run(self, sql: str, *args: object) -> int:
        """How many rows the statement touched."""
        status: str = await self.connection.execute(sql, *args)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    def emit(self, event: Event, cause: Cause | None = None) -> None:
        """Note an event for the outbox. The relay publishes it after this transaction has committed.

        `cause` is the delivered event that it follows from; without one, it is the event that is handled now, or the request.
        Raises PermissionError for an event that another service owns.
        """
        if OWNERS.get(type(event)) != self.service:
            raise PermissionError(f"{self.service} may not publish {type(event).__name__}: it does not own it")
        follows = (correlation(), causation_id.get()) if cause is None else (cause.correlation_id, cause.event_id)
        self._emitted.append((uuid4(), type(event).__name__, msgspec.to_builtins(event), *follows))

    async def write_outbox(self) -> bool:
        """Write the noted events to the outbox, in their order: one statement, the last before COMMIT. False when there are none."""
        if not self._emitted:
            return False
        await self.connection.execute(
            """
            INSERT INTO outbox (event_id, event, data, correlation_id, causation_id, created_at)
            SELECT event_id, event, data, correlation_id, causation_id, $6
            FROM unnest($1::uuid[], $2::text[], $3::jsonb[], $4::uuid[], $5::uuid[]) WITH ORDINALITY
                AS noted (event_id, event, data, correlation_id, causation_id, position)
            ORDER BY position
            """,
            *zip(*self._emitted, strict=True),
            self.now,
        )
        self._emitted.clear()
        return True


class Database:
    """One service's database: a pool of connections under that service's own role."""

    def __init__(self, service: str, pool: "asyncpg.Pool[asyncpg.Record]", clock: Clock = database_clock) -> None:
        self.service = service
        self.pool = pool
        self.clock = clock
        self.emitted = Signal()
        """Fires when a transaction of this process has left something in the outbox."""
        self.committed = Signal()
        """Fires after every transaction of this process."""

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """A transaction at READ COMMITTED: rules depend on constraints and guarded statements, not on isolation."""
        async with self._connection() as connection, connection.transaction():
            with _terminate_on_timeout(connection):
                tx = Tx(connection, self.service, await self.clock(connection))
                yield tx
                emitted = await tx.write_outbox()
        if emitted:
            self.emitted.fire()
        self.committed.fire()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[Tx]:
        """For reading only: no transaction, and no signal fires afterwards."""
        async with self._connection() as connection:
            with _terminate_on_timeout(connection):
                yield Tx(connection, self.service, await self.clock(connection))

    async def answers(self, seconds: float) -> bool:
        """Whether the database answers; finding out takes at most three times `seconds`."""
        try:
            connection = await self.pool.acquire(timeout=seconds)
            try:
                with _terminate_on_timeout(connection):
                    await connection.fetchval("SELECT 1", timeout=seconds)
            finally:
                await self.pool.release(connection, timeout=seconds)
        except (*TRANSIENT, asyncpg.PostgresError):
            return False
        return True

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator["asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"]:
        connection = await self.pool.acquire(timeout=ACQUIRE_SECONDS)
        try:
            yield connection
        finally:
            try:
                await self.pool.release(connection, timeout=1)
            except TRANSIENT as error:  # What the block has done stays done; asyncpg has closed the connection.
                log.warning("connection_closed", message="a connection could not be given back and was closed", error=repr(error))


@contextlib.contextmanager
def _terminate_on_timeout(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> Iterator[None]:
    """Close the connection after a timeout, without a rollback: a server that does not answer would not answer that either."""
    try:
        yield
    except TimeoutError:
        connection.terminate()
        raise


async def _nothing_to_reset(_connection: Connection) -> None:
    """Nothing here changes a session: locks end with their transaction, and asyncpg itself rolls back one that is still open."""


@contextlib.asynccontextmanager
async def connected(service: str, url: str, clock: Clock = database_clock) -> AsyncIterator[Database]:
    """A service's database for as long as the block runs."""
    async with asyncpg.create_pool(
        url,
        min_size=1,
        max_size=8,
        init=prepare_connection,
        reset=_nothing_to_reset,
        timeout=5,
        command_timeout=COMMAND_SECONDS,
        server_settings={
            "application_name": service,
            "timezone": "UTC",
            "statement_timeout": "5s",
            "lock_timeout": "3s",
            "idle_in_transaction_session_timeout": "10s",
            **BY_INDEX,
        },
    ) as pool:
        yield Database(service, pool, clock)
