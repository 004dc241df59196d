"""Twice, and in every order: the same holder in the end."""

from uuid import UUID

import pytest
from conftest import Rehearse
from support.delivery import every_order, heard
from support.facts import ANN, PRICE, TITLE, A, B, C, order_cancelled, order_completed, order_created, order_extended, order_refunded

from admitone import tickets
from admitone.events import OrderEvent, TicketEvent
from admitone.tickets import commands


def story(ticket_id: UUID, name: str) -> tuple[list[OrderEvent], UUID | None, bool]:
    """What is heard of one ticket; who has it in the end; whether it is sold."""
    first = {"ticket_id": ticket_id, "order_id": A, "lock": 1}
    second = {"ticket_id": ticket_id, "order_id": B, "lock": 2}
    third = {"ticket_id": ticket_id, "order_id": C, "lock": 3}
    a_came_and_went: list[OrderEvent] = [order_created(**first), order_cancelled(**first)]
    b_came_and_went: list[OrderEvent] = [order_created(**second), order_cancelled(**second)]
    b_bought: list[OrderEvent] = [order_created(**second), order_completed(**second)]
    a_bought: list[OrderEvent] = [order_created(**first), order_completed(**first)]
    a_had_more_time: list[OrderEvent] = [order_created(**first), order_extended(**first)]
    a_gave_it_back: list[OrderEvent] = [*a_bought, order_refunded(**first, relist=True)]
    return {
        "one came and went": (a_came_and_went, None, False),
        "one after the other came and went": (a_came_and_went + b_came_and_went, None, False),
        "the third holds it": ([*a_came_and_went, *b_came_and_went, order_created(**third)], C, False),
        "the second bought it": (a_came_and_went + b_bought, B, True),
        "the third bought it": ([*a_came_and_went, order_cancelled(**second), order_created(**third), order_completed(**third)], C, True),
        "the second was refused": ([*a_came_and_went, order_created(**second, price_cents=1), order_cancelled(**second)], None, False),
        "one has more time": (a_had_more_time, A, False),
        "one had more time, and came and went": ([*a_had_more_time, order_cancelled(**first)], None, False),
        "one had more time, and bought it": ([*a_had_more_time, order_completed(**first)], A, True),
        "one had more time and went, the second holds it": (
            [*a_had_more_time, order_cancelled(**first), order_created(**second)],
            B,
            False,
        ),
        "one came and went, the second has more time": ([*a_came_and_went, order_created(**second), order_extended(**second)], B, False),
        "one had more time and was refunded": ([*a_had_more_time, *a_gave_it_back[1:]], None, False),
        "one was refunded and the ticket stays sold": ([*a_bought, order_refunded(**first)], A, True),
        "one was refunded": (a_gave_it_back, None, False),
        "one was refunded, the second holds it": ([*a_gave_it_back, order_created(**second)], B, False),
        "one was refunded, the second came and went": (a_gave_it_back + b_came_and_went, None, False),
        "one was refunded, the second bought it": (a_gave_it_back + b_bought, B, True),
        "one came and went, the second was refunded": ([*a_came_and_went, *b_bought, order_refunded(**second, relist=True)], None, False),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "one came and went",
        "one after the other came and went",
        "the third holds it",
        "the second bought it",
        "the third bought it",
        "the second was refused",
        "one has more time",
        "one had more time, and came and went",
        "one had more time, and bought it",
        "one had more time and went, the second holds it",
        "one came and went, the second has more time",
        "one had more time and was refunded",
        "one was refunded and the ticket stays sold",
        "one was refunded",
        "one was refunded, the second holds it",
        "one was refunded, the second came and went",
        "one was refunded, the second bought it",
        "one came and went, the second was refunded",
    ],
)
async def test_the_same_holder_whatever_came_first(rehearse: Rehearse, name: str) -> None:
    async with rehearse(tickets.service) as it:
        ticket = await it.does(commands.list_ticket, ANN, TITLE, PRICE, "USD", it.now)
        await it.said()
        events, holder, sold = story(ticket.ticket_id, name)
        locked_until = None if sold or holder is None else max(event.cancel_at for event in events if event.order_id == holder)
        for arrival in every_order(*events):
            async with heard(it, arrival[: len(events)]):
                versions: list[int] = []
                for again in ((), arrival[len(events) :]):
                    await it.hears(*again)
                    (row,) = await it.rows("SELECT order_id, sold, lock, version, locked_until FROM tickets")
                    assert (row["order_id"], row["sold"], row["lock"]) == (holder, sold, max(event.lock for event in events)), arrival
                    assert row["locked_until"] == locked_until, arrival
                    versions += [event.version for event in await it.said() if isinstance(event, TicketEvent)]
                    assert versions == list(range(2, row["version"] + 1)), arrival


async def test_an_edit_in_between_is_either_before_the_lock_or_refused(rehearse: Rehearse) -> None:
    """A came and went, Ann asks for more, B ordered at the new price: whenever A's events come, B has it at that price."""
    async with rehearse(tickets.service) as it:
        ticket = await it.does(commands.list_ticket, ANN, TITLE, PRICE, "USD", it.now)
        await it.does(commands.edit_ticket, ticket.ticket_id, ANN, TITLE, 9900)
        old = {"ticket_id": ticket.ticket_id, "order_id": A, "lock": 1}
        new = {"ticket_id": ticket.ticket_id, "order_id": B, "lock": 2, "price_cents": 9900}
        for arrival in every_order(order_created(**old), order_cancelled(**old), order_created(**new), order_completed(**new)):
            async with heard(it, arrival):
                (row,) = await it.rows("SELECT order_id, sold, price_cents FROM tickets")
                assert row == {"order_id": B, "sold": True, "price_cents": 9900}, arrival
