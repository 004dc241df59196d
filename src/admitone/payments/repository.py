"""Every SQL statement of payments but the ledger's. Each decides by itself, and answers by what it returns."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from admitone.events import OrderEvent
from admitone.kit.data.db import Tx
from admitone.payments.model import MAX_ATTEMPTS, Charge, DueCharge, OrderCopy

IN_DOUBT_AFTER = timedelta(seconds=15)
"""Longer than the processor's deadline: the first call has ended by then, whichever way."""
CONFIRMATION_LOOKS = timedelta(seconds=10)
"""How often a payment that its buyer has to confirm is looked at, in case nobody tells us."""


async def keep_newest(tx: Tx, orders: Sequence[OrderEvent]) -> None:
    """Copies of orders, each made from any of its events: the newer version wins. No order may be among them twice."""
    await tx.run(
        """
        INSERT INTO order_copies AS copy
            (order_id, version, user_id, status, price_cents, currency, expires_at, seller_id, fee_basis_points)
        SELECT * FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::text[], $5::bigint[], $6::text[], $7::timestamptz[],
            $8::uuid[], $9::integer[]) ORDER BY 1
        ON CONFLICT (order_id) DO UPDATE SET version = excluded.version, user_id = excluded.user_id,
            status = excluded.status, price_cents = excluded.price_cents, currency = excluded.currency,
            expires_at = excluded.expires_at, seller_id = excluded.seller_id, fee_basis_points = excluded.fee_basis_points
        WHERE copy.version < excluded.version
        """,
        [order.order_id for order in orders],
        [order.version for order in orders],
        [order.user_id for order in orders],
        [order.status for order in orders],
        [order.price_cents for order in orders],
        [order.currency for order in orders],
        [order.expires_at for order in orders],
        [order.seller_id for order in orders],
        [order.fee_basis_points for order in orders],
    )


async def begin(tx: Tx, charge_id: UUID, order_id: UUID, user_id: UUID, token: str, now: datetime, correlation_id: UUID) -> Charge | None:
    """The intent to charge this buyer's order its price, or None when something stands in the way. The indexes see to one at a time."""
    return await tx.one(
        Charge,
        """
        INSERT INTO charges (charge_id, order_id, attempt, status, amount_cents, currency, fee_cents, seller_id, payment_token,
                             idempotency_key, begun_at, changed_at, next_attempt_at, correlation_id)
        SELECT $1, order_id, 1 + (SELECT count(*) FROM charges WHERE order_id = $2), 'created', price_cents, currency,
               (price_cents * fee_basis_points + 5000) / 10000, seller_id, $4, $5, $6, $6, $9, $8
        FROM order_copies
        WHERE order_id = $2 AND user_id = $3 AND status = 'awaiting:payment' AND expires_at > $6
            AND (SELECT count(*) FROM charges WHERE order_id = $2) < $7
        ON CONFLICT DO NOTHING
        RETURNING *
        """,
        charge_id,
        order_id,
        user_id,
        token,
        f"{order_id}:authorize:{charge_id}",
        now,
        MAX_ATTEMPTS,
        correlation_id,
        now + IN_DOUBT_AFTER,
    )


async def needs_confirmation(tx: Tx, charge_id: UUID, stripe_id: str, redirect_url: str | None, now: datetime) -> None:
    """The buyer has to confirm it at the bank first."""
    await tx.run(
        """
        UPDATE charges SET stripe_id = $2, redirect_url = $3, next_attempt_at = $4, failed_attempts = 0, last_error = NULL
        WHERE charge_id = $1 AND status = 'created'
        """,
        charge_id,
        stripe_id,
        redirect_url,
        now + CONFIRMATION_LOOKS,
    )


async def authorized(tx: Tx, charge_id: UUID, stripe_id: str, now: datetime) -> Charge | None:
    """The charge, with its money set aside; None when its outcome was known already."""
    return await tx.one(
        Charge,
        """
        UPDATE charges SET status = 'authorized', stripe_id = $2, changed_at = $3, next_attempt_at = $3,
            failed_attempts = 0, last_error = NULL
        WHERE charge_id = $1 AND status = 'created' RETURNING *
        """,
        charge_id,
        stripe_id,
        now,
    )


async def completed(tx: Tx, charge_id: UUID, now: datetime) -> Charge | None:
    """The charge, with its money taken; None when it was before, or when its order is not complete."""
    return await tx.one(
        Charge,
        """
        UPDATE charges SET status = 'completed', changed_at = $2, next_attempt_at = $2, failed_attempts = 0, last_error = NULL
        FROM order_copies AS copy
        WHERE charge_id = $1 AND charges.status = 'authorized' AND copy.order_id = charges.order_id AND copy.status = 'complete'
        RETURNING charges.*
        """,
        charge_id,
        now,
    )


async def failed(tx: Tx, charge_id: UUID, failure: str, now: datetime) -> Charge | None:
    """The charge, ended without money; None when it has ended already.

    Once it was approved, only a cancelled order ends it like that: orders may be completing it at this moment.
    """
    return await tx.one(
        Charge,
        """
        UPDATE charges SET status = 'failed', failure = $2, changed_at = $3, last_error = NULL
        FROM order_copies AS copy
        WHERE charge_id = $1 AND copy.order_id = charges.order_id
            AND (charges.status = 'created' OR charges.status = 'authorized' AND copy.status = 'cancelled')
        RETURNING charges.*
        """,
        charge_id,
        failure,
        now,
    )


