"""Server-sent events for open pages; static/live.js is the client."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable
from uuid import UUID

from litestar import get
from litestar.params import FromQuery
from litestar.response import Stream
from msgspec import Struct

from admitone.config import Settings
from admitone.kit.data.db import wait_for_signal
from admitone.kit.http.amount import Amount
from admitone.kit.http.app import read_query
from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.session import User, Verifier, cookie_name
from admitone.web.answers import Ticket
from admitone.web.changes import Change, LiveChanges
from admitone.web.render import HEADERS, render_fragment

HEARTBEAT_SECONDS = 15.0
"""A page that receives nothing for much longer connects again: its connection is dead, also if the browser has not noticed."""
REST_SECONDS = 0.1
"""A page looks at what has changed at most ten times a second: in a busy market, a thousand of them would wake up for each change."""
RELOAD_SPREAD_MS = 5000
"""When all pages have to reload, each waits for a random time up to this."""

Renderer = Callable[[Change], bytes | None]


class ListFilter(Struct):
    """The search of a list page, and the cursor from which it continues."""

    q: str = ""
    sort: str = ""
    min: Amount | None = None
    max: Amount | None = None
    since: str = ""

    def matches(self, ticket: Ticket) -> bool:
        """As the list itself is searched, but for the finer points of upper and lower case in some languages."""
        cents = int(ticket.price * 100)
        return (
            ticket.status == "available"
            and self.q.strip().lower() in ticket.title.lower()
            and (self.min is None or self.min <= cents)
            and (self.max is None or cents <= self.max)
        )


@get("/live/tickets")
async def watch_list(request: AnyRequest, live: LiveChanges) -> Stream:
    """Changes for a list of tickets on sale: a card to show, or the id of a ticket that is not in the list (any more)."""
    wanted = read_query(request, ListFilter)

    def render(change: Change) -> bytes | None:
        return change.rendered(card if wanted.matches(change.ticket) else gone) if change.ticket else None

    return _stream(live, wanted.since, render)


@get("/live/tickets/{ticket_id:uuid}")
async def watch_ticket(
    request: AnyRequest, ticket_id: UUID, live: LiveChanges, verifier: Verifier, settings: Settings, since: FromQuery[str] = ""
) -> Stream:
    """Changes of one ticket. The pages of its seller and its buyer show more, so they are asked to reload."""
    user = _user(request, verifier, settings)

    def render(change: Change) -> bytes | None:
        if change.ticket is None or change.ticket.id != ticket_id:
            return None
        if user is not None and user.id in (change.ticket.user_id, change.buyer):
            return ask_to_reload(change.cursor)
        return change.rendered(anonymous_page if user is None else signed_in_page)

    return _stream(live, since, render)


@get("/live/listings")
async def watch_listings(
    request: AnyRequest, live: LiveChanges, verifier: Verifier, settings: Settings, since: FromQuery[str] = ""
) -> Stream:
    """Changes of a seller's own tickets: their list is asked to reload."""
    user = _user(request, verifier, settings)
    return _stream(
        live, since, lambda change: ask_to_reload(change.cursor) if user and change.ticket and change.ticket.user_id == user.id else None
    )


@get("/live/orders")
async def watch_orders(
    request: AnyRequest, live: LiveChanges, verifier: Verifier, settings: Settings, since: FromQuery[str] = ""
) -> Stream:
    """Changes of a buyer's own orders: their list is asked to reload."""
    user = _user(request, verifier, settings)
    return _stream(live, since, lambda change: own_order(change, user))


@get("/live/orders/{order_id:uuid}")
async def watch_order(
    request: AnyRequest, order_id: UUID, live: LiveChanges, verifier: Verifier, settings: Settings, since: FromQuery[str] = ""
) -> Stream:
    """Changes of one order, for its buyer only: the page is asked to reload."""
    user = _user(request, verifier, settings)
    return _stream(live, since, lambda change: own_order(change, user) if change.order_id == order_id else None)


def own_order(change: Change, user: User | None) -> bytes | None:
    """A request to reload for the order's buyer; None for everybody else."""
    return ask_to_reload(change.cursor) if change.order_id is not None and user is not None and change.buyer == user.id else None


def card(change: Change) -> bytes:
    """The ticket's card, for a list whose filter it matches."""
    return message("card", change.cursor, render_fragment("card.html", ticket=change.ticket))


def gone(change: Change) -> bytes:
    """The ticket's id and version, for a list whose filter it does not match: the list removes its card."""
    assert change.ticket is not None
    return message("gone", change.cursor, f"{change.ticket.id} {change.ticket.version}")


def anonymous_page(change: Change) -> bytes:
    """The ticket's part of its page, for a visitor who is not signed in."""
    return message("ticket", change.cursor, render_fragment("ticket_part.html", ticket=change.ticket, signed_in=False))


def signed_in_page(change: Change) -> bytes:
    """The ticket's part of its page, for a signed-in user who is neither its seller nor its buyer."""
    return message("ticket", change.cursor, render_fragment("ticket_part.html", ticket=change.ticket, signed_in=True))


def ask_to_reload(cursor: str, within_ms: int = 0) -> bytes:
    """A request to reload the page, at a random moment within this time."""
    return message("again", cursor, within_ms)


def message(event: str, cursor: str, data: object) -> bytes:
    """One server-sent event; the browser sends `cursor` back when it connects again."""
    lines = [f"data: {line}" for line in re.split(r"\r\n|\r|\n", str(data))]
    return "\n".join([f"event: {event}", f"id: {cursor}", *lines, "\n"]).encode()


async def event_stream(live: LiveChanges, cursor: str, render: Renderer) -> AsyncGenerator[bytes, None]:
    """The events for one page, from the cursor at which it was rendered. A slow reader skips to the latest state of each ticket."""
    heartbeat_due = 0.0
    while True:
        live.watch()
        changed = live.changed.next()
        if live.cursor not in ("", cursor):
            news, cursor = live.since(cursor), live.cursor
            if news is None:
                yield ask_to_reload(cursor, RELOAD_SPREAD_MS)
            for change in news or ():
                if text := render(change):
                    yield text
        if time.monotonic() >= heartbeat_due:
            yield message("beat", cursor if live.cursor else "", int(time.time() * 1000))
            heartbeat_due = time.monotonic() + HEARTBEAT_SECONDS
        looked_at = time.monotonic()
        await wait_for_signal(changed, heartbeat_due - looked_at)
        await asyncio.sleep(looked_at + REST_SECONDS - time.monotonic())


def _stream(live: LiveChanges, since: str, render: Renderer) -> Stream:
    headers = HEADERS | {"X-Accel-Buffering": "no"}  # Otherwise a proxy would buffer the stream.
    return Stream(event_stream(live, since, render), headers=headers, media_type="text/event-stream")


def _user(request: AnyRequest, verifier: Verifier, settings: Settings) -> User | None:
    """The user of the page, also with an expired token: the streams carry only what everybody may see."""
    return verifier.signed_by_us(request.cookies.get(cookie_name(settings.secure), ""))


ROUTES = (watch_list, watch_ticket, watch_listings, watch_orders, watch_order)
