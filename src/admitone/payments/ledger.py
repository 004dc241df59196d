"""Double entry: every cent that was taken or given back is booked twice, and every posting sums to zero.

Debits are positive, credits negative. `processor` is what the card processor holds for us; `seller` and `fees` are to whom it
belongs: the seller's share, and the marketplace's part. What the processor itself charges us is not in here.
"""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from admitone.kit.data.db import Tx
from admitone.payments.model import Charge


class Balance(Struct, frozen=True, kw_only=True):
    account: str
    seller_id: UUID | None
    currency: str
    amount_cents: int
    """Positive: held for us. Negative: owed by us."""


async def book_capture(tx: Tx, charge: Charge, now: datetime) -> None:
    """The buyer has paid: the seller's share and our fee are what we owe for it. A second time books nothing."""
    await tx.run(
        """
        INSERT INTO ledger (posting, account, seller_id, charge_id, amount_cents, currency, booked_at)
        SELECT 'capture:' || $1::uuid, account, seller_id, $1, amount_cents, $5, $6
        FROM (VALUES ('processor', NULL, $2::bigint), ('seller', $4::uuid, $3::bigint - $2), ('fees', NULL, -$3))
            AS entry (account, seller_id, amount_cents)
        WHERE amount_cents <> 0
        ON CONFLICT DO NOTHING
        """,
        charge.charge_id,
        charge.amount_cents,
        charge.fee_cents,
        charge.seller_id,
        charge.currency,
        now,
    )


async def book_refund(tx: Tx, charge: Charge, now: datetime) -> int:
    """The reverse of what was booked when the charge was captured; returns what the buyer gets back, in cents: 0 if it never was."""
    given_back: int = await tx.value(
        """
        WITH reversed AS (
            INSERT INTO ledger (posting, account, seller_id, charge_id, amount_cents, currency, booked_at)
            SELECT 'refund:' || $1::uuid, account, seller_id, charge_id, -amount_cents, currency, $2
            FROM ledger WHERE posting = 'capture:' || $1::uuid
            ON CONFLICT DO NOTHING RETURNING account, amount_cents)
        SELECT coalesce(-sum(amount_cents), 0)::bigint FROM reversed WHERE account = 'processor'
        """,
        charge.charge_id,
        now,
    )
    return given_back


async def balances(tx: Tx) -> list[Balance]:
    """What stands in every account, per currency; the processor's first, then the fees', then each seller's."""
    return await tx.all(
        Balance,
        """
        SELECT account, seller_id, currency, sum(amount_cents)::bigint AS amount_cents FROM ledger
        GROUP BY account, seller_id, currency ORDER BY currency, array_position(ARRAY['processor', 'fees', 'seller'], account), seller_id
        """,
    )


async def unlike_charges(tx: Tx) -> list[UUID]:
    """Charges whose money is not booked as their status says. There should be none."""
    found = await tx.connection.fetch(
        """
        SELECT charge_id FROM charges LEFT JOIN (
            SELECT charge_id, sum(amount_cents) AS held, sum(amount_cents) FILTER (WHERE posting LIKE 'capture:%') AS taken
            FROM ledger WHERE account = 'processor' GROUP BY charge_id) AS booked USING (charge_id)
        WHERE coalesce(held, 0) <> CASE WHEN status = 'completed' THEN amount_cents ELSE 0 END
           OR coalesce(taken, 0) NOT IN (0, amount_cents)
        """
    )
    return [row["charge_id"] for row in found]