async def uncollected(tx: Tx, charge_id: UUID, error: str, now: datetime) -> Charge | None:
    """The charge, whose approved money can't be taken any more; None when it has ended already."""
    return await tx.one(
        Charge,
        """
        UPDATE charges SET status = 'uncollected', last_error = $2, changed_at = $3, next_attempt_at = $3
        FROM order_copies AS copy
        WHERE charge_id = $1 AND charges.status = 'authorized' AND copy.order_id = charges.order_id AND copy.status = 'complete'
        RETURNING charges.*
        """,
        charge_id,
        error,
        now,
    )


async def retry_later(tx: Tx, charge_id: UUID, error: str, at: datetime) -> None:
    await tx.run(
        """
        UPDATE charges SET last_error = $2, next_attempt_at = $3, failed_attempts = failed_attempts + 1
        WHERE charge_id = $1 AND status NOT IN ('failed', 'refunded')
        """,
        charge_id,
        error,
        at,
    )


async def ask_for_refund(tx: Tx, order_id: UUID, reason: str, relist: bool, now: datetime) -> Charge | None:
    """The charge that is to be given back; None when none was taken for a complete order, or it was asked for before."""
    return await tx.one(
        Charge,
        """
        UPDATE charges SET refund_asked_at = $4, refund_reason = $2, relist = $3, next_attempt_at = $4, failed_attempts = 0
        FROM order_copies AS copy
        WHERE charges.order_id = $1 AND copy.order_id = $1 AND copy.status = 'complete'
            AND charges.status IN ('authorized', 'completed', 'uncollected') AND refund_asked_at IS NULL
        RETURNING charges.*
        """,
        order_id,
        reason,
        relist,
        now,
    )


async def refund_asked_for(tx: Tx, order_id: UUID) -> Charge | None:
    return await tx.one(Charge, "SELECT * FROM charges WHERE order_id = $1 AND refund_asked_at IS NOT NULL", order_id)


async def refunded(tx: Tx, charge_id: UUID, refund_id: str | None, now: datetime) -> Charge | None:
    """The charge, given back; None when it was before, or was never taken."""
    return await tx.one(
        Charge,
        """
        UPDATE charges SET status = 'refunded', stripe_refund_id = $2, changed_at = $3, last_error = NULL
        WHERE charge_id = $1 AND status IN ('completed', 'uncollected') RETURNING *
        """,
        charge_id,
        refund_id,
        now,
    )


async def settle_uncollected(tx: Tx, order_id: UUID, reason: str) -> Charge | None:
    return await tx.one(
        Charge,
        "UPDATE charges SET settled_reason = $2 WHERE order_id = $1 AND status = 'uncollected' RETURNING *",
        order_id,
        reason,
    )


async def order_copy(tx: Tx, order_id: UUID) -> OrderCopy | None:
    return await tx.one(OrderCopy, "SELECT * FROM order_copies WHERE order_id = $1", order_id)


async def charge(tx: Tx, charge_id: UUID) -> Charge | None:
    return await tx.one(Charge, "SELECT * FROM charges WHERE charge_id = $1", charge_id)


async def charge_of(tx: Tx, stripe_id: str, charge_id: UUID | None) -> Charge | None:
    """The charge with this id at the processor, which may have told us of it before we have written it down."""
    return await tx.one(
        Charge,
        "SELECT * FROM charges WHERE stripe_id = $1 OR (stripe_id IS NULL AND charge_id = $2)",
        stripe_id,
        charge_id,
    )


async def live_charge(tx: Tx, order_id: UUID) -> Charge | None:
    return await tx.one(Charge, "SELECT * FROM charges WHERE order_id = $1 AND status <> 'failed'", order_id)


async def charges_of(tx: Tx, order_id: UUID) -> list[Charge]:
    """Every attempt to pay for an order, in order."""
    return await tx.all(Charge, "SELECT * FROM charges WHERE order_id = $1 ORDER BY attempt", order_id)


async def attempts(tx: Tx, order_id: UUID) -> int:
    count: int = await tx.value("SELECT count(*) FROM charges WHERE order_id = $1", order_id)
    return count


async def due(tx: Tx, now: datetime) -> list[DueCharge]:
    """Charges with something to do at this moment, the longest overdue first: so that none that fails holds up another."""
    return await tx.all(
        DueCharge,
        """
        SELECT charges.*, copy.status AS order_status FROM charges JOIN order_copies AS copy USING (order_id)
        WHERE charges.status = 'created' AND (
                next_attempt_at <= $1 OR (copy.status = 'cancelled' AND stripe_id IS NOT NULL AND failed_attempts = 0))
           OR charges.status = 'authorized' AND copy.status IN ('complete', 'cancelled') AND next_attempt_at <= $1
           OR charges.status IN ('completed', 'uncollected') AND refund_asked_at IS NOT NULL AND next_attempt_at <= $1
        ORDER BY next_attempt_at LIMIT 50
        """,
        now,
    )


async def unsettled(tx: Tx, before: datetime) -> list[DueCharge]:
    """Charges that came to where they are before then, and should not be there any more."""
    return await tx.all(
        DueCharge,
        """
        SELECT charges.*, copy.status AS order_status FROM charges JOIN order_copies AS copy USING (order_id)
        WHERE (charges.status = 'created' AND changed_at < $1 AND NOT (redirect_url IS NOT NULL AND copy.status = 'awaiting:payment'))
           OR (charges.status = 'authorized' AND changed_at < $1)
           OR (charges.status = 'completed' AND refund_asked_at < $1)
           OR (charges.status = 'uncollected' AND settled_reason IS NULL)
        ORDER BY changed_at
        """,
        before,
    )
