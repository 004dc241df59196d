"""Rows change and events are said together, or neither."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from support.databases import OwnDatabase, own_database
from support.facts import order_created, payment_created, ticket_created

from admitone.kit.data.db import TRANSIENT, wait_for_signal
from admitone.kit.event import Event
from admitone.kit.http.app import as_problem
from admitone.kit.http.problem import TryAgain
from admitone.kit.observe.log import causation_id, correlation_scope
from admitone.runtime.engines import Engines


class Crash(Exception):
    """Something goes wrong in the middle."""


@pytest.fixture(scope="module")
async def own(engines: Engines) -> AsyncIterator[OwnDatabase]:
    async with own_database(engines, "orders") as own:
        yield own


async def test_an_emitted_event_is_in_the_outbox_after_the_commit(own: OwnDatabase) -> None:
    request, cause = uuid4(), uuid4()
    event = order_created(order_id=uuid4())
    token = causation_id.set(cause)
    emitted = own.db.emitted.next()
    with correlation_scope(request):
        async with own.db.transaction() as tx:
            tx.emit(event)
            assert not emitted.is_set()
    causation_id.reset(token)
    (row,) = await own.rows("SELECT * FROM outbox WHERE data ->> 'order_id' = $1", str(event.order_id))
    assert (row["event"], row["correlation_id"], row["causation_id"]) == ("OrderCreated", request, cause)
    assert (row["published_at"], row["seq"], row["created_at"]) == (None, None, tx.now)
    assert emitted.is_set()


async def test_a_rolled_back_transaction_publishes_nothing(own: OwnDatabase) -> None:
    event = order_created(order_id=uuid4())
    emitted, committed = own.db.emitted.next(), own.db.committed.next()
    with contextlib.suppress(Crash):
        async with own.db.transaction() as tx:
            tx.emit(event)
            raise Crash
    assert await own.rows("SELECT 1 FROM outbox WHERE data ->> 'order_id' = $1", str(event.order_id)) == []
    assert not emitted.is_set()
    assert not committed.is_set()


@pytest.mark.parametrize("foreign", [ticket_created(), payment_created()])
async def test_a_service_may_not_say_what_another_owns(own: OwnDatabase, foreign: Event) -> None:
    with pytest.raises(PermissionError, match=type(foreign).__name__):
        async with own.db.transaction() as tx:
            tx.emit(foreign)
    assert await own.rows("SELECT 1 FROM outbox WHERE event = $1", type(foreign).__name__) == []


async def test_an_event_missing_in_the_catalogue_cannot_be_published(own: OwnDatabase) -> None:
    class Surprise(Event, frozen=True):
        """Nobody owns this."""

    with pytest.raises(PermissionError):
        async with own.db.transaction() as tx:
            tx.emit(Surprise())


async def test_a_transaction_has_one_time_from_its_databases_clock(own: OwnDatabase) -> None:
    async with own.db.transaction() as tx:
        assert await tx.value("SELECT $1 BETWEEN now() - interval '1 minute' AND clock_timestamp()", tx.now)
        assert tx.now.utcoffset() is not None


class Seat(msgspec.Struct, frozen=True):
    number: int
    taken: bool


@pytest.fixture
async def seats(own: OwnDatabase) -> AsyncIterator[OwnDatabase]:
    """A table that every test makes anew; each statement below is prepared and cached before it is changed."""
    await own.db.pool.execute("CREATE TABLE seats (number integer PRIMARY KEY, taken boolean NOT NULL)")
    await own.db.pool.execute("INSERT INTO seats VALUES (1, false), (2, false)")
    yield own
    await own.db.pool.execute("DROP TABLE seats")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM seats WHERE number = 1",
        "UPDATE seats SET taken = false WHERE number = 1 RETURNING *",
        "UPDATE seats SET taken = false FROM (VALUES (1)) AS wanted (wish) WHERE number = wish RETURNING seats.*",
        "WITH found AS MATERIALIZED (SELECT * FROM seats) SELECT * FROM found WHERE number = 1",
    ],
)
async def test_a_column_of_a_newer_version_disturbs_no_transaction(seats: OwnDatabase, sql: str) -> None:
    for change in ("SELECT 1", "ALTER TABLE seats ADD hue text DEFAULT 'red'", "ALTER TABLE seats ADD row text DEFAULT 'B'"):
        await seats.db.pool.execute(change)
        async with seats.db.transaction() as tx:
            assert await tx.one(Seat, sql) == Seat(1, False)
            assert await tx.all(Seat, sql) == [Seat(1, False)]


async def test_a_column_that_the_struct_does_not_know_is_left_out(seats: OwnDatabase) -> None:
    async with seats.db.reading() as tx:
        assert await tx.one(Seat, "SELECT seats.*, 'red' AS hue FROM seats WHERE number = 1") == Seat(1, False)
        assert await tx.all(Seat, "SELECT seats.*, 'red' AS hue FROM seats WHERE number = 1") == [Seat(1, False)]


async def test_a_statement_whose_table_has_changed_is_told_to_try_again(seats: OwnDatabase) -> None:
    sql = "SELECT seats.*, 1 AS one FROM seats WHERE number = 1"
    async with seats.db.transaction() as tx:
        assert await tx.one(Seat, sql) == Seat(1, False)
    await seats.db.pool.execute("ALTER TABLE seats ADD hue text DEFAULT 'red'")
    with pytest.raises(TRANSIENT) as failed:
        async with seats.db.transaction() as tx:
            await tx.one(Seat, sql)
    assert isinstance(failed.value, asyncpg.InvalidCachedStatementError)
    assert isinstance(as_problem(failed.value), TryAgain)
    async with seats.db.transaction() as tx:
        assert await tx.one(Seat, sql) == Seat(1, False)


async def test_a_loop_that_is_ended_at_the_moment_of_a_signal_ends() -> None:
    signal = asyncio.Event()
    waiting = asyncio.create_task(wait_for_signal(signal, 10))
    while not signal._waiters:
        await asyncio.sleep(0)
    signal.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_connection_that_the_server_closes_counts_as_transient(own: OwnDatabase) -> None:
    """A moment earlier or later it is another error: each of them turns up in so many tries."""

    async def asks_on(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        while True:
            await connection.fetchval("SELECT 1")

    for _ in range(25):
        connection = await asyncpg.connect(own.url)
        try:
            await own.rows("SELECT pg_terminate_backend($1)", connection.get_server_pid())
            with pytest.raises(TRANSIENT):
                await asks_on(connection)
        finally:
            connection.terminate()
