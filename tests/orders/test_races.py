"""What really happens at the same instant, in transactions that commit."""

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta
from uuid import uuid4

from support.databases import OwnDatabase, own_database
from support.facts import ANN, BOB, EVE, MORE, TICKET, expiration_complete, ticket_created, ticket_updated
from support.house import eventually

from admitone.config import Settings
from admitone.kit.service import Delivered
from admitone.orders import commands
from admitone.orders.model import Order, OrderEnded, TicketSold, TicketTaken, TooManyOpenOrders
from admitone.runtime.engines import Engines


async def buys(own: OwnDatabase, who: object, what: object = TICKET, most: int = 8) -> Order | type[Exception]:
    try:
        async with own.db.transaction() as tx:
            return await commands.create_order(tx, who, what, None, Settings(max_open_orders=most))  # type: ignore[arg-type]
    except (TicketSold, TicketTaken, TooManyOpenOrders) as refusal:
        return type(refusal)


async def test_of_twenty_who_click_at_once_exactly_one_has_the_ticket(engines: Engines) -> None:
    async with own_database(engines, "orders") as own:
        async with own.db.transaction() as tx:
            await commands.copy_tickets(tx, [Delivered.now(ticket_created())])
        answers = await asyncio.gather(*(buys(own, uuid4()) for _ in range(20)))
        assert Counter(answer is TicketTaken for answer in answers) == {True: 19, False: 1}
        assert len(await own.rows("SELECT 1 FROM orders")) == 1
        assert len(await own.rows("SELECT 1 FROM outbox")) == 1


async def test_one_of_twenty_simultaneous_buyers_gets_a_relisted_ticket(engines: Engines) -> None:
    async with own_database(engines, "orders") as own:
        async with own.db.transaction() as tx:
            await commands.copy_tickets(tx, [Delivered.now(ticket_created())])
            first = await commands.create_order(tx, BOB, TICKET, None, Settings())
            await commands.copy_tickets(tx, [Delivered.now(ticket_updated(order_id=first.order_id))])
            await commands.complete(tx, first.order_id, first.price_cents, first.currency)

        async def is_refunded() -> None:
            async with own.db.transaction() as tx:
                await commands.refund(tx, first.order_id, relist=True)

        early = await asyncio.gather(*(buys(own, uuid4()) for _ in range(5)), is_refunded(), *(buys(own, uuid4()) for _ in range(5)))
        late = await asyncio.gather(*(buys(own, uuid4()) for _ in range(10)))
        (second,) = [answer for answer in (*early, *late) if isinstance(answer, Order)]
        assert second.lock == 2
        assert await own.rows("SELECT status FROM orders ORDER BY lock") == [{"status": "refunded"}, {"status": "created"}]


async def test_none_of_twenty_buyers_gets_a_refunded_ticket_that_stays_sold(engines: Engines) -> None:
    async with own_database(engines, "orders") as own:
        async with own.db.transaction() as tx:
            await commands.copy_tickets(tx, [Delivered.now(ticket_created())])
            first = await commands.create_order(tx, BOB, TICKET, None, Settings())
            await commands.copy_tickets(tx, [Delivered.now(ticket_updated(order_id=first.order_id))])
            await commands.complete(tx, first.order_id, first.price_cents, first.currency)

        async def is_refunded() -> None:
            async with own.db.transaction() as tx:
                await commands.refund(tx, first.order_id, relist=False)

        await asyncio.gather(*(buys(own, uuid4()) for _ in range(10)), is_refunded(), *(buys(own, uuid4()) for _ in range(10)))
        assert await own.rows("SELECT status FROM orders") == [{"status": "refunded"}]


async def test_the_limit_of_unpaid_orders_holds_for_simultaneous_clicks(engines: Engines) -> None:
    tickets = [uuid4() for _ in range(12)]
    async with own_database(engines, "orders") as own:
        async with own.db.transaction() as tx:
            for ticket in tickets:
                await commands.copy_tickets(tx, [Delivered.now(ticket_created(ticket_id=ticket))])
        answers = await asyncio.gather(*(buys(own, BOB, ticket, most=3) for ticket in tickets))
        assert Counter(answer is TooManyOpenOrders for answer in answers) == {True: 9, False: 3}
        assert len(await own.rows("SELECT 1 FROM orders WHERE user_id = $1", BOB)) == 3


async def test_an_order_that_has_drawn_anothers_token_draws_again(engines: Engines) -> None:
    """Bob orders and cancels in a transaction that Eve's order does not see yet: both draw the same token."""
    async with own_database(engines, "orders") as own:
        async with own.db.transaction() as tx:
            await commands.copy_tickets(tx, [Delivered.now(ticket_created())])
        async with own.db.transaction() as tx:
            bobs = await commands.create_order(tx, BOB, TICKET, None, Settings())
            await commands.cancel_by_buyer(tx, bobs.order_id, BOB)
            waiting = asyncio.create_task(buys(own, EVE))
            blocked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            await eventually(lambda: own.rows(blocked))
        eves = await waiting
        assert isinstance(eves, Order)
        assert (bobs.lock, eves.lock) == (1, 2)


