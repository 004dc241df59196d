"""The tools for tests, as CONTRIBUTING.md shows them."""

from random import Random

import pytest
from conftest import Rehearse, Together
from support.facts import ANN, BOB, CANCEL_AT, TICKET, order_cancelled, order_completed, order_created, ticket_created
from support.house import House

from admitone import expiration, orders, tickets
from admitone.config import Settings
from admitone.events import ExpirationComplete, TicketUpdated
from admitone.expiration.commands import ring_due_timers
from admitone.orders.commands import create_order
from admitone.orders.model import AnotherPrice
from admitone.tickets.commands import list_ticket


async def test_a_cancelled_order_frees_its_ticket(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        ticket = await it.does(list_ticket, ANN, "Front row", 4990, "USD", it.now)
        await it.hears(order_created(ticket_id=ticket.ticket_id, lock=1), order_cancelled(ticket_id=ticket.ticket_id, lock=1))
        *_, freed = await it.said()
        assert isinstance(freed, TicketUpdated)
        assert freed.order_id is None


async def test_a_price_that_was_not_on_the_page_is_refused(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created(price_cents=9990))
        with pytest.raises(AnotherPrice):
            await it.does(create_order, BOB, TICKET, 4990, Settings())
        assert await it.said() == []


async def test_the_timer_rings_once_and_only_for_an_order_that_is_open(rehearse: Rehearse) -> None:
    async with rehearse(expiration.service) as it:
        await it.hears(order_created(), order_created())  # Twice: there is no inbox here that would drop one.
        assert await it.does(ring_due_timers, CANCEL_AT) == 1
        assert await it.said() == [ExpirationComplete(order_id=order_created().order_id, cancel_at=CANCEL_AT)]
        await it.hears(order_completed(), order_created())  # In the wrong order.
        assert await it.does(ring_due_timers, CANCEL_AT) == 0


async def test_the_ticket_of_an_order_is_taken_off_the_list(together: Together) -> None:
    async with together(tickets.service, orders.service) as them:
        ticket = await them[tickets.service].does(list_ticket, ANN, "Front row", 4990, "USD", them.now)
        await them.play()  # Orders hears of the ticket.
        order = await them[orders.service].does(create_order, BOB, ticket.ticket_id, 4990, Settings())
        await them.play(Random(1))  # Tickets hears of the order, orders that it is locked: each twice, in any order.
        assert await them[tickets.service].rows("SELECT order_id FROM tickets") == [{"order_id": order.order_id}]


async def test_a_paid_order_cannot_be_cancelled(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 30))
    await bob.pays(order)
    assert (await bob.cancels(order)).status_code == 409
