"""Who gets a ticket, at which price, and who does not."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from conftest import Rehearse
from support.facts import (
    ANN,
    ANOTHER_TICKET,
    BOB,
    EVE,
    PRICE,
    TICKET,
    TITLE,
    order_created,
    payment_authorized,
    ticket_created,
    ticket_updated,
)

from admitone import orders
from admitone.config import Settings
from admitone.events import OrderCreated
from admitone.kit.testing import Rehearsal
from admitone.orders import commands
from admitone.orders.model import AnotherPrice, Order, TicketSold, TicketTaken, TicketUnknown, TicketWithdrawn, TooManyOpenOrders

SETTINGS = Settings()


async def buys(it: Rehearsal, who: Any = BOB, what: Any = TICKET, seen: int | None = None, settings: Settings = SETTINGS) -> Order:
    return await it.does(commands.create_order, who, what, seen, settings)


async def test_the_first_who_clicks_has_the_ticket(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        order = await buys(it)
        expires_at = it.now + timedelta(seconds=900)
        expected = order_created(order_id=order.order_id, expires_at=expires_at, cancel_at=expires_at + timedelta(seconds=30))
        assert await it.said() == [expected]
        assert (order.status, order.version, order.lock, order.title, order.price_cents) == ("created", 1, 1, TITLE, PRICE)


async def test_window_and_settle_time_are_settings(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        order = await buys(it, settings=Settings(order_window_seconds=60, settle_seconds=5))
        assert (order.expires_at - it.now, order.cancel_at - it.now) == (timedelta(seconds=60), timedelta(seconds=65))


async def test_the_second_who_clicks_is_told_that_it_is_taken(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        await buys(it, BOB)
        await it.said()
        with pytest.raises(TicketTaken):
            await buys(it, EVE)
        assert await it.said() == []
        assert len(await it.rows("SELECT 1 FROM orders")) == 1


async def test_a_double_click_makes_one_order(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        await buys(it, BOB)
        with pytest.raises(TicketTaken):
            await buys(it, BOB)
        assert len(await it.rows("SELECT 1 FROM orders")) == 1


async def test_the_schema_itself_holds_one_order_per_ticket(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        await buys(it)
        with pytest.raises(asyncpg.UniqueViolationError, match="one_holding_order_per_ticket"):
            await it.rows(
                """
                INSERT INTO orders (order_id, version, ticket_id, user_id, status, title, price_cents, currency, lock,
                                    expires_at, cancel_at, created_at)
                SELECT gen_random_uuid(), 1, ticket_id, user_id, 'complete', title, price_cents, currency, lock + 1,
                       expires_at, cancel_at, created_at FROM orders
                """
            )


async def test_a_ticket_nobody_has_heard_of_is_unknown(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        with pytest.raises(TicketUnknown):
            await buys(it, what=uuid4())
        assert await it.said() == []


async def test_a_withdrawn_ticket_is_not_sold(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_updated(withdrawn=True))
        with pytest.raises(TicketWithdrawn):
            await buys(it)


async def test_a_sold_ticket_stays_sold_although_its_news_is_late(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        order = await buys(it)
        await it.hears(ticket_updated(order_id=order.order_id), payment_authorized(order_id=order.order_id))
        with pytest.raises(TicketSold):
            await buys(it, EVE)
        await it.hears(ticket_updated(version=3, order_id=order.order_id, sold=True))
        with pytest.raises(TicketSold):
            await buys(it, EVE)


async def test_the_price_you_clicked_is_the_price_you_pay(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created(), ticket_updated(price_cents=9900))
        with pytest.raises(AnotherPrice, match=r"99\.00 USD"):
            await buys(it, seen=PRICE)
        assert await it.said() == []
        assert (await buys(it, seen=9900)).price_cents == 9900


async def test_an_order_keeps_the_price_it_was_made_at(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        order = await buys(it)
        await it.hears(ticket_updated(price_cents=9900, title="Back row"))
        assert await it.rows("SELECT title, price_cents FROM orders WHERE order_id = $1", order.order_id) == [
            {"title": TITLE, "price_cents": PRICE}
        ]


async def test_a_seller_may_buy_their_own_ticket(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created(seller_id=ANN))
        assert (await buys(it, ANN)).user_id == ANN


async def test_each_order_of_a_ticket_draws_a_higher_token(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created(), ticket_created(ticket_id=ANOTHER_TICKET))
        for lock in (1, 2, 3):
            order = await buys(it)
            assert order.lock == lock
            await it.does(commands.cancel_by_buyer, order.order_id, BOB)
        assert (await buys(it, what=ANOTHER_TICKET)).lock == 1
        assert [event.lock for event in await it.said() if isinstance(event, OrderCreated)] == [1, 2, 3, 1]


async def test_nobody_holds_more_unpaid_orders_than_the_limit(rehearse: Rehearse) -> None:
    settings = Settings(max_open_orders=2)
    tickets = [uuid4() for _ in range(4)]
    async with rehearse(orders.service) as it:
        await it.hears(*(ticket_created(ticket_id=ticket) for ticket in tickets))
        first = await buys(it, what=tickets[0], settings=settings)
        second = await buys(it, what=tickets[1], settings=settings)
        with pytest.raises(TooManyOpenOrders, match="2 unpaid orders"):
            await buys(it, what=tickets[2], settings=settings)
        assert (await buys(it, EVE, tickets[3], settings=settings)).user_id == EVE

        await it.does(commands.cancel_by_buyer, first.order_id, BOB)
        await buys(it, what=tickets[2], settings=settings)
        with pytest.raises(TooManyOpenOrders):
            await buys(it, what=tickets[0], settings=settings)

        await it.hears(ticket_updated(ticket_id=tickets[1], order_id=second.order_id), payment_authorized(order_id=second.order_id))
        assert (await buys(it, what=tickets[0], settings=settings)).status == "created"
