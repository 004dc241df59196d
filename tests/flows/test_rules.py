"""Rules that span services, played on their real commands, handlers and SQL: events in order, then twice and in any order."""

from datetime import timedelta
from random import Random

import pytest
from conftest import Together
from support.facts import ANN, BOB, EVE, MORE, PRICE, payment_authorized
from support.processor_states import processor_state

from admitone import expiration, orders, payments, tickets
from admitone.config import Settings
from admitone.expiration.commands import ring_due_timers
from admitone.orders.commands import cancel_by_buyer, create_order, extend
from admitone.orders.model import TicketTaken
from admitone.payments.commands import begin_charge, record
from admitone.tickets.commands import edit_ticket, list_ticket
from admitone.tickets.model import TicketLocked

SETTINGS = Settings()


@pytest.fixture(params=[None, *range(10)], ids=["in order", *[f"mixed {seed}" for seed in range(10)]])
def chance(request: pytest.FixtureRequest) -> Random | None:
    """How events come: once and in order, or twice and mixed, in one of ten ways."""
    return None if request.param is None else Random(request.param)


async def test_a_cancelled_order_frees_its_ticket_for_the_next_buyer(together: Together, chance: Random | None) -> None:
    async with together(tickets.service, orders.service) as them:
        ticket = await them[tickets.service].does(list_ticket, ANN, "Front row", 4990, "USD", them.now)
        await them.play(chance)
        order = await them[orders.service].does(create_order, BOB, ticket.ticket_id, None, SETTINGS)
        await them[orders.service].does(cancel_by_buyer, order.order_id, BOB)
        await them.play(chance)
        assert await them[tickets.service].rows("SELECT order_id FROM tickets") == [{"order_id": None}]
        await them[orders.service].does(create_order, EVE, ticket.ticket_id, None, SETTINGS)


async def test_a_ticket_that_is_being_paid_for_cannot_be_edited(together: Together, chance: Random | None) -> None:
    async with together(tickets.service, orders.service) as them:
        ticket = await them[tickets.service].does(list_ticket, ANN, "Front row", 4990, "USD", them.now)
        await them.play(chance)
        await them[orders.service].does(create_order, BOB, ticket.ticket_id, None, SETTINGS)
        await them.play(chance)
        with pytest.raises(TicketLocked):
            await them[tickets.service].does(edit_ticket, ticket.ticket_id, ANN, "Front row", 9990)


async def test_an_order_at_a_price_that_was_edited_meanwhile_is_cancelled(together: Together, chance: Random | None) -> None:
    async with together(tickets.service, orders.service) as them:
        ticket = await them[tickets.service].does(list_ticket, ANN, "Front row", 4990, "USD", them.now)
        await them.play(chance)
        await them[tickets.service].does(edit_ticket, ticket.ticket_id, ANN, "Front row", 9990)
        await them[orders.service].does(create_order, BOB, ticket.ticket_id, 4990, SETTINGS)
        await them.play(chance)
        assert await them[orders.service].rows("SELECT status, reason FROM orders") == [{"status": "cancelled", "reason": "price_changed"}]
        assert await them[tickets.service].rows("SELECT order_id FROM tickets") == [{"order_id": None}]


async def test_an_order_that_nobody_pays_for_is_over_when_its_time_is(together: Together, chance: Random | None) -> None:
    async with together(tickets.service, orders.service, expiration.service) as them:
        ticket = await them[tickets.service].does(list_ticket, ANN, "Front row", 4990, "USD", them.now)
        await them.play(chance)
        order = await them[orders.service].does(create_order, BOB, ticket.ticket_id, None, SETTINGS)
        await them.play(chance)
        them.now = order.cancel_at - timedelta(milliseconds=1)
        assert await them[expiration.service].does(ring_due_timers, them.now) == 0
        with pytest.raises(TicketTaken):
            await them[orders.service].does(create_order, EVE, ticket.ticket_id, None, SETTINGS)
        them.now = order.cancel_at
        assert await them[expiration.service].does(ring_due_timers, them.now) == 1
        await them.play(chance)
        await them[orders.service].does(create_order, EVE, ticket.ticket_id, None, SETTINGS)


