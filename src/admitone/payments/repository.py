"""Every SQL statement of payments. Each decides by itself, and answers by what it returns."""

from datetime import datetime
from uuid import UUID

from admitone.events import OrderEvent
from admitone.kit.db import Tx
from admitone.payments.model import MOST_ATTEMPTS, Charge, OrderCopy


async def keep_newest(tx: Tx, order: OrderEvent) -> None:
    """A copy of an order, made from any of its events: the newer version wins."""
    await tx.run(
        """
        INSERT INTO order_copies AS copy (order_id, version, user_id, status, price_cents, currency, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (order_id) DO UPDATE SET version = excluded.version, user_id = excluded.user_id,
            status = excluded.status, price_cents = excluded.price_cents, currency = excluded.currency,
            expires_at = excluded.expires_at
        WHERE copy.version < excluded.version
        """,
        order.order_id,
        order.version,
        order.user_id,
        order.status,
        order.price_cents,
        order.currency,
        order.expires_at,
    )


async def begin(tx: Tx, charge_id: UUID, order_id: UUID, user_id: UUID, token: str, now: datetime, correlation_id: UUID) -> Charge | None:
    """The intent to charge this buyer's order, or None when something stands in the way. The indexes see to one at a time."""
    return await tx.one(
        Charge,
        """
        INSERT INTO charges (charge_id, order_id, attempt, status, amount_cents, currency, payment_token, idempotency_key,
                             begun_at, correlation_id)
        SELECT $1, order_id, 1 + (SELECT count(*) FROM charges WHERE order_id = $2), 'created', price_cents, currency, $4, $5,
               $6, $8
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
        MOST_ATTEMPTS,
        correlation_id,
    )


async def authorized(tx: Tx, charge_id: UUID, stripe_id: str) -> Charge | None:
    """The charge, with its money set aside; None when its outcome was known already."""
    return await tx.one(
        Charge,
        "UPDATE charges SET status = 'authorized', stripe_id = $2 WHERE charge_id = $1 AND status = 'created' RETURNING *",
        charge_id,
        stripe_id,
    )


async def completed(tx: Tx, charge_id: UUID) -> Charge | None:
    """The charge, with its money taken; None when it was before."""
    return await tx.one(
        Charge,
        "UPDATE charges SET status = 'completed' WHERE charge_id = $1 AND status = 'authorized' RETURNING *",
        charge_id,
    )


async def failed(tx: Tx, charge_id: UUID, failure: str) -> Charge | None:
    """The charge, ended without money; None when it has ended already."""
    return await tx.one(
        Charge,
        """
        UPDATE charges SET status = 'failed', failure = $2
        WHERE charge_id = $1 AND status IN ('created', 'authorized') RETURNING *
        """,
        charge_id,
        failure,
    )


async def order_copy(tx: Tx, order_id: UUID) -> OrderCopy | None:
    return await tx.one(OrderCopy, "SELECT * FROM order_copies WHERE order_id = $1", order_id)


async def charge(tx: Tx, charge_id: UUID) -> Charge | None:
    return await tx.one(Charge, "SELECT * FROM charges WHERE charge_id = $1", charge_id)


async def live_charge(tx: Tx, order_id: UUID) -> Charge | None:
    return await tx.one(Charge, "SELECT * FROM charges WHERE order_id = $1 AND status <> 'failed'", order_id)


async def attempts(tx: Tx, order_id: UUID) -> int:
    count: int = await tx.value("SELECT count(*) FROM charges WHERE order_id = $1", order_id)
    return count


async def in_doubt(tx: Tx, begun_before: datetime) -> list[Charge]:
    """Charges that were begun and whose outcome nobody has written down."""
    return await tx.all(
        Charge,
        "SELECT * FROM charges WHERE status = 'created' AND begun_at < $1 ORDER BY begun_at LIMIT 50",
        begun_before,
    )


async def to_settle(tx: Tx, order_status: str) -> list[Charge]:
    """Charges whose money is set aside and whose order has come to this end."""
    return await tx.all(
        Charge,
        """
        SELECT charges.* FROM charges JOIN order_copies USING (order_id)
        WHERE charges.status = 'authorized' AND order_copies.status = $1 ORDER BY begun_at LIMIT 50
        """,
        order_status,
    )
