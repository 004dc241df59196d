"""What a charge is, and what can be refused."""

from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from admitone.kit.http.amount import major
from admitone.kit.http.form import Moment
from admitone.kit.http.problem import NotFound, Problem

MAX_ATTEMPTS = 3
VOIDED = "voided"
Status = Literal["created", "authorized", "completed", "failed", "uncollected", "refunded"]
"""created -> authorized -> completed (captured) -> refunded; or failed; or, approved and then refused, uncollected."""
SETTLED_WITHIN = timedelta(minutes=1)
"""What is not settled by then is listed by `admitone money`."""


class PaymentForm(Struct, rename="camel"):
    order_id: UUID
    token: Annotated[str, Meta(min_length=1, max_length=200, description="must be the token of a card", examples=["tok_visa"])]


class PaymentsWanted(Struct, rename="camel"):
    order_id: UUID


class OrderCopy(Struct, frozen=True, kw_only=True):
    order_id: UUID
    version: int
    user_id: UUID
    status: str
    price_cents: int
    currency: str
    expires_at: datetime
    seller_id: UUID | None
    fee_basis_points: int


class Charge(Struct, frozen=True, kw_only=True):
    charge_id: UUID
    order_id: UUID
    attempt: int
    status: Status
    amount_cents: int
    currency: str
    fee_cents: int
    """The marketplace's part of the amount."""
    seller_id: UUID | None
    payment_token: str
    idempotency_key: str
    begun_at: datetime
    changed_at: datetime
    """When it came to its status."""
    next_attempt_at: datetime
    """Not before this is the processor asked again."""
    failed_attempts: int
    """How often in a row the processor was asked without a result."""
    last_error: str | None
    """Why the last time there was none."""
    stripe_id: str | None
    redirect_url: str | None
    """Where the buyer confirms the payment at the bank, while it needs that."""
    failure: str | None
    refund_asked_at: datetime | None
    refund_reason: str | None
    relist: bool
    stripe_refund_id: str | None
    settled_reason: str | None
    """What a person decided about an uncollected charge."""
    correlation_id: UUID


class DueCharge(Charge, frozen=True, kw_only=True):
    """A charge with work to do, and the state of its order that says which."""

    order_status: str


class ChargeView(Struct, frozen=True, rename="camel"):
    """The answer to a payment."""

    id: UUID
    order_id: UUID
    status: Status
    stripe_id: str | None
    """What the card processor calls it; null while it has not answered."""
    redirect_url: str | UnsetType = UNSET


class AttemptView(Struct, frozen=True, rename="camel"):
    """One attempt to pay, as its buyer may see it."""

    id: UUID
    order_id: UUID
    attempt: int
    status: Status
    amount: float
    currency: str
    failure: str | None
    redirect_url: str | None
    begun_at: Moment
    stripe_id: str | None
    """What the card processor calls it; null while it has not answered."""
    stripe_refund_id: str | None

    @classmethod
    def of(cls, charge: Charge) -> "AttemptView":
        return cls(
            charge.charge_id,
            charge.order_id,
            charge.attempt,
            charge.status,
            major(charge.amount_cents),
            charge.currency,
            charge.failure,
            charge.redirect_url if charge.status == "created" else None,
            charge.begun_at,
            charge.stripe_id,
            charge.stripe_refund_id,
        )


class Looked(Struct):
    """The answer to a processor's message: whether it was about a payment, so that we have looked at that."""

    looked: bool


class OrderNotFound(NotFound):
    """There is no such order of yours."""


class ChargeNotFound(NotFound):
    """There is no such payment."""


class NotPayableYet(Problem):
    """This order is not confirmed yet. Please try again in a moment."""

    status = 409


class TimeIsUp(Problem):
    """The time to pay for this order is over. Nothing was charged."""

    status = 409


class OrderWasCancelled(Problem):
    """This order was cancelled. Nothing was charged."""

    status = 409
    name = "Order cancelled"


class PaidAlready(Problem):
    """This order is paid already."""

    status = 409


class PaymentUnderWay(Problem):
    """A payment for this order is under way. It is not charged twice."""

    status = 409


class ProcessorAway(Problem):
    """The card processor does not answer. Nothing was begun; please try again in a moment."""

    status = 503
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class UnknownCard(Problem):
    """This is no test card. In test mode only the published test cards and tokens pay; no real card is taken or kept."""

    status = 400
    field = "token"


class UnknownToken(Problem):
    """This is no token of a card, or it was used before. Please enter the card once more."""

    status = 400
    field = "token"


class CardDeclined(Problem):
    """The card was declined."""

    status = 402
    member_types: ClassVar[dict[str, Any]] = {"triesLeft": int}

    def __init__(self, code: str, tries_left: int) -> None:
        left = f"You have {tries_left} more {'try' if tries_left == 1 else 'tries'}." if tries_left else "The order is cancelled."
        super().__init__(f"The card was declined ({code.replace('_', ' ')}). {left}")
        self.members = {"triesLeft": tries_left}

    @classmethod
    def of(cls, charge: Charge) -> "CardDeclined":
        return cls(charge.failure or "declined", MAX_ATTEMPTS - charge.attempt)


class StillUnknown(Problem):
    """It is not known yet whether the payment went through."""

    status = 202


class NothingToRefund(Problem):
    """This order was not paid, so there is nothing to give back."""

    status = 409


class NothingToSettle(Problem):
    """No payment of this order is uncollected."""

    status = 409
