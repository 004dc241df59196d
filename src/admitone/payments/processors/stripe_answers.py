"""What Stripe answers, and what that means for a charge."""

from collections.abc import Awaitable
from typing import TypeVar
from uuid import UUID

import msgspec
import stripe
from msgspec import Struct

from admitone.kit.observe.log import log
from admitone.payments.model import Charge
from admitone.payments.processors.protocol import OutcomeUnknown, ProcessorState, Refused, State

TEMPORARY = frozenset(["idempotency_key_in_use", "lock_timeout", "rate_limit"])
"""Refusals of this moment only, whatever their HTTP status: https://docs.stripe.com/error-codes"""
Answer = TypeVar("Answer")
Object = TypeVar("Object")


class Token(Struct):
    expires_at: int | None = None
    payment_intent: str | None = None
    setup_intent: str | None = None


class LatestCharge(Struct):
    refunded: bool


class Id(Struct):
    id: str


class Error(Struct):
    code: str | None = None
    decline_code: str | None = None
    param: str | None = None
    payment_intent: Id | None = None


class ErrorAnswer(Struct):
    error: Error


class Address(Struct):
    url: str | None = None


class NextAction(Struct):
    redirect_to_url: Address | None = None


class Intent(Struct):
    id: str
    status: str
    amount: int
    amount_received: int
    currency: str
    metadata: dict[str, str]
    latest_charge: LatestCharge | str | None = None
    next_action: NextAction | None = None
    last_payment_error: Error | None = None


class About(Struct):
    id: str | None = None
    object: str = ""
    payment_intent: str | None = None
    metadata: dict[str, str] | None = None


class Data(Struct):
    object: About


class Event(Struct):
    type: str
    data: Data


def read(answer: stripe.StripeObject, kind: type[Object]) -> Object:
    try:
        return msgspec.convert(answer.to_dict(), kind)
    except msgspec.ValidationError as error:
        raise OutcomeUnknown(f"Stripe's answer can't be read: {error}") from None


def charge_id_of(charge: Charge) -> str:
    if charge.stripe_id is None:
        raise Refused("unknown_payment")
    return charge.stripe_id


def as_charge_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def was_replayed(response: stripe.StripeResponse | None) -> bool:
    return response is not None and response.headers.get("idempotent-replayed") == "true"


def state_of(charge: Charge, intent: Intent) -> ProcessorState:
    """https://docs.stripe.com/payments/paymentintents/lifecycle"""
    if intent.metadata.get("charge_id") != str(charge.charge_id):
        raise OfAnotherCharge("that payment belongs to another charge")
    state: State
    code = redirect_url = None
    match intent:
        case Intent(status="requires_capture"):
            state = "authorized"
        case Intent(status="requires_action", next_action=action):
            state = "needs_confirmation"
            redirect_url = action.redirect_to_url.url if action is not None and action.redirect_to_url is not None else None
        case Intent(status="requires_payment_method", last_payment_error=error):
            state = "declined"
            code = decline_code(error or Error())
        case Intent(status="succeeded", latest_charge=LatestCharge(refunded=True)):
            state = "refunded"
        case Intent(status="succeeded"):
            state = "captured"
        case Intent(status="canceled"):
            state = "voided"
        case _:
            raise OutcomeUnknown(f"the payment is {intent.status}")
    return ProcessorState(
        id=intent.id,
        state=state,
        amount_cents=intent.amount_received or intent.amount,
        currency=intent.currency.upper(),
        code=code,
        redirect_url=redirect_url,
    )


def declined(charge: Charge, code: str, stripe_id: str | None = None) -> ProcessorState:
    return ProcessorState(
        id=stripe_id or f"none:{charge.charge_id}",
        state="declined",
        amount_cents=charge.amount_cents,
        currency=charge.currency,
        code=code,
    )


def decline_code(error: Error) -> str:
    """Why, as closely as the bank says; https://docs.stripe.com/declines/codes has a word for its not saying."""
    said = error.decline_code if error.decline_code != "generic_decline" else None
    return said or error.code or "declined"


class OfAnotherCharge(OutcomeUnknown):
    """Nothing follows from it for ours."""


class Failed(OutcomeUnknown):
    """Stripe failed: it may have happened or not, and this may be the stored answer to an earlier call."""

    def __init__(self, status: int, replayed: bool) -> None:
        super().__init__(f"Stripe answered {status}")
        self.replayed = replayed


class No(Exception):
    """Stripe says no. `code` says why, and `intent_id` of which payment, where there is one already."""

    def __init__(self, code: str, *, replayed: bool, by_the_bank: bool = False, intent_id: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.replayed = replayed
        self.by_the_bank = by_the_bank
        self.intent_id = intent_id


async def answer_of(call: Awaitable[Answer]) -> Answer:
    """What Stripe answers. Raises No, Failed or OutcomeUnknown, never with Stripe's own words: they may repeat a key."""
    try:
        return await call
    except stripe.StripeError as error:
        raise meaning_of(error) from None


def meaning_of(error: stripe.StripeError) -> Exception:
    """https://docs.stripe.com/error-low-level"""
    status, said = error.http_status, error_of(error)
    intent_id = said.payment_intent.id if said.payment_intent is not None else None
    replayed = (error.headers or {}).get("idempotent-replayed") == "true"
    if status is None:
        return OutcomeUnknown("no answer from Stripe")
    if status >= 500:
        return Failed(status, replayed)
    if said.code in TEMPORARY:
        return OutcomeUnknown(f"Stripe answered {status} ({said.code})")
    if isinstance(error, stripe.IdempotencyError):
        return No("idempotency_error", replayed=replayed)
    if isinstance(error, stripe.CardError):
        return No(decline_code(said), replayed=replayed, by_the_bank=True, intent_id=intent_id)
    if isinstance(error, stripe.InvalidRequestError):
        log.warning(
            "stripe_refused_call",
            message="Stripe refuses a call",
            status=status,
            code=said.code,
            param=said.param,
            request=error.request_id,
        )
        return No(said.code or "invalid_request", replayed=replayed, intent_id=intent_id)
    hint = ": is STRIPE_SECRET_KEY right?" if status in (401, 403) else ""
    return OutcomeUnknown(f"Stripe answered {status}{hint}")


def error_of(error: stripe.StripeError) -> Error:
    try:
        return msgspec.convert(error.json_body, ErrorAnswer).error
    except msgspec.ValidationError:
        return Error()
