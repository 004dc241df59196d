"""A lock is confirmed by the ticket itself: by any state of it that names the order."""

from uuid import UUID, uuid4

import pytest
from conftest import Rehearse
from support.facts import BOB, TICKET, expiration_complete, order_reserved, reservation_refused, ticket_created, ticket_updated

from admitone import orders
from admitone.config import Settings
from admitone.events import OrderCancelled, OrderReserved, TicketUpdated
from admitone.kit.testing import Rehearsal
from admitone.orders import commands


async def bought(it: Rehearsal) -> UUID:
    """Bob's order, of which orders has spoken already."""
    await it.hears(ticket_created())
    order = await it.does(commands.create_order, BOB, TICKET, None, Settings())
    await it.said()
    return order.order_id


async def status(it: Rehearsal, order_id: UUID) -> tuple[str, int]:
    (row,) = await it.rows("SELECT status, version FROM orders WHERE order_id = $1", order_id)
    return row["status"], row["version"]


async def test_an_order_may_be_paid_once_the_ticket_names_it(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await bought(it)
        await it.hears(ticket_updated(order_id=order_id))
        assert await it.said() == [order_reserved(order_id=order_id)]
        assert await status(it, order_id) == ("awaiting:payment", 2)


async def test_a_confirmation_that_comes_twice_is_published_once(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await bought(it)
        await it.hears(ticket_updated(order_id=order_id), ticket_updated(order_id=order_id))
        assert [type(event) for event in await it.said()] == [OrderReserved]
        assert await status(it, order_id) == ("awaiting:payment", 2)


async def test_a_confirmation_counts_even_when_the_copy_is_newer_already(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await bought(it)
        await it.hears(ticket_updated(version=5))
        assert await it.said() == []
        await it.hears(ticket_updated(version=4, order_id=order_id))
        assert [type(event) for event in await it.said()] == [OrderReserved]
        assert (await it.rows("SELECT version, order_id FROM ticket_copies")) == [{"version": 5, "order_id": None}]


@pytest.mark.parametrize("named", [None, uuid4()])
async def test_a_ticket_that_names_another_order_or_none_confirms_nothing(rehearse: Rehearse, named: UUID | None) -> None:
    async with rehearse(orders.service) as it:
        order_id = await bought(it)
        await it.hears(ticket_updated(order_id=named))
        assert await it.said() == []
        assert await status(it, order_id) == ("created", 1)


async def test_a_cancelled_order_is_not_confirmed_any_more(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await bought(it)
        await it.does(commands.cancel_by_buyer, order_id, BOB)
        await it.said()
        await it.hears(ticket_updated(order_id=order_id))
        assert await it.said() == []
        assert await status(it, order_id) == ("cancelled", 2)


@pytest.mark.parametrize("reason", ["price_changed", "withdrawn"])
@pytest.mark.parametrize("confirmed", [False, True])
async def test_a_refused_order_is_cancelled_with_the_reason(rehearse: Rehearse, reason: str, confirmed: bool) -> None:
    async with rehearse(orders.service) as it:
        order_id = await bought(it)
        if confirmed:
            await it.hears(ticket_updated(order_id=order_id))
            await it.said()
        refusal = reservation_refused(order_id=order_id, reason=reason)
        await it.hears(refusal, refusal)
        (event,) = await it.said()
        assert isinstance(event, OrderCancelled)
        assert (event.status, event.reason, event.version) == ("cancelled", reason, 3 if confirmed else 2)


async def test_a_refusal_of_an_order_that_has_ended_changes_nothing(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await bought(it)
        it.now = (await it.rows("SELECT cancel_at FROM orders"))[0]["cancel_at"]
        await it.hears(expiration_complete(order_id=order_id))
        await it.said()
        await it.hears(reservation_refused(order_id=order_id), reservation_refused(order_id=uuid4()))
        assert await it.said() == []
        assert (await it.rows("SELECT reason FROM orders")) == [{"reason": "expired"}]


async def test_a_confirmation_may_be_the_first_event_of_a_ticket(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_updated(version=7, title="Balcony"))
        order = await it.does(commands.create_order, BOB, TICKET, None, Settings())
        await it.hears(ticket_created())
        assert order.title == "Balcony"
        assert await it.rows("SELECT version, title FROM ticket_copies") == [{"version": 7, "title": "Balcony"}]


async def test_the_confirmation_carries_the_whole_ticket(rehearse: Rehearse) -> None:
    event = ticket_updated(price_cents=777, title="Stage", withdrawn=True, version=9)
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created(), event, ticket_updated(version=8))
        (row,) = await it.rows("SELECT * FROM ticket_copies")
        assert TicketUpdated(**row) == event
