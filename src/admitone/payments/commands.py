"""The verbs of payments that change rows. What talks to the processor is in settlement.py, between two of these."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from admitone.events import PaymentAuthorized, PaymentCreated, PaymentFailed, PaymentRefunded, PaymentUncollected
from admitone.kit.data.db import Tx
from admitone.kit.http.problem import Problem
from admitone.kit.observe.log import correlation
from admitone.payments import ledger, repository
from admitone.payments.model import (
    MAX_ATTEMPTS,
    VOIDED,
    Charge,
    NothingToRefund,
    NothingToSettle,
    NotPayableYet,
    OrderNotFound,
    OrderWasCancelled,
    PaidAlready,
    PaymentUnderWay,
    TimeIsUp,
)
from admitone.payments.processors.protocol import OutcomeUnknown, ProcessorState

MAX_DELAY_SECONDS = 15


async def begin_charge(tx: Tx, order_id: UUID, user_id: UUID, token: str, now: datetime) -> Charge:
    """Write down what is about to be tried.

    Raises OrderNotFound, NotPayableYet, TimeIsUp, OrderWasCancelled, PaidAlready or PaymentUnderWay.
    """
    charge = await repository.begin(tx, uuid4(), order_id, user_id, token, now, correlation())
    if charge is None:
        raise await _why_not(tx, order_id, user_id, now)
    return charge


async def _why_not(tx: Tx, order_id: UUID, user_id: UUID, now: datetime) -> Problem:
    order = await repository.order_copy(tx, order_id)
    if order is None or order.user_id != user_id:
        return OrderNotFound()
    match order.status:
        case "created":
            return NotPayableYet()
        case "complete" | "refunded":
            return PaidAlready()
        case "cancelled":
            return OrderWasCancelled()
    charge = await repository.live_charge(tx, order_id)
    if charge is not None:
        return PaidAlready() if charge.status == "completed" else PaymentUnderWay()
    if order.expires_at <= now:
        return TimeIsUp()
    tries = await repository.attempts(tx, order_id)
    if tries >= MAX_ATTEMPTS:
        return OrderWasCancelled()  # The last decline is on its way to orders.
    if not tries:
        return NotPayableYet()  # It has become so since we tried: it is worth another try.
    return PaymentUnderWay()  # It was, a moment ago.


async def record(tx: Tx, charge: Charge, reported: ProcessorState, now: datetime) -> None:
    """Write down how the payment stands at the processor. What is known already changes nothing.

    Raises OutcomeUnknown when the processor reports another amount than ours: a person has to look at that.
    """
    if (reported.amount_cents, reported.currency) != (charge.amount_cents, charge.currency):
        raise OutcomeUnknown(
            f"the processor says {reported.amount_cents} {reported.currency} where we say {charge.amount_cents} {charge.currency}"
        )
    match reported.state:
        case "needs_confirmation":
            await repository.needs_confirmation(tx, charge.charge_id, reported.id, reported.redirect_url, now)
        case "authorized":
            await record_authorized(tx, charge.charge_id, reported.id, now)
        case "captured":
            await record_authorized(tx, charge.charge_id, reported.id, now)  # That answer was lost, maybe.
            await record_captured(tx, charge.charge_id, now)
        case "declined":
            await record_failed(tx, charge.charge_id, reported.code or "declined", now)
        case "voided":
            await record_failed(tx, charge.charge_id, VOIDED, now)
        case "refunded":
            await record_authorized(tx, charge.charge_id, reported.id, now)
            await record_captured(tx, charge.charge_id, now)
            await record_refunded(tx, charge.charge_id, reported.refund_id, now)


async def record_authorized(tx: Tx, charge_id: UUID, stripe_id: str, now: datetime) -> None:
    """The bank has approved. Whether that completes the order, orders decides."""
    charge = await repository.authorized(tx, charge_id, stripe_id, now)
    if charge is not None:
        tx.emit(
            PaymentAuthorized(
                charge_id=charge.charge_id,
                order_id=charge.order_id,
                amount_cents=charge.amount_cents,
                currency=charge.currency,
            )
        )


async def record_captured(tx: Tx, charge_id: UUID, now: datetime) -> None:
    """The money was taken, for an order that is complete."""
    charge = await repository.completed(tx, charge_id, now)
    if charge is not None:
        await ledger.book_capture(tx, charge, now)
        tx.emit(
            PaymentCreated(
                charge_id=charge.charge_id,
                order_id=charge.order_id,
                amount_cents=charge.amount_cents,
                currency=charge.currency,
            )
        )


async def record_failed(tx: Tx, charge_id: UUID, failure: str, now: datetime) -> None:
    """The attempt has ended without money: declined, or voided."""
    charge = await repository.failed(tx, charge_id, failure, now)
    if charge is not None:
        tx.emit(PaymentFailed(charge_id=charge.charge_id, order_id=charge.order_id, attempt=charge.attempt, decline_code=failure))


async def record_uncollected(tx: Tx, charge_id: UUID, error: str, now: datetime) -> None:
    """The money of a complete order can't be taken any more. A person decides what follows."""
    charge = await repository.uncollected(tx, charge_id, error, now)
    if charge is not None:
        tx.emit(
            PaymentUncollected(
                charge_id=charge.charge_id,
                order_id=charge.order_id,
                amount_cents=charge.amount_cents,
                currency=charge.currency,
            )
        )


async def record_failed_attempt(tx: Tx, charge: Charge, error: str, now: datetime, delay_seconds: float | None = None) -> None:
    """The processor was asked without a result. It is asked again, after a delay that grows to 15 s unless another is given."""
    delay = min(2.0**charge.failed_attempts, MAX_DELAY_SECONDS) if delay_seconds is None else delay_seconds
    await repository.retry_later(tx, charge.charge_id, error, now + timedelta(seconds=delay))


async def ask_for_refund(tx: Tx, order_id: UUID, reason: str, relist: bool, now: datetime) -> Charge:
    """The buyer of a complete order is to have the money back; asked a second time, it changes nothing. The job does it.

    With `relist` the ticket goes on sale again. Raises NothingToRefund.
    """
    charge = await repository.ask_for_refund(tx, order_id, reason, relist, now) or await repository.refund_asked_for(tx, order_id)
    if charge is None:
        raise NothingToRefund
    return charge


async def record_refunded(tx: Tx, charge_id: UUID, refund_id: str | None, now: datetime) -> None:
    """The money was given back; of an uncollected charge nothing had to be."""
    charge = await repository.refunded(tx, charge_id, refund_id, now)
    if charge is not None:
        given_back = await ledger.book_refund(tx, charge, now)
        tx.emit(
            PaymentRefunded(
                charge_id=charge.charge_id,
                order_id=charge.order_id,
                amount_cents=given_back,
                currency=charge.currency,
                refund_id=refund_id,
                relist=charge.relist,
            )
        )


async def settle_uncollected(tx: Tx, order_id: UUID, reason: str) -> Charge:
    """A person has decided what becomes of an uncollected payment, and says so. Raises NothingToSettle."""
    charge = await repository.settle_uncollected(tx, order_id, reason)
    if charge is None:
        raise NothingToSettle
    return charge
