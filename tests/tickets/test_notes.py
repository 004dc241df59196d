"""What a seller leaves for the buyer: who reads it, and who never does."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from conftest import Rehearse
from support.delivery import every_order, heard
from support.facts import (
    ANN,
    BOB,
    EVE,
    PRICE,
    TITLE,
    A,
    B,
    order_cancelled,
    order_completed,
    order_created,
    order_extended,
    order_refunded,
)

from admitone import tickets
from admitone.events import OrderEvent
from admitone.kit.testing import Rehearsal
from admitone.tickets import commands
from admitone.tickets.model import NoteNotFound, NotYourTicket, TicketNotFound

NOTE = "Your code at the door: 7431\nAsk for Ann."


class Scene:
    """Ann's ticket with a note, Bob's order A of it, and Eve's later order B."""

    def __init__(self, it: Rehearsal, ticket_id: UUID) -> None:
        self.it = it
        self.ticket_id = ticket_id
        bobs = {"ticket_id": ticket_id, "order_id": A, "lock": 1, "user_id": BOB}
        eves = {"ticket_id": ticket_id, "order_id": B, "lock": 2, "user_id": EVE}
        self.created, self.extended, self.completed = order_created(**bobs), order_extended(**bobs), order_completed(**bobs)
        self.cancelled, self.refunded, self.relisted = order_cancelled(**bobs), order_refunded(**bobs), order_refunded(**bobs, relist=True)
        self.b_created, self.b_cancelled, self.b_completed = order_created(**eves), order_cancelled(**eves), order_completed(**eves)

    async def reads(self, who: UUID) -> str | None:
        try:
            return await self.it.does(commands.read_note, self.ticket_id, who)
        except NoteNotFound:
            return None

    async def writes(self, who: UUID, note: str) -> str:
        return await self.it.does(commands.write_note, self.ticket_id, who, note)

    async def buyers_who_read_it(self) -> set[UUID]:
        assert await self.reads(ANN) == NOTE
        return {who for who in (BOB, EVE) if await self.reads(who) == NOTE}


@pytest.fixture
async def scene(rehearse: Rehearse) -> AsyncIterator[Scene]:
    async with rehearse(tickets.service) as it:
        ticket = await it.does(commands.list_ticket, ANN, TITLE, PRICE, "USD", it.now, NOTE)
        yield Scene(it, ticket.ticket_id)


async def test_the_buyer_of_a_complete_order_reads_it_and_nobody_before(scene: Scene) -> None:
    assert await scene.buyers_who_read_it() == set()
    await scene.it.hears(scene.created)
    assert await scene.buyers_who_read_it() == set()
    await scene.it.hears(scene.completed)
    assert await scene.buyers_who_read_it() == {BOB}


async def test_the_seller_writes_it_anew_or_removes_it_also_after_the_sale(scene: Scene) -> None:
    await scene.it.hears(scene.created, scene.completed)
    assert await scene.writes(ANN, "At the north gate") == "At the north gate"
    assert [await scene.reads(who) for who in (ANN, BOB, EVE)] == ["At the north gate", "At the north gate", None]
    for blank in ("", " \n\t"):
        await scene.writes(ANN, NOTE)
        assert await scene.writes(ANN, blank) == ""
        assert [await scene.reads(who) for who in (ANN, BOB, EVE)] == ["", "", None]
        assert await scene.it.rows("SELECT note FROM notes") == [{"note": ""}]


async def test_where_there_is_none_everybody_learns_just_as_little(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        ticket = await it.does(commands.list_ticket, ANN, TITLE, PRICE, "USD", it.now)
        assert await it.does(commands.read_note, ticket.ticket_id, ANN) == ""
        for ticket_id, who in ((ticket.ticket_id, BOB), (uuid4(), BOB), (uuid4(), ANN)):
            with pytest.raises(NoteNotFound):
                await it.does(commands.read_note, ticket_id, who)


async def test_only_the_seller_writes_it(scene: Scene) -> None:
    await scene.it.hears(scene.created, scene.completed)
    for who in (BOB, EVE):
        with pytest.raises(NotYourTicket):
            await scene.writes(who, "Mine")
    with pytest.raises(TicketNotFound):
        await scene.it.does(commands.write_note, uuid4(), ANN, NOTE)
    assert await scene.buyers_who_read_it() == {BOB}


async def test_a_withdrawn_tickets_note_is_its_sellers_alone(scene: Scene) -> None:
    await scene.it.does(commands.withdraw_ticket, scene.ticket_id, ANN)
    assert await scene.writes(ANN, NOTE) == NOTE
    assert await scene.buyers_who_read_it() == set()
    with pytest.raises(TicketNotFound):
        await scene.writes(BOB, "Mine")


async def test_it_changes_nothing_that_others_know_of_the_ticket(scene: Scene) -> None:
    (said,) = await scene.it.said()
    before = await scene.it.rows("SELECT * FROM tickets")
    await scene.writes(ANN, "At the north gate")
    assert await scene.it.rows("SELECT * FROM tickets") == before
    assert await scene.it.said() == []
    assert NOTE not in str(said)


async def test_who_may_read_it_in_the_end_whatever_came_first(scene: Scene) -> None:
    stories: list[tuple[set[UUID], list[OrderEvent]]] = [
        ({BOB}, [scene.created, scene.extended, scene.completed]),
        (set(), [scene.created, scene.cancelled]),
        (set(), [scene.created, scene.completed, scene.refunded]),
        (set(), [scene.created, scene.completed, scene.relisted]),
        (set(), [scene.completed, scene.relisted, scene.b_created, scene.b_cancelled]),
        ({EVE}, [scene.created, scene.cancelled, scene.b_created, scene.b_completed]),
        ({EVE}, [scene.completed, scene.relisted, scene.b_created, scene.b_completed]),
    ]
    for readers, events in stories:
        for arrival in every_order(*events):
            async with heard(scene.it, arrival):
                assert await scene.buyers_who_read_it() == readers, arrival


async def test_who_had_the_ticket_before_reads_nothing_once_somebody_else_has_it(scene: Scene) -> None:
    """The news of the refund is late, but the next order says that there was one."""
    for known in (
        [scene.created, scene.completed, scene.b_created],
        [scene.b_created, scene.completed],
        [scene.b_created, scene.b_completed],
    ):
        async with heard(scene.it, known):
            assert BOB not in await scene.buyers_who_read_it(), known
            await scene.it.hears(scene.completed)
            assert BOB not in await scene.buyers_who_read_it(), known
