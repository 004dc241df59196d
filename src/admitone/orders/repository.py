"""Every SQL statement of orders. Each one checks its own conditions; what it returns is the outcome."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from admitone.events import PaymentCreated, PaymentFailed, PaymentUncollected, TicketEvent
from admitone.kit.data.db import Tx
from admitone.kit.http.paging import after
from admitone.orders.model import HistoryEntry, Obstacle, Order, Refusal, Wish
from admitone.orders.proof import Proof


async def serialize_users(tx: Tx, user_ids: Sequence[UUID]) -> None:
    """Take these users' advisory locks until the transaction ends, so that their open orders can be counted.

    In sorted order, so that two transactions never wait for each other; and in a statement of its own, so that the next one's
    snapshot is newer than what the others have done under these locks.
    """
    await tx.run(
        "SELECT pg_advisory_xact_lock(hashtextextended(user_id, 0)) FROM unnest($1::text[]) AS buyers (user_id)",
        sorted(str(user_id) for user_id in user_ids),
    )


async def insert_orders(
    tx: Tx, wishes: Sequence[Wish], *, fee_basis_points: int, max_open: int, expires_at: datetime, cancel_at: datetime
) -> list[Order]:
    """Insert an order for each wish whose ticket can be held, at its current price. No buyer may be among them twice.

    Its conditions and two unique indexes decide: one holding order per ticket, and no fencing token twice for the same ticket.
    The rows are inserted in the order of their tickets, so that two transactions never wait for each other.
    """
    return await tx.all(
        Order,
        """
        INSERT INTO orders (order_id, version, ticket_id, user_id, status, title, price_cents, currency, lock,
                            expires_at, cancel_at, created_at, seller_id, fee_basis_points)
        SELECT wish.order_id, 1, ticket_id, wish.user_id, 'created', title, price_cents, currency,
               1 + coalesce((SELECT max(lock) FROM orders WHERE ticket_id = ticket_copies.ticket_id), 0), $5, $6, $7, seller_id, $8
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) WITH ORDINALITY
            AS wish (order_id, user_id, ticket_id, seen_price_cents, position) JOIN ticket_copies USING (ticket_id)
        WHERE NOT withdrawn AND NOT sold AND (wish.seen_price_cents IS NULL OR price_cents = wish.seen_price_cents)
            AND (SELECT count(*) FROM orders WHERE user_id = wish.user_id AND is_open) < $9
        ORDER BY ticket_id, wish.position
        ON CONFLICT DO NOTHING
        RETURNING *
        """,
        [wish.order_id for wish in wishes],
        [wish.user_id for wish in wishes],
        [wish.ticket_id for wish in wishes],
        [wish.seen_price_cents for wish in wishes],
        expires_at,
        cancel_at,
        tx.now,
        fee_basis_points,
        max_open,
    )


async def obstacles(tx: Tx, wishes: Sequence[Wish]) -> list[Obstacle]:
    """What may stand between each wish and its order, in their order."""
    return await tx.all(
        Obstacle,
        """
        SELECT price_cents, currency, sold, withdrawn,
            (SELECT status FROM orders WHERE ticket_id = wish.ticket_id AND holds_ticket) AS holder_status,
            (SELECT count(*) FROM orders WHERE user_id = wish.user_id AND is_open) AS open_orders
        FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS wish (user_id, ticket_id, position)
            LEFT JOIN ticket_copies USING (ticket_id)
        ORDER BY wish.position
        """,
        [wish.user_id for wish in wishes],
        [wish.ticket_id for wish in wishes],
    )


async def confirm(tx: Tx, order_ids: Sequence[UUID]) -> list[Order]:
    """Those of the orders that are payable from now on. Not those that were before, or have ended."""
    return await tx.all(
        Order,
        """
        UPDATE orders SET status = 'awaiting:payment', version = version + 1
        WHERE order_id = ANY($1::uuid[]) AND status = 'created' RETURNING *
        """,
        order_ids,
    )


async def extend(tx: Tx, order_id: UUID, user_id: UUID, by: timedelta, now: datetime) -> Order | None:
    """The order with so much more time; or None when it is not this buyer's, not waiting for a payment, late, or was extended before."""
    return await tx.one(
        Order,
        """
        UPDATE orders SET expires_at = expires_at + $3, cancel_at = cancel_at + $3, extended = true, version = version + 1
        WHERE order_id = $1 AND user_id = $2 AND status = 'awaiting:payment' AND NOT extended AND expires_at > $4
        RETURNING *
        """,
        order_id,
        user_id,
        by,
        now,
    )


