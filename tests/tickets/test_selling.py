"""What a seller can do with a ticket, and until when."""

from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from conftest import Rehearse
from support.facts import ANN, BOB, PRICE, TITLE, A, order_cancelled, order_completed, order_created

from admitone import tickets
from admitone.events import TicketCreated, TicketUpdated
from admitone.kit.http.problem import Problem
from admitone.kit.testing import Rehearsal
from admitone.tickets import commands
from admitone.tickets.model import NotYourTicket, Ticket, TicketLocked, TicketNotFound, TicketSold, TicketWithdrawn


async def listed(it: Rehearsal) -> UUID:
    """Ann's ticket, of which tickets has spoken already."""
    ticket = await it.does(commands.list_ticket, ANN, TITLE, PRICE, "USD", it.now)
    await it.said()
    return ticket.ticket_id


async def edits(it: Rehearsal, ticket_id: UUID, who: UUID = ANN, title: str = "Balcony", price: int = 3000) -> Ticket:
    return await it.does(commands.edit_ticket, ticket_id, who, title, price)


async def withdraws(it: Rehearsal, ticket_id: UUID, who: UUID = ANN) -> None:
    await it.does(commands.withdraw_ticket, ticket_id, who)


async def the_row(it: Rehearsal) -> dict[str, Any]:
    (row,) = await it.rows("SELECT version, title, price_cents, order_id, withdrawn, sold FROM tickets")
    return row


async def test_a_listed_ticket_is_for_sale(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        ticket = await it.does(commands.list_ticket, ANN, TITLE, PRICE, "USD", it.now)
        assert (ticket.status, ticket.version, ticket.lock) == ("available", 1, 0)
        assert await it.said() == [
            TicketCreated(
                ticket_id=ticket.ticket_id,
                version=1,
                seller_id=ANN,
                title=TITLE,
                price_cents=PRICE,
                currency="USD",
                order_id=None,
                withdrawn=False,
                sold=False,
            )
        ]


@pytest.mark.parametrize(("title", "price"), [("", PRICE), ("x" * 201, PRICE), (TITLE, 49), (TITLE, 100_000_000)])
async def test_the_schema_itself_refuses_impossible_tickets(rehearse: Rehearse, title: str, price: int) -> None:
    async with rehearse(tickets.service) as it:
        with pytest.raises(asyncpg.CheckViolationError):
            await it.does(commands.list_ticket, ANN, title, price, "USD", it.now)


async def test_an_edit_is_published_with_the_next_version(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        ticket_id = await listed(it)
        ticket = await edits(it, ticket_id)
        assert (ticket.title, ticket.price_cents, ticket.version) == ("Balcony", 3000, 2)
        (event,) = await it.said()
        assert isinstance(event, TicketUpdated)
        assert (event.title, event.price_cents, event.version) == ("Balcony", 3000, 2)


async def test_only_its_seller_may_change_a_ticket(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        ticket_id = await listed(it)
        before = await the_row(it)
        with pytest.raises(NotYourTicket):
            await edits(it, ticket_id, BOB)
        with pytest.raises(NotYourTicket):
            await withdraws(it, ticket_id, BOB)
        assert await the_row(it) == before
        assert await it.said() == []


async def test_a_ticket_that_never_was_cannot_be_changed(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        with pytest.raises(TicketNotFound):
            await edits(it, uuid4())
        with pytest.raises(TicketNotFound):
            await withdraws(it, uuid4())


async def test_a_withdrawn_ticket_is_gone_and_stays_gone(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        ticket_id = await listed(it)
        await withdraws(it, ticket_id)
        (event,) = await it.said()
        assert isinstance(event, TicketUpdated)
        assert (event.withdrawn, event.version) == (True, 2)
        with pytest.raises(TicketWithdrawn):
            await edits(it, ticket_id)


async def test_withdrawing_twice_changes_nothing_more(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        ticket_id = await listed(it)
        await withdraws(it, ticket_id)
        await it.said()
        await withdraws(it, ticket_id)
        assert await it.said() == []
        assert (await the_row(it))["version"] == 2


async def test_to_anybody_else_a_withdrawn_ticket_is_not_there(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        ticket_id = await listed(it)
        await withdraws(it, ticket_id)
        with pytest.raises(TicketNotFound):
            await edits(it, ticket_id, BOB)


@pytest.mark.parametrize("sold", [False, True])
async def test_a_locked_or_sold_ticket_cannot_be_edited_or_withdrawn(rehearse: Rehearse, sold: bool) -> None:
    refusal: type[Problem] = TicketSold if sold else TicketLocked
    async with rehearse(tickets.service) as it:
        ticket_id = await listed(it)
        await it.hears(order_created(ticket_id=ticket_id))
        if sold:
            await it.hears(order_completed(ticket_id=ticket_id))
        await it.said()
        before = await the_row(it)
        assert before["order_id"] == A
        with pytest.raises(refusal):
            await edits(it, ticket_id)
        with pytest.raises(refusal):
            await withdraws(it, ticket_id)
        assert await the_row(it) == before
        assert await it.said() == []


async def test_a_freed_ticket_can_be_edited_again(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        ticket_id = await listed(it)
        await it.hears(order_created(ticket_id=ticket_id), order_cancelled(ticket_id=ticket_id))
        assert (await edits(it, ticket_id)).version == 4
