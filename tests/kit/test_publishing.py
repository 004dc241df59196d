"""Every committed event reaches the stream, and nothing else does, whatever the stream forgets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from support.exchange import Exchange, exchange
from support.facts import order_created
from support.house import eventually

from admitone.events import OrderCreated
from admitone.kit.data.db import connected
from admitone.kit.delivery.bus import STREAM, Bus
from admitone.kit.delivery.relay import BATCH, LOCK, Relay, publish, repair
from admitone.kit.event import Message
from admitone.runtime.engines import Engines


@pytest.fixture(scope="module")
async def stage(engines: Engines) -> AsyncIterator[Exchange]:
    async with exchange(engines) as stage:
        yield stage


@pytest.fixture
async def here(stage: Exchange) -> Exchange:
    await stage.begins_anew()
    return stage


def orders(count: int) -> list[OrderCreated]:
    return [order_created(order_id=uuid4()) for _ in range(count)]


async def repairs(here: Exchange) -> int:
    async with here.own.db.pool.acquire() as connection:
        return await repair(connection, here.bus.stream, "orders")


async def test_outbox_rows_are_published_once_in_order_and_marked(here: Exchange) -> None:
    said = await here.emits(*orders(5))
    async with here.at_work(here.relay()):
        await here.published()
    async with here.at_work(here.relay()):
        said = await here.emits(*orders(1))
        await here.published()
    assert await here.ids_in_the_stream() == said
    rows = await here.own.rows("SELECT seq, published_at >= created_at AS later FROM outbox ORDER BY id")
    assert rows == [{"seq": seq, "later": True} for seq in range(1, 7)]


async def test_a_message_is_the_event_and_its_envelope(here: Exchange) -> None:
    event = order_created()
    await here.emits(event)
    async with here.at_work(here.relay()):
        await here.published()
    (message,) = await here.in_the_stream()
    (row,) = await here.own.rows("SELECT * FROM outbox")
    assert message.subject == "events.orders.OrderCreated"
    envelope = msgspec.json.decode(message.data or b"", type=Message)
    assert msgspec.convert(envelope.data, OrderCreated) == event
    assert (envelope.event_id, envelope.correlation_id, envelope.time) == (row["event_id"], row["correlation_id"], row["created_at"])


async def test_an_event_of_a_newer_version_is_published_too_and_holds_up_nothing(here: Exchange) -> None:
    await here.emits(*orders(1))
    await here.own.db.pool.execute("UPDATE outbox SET event = 'OrderExtendedTwice'")
    said = await here.emits(*orders(1))
    async with here.at_work(here.relay()):
        await here.published()
    assert await here.ids_in_the_stream() == said
    assert [message.subject for message in await here.in_the_stream()] == ["events.orders.OrderExtendedTwice", "events.orders.OrderCreated"]


async def test_what_was_rolled_back_is_never_published(here: Exchange) -> None:
    class Crash(Exception):
        pass

    async with here.at_work(here.relay()):
        with contextlib.suppress(Crash):
            async with here.own.db.transaction() as tx:
                tx.emit(order_created())
                raise Crash
        (said,) = await here.emits(order_created())
        await here.published()
    assert await here.ids_in_the_stream() == [said]


async def test_what_commits_late_is_published_all_the_same(here: Exchange) -> None:
    """Its number in the outbox is lower than one that is published already."""
    async with here.at_work(here.relay()):
        async with here.own.db.transaction() as slow:
            slow.emit(order_created())
            await slow.write_outbox()
            (fast,) = await here.emits(order_created())
            await here.published()
            assert await here.ids_in_the_stream() == [fast]
        await here.published()
    late = (set(await here.said()) - {fast}).pop()
    assert await here.said() == [late, fast]
    assert await here.ids_in_the_stream() == [fast, late]


async def test_a_relay_waits_while_another_is_at_work(here: Exchange) -> None:
    (said,) = await here.emits(order_created())
    asked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query LIKE $1"
    async with here.own.db.pool.acquire() as another:
        await another.execute("SELECT pg_advisory_lock($1)", LOCK)
        async with here.at_work(here.relay()):
            await eventually(lambda: here.own.rows(asked, "SELECT pg_try_advisory_lock%"))
            assert await here.ids_in_the_stream() == []
            await another.execute("SELECT pg_advisory_unlock($1)", LOCK)
            await here.published()
    assert await here.ids_in_the_stream() == [said]


async def test_what_a_replica_has_committed_is_published_at_once(here: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay of another process publishes it. Nobody looks by himself, so somebody must have been told."""
    monkeypatch.setattr("admitone.kit.delivery.relay.POLL_SECONDS", 3600.0)
    monkeypatch.setattr("admitone.kit.delivery.relay.LOCK_POLL_SECONDS", 3600.0)
    async with connected("orders", here.own.url) as replica, Bus("orders", here.bus.url).connected() as bus:
        async with here.at_work(here.relay()):
            await here.emits(order_created())
            await here.published()
            async with here.at_work(Relay(replica, bus, here.own.url)):
                asked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query LIKE $1"
                await eventually(lambda: here.own.rows(asked, "SELECT pg_try_advisory_lock%"))
                for _ in range(3):
                    async with replica.transaction() as tx:
                        tx.emit(order_created())
                    await here.published()
    assert await here.ids_in_the_stream() == await here.said()


