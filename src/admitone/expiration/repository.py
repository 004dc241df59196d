"""Every SQL statement of expiration."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from admitone.kit.data.db import Tx


class Timer(Struct, frozen=True, kw_only=True):
    order_id: UUID
    version: int
    due: datetime | None
    rung_at: datetime | None = None
    correlation_id: UUID


async def set_timers(tx: Tx, timers: Sequence[Timer]) -> None:
    """Set, move or clear the timers of orders, each if its version is newer than the stored one. No order may be among them twice."""
    await tx.run(
        """
        INSERT INTO timers AS timer (order_id, version, due, correlation_id)
        SELECT * FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::uuid[]) ORDER BY 1
        ON CONFLICT (order_id) DO UPDATE SET version = excluded.version, due = excluded.due,
            rung_at = CASE WHEN timer.due IS NOT DISTINCT FROM excluded.due THEN timer.rung_at END
        WHERE timer.version < excluded.version
        """,
        [timer.order_id for timer in timers],
        [timer.version for timer in timers],
        [timer.due for timer in timers],
        [timer.correlation_id for timer in timers],
    )


async def ring(tx: Tx, now: datetime) -> list[Timer]:
    """Mark up to 500 due timers as rung, and return them. Those that another process has locked are skipped."""
    return await tx.all(
        Timer,
        """
        UPDATE timers SET rung_at = $1
        WHERE order_id IN (
            SELECT order_id FROM timers WHERE due <= $1 AND rung_at IS NULL
            ORDER BY due LIMIT 500 FOR UPDATE SKIP LOCKED)
        RETURNING *
        """,
        now,
    )


async def count_overdue(tx: Tx, before: datetime) -> int:
    """How many timers were due before then and have not rung."""
    count: int = await tx.value("SELECT count(*) FROM timers WHERE due < $1 AND rung_at IS NULL", before)
    return count


async def next_due(tx: Tx) -> datetime | None:
    """When the next timer is due, or None when none waits."""
    due: datetime | None = await tx.value("SELECT min(due) FROM timers WHERE due IS NOT NULL AND rung_at IS NULL")
    return due
