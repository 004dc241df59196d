"""What is for sale, and one ticket."""

from typing import Any, TypeAlias
from urllib.parse import urlencode
from uuid import UUID

from litestar import Response, get

from admitone.kit.data.shared import SharedReads
from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.pages import accepts_gzip
from admitone.web.answers import Order, Page, Ticket
from admitone.web.api import Api, Away, Refused
from admitone.web.changes import LiveChanges
from admitone.web.form import errors_by_field
from admitone.web.render import current_url, page
from admitone.web.visitor import Visitor

SEARCH_FIELDS = ("q", "sort", "min", "max")
ENDED = ("ticket-taken", "ticket-sold", "ticket-withdrawn")
"""Refusals that mean that somebody else was faster."""


SharedPages: TypeAlias = SharedReads[Response[Any]]
"""Pages that are being made for strangers, by what they depend on."""


@get("/", direct=True)
async def browse(request: AnyRequest, visitor: Visitor, api: Api, live: LiveChanges, shared: SharedPages) -> Response[Any]:
    if visitor.cookie or visitor.new_cookie:
        return await _browse(request, api)

    async def made() -> Response[Any]:
        request.state.since = live.cursor  # It is made later than it was asked for, maybe.
        return await _browse(request, api)

    # Strangers who ask for the same list at the same moment are given the same page: nothing on it is about one of them.
    found = await shared.read((request.scope["query_string"], accepts_gzip(request.headers.get("accept-encoding", ""))), made)
    return Response(found.content, status_code=found.status_code, headers=dict(found.headers), media_type="text/html")


async def _browse(request: AnyRequest, api: Api) -> Response[Any]:
    wanted = {name: value.strip() for name, value in request.query_params.items() if name in SEARCH_FIELDS and value.strip()}
    cursor = request.query_params.get("cursor", "")
    try:
        found = await api.search(wanted | ({"cursor": cursor} if cursor else {}))
    except Refused as refused:
        if refused.status != 400:
            raise
        errors = errors_by_field(refused, SEARCH_FIELDS)
        return _list(request, Page([], None), wanted, errors, first=True, status=400)
    return _list(request, found, wanted, {}, first=not cursor)


def _list(
    request: AnyRequest, found: Page[Ticket], wanted: dict[str, str], errors: dict[str, str], *, first: bool, status: int = 200
) -> Response[str]:
    """A page of the list; `first` says whether it is the one that the list begins with."""
    next_path = "/?" + urlencode(wanted | {"cursor": found.cursor}) if found.cursor else None
    return page(
        request,
        "browse.html",
        status,
        found=found,
        wanted=wanted,
        errors=errors,
        next_path=next_path,
        first=first,
        current_url=current_url(request),
    )


@get("/tickets/{ticket_id:uuid}")
async def show_ticket(request: AnyRequest, ticket_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    return await ticket_page(request, visitor, api, await api.ticket(ticket_id))


async def ticket_page(
    request: AnyRequest,
    visitor: Visitor,
    api: Api,
    ticket: Ticket,
    status: int = 200,
    refused: Refused | None = None,
    note: str | None = None,
    errors: dict[str, str] | None = None,
) -> Response[str]:
    """One ticket, and why what the visitor wanted with it was refused; or what was wrong with the note that its seller wrote."""
    mine = visitor.user is not None and visitor.user.id == ticket.user_id
    if mine and note is None and ticket.status != "withdrawn":
        note = await _note(api, ticket)
    return page(
        request,
        "ticket.html",
        status,
        ticket=ticket,
        refused=refused,
        gone=refused is not None and refused.kind in ENDED,
        signed_in=visitor.user is not None,
        mine=mine,
        note=note,
        note_saved=mine and request.query_params.get("note") == "saved",
        errors=errors or {},
        order=await _own_order(visitor, api, ticket),
    )


async def _own_order(visitor: Visitor, api: Api, ticket: Ticket) -> Order | None:
    """The visitor's own order, if that is what holds the ticket. The page does without when orders can't say."""
    if visitor.user is None or ticket.order_id is None:
        return None
    try:
        return await api.order(ticket.order_id)
    except (Refused, Away):
        return None


async def _note(api: Api, ticket: Ticket) -> str | None:
    """What its seller has written for the buyer; None when that can't be had."""
    try:
        return await api.note(ticket.id)
    except (Refused, Away):
        return None


ROUTES = (browse, show_ticket)
