"""What an open page is told: streams of server-sent events that end with the page. See static/live.js for the other end."""

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
from admitone.kit.http.app import AnyRequest, read_query
from admitone.kit.http.session import User, Verifier, cookie_name
from admitone.web.api import Ticket
from admitone.web.changes import Change, Live
from admitone.web.render import HEADERS, part

BEAT_SECONDS = 15.0
"""A page that hears nothing for much longer begins anew: its connection is dead, whatever the browser believes."""
SPREAD_MS = 5000
"""When everybody has to ask again, they don't all do so at once."""

Shown = Callable[[Change], bytes | None]


class Wanted(Struct):
    """A list's search, as its page has it."""

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
async def watch_list(request: AnyRequest, live: Live) -> Stream:
    """A list of what is for sale: each change is a card that belongs to it, or one that does not (any more)."""
    wanted = read_query(request, Wanted)

    def shown(change: Change) -> bytes | None:
        return change.made(card if wanted.matches(change.ticket) else gone) if change.ticket else None

    return _stream(live, wanted.since, shown)


@get("/live/tickets/{ticket_id:uuid}")
async def watch_ticket(
    request: AnyRequest, ticket_id: UUID, live: Live, verifier: Verifier, settings: Settings, since: FromQuery[str] = ""
) -> Stream:
    """One ticket's page. Its seller and its buyer see more than others: theirs asks for itself anew."""
    user = _user(request, verifier, settings)

    def shown(change: Change) -> bytes | None:
        if change.ticket is None or change.ticket.id != ticket_id:
            return None
        if user is not None and user.id in (change.ticket.user_id, change.buyer):
            return ask_again(change.at)
        return change.made(page_of_nobody if user is None else page_of_somebody)

    return _stream(live, since, shown)


@get("/live/listings")
async def watch_listings(request: AnyRequest, live: Live, verifier: Verifier, settings: Settings, since: FromQuery[str] = "") -> Stream:
    """A seller's own tickets: their list asks for itself anew whenever one of them has changed."""
    user = _user(request, verifier, settings)
    return _stream(
        live, since, lambda change: ask_again(change.at) if user and change.ticket and change.ticket.user_id == user.id else None
    )


@get("/live/orders")
async def watch_orders(request: AnyRequest, live: Live, verifier: Verifier, settings: Settings, since: FromQuery[str] = "") -> Stream:
    """A buyer's own orders: their list asks for itself anew whenever one of them has changed."""
    user = _user(request, verifier, settings)
    return _stream(live, since, lambda change: own_order(change, user))


@get("/live/orders/{order_id:uuid}")
async def watch_order(
    request: AnyRequest, order_id: UUID, live: Live, verifier: Verifier, settings: Settings, since: FromQuery[str] = ""
) -> Stream:
    """The page of one order."""
    user = _user(request, verifier, settings)
    return _stream(live, since, lambda change: own_order(change, user) if change.order_id == order_id else None)


def own_order(change: Change, user: User | None) -> bytes | None:
    """For its buyer, and for nobody else."""
    return ask_again(change.at) if change.order_id is not None and user is not None and change.buyer == user.id else None


def card(change: Change) -> bytes:
    """For a list that the ticket belongs to."""
    return message("card", change.at, part("card.html", ticket=change.ticket))


def gone(change: Change) -> bytes:
    """For every other list."""
    assert change.ticket is not None
    return message("gone", change.at, f"{change.ticket.id} {change.ticket.version}")


def page_of_nobody(change: Change) -> bytes:
    return message("ticket", change.at, part("ticket_part.html", ticket=change.ticket, signed_in=False))


def page_of_somebody(change: Change) -> bytes:
    """For anybody who is signed in, but for its seller and its buyer."""
    return message("ticket", change.at, part("ticket_part.html", ticket=change.ticket, signed_in=True))


def ask_again(at: str, within_ms: int = 0) -> bytes:
    """The page is to ask for itself anew, at a moment of its choice within that time."""
    return message("again", at, within_ms)


def message(event: str, at: str, data: object) -> bytes:
    """As the stream has it; `at` is the reader's place after it."""
    lines = [f"data: {line}" for line in re.split(r"\r\n|\r|\n", str(data))]
    return "\n".join([f"event: {event}", f"id: {at}", *lines, "\n"]).encode()


async def told(live: Live, at: str, shown: Shown) -> AsyncGenerator[bytes, None]:
    """All that a page is told, from the place where it was made. One that reads slowly is told less often, never less."""
    beat_due = 0.0
    while True:
        changed = live.changed.next()
        if live.at not in ("", at):
            news, at = live.after(at), live.at
            if news is None:
                yield ask_again(at, SPREAD_MS)
            for change in news or ():
                if text := shown(change):
                    yield text
        if time.monotonic() >= beat_due:
            yield message("beat", at if live.at else "", int(time.time() * 1000))
            beat_due = time.monotonic() + BEAT_SECONDS
        await wait_for_signal(changed, beat_due - time.monotonic())


def _stream(live: Live, since: str, shown: Shown) -> Stream:
    headers = HEADERS | {"X-Accel-Buffering": "no"}  # Or a proxy would keep it until there is more.
    return Stream(told(live, since, shown), headers=headers, media_type="text/event-stream")


def _user(request: AnyRequest, verifier: Verifier, settings: Settings) -> User | None:
    """Who the page was made for, though their token may have ended since: nothing is told here that is not for everybody."""
    return verifier.signed_by_us(request.cookies.get(cookie_name(settings.secure), ""))


ROUTES = (watch_list, watch_ticket, watch_listings, watch_orders, watch_order)
