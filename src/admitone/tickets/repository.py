"""Every SQL statement of tickets. Each decides by itself, and answers by what it returns."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from admitone.events import OrderEvent
from admitone.kit.data.db import Tx
from admitone.kit.http.paging import after
from admitone.tickets.model import Search, Ticket

SCAN_LIMIT = 1000
"""A search reads up to so many tickets in list order before it uses the n-gram index; that takes a millisecond or two."""


async def insert(tx: Tx, ticket_id: UUID, seller_id: UUID, title: str, price_cents: int, currency: str, now: datetime) -> Ticket:
    ticket = await tx.one(
        Ticket,
        """
        INSERT INTO tickets (ticket_id, version, seller_id, title, price_cents, currency, created_at)
        VALUES ($1, 1, $2, $3, $4, $5, $6) RETURNING *
        """,
        ticket_id,
        seller_id,
        title,
        price_cents,
        currency,
        now,
    )
    assert ticket is not None
    return ticket


async def edit(tx: Tx, ticket_id: UUID, seller_id: UUID, title: str, price_cents: int, version: int | None) -> Ticket | None:
    """The changed ticket, or None when it is not this seller's, may not be changed, or has another version than was given."""
    return await tx.one(
        Ticket,
        """
        UPDATE tickets SET title = $3, price_cents = $4, version = version + 1
        WHERE ticket_id = $1 AND seller_id = $2 AND order_id IS NULL AND NOT withdrawn AND NOT sold AND ($5::int IS NULL OR version = $5)
        RETURNING *
        """,
        ticket_id,
        seller_id,
        title,
        price_cents,
        version,
    )


async def withdraw(tx: Tx, ticket_id: UUID, seller_id: UUID) -> Ticket | None:
    """The withdrawn ticket, or None when it is not this seller's or may not be changed."""
    return await tx.one(
        Ticket,
        """
        UPDATE tickets SET withdrawn = true, version = version + 1
        WHERE ticket_id = $1 AND seller_id = $2 AND order_id IS NULL AND NOT withdrawn AND NOT sold
        RETURNING *
        """,
        ticket_id,
        seller_id,
    )


async def lock(tx: Tx, orders: Sequence[OrderEvent]) -> list[Ticket]:
    """The tickets that are locked for these orders from now on. No two orders may be for the same ticket.

    Not locked is one whose fencing token is not newer, or whose title, price or currency differ. A newer token means that every older
    order has ended. One that was paid was refunded, and its event is still on its way.
    """
    return await tx.all(
        Ticket,
        """
        UPDATE tickets SET sold = false, order_id = ordered.order_id, lock = ordered.lock, locked_until = ordered.cancel_at,
            version = version + 1
        FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::timestamptz[], $5::text[], $6::bigint[], $7::text[])
            AS ordered (ticket_id, order_id, lock, cancel_at, title, price_cents, currency)
        WHERE tickets.ticket_id = ordered.ticket_id AND tickets.lock < ordered.lock AND NOT withdrawn
            AND tickets.title = ordered.title AND tickets.price_cents = ordered.price_cents AND tickets.currency = ordered.currency
        RETURNING tickets.*
        """,
        [order.ticket_id for order in orders],
        [order.order_id for order in orders],
        [order.lock for order in orders],
        [order.cancel_at for order in orders],
        [order.title for order in orders],
        [order.price_cents for order in orders],
        [order.currency for order in orders],
    )


async def lock_longer(tx: Tx, order: OrderEvent) -> Ticket | None:
    """The ticket, locked until the new deadline. None when this order does not hold it, or already holds it for as long."""
    return await tx.one(
        Ticket,
        """
        UPDATE tickets SET locked_until = $3, version = version + 1
        WHERE ticket_id = $1 AND order_id = $2 AND NOT sold AND locked_until < $3
        RETURNING *
        """,
        order.ticket_id,
        order.order_id,
        order.cancel_at,
    )


async def unlock(tx: Tx, ticket_id: UUID, fencing_token: int) -> Ticket | None:
    """The ticket, free again; or None when no order holds it, or one with a newer fencing token does."""
    return await tx.one(
        Ticket,
        """
        UPDATE tickets SET sold = false, order_id = NULL, locked_until = NULL, lock = $2, version = version + 1
        WHERE ticket_id = $1 AND lock <= $2 AND order_id IS NOT NULL
        RETURNING *
        """,
        ticket_id,
        fencing_token,
    )


async def sell(tx: Tx, ticket_id: UUID, order_id: UUID, fencing_token: int) -> Ticket | None:
    """The sold ticket. None when it was sold to this order before, a newer token holds it, or it was relisted after the refund."""
    return await tx.one(
        Ticket,
        """
        UPDATE tickets SET sold = true, order_id = $2, locked_until = NULL, lock = $3, version = version + 1
        WHERE ticket_id = $1 AND lock <= $3 AND relisted < $3 AND NOT (sold AND order_id = $2)
        RETURNING *
        """,
        ticket_id,
        order_id,
        fencing_token,
    )


async def relist(tx: Tx, ticket_id: UUID, fencing_token: int) -> Ticket | None:
    """The ticket, on sale again; or None when this token did not hold it. From now on this token can't sell it any more."""
    await tx.run(
        """
        UPDATE tickets SET relisted = $2, lock = greatest(lock, $2)
        WHERE ticket_id = $1 AND relisted < $2 AND (lock > $2 OR order_id IS NULL)
        """,
        ticket_id,
        fencing_token,
    )
    return await tx.one(
        Ticket,
        """
        UPDATE tickets SET sold = false, order_id = NULL, locked_until = NULL, lock = $2, relisted = $2, version = version + 1
        WHERE ticket_id = $1 AND lock <= $2 AND order_id IS NOT NULL
        RETURNING *
        """,
        ticket_id,
        fencing_token,
    )


