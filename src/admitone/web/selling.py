"""Listings: put a ticket up for sale, change it, take it back."""

import re
from collections.abc import Awaitable, Mapping
from urllib.parse import urlencode
from uuid import UUID

from litestar import Response, get, post

from admitone.config import Settings
from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.problem import Problem
from admitone.web.answers import Ticket
from admitone.web.api import Api, Refused
from admitone.web.browsing import ticket_page
from admitone.web.form import errors_by_field, key_of, read_form
from admitone.web.render import current_url, page, see_other
from admitone.web.visitor import Visitor

FIELDS = ("title", "price", "note")


class NotYourTicket(Problem):
    """Only its seller can change a ticket."""

    status = 403


@get("/sell")
async def show_sell_form(request: AnyRequest, visitor: Visitor, settings: Settings) -> Response[str]:
    visitor.must_be_signed_in(back="/sell")
    return page(request, "sell.html", values={}, errors={}, currency=settings.currency)


@post("/sell")
async def sell(request: AnyRequest, visitor: Visitor, api: Api, settings: Settings) -> Response[str]:
    visitor.must_be_signed_in(back="/sell")
    fields = await read_form(request)
    title, price = _title_and_price(fields)
    try:
        ticket = await api.list_ticket(title, price, key_of(fields), note_in(fields))
    except Refused as refused:
        if refused.kind == "key-reused":
            errors = {"": "This form was sent once already, and that ticket is among your listings. Send it again to list another one."}
        elif refused.status == 400:
            errors = errors_by_field(refused, FIELDS)
        else:
            raise
        return page(request, "sell.html", refused.status, values=fields, errors=errors, currency=settings.currency)
    return see_other(request, f"/tickets/{ticket.id}")


@get("/tickets/{ticket_id:uuid}/edit")
async def show_edit_form(request: AnyRequest, ticket_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    ticket = await _own_ticket(ticket_id, visitor, api)
    if ticket.status != "available":  # The ticket's page says why it can't be changed.
        return see_other(request, f"/tickets/{ticket_id}")
    values = {"title": ticket.title, "price": f"{ticket.price:.2f}", "note": await api.note(ticket_id), "version": str(ticket.version)}
    return page(request, "edit.html", ticket=ticket, values=values, errors={})


@post("/tickets/{ticket_id:uuid}/edit")
async def edit(request: AnyRequest, ticket_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    """The note first: it may be written in every state of the ticket, so that it is kept whatever becomes of the rest."""
    ticket = await _own_ticket(ticket_id, visitor, api)
    fields = await read_form(request)
    title, price = _title_and_price(fields)
    errors: dict[str, str] = {}
    if "note" in fields:
        errors |= await _wrong(api.write_note(ticket_id, note_in(fields)))
    try:
        errors |= await _wrong(api.edit_ticket(ticket_id, title, price, _version(fields)))
    except Refused as refused:
        if refused.status != 409:
            raise
        return await ticket_page(request, visitor, api, await api.ticket(ticket_id), 409, refused)
    if errors:
        return page(request, "edit.html", 400, ticket=ticket, values=fields, errors=errors)
    return see_other(request, f"/tickets/{ticket_id}")


@post("/tickets/{ticket_id:uuid}/note")
async def write_note(request: AnyRequest, ticket_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    """Store the note from the ticket's own page, also when the ticket is sold."""
    ticket = await _own_ticket(ticket_id, visitor, api)
    fields = await read_form(request)
    if errors := await _wrong(api.write_note(ticket_id, note_in(fields))):
        return await ticket_page(request, visitor, api, ticket, 400, note=fields.get("note", ""), errors=errors)
    return see_other(request, f"/tickets/{ticket_id}?note=saved")


@post("/tickets/{ticket_id:uuid}/withdrawal")
async def withdraw(request: AnyRequest, ticket_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    visitor.must_be_signed_in(back=f"/tickets/{ticket_id}")
    try:
        await api.withdraw(ticket_id)
    except Refused as refused:
        if refused.status != 409:
            raise
        return await ticket_page(request, visitor, api, await api.ticket(ticket_id), 409, refused)
    return see_other(request, "/listings")


@get([f"/tickets/{{ticket_id:uuid}}/{verb}" for verb in ("withdrawal", "note")])
async def back_to_ticket(request: AnyRequest, ticket_id: UUID) -> Response[str]:
    """A reload of a form's address leads back to the ticket."""
    return see_other(request, f"/tickets/{ticket_id}")


@get("/listings")
async def my_listings(request: AnyRequest, visitor: Visitor, api: Api) -> Response[str]:
    visitor.must_be_signed_in(back="/listings")
    found = await api.my_tickets(request.query_params.get("cursor", ""))
    next_path = "/listings?" + urlencode({"cursor": found.cursor}) if found.cursor else None
    return page(request, "listings.html", found=found, next_path=next_path, current_url=current_url(request))


async def _own_ticket(ticket_id: UUID, visitor: Visitor, api: Api) -> Ticket:
    """Raises SignInFirst, or NotYourTicket."""
    user = visitor.must_be_signed_in(back=f"/tickets/{ticket_id}/edit")
    ticket = await api.ticket(ticket_id)
    if ticket.user_id != user.id:
        raise NotYourTicket
    return ticket


def _title_and_price(fields: Mapping[str, str]) -> tuple[str, str]:
    return fields.get("title", "").strip(), fields.get("price", "").strip()


def _version(fields: Mapping[str, str]) -> int | None:
    """Of the ticket as the form showed it."""
    version = fields.get("version", "")
    return int(version) if re.fullmatch(r"[1-9][0-9]{0,8}", version) else None


def note_in(fields: Mapping[str, str]) -> str:
    """As it was typed: a form is sent with other line ends, which would count as two characters each."""
    return fields.get("note", "").replace("\r\n", "\n").strip()


async def _wrong(asked: Awaitable[None]) -> dict[str, str]:
    """The refusal's errors by field; empty when the call has succeeded."""
    try:
        await asked
    except Refused as refused:
        if refused.status != 400:
            raise
        return errors_by_field(refused, FIELDS)
    return {}


ROUTES = (show_sell_form, sell, show_edit_form, edit, write_note, withdraw, back_to_ticket, my_listings)
