"""Tickets over HTTP."""

from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post, put

from admitone.config import Settings
from admitone.kit.data.db import Database
from admitone.kit.data.shared import SharedReads
from admitone.kit.http.app import eventually, read, read_query
from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.documented import documented
from admitone.kit.http.idempotency import key_of, once
from admitone.kit.http.paging import LINK, Page, links
from admitone.kit.http.session import User
from admitone.tickets import commands, repository
from admitone.tickets.model import (
    EditForm,
    NewTicketForm,
    NoteForm,
    NoteNotFound,
    NoteView,
    NotYourTicket,
    Search,
    Ticket,
    TicketChanged,
    TicketLocked,
    TicketNotFound,
    TicketSold,
    TicketView,
    TicketWithdrawn,
)

Lists: TypeAlias = SharedReads[tuple[msgspec.Raw, dict[str, str]]]
"""The searches under way, by their query string: each one's answer, and its headers."""


@documented(query=Search, answers={200: list[TicketView]}, gives_headers=LINK)
@get("/", direct=True)
async def search_tickets(request: AnyRequest, db: Database, lists: Lists) -> Response[Any]:
    """Search the tickets that are for sale."""

    async def search() -> tuple[msgspec.Raw, dict[str, str]]:
        wanted = read_query(request, Search)
        async with db.reading() as tx:
            found = await repository.search(tx, wanted)
        page = _page(request, found, wanted.limit, newest=wanted.sort == "newest")
        return msgspec.Raw(msgspec.json.encode(page.content)), page.headers

    body, headers = await lists.read(request.scope["query_string"], search)
    return Response(body, headers=headers, media_type="application/json")


@documented(query=Page, answers={200: list[TicketView]}, gives_headers=LINK)
@get("/mine")
async def my_tickets(request: AnyRequest, db: Database, user: User) -> Response[list[TicketView]]:
    """One's own tickets in all states, newest first."""
    page = read_query(request, Page)
    async with db.reading() as tx:
        found = await repository.list_by_seller(tx, user.id, page.limit, page.cursor)
    return _page(request, found, page.limit, newest=True)


@documented(answers={200: TicketView}, refuses=(TicketNotFound,))
@get("/{ticket_id:uuid}")
async def show_ticket(ticket_id: UUID, db: Database, visitor: User | None) -> TicketView:
    """A ticket in any state; one that was withdrawn is there for its seller alone."""
    async with db.reading() as tx:
        ticket = await repository.get(tx, ticket_id)
    if ticket is None or (ticket.status == "withdrawn" and (visitor is None or visitor.id != ticket.seller_id)):
        raise TicketNotFound
    return TicketView.of(ticket)


@documented(body=NewTicketForm, takes_key=True, answers={201: TicketView})
@post("/")
async def list_ticket(request: AnyRequest, db: Database, settings: Settings, user: User) -> Response[Any]:
    """Put a ticket up for sale, maybe with a note that only its buyer will read."""
    form = await read(request, NewTicketForm)
    key = await key_of(request, user)
    async with db.transaction() as tx:

        async def act() -> Response[Any]:
            ticket = await commands.list_ticket(tx, user.id, form.title, form.price, settings.currency, tx.now, form.note)
            return Response(TicketView.of(ticket), status_code=201)

        return await once(tx, key, act)


@documented(
    body=EditForm,
    answers={200: TicketView},
    refuses=(TicketNotFound, NotYourTicket, TicketLocked, TicketSold, TicketWithdrawn, TicketChanged),
)
@put("/{ticket_id:uuid}")
async def edit_ticket(request: AnyRequest, ticket_id: UUID, db: Database, user: User) -> TicketView:
    """Change a ticket's title and price, as long as nobody is buying it.

    With `version`, the change is refused when the ticket is another one by now.
    """
    form = await read(request, EditForm)
    async with db.transaction() as tx:
        ticket = await commands.edit_ticket(tx, ticket_id, user.id, form.title, form.price, form.version)
    return TicketView.of(ticket)


@documented(answers={204: None}, refuses=(TicketNotFound, NotYourTicket, TicketLocked, TicketSold))
@delete("/{ticket_id:uuid}")
async def withdraw_ticket(ticket_id: UUID, db: Database, user: User) -> None:
    """Take a ticket off the market. A second time changes nothing."""
    async with db.transaction() as tx:
        await commands.withdraw_ticket(tx, ticket_id, user.id)


@documented(body=NoteForm, answers={200: NoteView}, refuses=(TicketNotFound, NotYourTicket))
@put("/{ticket_id:uuid}/note")
async def write_note(request: AnyRequest, ticket_id: UUID, db: Database, user: User) -> NoteView:
    """Leave something for the buyer, before or after the sale: a link, a code, where to meet.

    An empty note removes what was there.
    """
    form = await read(request, NoteForm)
    async with db.transaction() as tx:
        return NoteView(await commands.write_note(tx, ticket_id, user.id, form.note))


@documented(answers={200: NoteView}, refuses=(NoteNotFound,))
@get("/{ticket_id:uuid}/note")
async def read_note(ticket_id: UUID, db: Database, user: User) -> NoteView:
    """What the seller has left for the buyer; nobody else can see whether there is anything."""

    async def attempt() -> NoteView:
        async with db.reading() as tx:
            return NoteView(await commands.read_note(tx, ticket_id, user.id))

    # The news that the order is complete may be on its way to us.
    return await eventually(db, attempt, NoteNotFound)


def _page(request: AnyRequest, found: list[Ticket], limit: int, newest: bool) -> Response[list[TicketView]]:
    def place(ticket: Ticket) -> tuple[datetime | int, UUID]:
        return ticket.created_at if newest else ticket.price_cents, ticket.ticket_id

    return Response([TicketView.of(ticket) for ticket in found[:limit]], headers=links(request, found, limit, place))


ROUTES = (search_tickets, my_tickets, show_ticket, list_ticket, edit_ticket, withdraw_ticket, write_note, read_note)
