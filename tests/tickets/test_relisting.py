"""A refunded order's ticket stays sold, unless it is to be on sale again; and then only until the next order."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from conftest import Rehearse
from support.delivery import every_order, heard
from support.facts import ANN, CANCEL_AT, PRICE, TITLE, A, B, order_cancelled, order_completed, order_created, order_refunded

from admitone import tickets
from admitone.events import OrderEvent, TicketUpdated
from admitone.kit.testing import Rehearsal
from admitone.tickets import commands, repository
from admitone.tickets.model import Search, Ticket, TicketSold


class Scene:
    """Ann's ticket and two orders of it: A was paid, and refunded so that the ticket is on sale again; then came B."""

    def __init__(self, it: Rehearsal, ticket_id: UUID) -> None:
        self.it = it
        self.ticket_id = ticket_id
        first = {"ticket_id": ticket_id, "order_id": A, "lock": 1}
        second = {"ticket_id": ticket_id, "order_id": B, "lock": 2}
        self.created, self.completed = order_created(**first), order_completed(**first)
        self.refunded, self.relisted = order_refunded(**first), order_refunded(**first, relist=True)
        self.b_created, self.b_cancelled, self.b_completed = order_created(**second), order_cancelled(**second), order_completed(**second)

    async def hears(self, *events: OrderEvent) -> None:
        await self.it.hears(*events)

    async def ticket(self) -> dict[str, Any]:
        (row,) = await self.it.rows("SELECT order_id, sold, withdrawn, lock, version, locked_until FROM tickets")
        return row

    async def is_now(self) -> tuple[str, UUID | None]:
        (row,) = await self.it.rows("SELECT * FROM tickets")
        ticket = Ticket(**row)
        return ticket.status, ticket.order_id


@pytest.fixture
async def scene(rehearse: Rehearse) -> AsyncIterator[Scene]:
    async with rehearse(tickets.service) as it:
        ticket = await it.does(commands.list_ticket, ANN, TITLE, PRICE, "USD", it.now)
        await it.said()
        yield Scene(it, ticket.ticket_id)


async def test_the_ticket_of_a_refunded_order_stays_sold(scene: Scene) -> None:
    await scene.hears(scene.created, scene.completed)
    await scene.it.said()
    before = await scene.it.rows("SELECT * FROM tickets")
    await scene.hears(scene.refunded, scene.refunded)
    assert await scene.it.rows("SELECT * FROM tickets") == before
    assert await scene.it.said() == []
    assert await scene.is_now() == ("sold", A)


async def test_a_refund_that_overtakes_the_sale_lets_it_be_sold_all_the_same(scene: Scene) -> None:
    for arrival in every_order(scene.created, scene.completed, scene.refunded):
        async with heard(scene.it, arrival):
            assert await scene.is_now() == ("sold", A), arrival


async def test_a_relisted_ticket_is_on_sale_again(scene: Scene) -> None:
    await scene.hears(scene.created, scene.completed)
    await scene.it.said()
    await scene.hears(scene.relisted)
    (event,) = await scene.it.said()
    assert isinstance(event, TicketUpdated)
    assert (event.version, event.order_id, event.sold, event.withdrawn) == (4, None, False, False)
    assert await scene.is_now() == ("available", None)
    assert [ticket.title for ticket in await repository.search(scene.it.tx, Search())] == [TITLE]


async def test_a_ticket_is_relisted_once(scene: Scene) -> None:
    await scene.hears(scene.created, scene.completed, scene.relisted)
    await scene.it.said()
    await scene.hears(scene.relisted, scene.completed, scene.created, scene.relisted)
    assert await scene.it.said() == []
    expected = {"order_id": None, "sold": False, "withdrawn": False, "lock": 1, "version": 4, "locked_until": None}
    assert await scene.ticket() == expected


async def test_a_relisted_ticket_can_be_edited_and_a_sold_one_not(scene: Scene) -> None:
    await scene.hears(scene.created, scene.completed, scene.refunded)
    with pytest.raises(TicketSold):
        await scene.it.does(commands.edit_ticket, scene.ticket_id, ANN, "Balcony", 3000)
    await scene.hears(scene.relisted)
    ticket = await scene.it.does(commands.edit_ticket, scene.ticket_id, ANN, "Balcony", 3000)
    assert (ticket.title, ticket.price_cents, ticket.version) == ("Balcony", 3000, 5)


async def test_a_relisted_ticket_that_was_withdrawn_before_its_sale_is_withdrawn(scene: Scene) -> None:
    await scene.it.does(commands.withdraw_ticket, scene.ticket_id, ANN)
    for arrival in every_order(scene.created, scene.completed, scene.relisted):
        async with heard(scene.it, arrival):
            assert await scene.is_now() == ("withdrawn", None), arrival
            assert await repository.search(scene.it.tx, Search()) == []


async def test_the_next_order_locks_a_relisted_ticket(scene: Scene) -> None:
    await scene.hears(scene.created, scene.completed, scene.relisted, scene.b_created)
    expected = {"order_id": B, "sold": False, "withdrawn": False, "lock": 2, "version": 5, "locked_until": CANCEL_AT}
    assert await scene.ticket() == expected


async def test_the_next_order_is_not_refused_because_the_refund_is_late(scene: Scene) -> None:
    """Orders lets nobody in while somebody has the ticket: a newer token is itself the news that it is free."""
    await scene.hears(scene.created, scene.completed, scene.b_created)
    assert all(isinstance(event, TicketUpdated) for event in await scene.it.said())
    assert await scene.is_now() == ("locked", B)


async def test_a_late_completion_of_the_refunded_order_takes_nothing_from_the_next(scene: Scene) -> None:
    for seen in [(scene.relisted,), (scene.created, scene.relisted), ()]:
        for ends, then in [((), "locked"), ((scene.b_completed,), "sold")]:
            async with heard(scene.it, (*seen, scene.b_created, *ends)):
                await scene.it.said()
                await scene.hears(scene.completed, scene.completed)
                assert await scene.it.said() == []
                assert await scene.is_now() == (then, B)


async def test_a_late_refund_frees_nothing_of_the_next_order(scene: Scene) -> None:
    for seen in [(), (scene.created,), (scene.created, scene.completed), (scene.created, scene.completed, scene.relisted)]:
        for ends, then in [((), ("locked", B)), ((scene.b_completed,), ("sold", B)), ((scene.b_cancelled,), ("available", None))]:
            async with heard(scene.it, (*seen, scene.b_created, *ends)):
                await scene.it.said()
                await scene.hears(scene.relisted, scene.relisted)
                assert await scene.it.said() == []
                assert await scene.is_now() == then


async def test_a_sale_that_overtakes_the_refund_before_it_stands(scene: Scene) -> None:
    await scene.hears(scene.created, scene.completed, scene.b_completed, scene.relisted, scene.b_created)
    assert await scene.is_now() == ("sold", B)


async def test_a_cancellation_that_overtakes_a_refund_leaves_the_ticket_on_sale(scene: Scene) -> None:
    await scene.hears(scene.created, scene.completed, scene.b_cancelled, scene.relisted, scene.b_created)
    assert await scene.is_now() == ("available", None)