async def remember_fencing_token(tx: Tx, ticket_id: UUID, fencing_token: int) -> bool:
    """Store the fencing token, so that older orders are ignored. False when the ticket has this token or a newer one."""
    return bool(await tx.run("UPDATE tickets SET lock = $2 WHERE ticket_id = $1 AND lock < $2", ticket_id, fencing_token))


async def write_note(tx: Tx, ticket_id: UUID, seller_id: UUID, note: str) -> bool:
    """Store the seller's note. False when the user is not the ticket's seller."""
    return bool(
        await tx.run(
            """
            INSERT INTO notes (ticket_id, note) SELECT ticket_id, $3 FROM tickets WHERE ticket_id = $1 AND seller_id = $2
            ON CONFLICT (ticket_id) DO UPDATE SET note = excluded.note
            """,
            ticket_id,
            seller_id,
            note,
        )
    )


async def get_note(tx: Tx, ticket_id: UUID, reader_id: UUID) -> str | None:
    """The seller's note, empty if there is none. None for a reader who is neither the seller nor a buyer without a refund."""
    found: str | None = await tx.value(
        """
        SELECT coalesce(note, '') FROM tickets LEFT JOIN notes USING (ticket_id) LEFT JOIN purchases USING (order_id)
        WHERE ticket_id = $1 AND (seller_id = $2 OR user_id = $2 AND NOT refunded)
        """,
        ticket_id,
        reader_id,
    )
    return found


async def record_purchase(tx: Tx, order_id: UUID, user_id: UUID, refunded: bool) -> None:
    """Record that this user has paid for the order. Once `refunded` is true, it stays true, whatever arrives later."""
    await tx.run(
        """
        INSERT INTO purchases (order_id, user_id, refunded) VALUES ($1, $2, $3)
        ON CONFLICT (order_id) DO UPDATE SET refunded = true WHERE excluded.refunded
        """,
        order_id,
        user_id,
        refunded,
    )


async def get(tx: Tx, ticket_id: UUID) -> Ticket | None:
    return await tx.one(Ticket, "SELECT * FROM tickets WHERE ticket_id = $1", ticket_id)


async def search(tx: Tx, wanted: Search) -> list[Ticket]:
    """Available tickets, one more than the limit where there are more. Raises BadInput for a cursor that is none.

    1. Without conditions that need a filter, read the page from the index of the sort order.
    2. Otherwise scan the first SCAN_LIMIT tickets in that order, and filter them. A common word fills the page here.
    3. If the page is not full, find all matches, by the n-gram index where there is a text, and sort them. Only few match here.

    The scan replaces the planner's estimate of how common a word is, which can be wrong.
    """
    newest = wanted.sort == "newest"
    sorted_by, operator = ("created_at", "<") if newest else ("price_cents", ">")
    order = "created_at DESC, ticket_id DESC" if newest else "price_cents, ticket_id"
    values: list[object] = []

    def parameter(value: object) -> str:
        values.append(value)
        return f"${len(values)}"

    scan_conditions = ["order_id IS NULL AND NOT withdrawn AND NOT sold"]
    filter_conditions, index_conditions = list[str](), list[str]()
    place, ticket_id = after(wanted.cursor, by=datetime if newest else int)
    if ticket_id is not None:
        scan_conditions.append(f"({sorted_by}, ticket_id) {operator} ({parameter(place)}, {parameter(ticket_id)})")
    for sign, price in ((">=", wanted.min), ("<=", wanted.max)):
        if price is not None:
            (filter_conditions if newest else scan_conditions).append(f"price_cents {sign} {parameter(price)}")
    if q := wanted.q.strip():
        text = f"lower({parameter(q)}::text)"
        filter_conditions.append(f"strpos(lower(title), {text}) > 0")
        index_conditions.append(f"ngrams(lower(title), 1) @> ngrams({text}, least(char_length({text}), 3))")

    scan = f"SELECT * FROM tickets WHERE {' AND '.join(scan_conditions)} ORDER BY {order} LIMIT"
    count = wanted.limit + 1
    if not filter_conditions:
        return await tx.all(Ticket, f"{scan} {count}", *values)
    conditions = " AND ".join(filter_conditions)
    matches = await tx.all(
        Ticket, f"SELECT * FROM ({scan} {SCAN_LIMIT}) AS scanned WHERE {conditions} ORDER BY {order} LIMIT {count}", *values
    )
    if len(matches) == count:
        return matches
    return await tx.all(
        Ticket,
        f"""
        WITH found AS MATERIALIZED (SELECT * FROM tickets WHERE {" AND ".join(scan_conditions + filter_conditions + index_conditions)})
        SELECT * FROM found ORDER BY {order} LIMIT {count}
        """,
        *values,
    )


async def list_by_seller(tx: Tx, seller_id: UUID, limit: int, cursor: str | None) -> list[Ticket]:
    """A seller's tickets in every state, newest first, one more than the limit where there are more."""
    created_at, ticket_id = after(cursor, by=datetime)
    return await tx.all(
        Ticket,
        """
        SELECT * FROM tickets
        WHERE seller_id = $1 AND ($2::uuid IS NULL OR (created_at, ticket_id) < ($3, $2))
        ORDER BY created_at DESC, ticket_id DESC LIMIT $4
        """,
        seller_id,
        ticket_id,
        created_at,
        limit + 1,
    )
