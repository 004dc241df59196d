"""Each race in small, as `make races` runs it for long; and that it is lost where the rule which wins it is planted away."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from nats.js.errors import NotFoundError
from prove.races.edits import edits
from prove.races.hot_ticket import hot_ticket
from prove.races.open_orders import open_orders
from prove.races.outcome import Outcome
from prove.races.relays import relays
from prove.races.timers import timers
from support.databases import OwnDatabase, own_database

from admitone.expiration import commands as ringing
from admitone.expiration import repository as timer_rows
from admitone.expiration.repository import Timer
from admitone.kit.data.connection import Connection
from admitone.kit.data.db import Tx
from admitone.kit.delivery.bus import STREAM, Bus
from admitone.kit.delivery.relay import Relay, publish
from admitone.orders import repository as order_rows
from admitone.orders.model import Wish
from admitone.runtime.engines import Engines
from admitone.tickets import repository as ticket_rows
from admitone.tickets.model import Ticket


def nobody_listens(_done: int) -> None: ...


@pytest.fixture
async def orders(engines: Engines) -> AsyncIterator[OwnDatabase]:
    async with own_database(engines, "orders") as own:
        yield own


@pytest.fixture
async def tickets(engines: Engines) -> AsyncIterator[OwnDatabase]:
    async with own_database(engines, "tickets") as own:
        yield own


@pytest.fixture
async def expiration(engines: Engines) -> AsyncIterator[OwnDatabase]:
    async with own_database(engines, "expiration") as own:
        yield own


@pytest.fixture
async def empty_stream(engines: Engines) -> None:
    async with Bus("orders", engines.nats_url).connected() as bus:
        with contextlib.suppress(NotFoundError):
            await bus.stream.delete_stream(STREAM)


async def hot(orders: OwnDatabase) -> Outcome:
    return await hot_ticket(orders, nobody_listens, buyers=40, rounds=2, processes=2)


async def test_one_of_many_has_the_ticket(orders: OwnDatabase) -> None:
    assert (await hot(orders)).wrong == []


async def test_without_its_unique_indexes_a_ticket_is_sold_several_times(orders: OwnDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    await orders.db.pool.execute("DROP INDEX one_holding_order_per_ticket; ALTER TABLE orders DROP CONSTRAINT one_fencing_token_per_order")
    insert_orders = order_rows.insert_orders

    async def looks_before(tx: Tx, wishes: Sequence[Wish], **rest: Any) -> Any:
        holder = "SELECT true FROM orders WHERE ticket_id = $1 AND holds_ticket"
        free = [wish for wish in wishes if not await tx.value(holder, wish.ticket_id)]
        return await insert_orders(tx, free, **rest)

    monkeypatch.setattr(order_rows, "insert_orders", looks_before)
    assert "buyers have ticket" in (await hot(orders)).wrong[0]


async def test_under_racing_edits_an_order_has_the_price_of_its_ticket(tickets: OwnDatabase, orders: OwnDatabase) -> None:
    assert (await edits(tickets, orders, nobody_listens, rounds=40)).wrong == []


async def test_an_edit_that_checks_before_it_writes_changes_a_locked_ticket(
    tickets: OwnDatabase, orders: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def looks_before(tx: Tx, ticket_id: UUID, _seller_id: UUID, title: str, price_cents: int, _version: int | None) -> Ticket | None:
        ticket = await ticket_rows.get(tx, ticket_id)
        if ticket is None or ticket.status != "available":
            return None
        sql = "UPDATE tickets SET title = $2, price_cents = $3, version = version + 1 WHERE ticket_id = $1 RETURNING *"
        return await tx.one(Ticket, sql, ticket_id, title, price_cents)

    monkeypatch.setattr(ticket_rows, "edit", looks_before)
    outcome = await edits(tickets, orders, nobody_listens, rounds=40)
    assert any("it was changed once it was locked" in sentence for sentence in outcome.wrong)


async def test_nobody_has_more_open_orders_than_allowed(orders: OwnDatabase) -> None:
    assert (await open_orders(orders, nobody_listens, rounds=6)).wrong == []


async def test_orders_that_do_not_wait_for_each_other_are_more_than_allowed(orders: OwnDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_the_same_time(_tx: Tx, _user_ids: Sequence[UUID]) -> None: ...

    monkeypatch.setattr(order_rows, "serialize_users", at_the_same_time)
    assert "may have 8" in (await open_orders(orders, nobody_listens, rounds=6)).wrong[0]


@pytest.mark.usefixtures("empty_stream")
async def test_relays_miss_nothing_and_mix_nothing_up(orders: OwnDatabase, engines: Engines) -> None:
    assert (await relays(orders, engines.nats_url, nobody_listens, rows=400, writers=6, rows_each=5)).wrong == []


@pytest.mark.usefixtures("empty_stream")
@pytest.mark.parametrize(
    ("sql", "wrong"),
    [
        ("SELECT *, data::text AS data FROM outbox WHERE id > $1 ORDER BY id LIMIT 100", "are not in the stream"),
        (
            "SELECT *, data::text AS data FROM outbox WHERE published_at IS NULL AND $1::bigint IS NOT NULL ORDER BY id DESC LIMIT 100",
            "out of order",
        ),
    ],
    ids=["with a cursor", "newest first"],
)
async def test_a_relay_that_asks_its_outbox_wrongly_is_found_out(
    orders: OwnDatabase, engines: Engines, monkeypatch: pytest.MonkeyPatch, sql: str, wrong: str
) -> None:
    last, seen = 0, 0

    async def asks_wrongly(self: Relay, connection: Connection) -> int:
        nonlocal last, seen
        rows = await connection.fetch(sql, last)
        if "DESC" in sql and len(rows) > seen:
            seen = len(rows)
            return 0  # The order matters where there are several: they gather as long as more of them come.
        seen = 0
        for row in rows:
            (number,) = await publish(self.bus, "orders", [row])
            assert isinstance(number, int)
            await self._mark(connection, [(row["id"], number)])
            last = max(last, row["id"])
        return len(rows)

    monkeypatch.setattr(Relay, "once", asks_wrongly)
    outcome = await relays(orders, engines.nats_url, nobody_listens, rows=400, writers=6, rows_each=5, patience_seconds=0.1)
    assert any(wrong in sentence for sentence in outcome.wrong), outcome.wrong


async def test_each_deadline_is_rung_once_and_never_early(expiration: OwnDatabase) -> None:
    assert (await timers(expiration, nobody_listens, count=400, seconds=1)).wrong == []


async def test_an_expirer_that_selects_before_it_updates_rings_a_timer_twice(
    expiration: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def looks_before(tx: Tx, now: datetime) -> list[Timer]:
        due = await tx.all(Timer, "SELECT * FROM timers WHERE due <= $1 AND rung_at IS NULL", now)
        await tx.run("UPDATE timers SET rung_at = $1 WHERE order_id = ANY($2::uuid[])", now, sorted(timer.order_id for timer in due))
        return due

    monkeypatch.setattr(timer_rows, "ring", looks_before)
    outcome = await timers(expiration, nobody_listens, count=400, seconds=1)
    assert any("more than once" in sentence for sentence in outcome.wrong)


async def test_an_expirer_whose_clock_is_fast_rings_early(expiration: OwnDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = ringing.ring_due_timers

    async def early(tx: Tx, now: datetime) -> int:
        return await ring(tx, now + timedelta(seconds=1))

    monkeypatch.setattr(ringing, "ring_due_timers", early)
    outcome = await timers(expiration, nobody_listens, count=400, seconds=1)
    assert any("rang early" in sentence for sentence in outcome.wrong)