async def test_an_expiration_from_a_fast_clock_is_retried_when_its_time_has_come(together: Together) -> None:
    async with together(tickets.service, orders.service, expiration.service) as them:
        ticket = await them[tickets.service].does(list_ticket, ANN, "Front row", 4990, "USD", them.now)
        await them.play()
        order = await them[orders.service].does(create_order, BOB, ticket.ticket_id, None, SETTINGS)
        await them.play()
        await them[expiration.service].does(ring_due_timers, order.cancel_at)
        await them.play()
        assert await them[orders.service].rows("SELECT status FROM orders") == [{"status": "awaiting:payment"}]
        them.now = order.cancel_at
        await them.play()
        assert await them[orders.service].rows("SELECT status FROM orders") == [{"status": "cancelled"}]


async def test_a_paid_ticket_is_sold_and_its_timer_rings_no_more(together: Together, chance: Random | None) -> None:
    async with together(tickets.service, orders.service, expiration.service) as them:
        ticket = await them[tickets.service].does(list_ticket, ANN, "Front row", 4990, "USD", them.now)
        await them.play(chance)
        order = await them[orders.service].does(create_order, BOB, ticket.ticket_id, None, SETTINGS)
        await them.play(chance)
        await them[orders.service].hears(payment_authorized(order_id=order.order_id))
        await them.play(chance)
        assert await them[tickets.service].rows("SELECT sold, order_id FROM tickets") == [{"sold": True, "order_id": order.order_id}]
        assert await them[expiration.service].does(ring_due_timers, order.cancel_at) == 0


async def test_an_order_with_more_time_is_over_when_that_is(together: Together, chance: Random | None) -> None:
    async with together(tickets.service, orders.service, expiration.service) as them:
        ticket = await them[tickets.service].does(list_ticket, ANN, "Front row", 4990, "USD", them.now)
        await them.play(chance)
        order = await them[orders.service].does(create_order, BOB, ticket.ticket_id, None, SETTINGS)
        await them.play(chance)
        await them[expiration.service].does(ring_due_timers, order.cancel_at)  # By a clock that is ahead: it is too early.
        await them.play(chance)
        them.now = order.expires_at - timedelta(seconds=1)
        await them[orders.service].does(extend, order.order_id, BOB, them.now)
        await them.play(chance)
        assert await them[tickets.service].rows("SELECT locked_until FROM tickets") == [{"locked_until": order.cancel_at + MORE}]
        them.now = order.cancel_at
        await them.play(chance)  # The ring of the old deadline is heard again.
        assert await them[expiration.service].does(ring_due_timers, order.cancel_at + MORE - timedelta(milliseconds=1)) == 0
        assert await them[orders.service].rows("SELECT status FROM orders") == [{"status": "awaiting:payment"}]
        with pytest.raises(TicketTaken):
            await them[orders.service].does(create_order, EVE, ticket.ticket_id, None, SETTINGS)
        them.now = order.cancel_at + MORE
        assert await them[expiration.service].does(ring_due_timers, them.now) == 1
        await them.play(chance)
        assert await them[orders.service].rows("SELECT status, reason FROM orders") == [{"status": "cancelled", "reason": "expired"}]
        await them[orders.service].does(create_order, EVE, ticket.ticket_id, None, SETTINGS)


async def test_an_extended_order_can_be_paid_after_its_first_deadline(together: Together, chance: Random | None) -> None:
    async with together(tickets.service, orders.service, expiration.service, payments.service) as them:
        ticket = await them[tickets.service].does(list_ticket, ANN, "Front row", PRICE, "USD", them.now)
        await them.play(chance)
        order = await them[orders.service].does(create_order, BOB, ticket.ticket_id, None, SETTINGS)
        await them.play(chance)
        await them[orders.service].does(extend, order.order_id, BOB, them.now)
        await them.play(chance)
        them.now = order.cancel_at + timedelta(seconds=1)
        charge = await them[payments.service].does(begin_charge, order.order_id, BOB, "tok_visa", them.now)
        await them[payments.service].does(record, charge, processor_state(charge, "authorized"), them.now)
        await them.play(chance)
        assert await them[tickets.service].rows("SELECT sold, locked_until FROM tickets") == [{"sold": True, "locked_until": None}]
        assert await them[expiration.service].does(ring_due_timers, order.cancel_at + MORE) == 0