async def test_a_cancel_and_a_completion_at_once_leave_one_end(engines: Engines) -> None:
    async with own_database(engines, "orders") as own:
        for _ in range(5):
            ticket = ticket_created(ticket_id=uuid4())
            async with own.db.transaction() as tx:
                await commands.copy_tickets(tx, [Delivered.now(ticket)])
                order = await commands.create_order(tx, ANN, ticket.ticket_id, None, Settings())
                await commands.copy_tickets(
                    tx, [Delivered.now(ticket_created(ticket_id=ticket.ticket_id, version=2, order_id=order.order_id))]
                )

            async def cancels(order: Order = order) -> None:
                async with own.db.transaction() as tx:
                    await commands.cancel(tx, order.order_id, "by_buyer")

            async def completes(order: Order = order) -> None:
                async with own.db.transaction() as tx:
                    await commands.complete(tx, order.order_id, order.price_cents, order.currency)

            await asyncio.gather(cancels(), completes())
            said = await own.rows("SELECT event FROM outbox WHERE data ->> 'order_id' = $1 ORDER BY id", str(order.order_id))
            assert [row["event"] for row in said[:2]] == ["OrderCreated", "OrderReserved"]
            assert [row["event"] for row in said[2:]] in (["OrderCancelled"], ["OrderCompleted"])
            (row,) = await own.rows("SELECT version FROM orders WHERE order_id = $1", order.order_id)
            assert row["version"] == 3


async def reserved(own: OwnDatabase) -> Order:
    """Ann's order of a ticket of its own, to be paid for."""
    ticket = ticket_created(ticket_id=uuid4())
    async with own.db.transaction() as tx:
        await commands.copy_tickets(tx, [Delivered.now(ticket)])
        order = await commands.create_order(tx, ANN, ticket.ticket_id, None, Settings())
        await commands.copy_tickets(tx, [Delivered.now(ticket_created(ticket_id=ticket.ticket_id, version=2, order_id=order.order_id))])
    return order


async def said_since(own: OwnDatabase, order: Order) -> list[str]:
    """What was said of it once it was reserved; the versions have no gap."""
    said = await own.rows("SELECT event, data FROM outbox WHERE data ->> 'order_id' = $1 ORDER BY id", str(order.order_id))
    assert [row["data"]["version"] for row in said] == list(range(1, len(said) + 1))
    return [row["event"] for row in said[2:]]


async def test_ten_clicks_for_more_time_at_once_give_five_minutes(engines: Engines) -> None:
    async with own_database(engines, "orders") as own:
        order = await reserved(own)

        async def extends() -> Order:
            async with own.db.transaction() as tx:
                return await commands.extend(tx, order.order_id, ANN, tx.now)

        answers = await asyncio.gather(*(extends() for _ in range(10)))
        assert {(answer.expires_at, answer.cancel_at) for answer in answers} == {(order.expires_at + MORE, order.cancel_at + MORE)}
        assert await said_since(own, order) == ["OrderExtended"]


async def test_more_time_and_the_expiry_at_once_leave_one_of_both(engines: Engines) -> None:
    """The click came in time, but its transaction meets the one that ends the order."""
    async with own_database(engines, "orders") as own:
        for _ in range(5):
            order = await reserved(own)

            async def extends(order: Order = order) -> None:
                async with own.db.transaction() as tx:
                    with contextlib.suppress(OrderEnded):
                        await commands.extend(tx, order.order_id, ANN, order.expires_at - timedelta(milliseconds=1))

            async def expires(order: Order = order) -> None:
                async with own.db.transaction() as tx:
                    ring = expiration_complete(order_id=order.order_id, cancel_at=order.cancel_at)
                    await commands.expire(tx, ring, order.cancel_at)

            async def is_swept(order: Order = order) -> None:
                async with own.db.transaction() as tx:
                    await commands.expire_overdue(tx, order.cancel_at)

            await asyncio.gather(extends(), expires(), is_swept())
            (row,) = await own.rows("SELECT status, extended FROM orders WHERE order_id = $1", order.order_id)
            ends = {"OrderExtended": ("awaiting:payment", True), "OrderCancelled": ("cancelled", False)}
            (event,) = await said_since(own, order)
            assert (row["status"], row["extended"]) == ends[event]


async def test_more_time_and_a_payment_at_once_leave_the_order_paid(engines: Engines) -> None:
    async with own_database(engines, "orders") as own:
        for _ in range(5):
            order = await reserved(own)

            async def extends(order: Order = order) -> None:
                async with own.db.transaction() as tx:
                    with contextlib.suppress(OrderEnded):
                        await commands.extend(tx, order.order_id, ANN, tx.now)

            async def completes(order: Order = order) -> None:
                async with own.db.transaction() as tx:
                    await commands.complete(tx, order.order_id, order.price_cents, order.currency)

            await asyncio.gather(extends(), completes())
            assert await said_since(own, order) in (["OrderCompleted"], ["OrderExtended", "OrderCompleted"])
