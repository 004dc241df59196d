"""Every fact that crosses a boundary, grouped by the service that owns it. Everybody may read this file.

An event about a user, a ticket or an order carries its whole state and version: whoever keeps a copy can make it from any one of them.
"""

from datetime import datetime
from uuid import UUID

from admitone.kit.event import Event, published_by

# auth


@published_by("auth", about="user_id")
class UserCreated(Event, frozen=True, kw_only=True):
    """Somebody signed up."""

    user_id: UUID
    email: str
    """As they typed it. No two accounts differ by capital letters alone."""
    version: int
    """Rises with every event about this user: whoever keeps a copy lets the higher one win."""


# tickets


class TicketEvent(Event, frozen=True, kw_only=True):
    ticket_id: UUID
    version: int
    """Rises with every event about this ticket: whoever keeps a copy lets the higher one win."""
    seller_id: UUID
    """The user who put it up for sale."""
    title: str
    price_cents: int
    currency: str
    """Three letters, as in ISO 4217."""
    order_id: UUID | None
    """The order that holds it, or has bought it; null while it is free."""
    withdrawn: bool
    """Its seller has taken it off the market."""
    sold: bool
    locked_until: datetime | None = None
    """When the order that holds it ends at the latest."""


@published_by("tickets", about="ticket_id")
class TicketCreated(TicketEvent, frozen=True):
    """Somebody put a ticket up for sale."""


@published_by("tickets", about="ticket_id")
class TicketUpdated(TicketEvent, frozen=True):
    """A ticket changed: its price or title, or it was locked for an order, freed, sold or withdrawn."""


@published_by("tickets", about="ticket_id")
class ReservationRefused(Event, frozen=True, kw_only=True):
    """An order can't have the ticket: it was withdrawn, or its price or title is another by now."""

    order_id: UUID
    ticket_id: UUID
    reason: str
    """`withdrawn` or `price_changed`; the order is cancelled with it."""


# orders


class OrderEvent(Event, frozen=True, kw_only=True):
    order_id: UUID
    version: int
    """Rises with every event about this order: whoever keeps a copy lets the higher one win."""
    ticket_id: UUID
    user_id: UUID
    """The buyer."""
    status: str
    """`created`, `awaiting:payment`, `complete`, `cancelled` or `refunded`."""
    reason: str | None
    """Why it was cancelled: `by_buyer`, `expired`, `price_changed`, `withdrawn` or `payment_failed`."""
    title: str
    """The ticket's, when Buy was clicked."""
    price_cents: int
    """The ticket's, when Buy was clicked: the price that is paid."""
    currency: str
    """Three letters, as in ISO 4217."""
    lock: int
    """The fencing token: each order of a ticket has a higher one than all before it, so a late event of an older order changes nothing."""
    expires_at: datetime
    """A payment must begin before this."""
    cancel_at: datetime
    """A payment that has begun is waited for until this; then an unpaid order is cancelled."""
    extended: bool
    """The buyer was given more time; that happens at most once."""
    seller_id: UUID | None = None
    """Who is owed the price."""
    fee_basis_points: int = 0
    """The marketplace's part of the price when the ticket was locked, in hundredths of a percent; it comes out of the seller's share."""


@published_by("orders", about="order_id")
class OrderCreated(OrderEvent, frozen=True):
    """A buyer clicked Buy: the ticket is theirs to pay for until expires_at."""


@published_by("orders", about="order_id")
class OrderReserved(OrderEvent, frozen=True):
    """The ticket is locked for this order at the price that was clicked; it may be paid from now on."""


@published_by("orders", about="order_id")
class OrderExtended(OrderEvent, frozen=True):
    """The buyer has asked for more time, as everybody may once: it may be paid until the new expires_at."""


@published_by("orders", about="order_id")
class OrderCancelled(OrderEvent, frozen=True):
    """An order ended without a sale; the reason says why. Its ticket is free again."""


@published_by("orders", about="order_id")
class OrderCompleted(OrderEvent, frozen=True):
    """The payment was approved in time: the ticket is sold to this buyer."""


@published_by("orders", about="order_id")
class OrderRefunded(OrderEvent, frozen=True):
    """The buyer of a complete order has the money back. The ticket stays sold, unless it is to be on sale again."""

    relist: bool = False
    """The ticket is to be on sale again."""


# expiration


@published_by("expiration", about="order_id")
class ExpirationComplete(Event, frozen=True, kw_only=True):
    """An order's time is over. Whether that ends it is for orders to decide: it may have been paid."""

    order_id: UUID
    cancel_at: datetime
    """The deadline that has passed. An order that was given more time has a later one, and ignores this."""


# payments


@published_by("payments", about="order_id")
class PaymentAuthorized(Event, frozen=True, kw_only=True):
    """The card's bank has approved the amount. Nothing is taken yet."""

    charge_id: UUID
    """This attempt to pay."""
    order_id: UUID
    amount_cents: int
    currency: str


@published_by("payments", about="order_id")
class PaymentFailed(Event, frozen=True, kw_only=True):
    """An attempt to pay has ended without money: the card was declined, or the approval was given back."""

    charge_id: UUID
    """This attempt to pay."""
    order_id: UUID
    attempt: int
    """1 for the first; after the third the order is cancelled."""
    decline_code: str
    """What the card's bank said, such as `card_declined`; `voided` when the approval was given back."""


@published_by("payments", about="order_id")
class PaymentCreated(Event, frozen=True, kw_only=True):
    """The charge was captured: the money for a completed order was taken."""

    charge_id: UUID
    """This attempt to pay."""
    order_id: UUID
    amount_cents: int
    currency: str


@published_by("payments", about="order_id")
class PaymentUncollected(Event, frozen=True, kw_only=True):
    """The approved money of a completed order can't be taken any more. The order stands; a person decides what to do."""

    charge_id: UUID
    """This attempt to pay."""
    order_id: UUID
    amount_cents: int
    currency: str


@published_by("payments", about="order_id")
class PaymentRefunded(Event, frozen=True, kw_only=True):
    """The money of a completed order was given back; of a payment that was never collected, nothing had to be."""

    charge_id: UUID
    """This attempt to pay."""
    order_id: UUID
    amount_cents: int
    """What the buyer got back: 0 where the money had never been collected."""
    currency: str
    refund_id: str | None
    """The card processor's name for it; null when nothing had to be given back."""
    relist: bool
    """The ticket is to be on sale again."""