async def cancel(tx: Tx, order_id: UUID, reason: str) -> Order | None:
    """The cancelled order, or None when it was not open."""
    return await tx.one(
        Order,
        """
        UPDATE orders SET status = 'cancelled', reason = $2, version = version + 1
        WHERE order_id = $1 AND is_open RETURNING *
        """,
        order_id,
        reason,
    )


async def expire(tx: Tx, order_id: UUID, cancel_at: datetime, now: datetime) -> Order | None:
    """The expired order, or None when it was not open, was given more time, or is not due by our own clock."""
    return await tx.one(
        Order,
        """
        UPDATE orders SET status = 'cancelled', reason = 'expired', version = version + 1
        WHERE order_id = $1 AND is_open AND cancel_at = $2 AND cancel_at <= $3
        RETURNING *
        """,
        order_id,
        cancel_at,
        now,
    )


async def expire_overdue(tx: Tx, now: datetime) -> list[Order]:
    return await tx.all(
        Order,
        """
        UPDATE orders SET status = 'cancelled', reason = 'expired', version = version + 1
        WHERE order_id IN (
            SELECT order_id FROM orders WHERE is_open AND cancel_at <= $1
            ORDER BY cancel_at LIMIT 500 FOR UPDATE SKIP LOCKED)
        RETURNING *
        """,
        now,
    )


async def count_overdue(tx: Tx, before: datetime) -> int:
    """The number of orders that are still open although their `cancel_at` is before this time."""
    count: int = await tx.value("SELECT count(*) FROM orders WHERE is_open AND cancel_at < $1", before)
    return count


async def correlation_of_order(tx: Tx, order_id: UUID) -> UUID | None:
    """The correlation id of the request that created an order, from the outbox row of its first event."""
    request: UUID | None = await tx.value(
        "SELECT correlation_id FROM outbox WHERE data ->> 'order_id' = $1 ORDER BY id LIMIT 1", str(order_id)
    )
    return request


async def complete(tx: Tx, order_id: UUID, amount_cents: int, currency: str) -> Order | None:
    """The complete order, or None when it is not waiting for just this amount."""
    return await tx.one(
        Order,
        """
        UPDATE orders SET status = 'complete', version = version + 1
        WHERE order_id = $1 AND status = 'awaiting:payment' AND price_cents = $2 AND currency = $3 RETURNING *
        """,
        order_id,
        amount_cents,
        currency,
    )


async def record_charge(tx: Tx, order_id: UUID, charge_id: UUID) -> None:
    await tx.run("UPDATE orders SET charge_id = $2 WHERE order_id = $1", order_id, charge_id)


async def record_uncollected(tx: Tx, order_id: UUID) -> None:
    await tx.run("UPDATE orders SET uncollected = true WHERE order_id = $1", order_id)


async def record_payment_event(tx: Tx, event: PaymentFailed | PaymentCreated | PaymentUncollected, now: datetime) -> None:
    """Store the event for the history of its order. A repeated event, or one of an unknown order, changes nothing."""
    await tx.run(
        """
        INSERT INTO payment_events (order_id, event, charge_id, data, version, received_at)
        SELECT order_id, $2, $3, $4, version, $5 FROM orders WHERE order_id = $1
        ON CONFLICT DO NOTHING
        """,
        event.order_id,
        type(event).__name__,
        event.charge_id,
        msgspec.to_builtins(event),
        now,
    )


