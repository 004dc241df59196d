"""What has happened to tickets and orders lately, for every open page of this process to read at its own pace.

There is no queue per page: a page has its place among the latest changes, and takes what came after it whenever it can.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

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
from admitone.web.api import Ticket

KEPT = 1000
"""A page that has missed more changes than this asks for itself anew."""
BUYERS_KEPT = 20_000
EVENTS = (
    *(TicketCreated, TicketUpdated),
    *(OrderCreated, OrderReserved, OrderExtended, OrderCancelled, OrderCompleted, OrderRefunded),
    *(PaymentFailed, PaymentCreated, PaymentUncollected),
)


@dataclass(frozen=True)
class Change:
    """What happened to one ticket, or to one order. It is neither for the moment at which we began to listen."""

    at: str
    """The event's id: the same in every process, so that a page finds its place in any of them."""
    ticket: Ticket | None = None
    """As it is since then."""
    order_id: UUID | None = None
    """An order that is not what it was."""
    buyer: UUID | None = None
    """Who holds the ticket, or has bought it; whose order it is."""
    _made: dict[Callable[["Change"], bytes], bytes] = field(default_factory=dict, compare=False)

    @property
    def about(self) -> UUID | None:
        return self.ticket.id if self.ticket else self.order_id

    def made(self, make: Callable[["Change"], bytes]) -> bytes:
        """What this makes of it, made once: when the first page needs it."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]


class Live:
    """The latest changes, and a signal that there is another."""

    def __init__(self) -> None:
        self.changes: deque[Change] = deque(maxlen=KEPT)
        self.changed = Signal()
        self._versions: dict[UUID, int] = {}
        self._buyers: dict[UUID, UUID] = {}

    @property
    def at(self) -> str:
        """Where a page stands that is made from what is asked for from now on; empty while nothing is known."""
        return self.changes[-1].at if self.changes else ""

    def after(self, at: str) -> Sequence[Change] | None:
        """What came after that place, of each ticket and order the latest; None when we know of no such place (any more)."""
        news: dict[UUID, Change] = {}
        for change in reversed(self.changes):
            if change.at == at:
                return [*reversed(news.values())]
            if change.about is not None:
                news.setdefault(change.about, change)
        return None

    def begin(self) -> None:
        """Something may have been missed: whoever reads has to look for themselves."""
        self.changes.clear()
        self._add(Change(str(uuid4())))

    def hear(self, event_id: UUID, event: Event) -> None:
        """A change, unless a later one of the same ticket was heard of. Of orders each is one: their pages ask how they are."""
        match event:
            case OrderEvent():
                self._buyers[event.order_id] = event.user_id
                if len(self._buyers) > BUYERS_KEPT:
                    del self._buyers[next(iter(self._buyers))]
                self._add(Change(str(event_id), order_id=event.order_id, buyer=event.user_id))
            case PaymentFailed() | PaymentCreated() | PaymentUncollected() if event.order_id in self._buyers:
                self._add(Change(str(event_id), order_id=event.order_id, buyer=self._buyers[event.order_id]))
            case TicketEvent() if event.version > self._versions.get(event.ticket_id, 0):
                self._versions[event.ticket_id] = event.version
                buyer = self._buyers.get(event.order_id) if event.order_id else None
                self._add(Change(str(event_id), _ticket(event), buyer=buyer))

    def _add(self, change: Change) -> None:
        if len(self.changes) == KEPT and (oldest := self.changes[0].ticket) and self._versions.get(oldest.id) == oldest.version:
            del self._versions[oldest.id]
        self.changes.append(change)
        self.changed.fire()


@ephemeral_listener("web", *EVENTS)
async def listen(_db: Database | None, settings: Settings, live: Live, **_: Any) -> None:
    """Every open page that shows what has changed, or should, is told; those of an order are its buyer's alone."""
    bus = Bus("web", settings.nats_url_of("web"))
    async with bus.connected(), contextlib.aclosing(feed(bus, *EVENTS)) as heard:
        async for news in heard:
            if news is None:
                live.begin()
            else:
                live.hear(*news)


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
