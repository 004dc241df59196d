"""Three relays of one service bring its outbox to the stream, while its transactions commit late and in another order than they wrote."""

import asyncio
import contextlib
import random
from collections import Counter
from uuid import UUID, uuid4

import asyncpg
import msgspec
import nats.errors
from prove.races.outcome import Outcome, Say, replicas
from support.databases import OwnDatabase
from support.facts import order_extended, ticket_created
from support.house import eventually

from admitone.kit.data.db import Database
from admitone.kit.delivery.bus import STREAM, Bus
from admitone.kit.delivery.relay import LOCK, Relay
from admitone.kit.event import Message
from admitone.kit.service import Delivered
from admitone.orders import commands

RELAYS = 3
MAX_TRANSACTION_SECONDS = 0.4
MAX_BACKLOG = 200
"""The writers wait while more is unpublished: a relay that is behind sees everything in its order, however late it was committed."""
CHANGEOVER_SECONDS = 1.5
ROLLED_BACK = 0.05

DRAW_VERSIONS = """
    WITH mine AS (SELECT ticket_id FROM ticket_copies WHERE ticket_id = ANY($1::uuid[]) ORDER BY ticket_id FOR UPDATE)
    UPDATE ticket_copies AS copy SET version = version + 1 FROM mine WHERE copy.ticket_id = mine.ticket_id
    RETURNING copy.ticket_id, copy.version
"""


class Crash(Exception):
    """Of a transaction, after it has said something."""