async def test_three_relays_of_one_service_keep_the_order(here: Exchange) -> None:
    async with here.at_work(here.relay(), here.relay(), here.relay()):
        said = await here.emits(*orders(60))
        await here.published()
    assert await here.ids_in_the_stream() == said


async def test_a_crash_between_publishing_and_marking_leaves_one_message(here: Exchange) -> None:
    said = await here.emits(*orders(4))
    async with here.at_work(here.relay()):
        await here.published()
    await here.own.db.pool.execute("UPDATE outbox SET published_at = NULL, seq = NULL WHERE id > 2")
    async with here.at_work(here.relay()):
        await here.published()
    assert await here.ids_in_the_stream() == said
    assert [row["seq"] for row in await here.own.rows("SELECT seq FROM outbox ORDER BY id")] == [1, 2, 3, 4]


async def test_a_whole_stream_has_nothing_to_be_repaired(here: Exchange) -> None:
    assert await repairs(here) == 0
    await here.emits(*orders(3))
    async with here.at_work(here.relay()):
        await here.published()
    assert await repairs(here) == 0
    assert await here.own.rows("SELECT 1 FROM outbox WHERE published_at IS NULL") == []


@pytest.mark.parametrize(
    ("said", "lost", "foreign"), [(12, 1, 0), (12, 5, 0), (12, 12, 0), (12, 1, 1), (12, 3, 2), (12, 5, 20), (12, 12, 12), (1, 1, 1)]
)
async def test_lost_events_are_published_again_even_if_others_took_their_numbers(
    here: Exchange, said: int, lost: int, foreign: int
) -> None:
    everything = await here.emits(*orders(said))
    async with here.at_work(here.relay()):
        await here.published()
    await here.loses(lost, foreign)
    assert await here.ids_in_the_stream() == everything[: said - lost]

    assert lost <= await repairs(here) <= 2 * lost
    async with here.at_work(here.relay()):
        await here.published()
    assert await here.ids_in_the_stream() == everything
    assert await repairs(here) == 0


async def test_losses_that_follow_each_other_are_made_good_each_time(here: Exchange) -> None:
    everything = await here.emits(*orders(6))
    for lost, foreign in ((3, 1), (6, 0), (1, 4), (4, 4)):
        async with here.at_work(here.relay()):
            await here.published()
        assert set(await here.ids_in_the_stream()) == set(everything)
        await here.loses(lost, foreign)
        everything = await here.emits(*orders(1))
    async with here.at_work(here.relay()):
        await here.published()
    assert set(await here.ids_in_the_stream()) == set(everything)


async def test_a_relay_at_work_makes_a_stream_again_that_was_deleted(here: Exchange) -> None:
    async with here.at_work(here.relay()):
        await here.emits(*orders(5))
        await here.published()
        await here.bus.stream.delete_stream(STREAM)
        everything = await here.emits(*orders(1))
        await here.published()
        assert await here.ids_in_the_stream() == everything


