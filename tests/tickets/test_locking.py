"""The fencing token decides who holds a ticket, never the order in which events arrive."""

from typing import Any
from uuid import UUID

import pytest
from conftest import Rehearse
from support.facts import (
    ANN,
    CANCEL_AT,
    MORE,
    PRICE,
    TITLE,
    A,
    B,
    C,
    order_cancelled,
    order_completed,
    order_created,
    order_extended,
)

from admitone import tickets
from admitone.events import OrderEvent, ReservationRefused, TicketUpdated
from admitone.kit.testing import Rehearsal
from admitone.tickets import commands
from admitone.tickets.model import Ticket


class Scene:
    """Ann's ticket, and the orders of it: A with the first token, B with the second, C with the third."""

    def __init__(self, it: Rehearsal, ticket_id: UUID) -> None:
        self.it = it
        self.ticket_id = ticket_id
        ticket = {"ticket_id": ticket_id}
        self.created = {order: order_created(order_id=order, lock=lock, **ticket) for lock, order in enumerate((A, B, C), 1)}
        self.extended = {order: order_extended(order_id=order, lock=lock, **ticket) for lock, order in enumerate((A, B, C), 1)}
        self.cancelled = {order: order_cancelled(order_id=order, lock=lock, **ticket) for lock, order in enumerate((A, B, C), 1)}
        self.completed = {order: order_completed(order_id=order, lock=lock, **ticket) for lock, order in enumerate((A, B, C), 1)}

    async def hears(self, *events: OrderEvent) -> None:
        await self.it.hears(*events)

    async def ticket(self) -> dict[str, Any]:
        (row,) = await self.it.rows("SELECT order_id, lock, version, sold, locked_until FROM tickets")
        return row

    async def holder(self) -> UUID | None:
        holder: UUID | None = (await self.ticket())["order_id"]
        return holder

    async def answers(self) -> list[tuple[str, UUID | None]]:
        """What was said, in short: updated with the holder, refused with the order."""
        said = []
        for event in await self.it.said():
            assert isinstance(event, TicketUpdated | ReservationRefused)
            said.append(("updated" if isinstance(event, TicketUpdated) else event.reason, event.order_id))
        return said


@pytest.fixture
async def scene(rehearse: Rehearse) -> Any:
    async with rehearse(tickets.service) as it:
        ticket = await it.does(commands.list_ticket, ANN, TITLE, PRICE, "USD", it.now)
        await it.said()
        yield Scene(it, ticket.ticket_id)


async def test_an_ordered_ticket_is_locked_and_names_its_order(scene: Scene) -> None:
    await scene.hears(scene.created[A])
    assert await scene.ticket() == {"order_id": A, "lock": 1, "version": 2, "sold": False, "locked_until": CANCEL_AT}
    (event,) = await scene.it.said()
    assert isinstance(event, TicketUpdated)
    assert (event.order_id, event.version) == (A, 2)


async def test_an_order_created_that_arrives_twice_locks_once(scene: Scene) -> None:
    await scene.hears(scene.created[A], scene.created[A])
    assert await scene.answers() == [("updated", A)]
    assert (await scene.ticket())["version"] == 2


async def test_an_extension_locks_the_ticket_longer_and_is_published_once(scene: Scene) -> None:
    await scene.hears(scene.created[A])
    await scene.it.said()
    for _ in range(2):
        await scene.hears(scene.extended[A])
        assert await scene.ticket() == {"order_id": A, "lock": 1, "version": 3, "sold": False, "locked_until": CANCEL_AT + MORE}
    [longer] = await scene.it.said()
    assert isinstance(longer, TicketUpdated)
    assert (longer.version, longer.order_id, longer.locked_until) == (3, A, CANCEL_AT + MORE)


async def test_more_time_that_overtakes_its_creation_locks_as_that_would_have(scene: Scene) -> None:
    await scene.hears(scene.extended[A], scene.created[A])
    assert await scene.ticket() == {"order_id": A, "lock": 1, "version": 2, "sold": False, "locked_until": CANCEL_AT + MORE}
    assert await scene.answers() == [("updated", A)]


async def test_an_extension_at_another_price_is_refused_like_its_order(scene: Scene) -> None:
    dearer = {"ticket_id": scene.ticket_id, "price_cents": PRICE + 1}
    await scene.hears(order_extended(**dearer), order_created(**dearer), order_extended(**dearer))
    assert await scene.answers() == [("price_changed", A)]
    assert await scene.holder() is None


async def test_more_time_that_comes_late_locks_nothing_again(scene: Scene) -> None:
    await scene.hears(scene.created[A], scene.cancelled[A], scene.extended[A])
    assert await scene.ticket() == {"order_id": None, "lock": 1, "version": 3, "sold": False, "locked_until": None}
    await scene.hears(scene.created[B], scene.extended[A])
    assert await scene.ticket() == {"order_id": B, "lock": 2, "version": 4, "sold": False, "locked_until": CANCEL_AT}
    await scene.hears(scene.completed[B], scene.extended[B], scene.extended[A])
    assert await scene.ticket() == {"order_id": B, "lock": 2, "version": 5, "sold": True, "locked_until": None}


