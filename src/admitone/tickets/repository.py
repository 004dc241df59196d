"""Every SQL statement of tickets. Each decides by itself, and answers by what it returns."""

from datetime import datetime
from uuid import UUID

from admitone.events import OrderEvent
from admitone.kit.data.db import Tx
from admitone.kit.http.paging import after
from admitone.tickets.model import Search, Ticket

WALK = 1000
"""So many tickets are looked at one by one, which takes a millisecond or two."""


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


async def edit(tx: Tx, ticket_id: UUID, seller_id: UUID, title: str, price_cents: int) -> Ticket | None:
    """The changed ticket, or None when it is not this seller's or may not be changed."""
    return await tx.one(
        Ticket,
        """
        UPDATE tickets SET title = $3, price_cents = $4, version = version + 1
        WHERE ticket_id = $1 AND seller_id = $2 AND order_id IS NULL AND NOT withdrawn AND NOT sold
        RETURNING *
        """,
        ticket_id,
        seller_id,
        title,
        price_cents,
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


async def lock(tx: Tx, order: OrderEvent) -> Ticket | None:
    """The ticket, held for this order; or None when its token is not newer or the ticket is not what the order says.

    A newer token says that every older order has ended, even one that was paid: it was refunded, and that news is on its way.
    """
    return await tx.one(
        Ticket,
        """
        UPDATE tickets SET sold = false, order_id = $2, lock = $3, locked_until = $4, version = version + 1
        WHERE ticket_id = $1 AND lock < $3 AND NOT withdrawn
            AND title = $5 AND price_cents = $6 AND currency = $7
        RETURNING *
        """,
        order.ticket_id,
        order.order_id,
        order.lock,
        order.cancel_at,
        order.title,
        order.price_cents,
        order.currency,
    )


async def lock_longer(tx: Tx, order: OrderEvent) -> Ticket | None:
    """The ticket, held for this order until its new deadline; or None when this order does not hold it, or did so until then already."""
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


async def unlock(tx: Tx, ticket_id: UUID, lock: int) -> Ticket | None:
    """The ticket, free again; or None when nobody held it, or only by a newer token."""
    return await tx.one(
        Ticket,
        """
        UPDATE tickets SET sold = false, order_id = NULL, locked_until = NULL, lock = $2, version = version + 1
        WHERE ticket_id = $1 AND lock <= $2 AND order_id IS NOT NULL
        RETURNING *
        """,
        ticket_id,
        lock,
    )


async def sell(tx: Tx, ticket_id: UUID, order_id: UUID, lock: int) -> Ticket | None:
    """The sold ticket; or None when this order has it already, a newer token holds it, or it is on sale again since the refund."""
    return await tx.one(
        Ticket,
        """
        UPDATE tickets SET sold = true, order_id = $2, locked_until = NULL, lock = $3, version = version + 1
        WHERE ticket_id = $1 AND lock <= $3 AND relisted < $3 AND NOT (sold AND order_id = $2)
        RETURNING *
        """,
        ticket_id,
        order_id,
        lock,
    )


async def relist(tx: Tx, ticket_id: UUID, lock: int) -> Ticket | None:
    """The ticket, on sale again; or None when it was not sold or held by this token. Either way this token sells nothing from now on."""
    await tx.run(
        """
        UPDATE tickets SET relisted = $2, lock = greatest(lock, $2)
        WHERE ticket_id = $1 AND relisted < $2 AND (lock > $2 OR order_id IS NULL)
        """,
        ticket_id,
        lock,
    )
    return await tx.one(
        Ticket,
        """
        UPDATE tickets SET sold = false, order_id = NULL, locked_until = NULL, lock = $2, relisted = $2, version = version + 1
        WHERE ticket_id = $1 AND lock <= $2 AND order_id IS NOT NULL
        RETURNING *
        """,
        ticket_id,
        lock,
    )


async def remember_lock(tx: Tx, ticket_id: UUID, lock: int) -> bool:
    """Whether this token is the highest yet; it is remembered, so that nothing older counts from now on."""
    return bool(await tx.run("UPDATE tickets SET lock = $2 WHERE ticket_id = $1 AND lock < $2", ticket_id, lock))


async def write_note(tx: Tx, ticket_id: UUID, seller_id: UUID, note: str) -> bool:
    """Whether it is written: only a ticket's seller may."""
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


async def note(tx: Tx, ticket_id: UUID, reader_id: UUID) -> str | None:
    """The note for its reader, empty where there is none; or None for who is neither the seller nor has bought the ticket and kept it."""
    found: str | None = await tx.value(
        """
        SELECT coalesce(note, '') FROM tickets LEFT JOIN notes USING (ticket_id) LEFT JOIN purchases USING (order_id)
        WHERE ticket_id = $1 AND (seller_id = $2 OR user_id = $2 AND NOT refunded)
        """,
        ticket_id,
        reader_id,
    )
    return found


async def note_purchase(tx: Tx, order_id: UUID, user_id: UUID, refunded: bool) -> None:
    """This user has paid for this order; once the money was given back, that stays true, whatever is heard later."""
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

    What many tickets have is met soon on a walk along the list; what few have is found by an index and sorted then. Which of both it
    is, we find out by walking a little way, so that no estimate has to be right.
    """
    newest = wanted.sort == "newest"
    sorted_by, beyond = ("created_at", "<") if newest else ("price_cents", ">")
    order = "created_at DESC, ticket_id DESC" if newest else "price_cents, ticket_id"
    values: list[object] = []

    def put(value: object) -> str:
        values.append(value)
        return f"${len(values)}"

    on_the_way, elsewhere, by_index = ["order_id IS NULL AND NOT withdrawn AND NOT sold"], list[str](), list[str]()
    place, ticket_id = after(wanted.cursor, by=datetime if newest else int)
    if ticket_id is not None:
        on_the_way.append(f"({sorted_by}, ticket_id) {beyond} ({put(place)}, {put(ticket_id)})")
    for sign, price in ((">=", wanted.min), ("<=", wanted.max)):
        if price is not None:
            (elsewhere if newest else on_the_way).append(f"price_cents {sign} {put(price)}")
    if q := wanted.q.strip():
        text = f"lower({put(q)}::text)"
        elsewhere.append(f"strpos(lower(title), {text}) > 0")
        by_index.append(f"ngrams(lower(title), 1) @> ngrams({text}, least(char_length({text}), 3))")

    walk = f"SELECT * FROM tickets WHERE {' AND '.join(on_the_way)} ORDER BY {order} LIMIT"
    most = wanted.limit + 1
    if not elsewhere:
        return await tx.all(Ticket, f"{walk} {most}", *values)
    met = await tx.all(
        Ticket, f"SELECT * FROM ({walk} {WALK}) AS way WHERE {' AND '.join(elsewhere)} ORDER BY {order} LIMIT {most}", *values
    )
    if len(met) == most:
        return met
    return await tx.all(
        Ticket,
        f"""
        WITH found AS MATERIALIZED (SELECT * FROM tickets WHERE {" AND ".join(on_the_way + elsewhere + by_index)})
        SELECT * FROM found ORDER BY {order} LIMIT {most}
        """,
        *values,
    )


async def of_seller(tx: Tx, seller_id: UUID, limit: int, cursor: str | None) -> list[Ticket]:
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
