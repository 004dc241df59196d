"""Facts to hear: one ticket and one order of it, in all their states, with whatever a scene needs otherwise.

ticket_created(price_cents=900)
order_cancelled(order_id=A, lock=1)
"""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

from admitone.events import (
    ExpirationComplete,
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderExtended,
    OrderRefunded,
    OrderReserved,
    PaymentAuthorized,
    PaymentCreated,
    PaymentFailed,
    PaymentRefunded,
    PaymentUncollected,
    ReservationRefused,
    TicketCreated,
    TicketUpdated,
)
from admitone.kit.testing import NOON

_HERE = UUID(int=0)
ANN, BOB, EVE = (uuid5(_HERE, name) for name in ("ann", "bob", "eve"))
TICKET, ANOTHER_TICKET = uuid5(_HERE, "ticket"), uuid5(_HERE, "another ticket")
A, B, C = (uuid5(_HERE, f"order {name}") for name in "ABC")
CHARGE = uuid5(_HERE, "charge")
TITLE, PRICE = "Front row", 4990
EXPIRES_AT = NOON + timedelta(minutes=15)
CANCEL_AT = EXPIRES_AT + timedelta(seconds=30)
MORE = timedelta(minutes=5)


def _ticket(**changes: Any) -> dict[str, Any]:
    state = {"ticket_id": TICKET, "version": 1, "seller_id": ANN, "title": TITLE, "price_cents": PRICE, "currency": "USD"}
    return state | {"order_id": None, "withdrawn": False, "sold": False} | changes


def ticket_created(**changes: Any) -> TicketCreated:
    return TicketCreated(**_ticket(**changes))


def ticket_updated(**changes: Any) -> TicketUpdated:
    return TicketUpdated(**_ticket(**{"version": 2} | changes))


def reservation_refused(**changes: Any) -> ReservationRefused:
    state: dict[str, Any] = {"order_id": A, "ticket_id": TICKET, "reason": "price_changed"}
    return ReservationRefused(**state | changes)


def _order(version: int, status: str, /, **changes: Any) -> dict[str, Any]:
    state = {"order_id": A, "version": version, "ticket_id": TICKET, "user_id": BOB, "status": status, "reason": None}
    state |= {"title": TITLE, "price_cents": PRICE, "currency": "USD", "lock": 1}
    state |= {"expires_at": EXPIRES_AT, "cancel_at": CANCEL_AT, "extended": False}
    return state | {"seller_id": ANN, "fee_basis_points": 0} | changes


def order_created(**changes: Any) -> OrderCreated:
    return OrderCreated(**_order(1, "created", **changes))


def order_reserved(**changes: Any) -> OrderReserved:
    return OrderReserved(**_order(2, "awaiting:payment", **changes))


def order_extended(**changes: Any) -> OrderExtended:
    more_time = {"expires_at": EXPIRES_AT + MORE, "cancel_at": CANCEL_AT + MORE, "extended": True}
    return OrderExtended(**_order(3, "awaiting:payment", **more_time | changes))


def order_cancelled(**changes: Any) -> OrderCancelled:
    return OrderCancelled(**_order(3, "cancelled", **{"reason": "by_buyer"} | changes))


def order_completed(**changes: Any) -> OrderCompleted:
    return OrderCompleted(**_order(3, "complete", **changes))


def order_refunded(**changes: Any) -> OrderRefunded:
    return OrderRefunded(**_order(4, "refunded", **{"relist": False} | changes))


def expiration_complete(**changes: Any) -> ExpirationComplete:
    state: dict[str, Any] = {"order_id": A, "cancel_at": CANCEL_AT}
    return ExpirationComplete(**state | changes)


def payment_authorized(**changes: Any) -> PaymentAuthorized:
    return PaymentAuthorized(**_charge(**changes))


def payment_created(**changes: Any) -> PaymentCreated:
    return PaymentCreated(**_charge(**changes))


def payment_failed(attempt: int, **changes: Any) -> PaymentFailed:
    state: dict[str, Any] = {"charge_id": CHARGE, "order_id": A, "attempt": attempt, "decline_code": "card_declined"}
    return PaymentFailed(**state | changes)


def payment_uncollected(**changes: Any) -> PaymentUncollected:
    return PaymentUncollected(**_charge(**changes))


def payment_refunded(**changes: Any) -> PaymentRefunded:
    return PaymentRefunded(**_charge(**{"refund_id": "re_1", "relist": False} | changes))


def _charge(**changes: Any) -> dict[str, Any]:
    return {"charge_id": CHARGE, "order_id": A, "amount_cents": PRICE, "currency": "USD"} | changes