async def relays(
    orders: OwnDatabase,
    nats_url: str,
    say: Say,
    rows: int = 30_000,
    writers: int = 20,
    rows_each: int = 25,
    seed: int = 1,
    patience_seconds: float = 60,
) -> Outcome:
    """An aggregate's version is drawn under its row's lock, as every command does it, so its events are written in their order.

    What is not published so long after all was written counts as missed. The stream is to be empty.
    """
    outcome, chance = Outcome(), random.Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        dbs = await stack.enter_async_context(replicas(orders, RELAYS))
        buses = [await stack.enter_async_context(Bus("orders", nats_url).connected()) for _ in range(RELAYS)]
        await buses[0].ensure_stream()
        working = [asyncio.create_task(Relay(db, bus, orders.url).run()) for db, bus in zip(dbs, buses, strict=True)]
        changing = asyncio.create_task(_change_over(orders, outcome))
        writing = asyncio.create_task(_write(orders, dbs, rows, writers, rows_each, chance, outcome, say))
        try:
            await asyncio.wait((writing, *working, changing), return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
                with contextlib.suppress(AssertionError):  # Then something was missed, as we shall see.
                    await eventually(lambda: _all_published(orders), patience_seconds)
            ended = [task.exception() for task in working if task.done()]
            outcome.must(not ended, f"{len(ended)} relays have ended, which run for ever: {ended}")
        finally:
            for task in (writing, *working, changing):
                task.cancel()
            await asyncio.gather(writing, *working, changing, return_exceptions=True)
        await _judge(orders, buses[0], outcome)
    return outcome


async def _write(
    orders: OwnDatabase, dbs: list[Database], rows: int, writers: int, rows_each: int, chance: random.Random, outcome: Outcome, say: Say
) -> None:
    aggregates = sorted(uuid4() for _ in range(max(rows // 10, 2 * writers * rows_each)))
    async with orders.db.transaction() as tx:
        for aggregate in aggregates:
            await commands.copy_tickets(tx, [Delivered.now(ticket_created(ticket_id=aggregate, version=0))])
    keeps_up = asyncio.Event()

    async def watches() -> None:
        while True:
            [backlog] = await orders.rows("SELECT count(*) FROM outbox WHERE published_at IS NULL")
            (keeps_up.set if backlog["count"] <= MAX_BACKLOG else keeps_up.clear)()
            await asyncio.sleep(0.02)

    async def writes(db: Database) -> None:
        while outcome.counted["events"] < rows:
            await keeps_up.wait()
            first = chance.randrange(len(aggregates) - rows_each)
            try:
                await says_something(db, aggregates[first : first + rows_each])
                outcome.counted["events"] += rows_each
            except (Crash, asyncpg.LockNotAvailableError):
                outcome.counted["rolled back"] += rows_each
            say(outcome.counted["events"])

    async def says_something(db: Database, mine: list[UUID]) -> None:
        async with db.transaction() as tx:
            dawdles_at = chance.randrange(len(mine))
            for number, drawn in enumerate(await tx.connection.fetch(DRAW_VERSIONS, mine)):
                if number == dawdles_at:
                    await tx.write_outbox()  # Its numbers are drawn long before it commits: worse than the product does it.
                    await asyncio.sleep(chance.uniform(0, MAX_TRANSACTION_SECONDS))
                tx.emit(order_extended(order_id=drawn["ticket_id"], version=drawn["version"]))
            if chance.random() < ROLLED_BACK:
                raise Crash

    watching = asyncio.create_task(watches())
    try:
        await asyncio.gather(*(writes(dbs[number % len(dbs)]) for number in range(writers)))
    finally:
        watching.cancel()


async def _change_over(orders: OwnDatabase, outcome: Outcome) -> None:
    """The relay whose turn it is loses its connection, again and again: another takes over."""
    while True:
        await asyncio.sleep(CHANGEOVER_SECONDS)
        ended = await orders.rows(
            """
            SELECT pg_terminate_backend(pid) AS ended FROM pg_locks
            WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND (classid::bigint << 32) + objid::bigint = $1
            """,
            LOCK,
        )
        outcome.counted["changeovers"] += len(ended)


async def _all_published(orders: OwnDatabase) -> bool:
    return not await orders.rows("SELECT true FROM outbox WHERE published_at IS NULL LIMIT 1")


async def _judge(orders: OwnDatabase, bus: Bus, outcome: Outcome) -> None:
    said = {row["event_id"]: row["id"] for row in await orders.rows("SELECT id, event_id FROM outbox ORDER BY id")}
    heard = await _all_in(bus)
    times = Counter(message.event_id for message in heard)
    missed, more, strange = said.keys() - times.keys(), [one for one, count in times.items() if count > 1], times.keys() - said.keys()
    outcome.must(not missed, f"{len(missed)} of {len(said)} events are not in the stream, for one {_first(missed)}")
    outcome.must(not more, f"{len(more)} events are in the stream more than once, for one {_first(more)}")
    outcome.must(not strange, f"{len(strange)} events are in the stream that were rolled back, for one {_first(strange)}")
    versions: dict[str, list[int]] = {}
    for message in heard:
        versions.setdefault(message.data["order_id"], []).append(message.data["version"])
    mixed = [order for order, found in versions.items() if found != sorted(found)]
    outcome.must(
        not mixed, f"the events of {len(mixed)} aggregates are out of order, for one {_first(mixed)}: {versions.get(_first(mixed))}"
    )
    numbers = [said[message.event_id] for message in heard if message.event_id in said]
    highest = 0
    for number in numbers:
        outcome.counted["overtaken by what was written after them"] += number < highest
        highest = max(highest, number)
    outcome.must(
        outcome.counted["overtaken by what was written after them"] > len(said) // 100, "too little of a race: hardly any came late"
    )


def _first(found: set[UUID] | list[UUID] | list[str]) -> str:
    return str(min(found, key=str, default=""))


async def _all_in(bus: Bus) -> list[Message]:
    """Every message in the stream, oldest first."""
    count = (await bus.stream.stream_info(STREAM)).state.messages
    consumer = await bus.stream.pull_subscribe("events.>", stream=STREAM)
    found: list[Message] = []
    while len(found) < count:
        try:
            batch = await consumer.fetch(500, timeout=5)
        except nats.errors.TimeoutError:
            break
        for message in batch:
            await message.ack()
            found.append(msgspec.json.decode(message.data, type=Message))
    await consumer.unsubscribe()
    return found
