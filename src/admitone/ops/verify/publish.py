"""What of a report everybody may read: numbers, never the ids of anybody's orders. It lies in orders' database, which orders serves."""

from admitone.config import Settings
from admitone.ops.reach import open_database
from admitone.ops.verify.report import Report, format_counts
from admitone.ops.verify.snapshot import Snapshot
from admitone.orders import repository
from admitone.orders.proof import Claim, GivenBack, Proof


async def proof_of(snapshot: Snapshot, report: Report, command: str) -> Proof:
    """The same snapshots in numbers."""
    orders = snapshot.databases["orders"]
    counts = await orders.fetchrow(
        """
        SELECT count(*) AS orders, count(DISTINCT ticket_id) FILTER (WHERE status = 'complete') AS sold,
            (SELECT count(*) FROM (
                SELECT FROM orders WHERE holds_ticket
                GROUP BY ticket_id HAVING count(*) > 1) AS twice) AS double_sales
        FROM orders
        """
    )
    assert counts is not None
    return Proof(
        checked_at=snapshot.began["orders"],
        command=command,
        tickets=await snapshot.databases["tickets"].fetchval("SELECT count(*) FROM tickets"),
        orders=counts["orders"],
        refused={row["reason"]: row["times"] for row in await orders.fetch("SELECT reason, times FROM refusals ORDER BY reason")},
        sold=counts["sold"],
        double_sales=counts["double_sales"],
        given_back=await _given_back(snapshot),
        parked=report.parked,
        claims=[Claim(name=line.name, claim=line.claim, counted=format_counts(line), violations=line.violations) for line in report.lines],
    )


async def _given_back(snapshot: Snapshot) -> list[GivenBack]:
    """Refunds, and approvals that were voided because their order had ended. Nobody's own words: only kinds of reasons."""
    charges = await snapshot.databases["payments"].fetch(
        """
        SELECT order_id, amount_cents, currency, status, relist FROM charges
        WHERE (status = 'failed' AND failure = 'voided') OR (status = 'refunded' AND stripe_refund_id IS NOT NULL)
        """
    )
    voided = [charge["order_id"] for charge in charges if charge["status"] == "failed"]
    reasons = {
        row["order_id"]: row["reason"]
        for row in await snapshot.databases["orders"].fetch(
            "SELECT order_id, reason FROM orders WHERE order_id = ANY($1) AND reason IS NOT NULL", voided
        )
    }
    sums: dict[tuple[str, str], list[int]] = {}
    for charge in charges:
        undone = "relisted" if charge["relist"] else "refunded"
        why = undone if charge["status"] == "refunded" else reasons.get(charge["order_id"])
        if why is not None:
            sums.setdefault((why, charge["currency"]), []).append(charge["amount_cents"])
    return [
        GivenBack(why=why, times=len(cents), amount=sum(cents) / 100, currency=currency)  # type: ignore[arg-type]
        for (why, currency), cents in sorted(sums.items())
    ]


async def publish(settings: Settings, proof: Proof) -> None:
    """Everybody may read it from now on."""
    async with open_database(settings, "orders") as db, db.transaction() as tx:
        await repository.publish(tx, proof)
