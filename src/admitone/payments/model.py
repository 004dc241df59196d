"""What a charge is, and what can be refused."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from admitone.kit.problem import NotFound, Problem

MOST_ATTEMPTS = 3
VOIDED = "voided"


class PaymentForm(Struct, rename="camel"):
    order_id: UUID
    token: Annotated[str, Meta(min_length=1, max_length=200, description="must be the token of a card")]


class OrderCopy(Struct, frozen=True, kw_only=True):
    order_id: UUID
    version: int
    user_id: UUID
    status: str
    price_cents: int
    currency: str
    expires_at: datetime


class Charge(Struct, frozen=True, kw_only=True):
    charge_id: UUID
    order_id: UUID
    attempt: int
    status: str
    amount_cents: int
    currency: str
    payment_token: str
    idempotency_key: str
    begun_at: datetime
    stripe_id: str | None
    failure: str | None
    correlation_id: UUID


class ChargeView(Struct, frozen=True):
    id: UUID
    status: str


class OrderNotFound(NotFound):
    """There is no such order of yours."""


class NotPayableYet(Problem):
    """This order is not confirmed yet. Please try again in a moment."""

    status = 409


class TimeIsUp(Problem):
    """The time to pay for this order is over. Nothing was charged."""

    status = 409


class OrderCancelled(Problem):
    """This order was cancelled. Nothing was charged."""

    status = 409


class PaidAlready(Problem):
    """This order is paid already."""

    status = 409


class PaymentUnderWay(Problem):
    """A payment for this order is under way. It is not charged twice."""

    status = 409


class UnknownCard(Problem):
    """This is no test card. In test mode only the published test cards and tokens pay; no real card is taken or kept."""

    status = 400
    field = "token"


class CardDeclined(Problem):
    """The card was declined."""

    status = 402

    def __init__(self, code: str, tries_left: int) -> None:
        left = f"You have {tries_left} more {'try' if tries_left == 1 else 'tries'}." if tries_left else "The order is cancelled."
        super().__init__(f"The card was declined ({code.replace('_', ' ')}). {left}")
        self.members = {"triesLeft": tries_left}

    @classmethod
    def of(cls, charge: Charge) -> "CardDeclined":
        return cls(charge.failure or "declined", MOST_ATTEMPTS - charge.attempt)


class StillUnknown(Problem):
    """It is not known yet whether the payment went through."""

    status = 202