async def test_what_goes_to_a_stream_that_was_just_made_anew_hides_no_loss(here: Exchange) -> None:
    """Nobody was disconnected, so nobody was told: the next events take the numbers that others had in the stream before."""
    async with here.own.db.pool.acquire() as connection:
        relay = here.relay()
        await here.emits(*orders(5))
        assert await relay.once(connection)
        assert not await relay.once(connection)  # It has had its look at the stream; the next is in five seconds.
        await here.bus.stream.delete_stream(STREAM)
        await here.bus.ensure_stream()
        everything = await here.emits(*orders(6))
        await relay.once(connection)
        after_a_restart = here.relay()
        while await after_a_restart.once(connection):
            pass
    assert sorted(await here.ids_in_the_stream()) == sorted(everything)


async def test_after_a_reconnection_the_lost_goes_out_before_the_new(here: Exchange) -> None:
    async with here.at_work(here.relay()):
        await here.emits(*orders(5))
        await here.published()
        await here.loses(2, foreign=3)
        here.bus.epoch += 1  # What a reconnection does.
        everything = await here.emits(*orders(1))
        await here.published()
        assert await here.ids_in_the_stream() == everything


async def test_a_stream_that_another_has_set_up_is_left_as_it_is(here: Exchange) -> None:
    stream = here.bus.stream
    await stream.delete_stream(STREAM)
    await stream.add_stream(name=STREAM, subjects=["events.>"], max_msgs=1000, description="an operator's")
    await asyncio.wait_for(here.bus.ensure_stream(), 5)
    assert (await stream.stream_info(STREAM)).config.description == "an operator's"


async def test_nothing_is_marked_after_the_stream_was_renewed_in_mid_batch(here: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    await here.emits(order_created(), order_created(), order_created())
    relay = here.relay()

    async def publish_and_renew(*arguments: Any) -> list[int | Exception]:
        here.bus.epoch += 1  # The client has reconnected by itself: no call fails, and the stream may have lost what it had.
        return await publish(*arguments)

    async with relay._advisory_lock() as connection:
        monkeypatch.setattr("admitone.kit.delivery.relay.publish", publish_and_renew)
        await relay.once(connection)
        assert await here.own.rows("SELECT 1 FROM outbox WHERE published_at IS NOT NULL") == []
        monkeypatch.undo()
        await relay.once(connection)
    assert await here.own.rows("SELECT 1 FROM outbox WHERE published_at IS NULL") == []


async def test_whoever_takes_the_relays_lock_looks_what_the_stream_has_lost(here: Exchange) -> None:
    await here.emits(order_created())
    relay = here.relay()
    async with relay._advisory_lock() as connection:
        await relay.once(connection)
    before = await here.own.db.pool.fetchval("SELECT published_at FROM outbox")
    await here.bus.stream.delete_msg(STREAM, (await here.bus.stream.stream_info(STREAM)).state.last_seq)
    async with relay._advisory_lock() as connection:
        await relay.once(connection)
    assert await here.own.db.pool.fetchval("SELECT published_at FROM outbox") > before  # It was sent again.


async def test_a_look_costs_the_same_however_many_were_published_since_the_last_vacuum(here: Exchange) -> None:
    await here.own.db.pool.execute("ALTER TABLE outbox SET (autovacuum_enabled = off)")
    row = "gen_random_uuid(), 'OrderCreated', '{}', gen_random_uuid(), now()"
    columns = "event_id, event, data, correlation_id, created_at"
    await here.own.db.pool.execute(f"INSERT INTO outbox ({columns}) SELECT {row} FROM generate_series(1, 5000)")
    await here.own.db.pool.execute("UPDATE outbox SET published_at = now(), seq = id")
    async with here.relay()._advisory_lock() as connection:
        pages = []
        for _ in range(3):
            look = "SELECT * FROM outbox WHERE published_at IS NULL ORDER BY id LIMIT $1"
            ((plan,),) = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {look}", BATCH)
            pages.append(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])
    assert pages[-1] < 20, pages