async def history_entries(tx: Tx, order_id: UUID) -> list[HistoryEntry]:
    """All published and received events about an order, unsorted."""
    return await tx.all(
        HistoryEntry,
        """
        SELECT created_at AS at, event, data, (data ->> 'version')::integer AS version FROM outbox WHERE data ->> 'order_id' = $1
        UNION ALL
        SELECT received_at, event, data, version FROM payment_events WHERE order_id = $2
        """,
        str(order_id),
        order_id,
    )


async def refund(tx: Tx, order_id: UUID, relist: bool) -> Order | None:
    """The refunded order, or None when it was not complete."""
    return await tx.one(
        Order,
        """
        UPDATE orders SET status = 'refunded', relist = $2, version = version + 1
        WHERE order_id = $1 AND status = 'complete' RETURNING *
        """,
        order_id,
        relist,
    )


async def upsert_ticket_copies(tx: Tx, tickets: Sequence[TicketEvent]) -> None:
    """Insert or update copies of tickets, each from any of its events; the newer version wins. No ticket may be among them twice."""
    await tx.run(
        """
        INSERT INTO ticket_copies AS copy
            (ticket_id, version, seller_id, title, price_cents, currency, order_id, withdrawn, sold)
        SELECT * FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::text[], $5::bigint[], $6::text[], $7::uuid[],
            $8::boolean[], $9::boolean[]) ORDER BY 1
        ON CONFLICT (ticket_id) DO UPDATE SET version = excluded.version, seller_id = excluded.seller_id,
            title = excluded.title, price_cents = excluded.price_cents, currency = excluded.currency,
            order_id = excluded.order_id, withdrawn = excluded.withdrawn, sold = excluded.sold
        WHERE copy.version < excluded.version
        """,
        [ticket.ticket_id for ticket in tickets],
        [ticket.version for ticket in tickets],
        [ticket.seller_id for ticket in tickets],
        [ticket.title for ticket in tickets],
        [ticket.price_cents for ticket in tickets],
        [ticket.currency for ticket in tickets],
        [ticket.order_id for ticket in tickets],
        [ticket.withdrawn for ticket in tickets],
        [ticket.sold for ticket in tickets],
    )


async def get(tx: Tx, order_id: UUID) -> Order | None:
    return await tx.one(Order, "SELECT * FROM orders WHERE order_id = $1", order_id)


async def list_by_user(tx: Tx, user_id: UUID, statuses: Sequence[str] | None, limit: int, cursor: str | None) -> list[Order]:
    """A user's orders in these statuses (in all, for None), newest first, one more than the limit where there are more.

    Raises BadInput for a bad cursor.
    """
    created_at, order_id = after(cursor, by=datetime)
    return await tx.all(
        Order,
        """
        SELECT * FROM orders
        WHERE user_id = $1 AND ($2::uuid IS NULL OR (created_at, order_id) < ($3, $2)) AND ($5::text[] IS NULL OR status = ANY ($5))
        ORDER BY created_at DESC, order_id DESC LIMIT $4
        """,
        user_id,
        order_id,
        created_at,
        limit + 1,
        statuses,
    )


async def add_refusals(tx: Tx, counted: Mapping[Refusal, int]) -> None:
    await tx.run(
        """
        INSERT INTO refusals AS known (reason, times) SELECT * FROM unnest($1::text[], $2::bigint[]) ORDER BY 1
        ON CONFLICT (reason) DO UPDATE SET times = known.times + excluded.times
        """,
        list(counted),
        list(counted.values()),
    )


async def publish(tx: Tx, proof: Proof) -> None:
    """Publish a proof, which everybody may read. Older ones are kept."""
    await tx.run("INSERT INTO proofs (checked_at, proof) VALUES ($1, $2)", proof.checked_at, msgspec.to_builtins(proof))


async def newest_proof(tx: Tx) -> Proof | None:
    proof = await tx.value("SELECT proof FROM proofs ORDER BY proof_id DESC LIMIT 1")
    return msgspec.convert(proof, Proof) if proof is not None else None
