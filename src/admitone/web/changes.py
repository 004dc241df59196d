"""A buffer of the latest changes of tickets and orders, which every open page of this process reads at its own pace.

There is no queue per page: a page has a cursor in the buffer, and reads what came after it.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4, uuid5

from admitone.config import Settings
from admitone.events import (
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderEvent,
    OrderExtended,
    OrderRefunded,
    OrderReserved,
    PaymentCreated,
    PaymentFailed,
    PaymentUncollected,
    TicketCreated,
    TicketEvent,
    TicketUpdated,
)
from admitone.kit.data.db import Database, Signal
from admitone.kit.delivery.bus import Bus
from admitone.kit.delivery.feed import feed
from admitone.kit.event import Event
from admitone.kit.service import ephemeral_listener
from admitone.web.answers import Ticket

MAX_CHANGES = 1000
"""A page that has missed more changes than this is asked to reload."""
MAX_BUYERS = 20_000
AGAIN_AFTER_SECONDS = 0.3
"""After a payment's event, pages ask once more."""
UNWATCHED_AFTER_SECONDS = 10.0
"""While nobody has opened a page or kept one open for so long, nothing is listened to: it would cost work for each event."""
LISTENS_WITHIN_SECONDS = 0.2
"""How long the first page after that waits, at most, until changes are listened to again."""
EVENTS = (
    *(TicketCreated, TicketUpdated),
    *(OrderCreated, OrderReserved, OrderExtended, OrderCancelled, OrderCompleted, OrderRefunded),
    *(PaymentFailed, PaymentCreated, PaymentUncollected),
)


@dataclass(frozen=True)
class Change:
    """A change of one ticket or one order. Neither is set for the entry with which a new buffer begins."""

    cursor: str
    """The event's id. It is the same in every process, so that a page can continue in any of them."""
    ticket: Ticket | None = None
    """The ticket after the change."""
    order_id: UUID | None = None
    """The order that has changed."""
    buyer: UUID | None = None
    """The buyer who holds or has bought the ticket, or whose order it is."""
    _rendered: dict[Callable[["Change"], bytes], bytes] = field(default_factory=dict, compare=False)

    @property
    def subject(self) -> UUID | None:
        return self.ticket.id if self.ticket else self.order_id

    def rendered(self, render: Callable[["Change"], bytes]) -> bytes:
        """The change as this function renders it. The result is cached, so that it is rendered once for all pages."""
        if render not in self._rendered:
            self._rendered[render] = render(self)
        return self._rendered[render]


class LiveChanges:
    """The latest changes, and a signal that fires for each new one."""

    def __init__(self) -> None:
        self.changes: deque[Change] = deque(maxlen=MAX_CHANGES)
        self.changed = Signal()
        self._watched_at = float("-inf")
        self._wanted, self._listening = asyncio.Event(), asyncio.Event()
        self._since: dict[str, Sequence[Change] | None] = {}
        """What is new since a cursor, for all pages that ask before the next change."""
        self._versions: dict[UUID, int] = {}
        self._buyers: dict[UUID, UUID] = {}

    @property
    def cursor(self) -> str:
        """The cursor of the latest change, for pages that are rendered from now on; empty before the first one."""
        return self.changes[-1].cursor if self.changes else ""

    def watch(self) -> None:
        """Somebody looks at a page of this process."""
        self._watched_at = time.monotonic()
        self._wanted.set()

    async def position(self) -> str:
        """The cursor for a page that is rendered from now on: all that happens later, its stream will have."""
        self.watch()
        if not self._listening.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LISTENS_WITHIN_SECONDS):
                    await self._listening.wait()
        return self.cursor

    async def wanted(self) -> None:
        """Wait until somebody looks at a page."""
        await self._wanted.wait()

    def pause(self) -> bool:
        """Whether nobody looks at a page any more, so that listening may end until somebody does."""
        if time.monotonic() - self._watched_at < UNWATCHED_AFTER_SECONDS:
            return False
        self._wanted.clear()
        self._listening.clear()
        return True

    def since(self, cursor: str) -> Sequence[Change] | None:
        """Latest change per ticket and order since `cursor`; None if the cursor is no longer buffered."""
        if cursor not in self._since:
            self._since[cursor] = self._changes_since(cursor)
        return self._since[cursor]

    def _changes_since(self, cursor: str) -> Sequence[Change] | None:
        news: dict[UUID, Change] = {}
        for change in reversed(self.changes):
            if change.cursor == cursor:
                return [*reversed(news.values())]
            if change.subject is not None:
                news.setdefault(change.subject, change)
        return None

    def reset(self) -> None:
        """Clear the buffer when events may have been missed: every page is asked to reload."""
        self.changes.clear()
        self._add(Change(str(uuid4())))
        self._listening.set()

    def record(self, event_id: UUID, event: Event) -> None:
        """Add an event's change. A ticket event with an older version than the last one is ignored; every order event is a change."""
        match event:
            case OrderEvent():
                self._buyers[event.order_id] = event.user_id
                if len(self._buyers) > MAX_BUYERS:
                    del self._buyers[next(iter(self._buyers))]
                self._add(Change(str(event_id), order_id=event.order_id, buyer=event.user_id))
            case PaymentFailed() | PaymentCreated() | PaymentUncollected() if event.order_id in self._buyers:
                self._add(Change(str(event_id), order_id=event.order_id, buyer=self._buyers[event.order_id]))
                # Orders tells nobody when it has taken note of a payment: a page that asked at once may have asked too early.
                again = Change(str(uuid5(event_id, "again")), order_id=event.order_id, buyer=self._buyers[event.order_id])
                asyncio.get_running_loop().call_later(AGAIN_AFTER_SECONDS, self._add, again)
            case TicketEvent() if event.version > self._versions.get(event.ticket_id, 0):
                self._versions[event.ticket_id] = event.version
                buyer = self._buyers.get(event.order_id) if event.order_id else None
                self._add(Change(str(event_id), _ticket(event), buyer=buyer))

    def _add(self, change: Change) -> None:
        if len(self.changes) == MAX_CHANGES and (oldest := self.changes[0].ticket) and self._versions.get(oldest.id) == oldest.version:
            del self._versions[oldest.id]
        self.changes.append(change)
        self._since.clear()
        self.changed.fire()


@ephemeral_listener("web", *EVENTS)
async def listen(_db: Database | None, settings: Settings, live: LiveChanges) -> None:
    """Sends the change to every open page that shows it; changes of an order go to its buyer only."""
    bus = Bus("web", settings.nats_url_of("web"), settings.stream_replicas, settings.marketplace)
    async with bus.connected():
        while True:
            await live.wanted()
            async with contextlib.aclosing(feed(bus, *EVENTS)) as heard:
                async for news in heard:
                    if news is None:
                        live.reset()
                    else:
                        live.record(*news)
                    if live.pause():
                        break


def _ticket(event: TicketEvent) -> Ticket:
    return Ticket(
        event.ticket_id,
        event.title,
        Decimal(event.price_cents) / 100,
        event.currency,
        event.seller_id,
        event.order_id,
        "sold" if event.sold else "withdrawn" if event.withdrawn else "locked" if event.order_id else "available",
        event.locked_until,
        datetime.now(UTC),
        event.version,
    )
