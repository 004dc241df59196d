"""What an order is, and what can be refused."""

from datetime import datetime
from typing import Any, ClassVar, Literal, NamedTuple
from uuid import UUID

from msgspec import Struct

from admitone.kit.http.amount import Price, major
from admitone.kit.http.form import Moment
from admitone.kit.http.idempotency import Key
from admitone.kit.http.paging import Page
from admitone.kit.http.problem import NotFound, Problem

Status = Literal["created", "awaiting:payment", "complete", "cancelled", "refunded"]
ACTIVE: tuple[Status, ...] = ("created", "awaiting:payment")
Reason = Literal["by_buyer", "expired", "price_changed", "withdrawn", "payment_failed"]
"""Why an order was cancelled."""
Refusal = Literal["taken", "sold", "another_price", "too_many_open", "withdrawn"]
"""Why an attempt to buy was told no."""
MAX_ATTEMPTS = 3


class OrderForm(Struct, rename="camel"):
    ticket_id: UUID
    price: Price | None = None
    """The price that the buyer saw."""


class OrdersWanted(Page):
    """Which of one's own orders are listed: all, or those in one status; `active` are those that can still be paid."""

    status: Literal["active", Status] | None = None

    @property
    def statuses(self) -> list[str] | None:
        """None for all."""
        return list(ACTIVE) if self.status == "active" else [self.status] if self.status else None


class Wish(NamedTuple):
    """A click on Buy."""

    order_id: UUID
    """Of the order that may come of it."""
    user_id: UUID
    ticket_id: UUID
    seen_price_cents: int | None
    key: Key | None
    """The request's Idempotency-Key."""
    correlation_id: UUID
    event_id: None = None
    """No event has caused it."""


class Obstacle(Struct, frozen=True, kw_only=True):
    """What may stand between a wish and its order."""

    price_cents: int | None
    """None where the ticket is unknown."""
    currency: str | None
    sold: bool | None
    withdrawn: bool | None
    holder_status: Status | None
    """Of the order that holds the ticket."""
    open_orders: int
    """Of the buyer."""


class Order(Struct, frozen=True, kw_only=True):
    order_id: UUID
    version: int
    ticket_id: UUID
    user_id: UUID
    status: Status
    reason: Reason | None
    title: str
    price_cents: int
    currency: str
    lock: int
    """The fencing token of the order."""
    expires_at: datetime
    cancel_at: datetime
    extended: bool
    created_at: datetime
    charge_id: UUID | None
    seller_id: UUID | None
    fee_basis_points: int
    relist: bool
    uncollected: bool
    holds_ticket: bool
    """It has its ticket, or has bought it."""


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """One event about an order, published or received by orders."""

    at: datetime
    event: str
    data: dict[str, Any]
    version: int
    """The order's version after the event."""


class HistoryLine(Struct, frozen=True):
    """A line of an order's history, as its buyer may read it."""

    at: Moment
    event: str
    text: str


class OrderedTicket(Struct, frozen=True):
    id: UUID
    title: str
    price: float


class OrderView(Struct, frozen=True, rename="camel"):
    """An order as its buyer may see it."""

    id: UUID
    status: Status
    reason: Reason | None
    user_id: UUID
    expires_at: Moment
    extended: bool
    """Whether the buyer has had more time: that is given once."""
    server_time: Moment
    version: int
    ticket_id: UUID
    ticket: OrderedTicket
    currency: str
    paid: bool
    """Whether the money was taken, not only approved."""
    uncollected: bool
    """Whether the approved money could not be taken."""

    @classmethod
    def of(cls, order: Order, now: datetime) -> "OrderView":
        ticket = OrderedTicket(order.ticket_id, order.title, major(order.price_cents))
        return cls(
            order.order_id,
            order.status,
            order.reason,
            order.user_id,
            order.expires_at,
            order.extended,
            now,
            order.version,
            order.ticket_id,
            ticket,
            order.currency,
            order.charge_id is not None,
            order.uncollected,
        )


class TicketUnknown(NotFound):
    """There is no such ticket."""


class TicketTaken(Problem):
    """Somebody else is buying this ticket right now. It may come back if they don't pay."""

    status = 409


class TicketSold(Problem):
    """This ticket is sold."""

    status = 409


class TicketWithdrawn(Problem):
    """The seller has withdrawn this ticket."""

    status = 409


class AnotherPrice(Problem):
    """The price has changed."""

    status = 409
    field = "price"
    member_types: ClassVar[dict[str, Any]] = {"price": float}

    def __init__(self, price_cents: int, currency: str) -> None:
        super().__init__(f"The price has changed: this ticket costs {price_cents / 100:.2f} {currency} now.")
        self.members = {"price": major(price_cents)}


class TooManyOpenOrders(Problem):
    """You have too many unpaid orders."""

    status = 409

    def __init__(self, most: int) -> None:
        super().__init__(f"You have {most} unpaid orders already. Pay or cancel one of them first.")


class OrderNotFound(NotFound):
    """There is no such order of yours."""


class OrderComplete(Problem):
    """This order is paid, so it can't be cancelled any more."""

    status = 409


class NotConfirmedYet(Problem):
    """This order is not confirmed yet. Please try again in a moment."""

    status = 409


class TimeIsUp(Problem):
    """The time to pay for this order is over, so it can't be extended any more."""

    status = 409


class OrderEnded(Problem):
    """This order is paid or cancelled, so it needs no more time."""

    status = 409


REFUSALS: dict[type[Problem], Refusal] = {
    TicketTaken: "taken",
    TicketSold: "sold",
    AnotherPrice: "another_price",
    TooManyOpenOrders: "too_many_open",
    TicketWithdrawn: "withdrawn",
}
"""What is counted of the attempts to buy."""