async def test_a_cancelled_order_frees_its_ticket(scene: Scene) -> None:
    await scene.hears(scene.created[A], scene.cancelled[A], scene.cancelled[A])
    assert await scene.answers() == [("updated", A), ("updated", None)]
    assert await scene.ticket() == {"order_id": None, "lock": 1, "version": 3, "sold": False, "locked_until": None}


async def test_a_late_creation_does_not_lock_again_for_the_dead(scene: Scene) -> None:
    await scene.hears(scene.created[A], scene.cancelled[A], scene.created[A])
    assert await scene.holder() is None


async def test_a_cancellation_that_overtakes_its_creation_leaves_the_ticket_free(scene: Scene) -> None:
    await scene.hears(scene.cancelled[A], scene.created[A])
    assert await scene.holder() is None
    assert await scene.answers() == []
    assert (await scene.ticket())["version"] == 1


async def test_a_late_cancellation_does_not_free_anothers_ticket(scene: Scene) -> None:
    await scene.hears(scene.created[A], scene.created[B], scene.cancelled[A])
    assert await scene.holder() == B


async def test_a_late_creation_does_not_steal_anothers_ticket(scene: Scene) -> None:
    await scene.hears(scene.created[B], scene.created[A])
    assert await scene.holder() == B
    assert await scene.answers() == [("updated", B)]


async def test_a_dead_holder_is_taken_over_by_a_newer_token(scene: Scene) -> None:
    await scene.hears(scene.created[A], scene.created[B])
    assert await scene.answers() == [("updated", A), ("updated", B)]
    assert (await scene.ticket())["version"] == 3


async def test_a_newer_cancellation_frees_the_ticket_whoever_holds_it(scene: Scene) -> None:
    """A is dead, or B could not have ordered. Its own cancellation comes too late to count."""
    await scene.hears(scene.created[A], scene.cancelled[B])
    assert await scene.holder() is None
    await scene.hears(scene.created[B], scene.cancelled[A])
    assert await scene.holder() is None


async def test_a_token_is_remembered_even_when_it_finds_a_free_ticket(scene: Scene) -> None:
    await scene.hears(scene.cancelled[B], scene.created[A])
    assert await scene.ticket() == {"order_id": None, "lock": 2, "version": 1, "sold": False, "locked_until": None}
    assert await scene.answers() == []


@pytest.mark.parametrize("other", [{"price_cents": PRICE + 1}, {"title": "Back row"}, {"currency": "EUR"}])
async def test_an_order_at_another_price_or_title_is_refused(scene: Scene, other: dict[str, Any]) -> None:
    order = order_created(ticket_id=scene.ticket_id, **other)
    await scene.hears(order, order)
    assert await scene.answers() == [("price_changed", A)]
    assert await scene.ticket() == {"order_id": None, "lock": 1, "version": 1, "sold": False, "locked_until": None}


async def test_a_refused_orders_token_is_remembered(scene: Scene) -> None:
    await scene.hears(order_created(ticket_id=scene.ticket_id, order_id=B, lock=2, price_cents=1), scene.created[A])
    assert await scene.answers() == [("price_changed", B)]
    assert await scene.holder() is None


async def test_an_order_of_a_withdrawn_ticket_is_refused(scene: Scene) -> None:
    await scene.it.does(commands.withdraw_ticket, scene.ticket_id, ANN)
    await scene.it.said()
    await scene.hears(scene.created[A])
    assert await scene.answers() == [("withdrawn", A)]
    assert await scene.holder() is None


async def test_an_edit_that_came_before_the_lock_refuses_it(scene: Scene) -> None:
    await scene.it.does(commands.edit_ticket, scene.ticket_id, ANN, TITLE, PRICE + 500)
    await scene.it.said()
    await scene.hears(scene.created[A])
    assert await scene.answers() == [("price_changed", A)]


async def test_a_paid_order_makes_the_ticket_sold(scene: Scene) -> None:
    await scene.hears(scene.created[A], scene.completed[A], scene.completed[A])
    assert await scene.answers() == [("updated", A), ("updated", A)]
    assert await scene.ticket() == {"order_id": A, "lock": 1, "version": 3, "sold": True, "locked_until": None}


async def test_a_completion_that_overtakes_its_creation_sells_all_the_same(scene: Scene) -> None:
    await scene.hears(scene.completed[A], scene.created[A])
    assert await scene.ticket() == {"order_id": A, "lock": 1, "version": 2, "sold": True, "locked_until": None}
    assert await scene.answers() == [("updated", A)]


async def test_sold_beats_withdrawn(scene: Scene) -> None:
    await scene.it.does(commands.withdraw_ticket, scene.ticket_id, ANN)
    await scene.it.said()
    await scene.hears(scene.completed[A])
    (event,) = await scene.it.said()
    assert isinstance(event, TicketUpdated)
    assert (event.sold, event.order_id) == (True, A)
    (row,) = await scene.it.rows("SELECT * FROM tickets")
    assert Ticket(**row).status == "sold"


async def test_a_late_event_of_a_dead_order_does_not_free_a_sold_ticket(scene: Scene) -> None:
    await scene.hears(scene.created[B], scene.completed[B], scene.cancelled[A], scene.created[A])
    ticket = await scene.ticket()
    assert (ticket["order_id"], ticket["sold"]) == (B, True)


async def test_an_order_of_a_ticket_that_is_not_there_is_an_error_to_be_tried_again(scene: Scene) -> None:
    with pytest.raises(LookupError):
        await scene.hears(order_created())
