"""The verbs of payments that change rows. What talks to the processor is in processing.py, between two of these."""

from datetime import datetime
from uuid import UUID, uuid4

from admitone.events import PaymentAuthorized, PaymentCreated, PaymentFailed
from admitone.kit.db import Tx
from admitone.kit.log import correlation
from admitone.kit.problem import Problem
from admitone.payments import repository
from admitone.payments.model import (
    MOST_ATTEMPTS,
    Charge,
    NotPayableYet,
    OrderCancelled,
    OrderNotFound,
    PaidAlready,
    PaymentUnderWay,
    TimeIsUp,
)


async def begin_charge(tx: Tx, order_id: UUID, user_id: UUID, token: str, now: datetime) -> Charge:
    """Write down what is about to be tried.

    Raises OrderNotFound, NotPayableYet, TimeIsUp, OrderCancelled, PaidAlready or PaymentUnderWay.
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
            return OrderCancelled()
    charge = await repository.live_charge(tx, order_id)
    if charge is not None:
        return PaidAlready() if charge.status == "completed" else PaymentUnderWay()
    if order.expires_at <= now:
        return TimeIsUp()
    if await repository.attempts(tx, order_id) >= MOST_ATTEMPTS:
        return OrderCancelled()  # The last decline is on its way to orders.
    return PaymentUnderWay()  # It was, a moment ago.


async def note_authorized(tx: Tx, charge_id: UUID, stripe_id: str) -> None:
    """The bank has approved. Whether that completes the order, orders decides."""
    charge = await repository.authorized(tx, charge_id, stripe_id)
    if charge is not None:
        await tx.emit(
            PaymentAuthorized(
                charge_id=charge.charge_id,
                order_id=charge.order_id,
                amount_cents=charge.amount_cents,
                currency=charge.currency,
            )
        )


async def note_failed(tx: Tx, charge_id: UUID, failure: str) -> None:
    """The attempt has ended without money: declined, or voided."""
    charge = await repository.failed(tx, charge_id, failure)
    if charge is not None:
        await tx.emit(PaymentFailed(charge_id=charge.charge_id, order_id=charge.order_id, attempt=charge.attempt, decline_code=failure))


async def note_captured(tx: Tx, charge_id: UUID) -> None:
    """The money was taken."""
    charge = await repository.completed(tx, charge_id)
    if charge is not None:
        await tx.emit(
            PaymentCreated(
                charge_id=charge.charge_id,
                order_id=charge.order_id,
                amount_cents=charge.amount_cents,
                currency=charge.currency,
            )
        )
