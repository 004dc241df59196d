"""An order's history in plain words, for its buyer: all events that orders published about it, and those about its payment."""

from datetime import UTC
from decimal import Decimal

import msgspec

from admitone.events import (
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderExtended,
    OrderRefunded,
    OrderReserved,
    PaymentCreated,
    PaymentFailed,
    PaymentUncollected,
)
from admitone.kit.event import CATALOGUE, Event
from admitone.kit.http.amount import money
from admitone.orders.model import MAX_ATTEMPTS, HistoryEntry, HistoryLine, Order

CANCELLED_BECAUSE = {
    "by_buyer": "you gave the ticket back",
    "expired": "the time to pay was over",
    "price_changed": "the seller changed the ticket at the moment you bought it",
    "withdrawn": "the seller withdrew the ticket at the moment you bought it",
    "payment_failed": f"the payment failed {MAX_ATTEMPTS} times",
}
VOIDED = "voided"
"""The decline code of an approval that was given back."""


def history(order: Order, entries: list[HistoryEntry]) -> list[HistoryLine]:
    """What happened, oldest first. Sorted by the order's version: clocks and the order of arrival may disagree."""
    decoded = [(entry, msgspec.convert(entry.data, CATALOGUE[entry.event])) for entry in entries]
    completed = next((entry.version for entry, event in decoded if isinstance(event, OrderCompleted)), None)
    paid = order.charge_id is not None

    def position(pair: tuple[HistoryEntry, Event]) -> tuple[int, bool, int]:
        entry, event = pair
        settled = isinstance(event, PaymentCreated | PaymentUncollected)  # It follows the sale, even when it was heard of later.
        version = completed if settled and completed is not None else entry.version
        return version, entry.event in PAYMENT_EVENTS, getattr(event, "attempt", 0)

    return [HistoryLine(entry.at, entry.event, sentence(event, paid)) for entry, event in sorted(decoded, key=position)]


PAYMENT_EVENTS = {event.__name__ for event in (PaymentFailed, PaymentCreated, PaymentUncollected)}


def sentence(event: Event, paid: bool) -> str:
    """What an event means to the buyer; `paid` is whether money was taken."""
    match event:
        case OrderCreated():
            return f"You clicked Buy: the ticket is yours to pay for until {event.expires_at.astimezone(UTC):%H:%M} UTC."
        case OrderReserved():
            return f"The ticket is locked for you at {_money(event.price_cents, event.currency)}."
        case OrderExtended():
            return f"You asked for more time: it is yours to pay for until {event.expires_at.astimezone(UTC):%H:%M} UTC."
        case OrderCompleted():
            return "Your payment was approved: the ticket is yours."
        case OrderCancelled():
            return f"Cancelled: {CANCELLED_BECAUSE[event.reason or '']}."
        case OrderRefunded() if paid:
            return "Your money was given back."
        case OrderRefunded():
            return "The sale was undone. Nothing had been charged, so there was nothing to give back."
        case PaymentFailed(decline_code=code) if code == VOIDED:
            return "The approval of your payment was given back: nothing was charged."
        case PaymentFailed(attempt=attempt):
            left = MAX_ATTEMPTS - attempt
            tries = f"You had {left} more {'try' if left == 1 else 'tries'}." if left > 0 else "That was the last try."
            return f"Your card was declined: nothing was charged. {tries}"
        case PaymentCreated():
            return f"The money was taken: {_money(event.amount_cents, event.currency)}."
        case PaymentUncollected():
            return "The approved money could not be taken: nothing was charged."
        case _:
            raise LookupError(f"{type(event).__name__} has no sentence for the buyer")


def _money(cents: int, currency: str) -> str:
    return money(Decimal(cents) / 100, currency)
