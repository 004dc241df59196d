"""Tickets over HTTP."""

from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import Response, delete, get, post, put

from admitone.kit.config import Settings
from admitone.kit.db import Database
from admitone.kit.idempotency import once
from admitone.kit.paging import Page, links
from admitone.kit.session import User
from admitone.kit.web import AnyRequest, read, read_query
from admitone.tickets import commands, repository
from admitone.tickets.model import Search, Ticket, TicketForm, TicketNotFound, TicketView


@get("/")
async def search_tickets(request: AnyRequest, db: Database) -> Response[list[TicketView]]:
    wanted = read_query(request, Search)
    async with db.reading() as tx:
        found = await repository.search(tx, wanted)
    return _page(request, found, wanted.limit, newest=wanted.sort == "newest")


@get("/mine")
async def my_tickets(request: AnyRequest, db: Database, user: User) -> Response[list[TicketView]]:
    page = read_query(request, Page)
    async with db.reading() as tx:
        found = await repository.of_seller(tx, user.id, page.limit, page.cursor)
    return _page(request, found, page.limit, newest=True)


@get("/{ticket_id:uuid}")
async def show_ticket(ticket_id: UUID, db: Database, visitor: User | None) -> TicketView:
    async with db.reading() as tx:
        ticket = await repository.get(tx, ticket_id)
    if ticket is None or (ticket.status == "withdrawn" and (visitor is None or visitor.id != ticket.seller_id)):
        raise TicketNotFound
    return TicketView.of(ticket)


@post("/")
async def list_ticket(request: AnyRequest, db: Database, settings: Settings, user: User) -> Response[Any]:
    form = await read(request, TicketForm)
    async with db.transaction() as tx:

        async def act() -> Response[Any]:
            ticket = await commands.list_ticket(tx, user.id, form.title, form.price, settings.currency, tx.now)
            return Response(TicketView.of(ticket), status_code=201)

        return await once(tx, request, user, act)


@put("/{ticket_id:uuid}")
async def edit_ticket(request: AnyRequest, ticket_id: UUID, db: Database, user: User) -> TicketView:
    form = await read(request, TicketForm)
    async with db.transaction() as tx:
        ticket = await commands.edit_ticket(tx, ticket_id, user.id, form.title, form.price)
    return TicketView.of(ticket)


@delete("/{ticket_id:uuid}")
async def withdraw_ticket(ticket_id: UUID, db: Database, user: User) -> None:
    async with db.transaction() as tx:
        await commands.withdraw_ticket(tx, ticket_id, user.id)


def _page(request: AnyRequest, found: list[Ticket], limit: int, newest: bool) -> Response[list[TicketView]]:
    def place(ticket: Ticket) -> tuple[datetime | int, UUID]:
        return ticket.created_at if newest else ticket.price_cents, ticket.ticket_id

    return Response([TicketView.of(ticket) for ticket in found[:limit]], headers=links(request, found, limit, place))


ROUTES = (search_tickets, my_tickets, show_ticket, list_ticket, edit_ticket, withdraw_ticket)
