"""Rows change and events are said together, or neither."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
from support.databases import OwnDatabase, own_database
from support.facts import order_created, payment_created, ticket_created

from admitone.kit.data.db import TRANSIENT, happened
from admitone.kit.event import Event
from admitone.kit.observe.log import causation_id, going_back_to
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
    with going_back_to(request):
        async with own.db.transaction() as tx:
            await tx.emit(event)
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
            await tx.emit(event)
            raise Crash
    assert await own.rows("SELECT 1 FROM outbox WHERE data ->> 'order_id' = $1", str(event.order_id)) == []
    assert not emitted.is_set()
    assert not committed.is_set()


@pytest.mark.parametrize("foreign", [ticket_created(), payment_created()])
async def test_a_service_may_not_say_what_another_owns(own: OwnDatabase, foreign: Event) -> None:
    with pytest.raises(PermissionError, match=type(foreign).__name__):
        async with own.db.transaction() as tx:
            await tx.emit(foreign)
    assert await own.rows("SELECT 1 FROM outbox WHERE event = $1", type(foreign).__name__) == []


async def test_an_event_missing_in_the_catalogue_cannot_be_published(own: OwnDatabase) -> None:
    class Surprise(Event, frozen=True):
        """Nobody owns this."""

    with pytest.raises(PermissionError):
        async with own.db.transaction() as tx:
            await tx.emit(Surprise())


async def test_a_transaction_has_one_time_from_its_databases_clock(own: OwnDatabase) -> None:
    async with own.db.transaction() as tx:
        assert await tx.value("SELECT $1 BETWEEN now() - interval '1 minute' AND clock_timestamp()", tx.now)
        assert tx.now.utcoffset() is not None


async def test_a_loop_that_is_ended_at_the_moment_of_a_signal_ends() -> None:
    signal = asyncio.Event()
    waiting = asyncio.create_task(happened(signal, 10))
    while not signal._waiters:
        await asyncio.sleep(0)
    signal.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_connection_ended_by_the_server_counts_as_an_engine_away_at_any_moment(own: OwnDatabase) -> None:
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
