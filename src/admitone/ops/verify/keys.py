"""One effect per key and click (I12)."""

from admitone.config import TEST_PROCESSOR
from admitone.ops.verify.report import Line
from admitone.ops.verify.snapshot import Snapshot


async def check_one_effect(snapshot: Snapshot) -> Line:
    """I12."""
    line = Line(name="I12", claim="one order or charge per idempotency key, one live charge per order")
    for service, route, effects in EFFECTS:
        async for row in snapshot.rows(service, KEYS.format(route=route, effects=effects), what="keys"):
            line.counted["keys"] += 1
            if not row["there"]:
                line.broken(
                    f"{service}: key {row['key']!r} of user {row['user_id']} stands for {row['effect']}, which is not theirs or not there"
                )
            elif row["times"] > 1:
                line.broken(f"{service}: {row['effect']} is the effect of {row['times']} keys")
    async for row in snapshot.rows(
        "payments",
        """
        SELECT order_id, count(*) AS times, count(*) FILTER (WHERE status <> 'failed') AS live,
            count(DISTINCT idempotency_key) AS keys, array_agg(attempt ORDER BY attempt) AS attempts
        FROM charges GROUP BY order_id
        """,
        what="orders",
    ):
        line.counted["charges"] += row["times"]
        if row["live"] > 1:
            line.broken(f"order {row['order_id']} has {row['live']} charges that have not failed")
        if row["keys"] != row["times"] or row["attempts"] != list(range(1, row["times"] + 1)):
            line.broken(f"order {row['order_id']} has attempts {row['attempts']} with {row['keys']} keys")
    if TEST_PROCESSOR in snapshot.databases:
        async for row in snapshot.rows(
            TEST_PROCESSOR,
            """
            SELECT order_id, count(*) FILTER (WHERE status IN ('captured', 'refunded')) AS taken, count(*) AS times,
                count(DISTINCT idempotency_key) AS keys, count(DISTINCT charge_id) AS charges
            FROM intents GROUP BY order_id
            """,
            what="orders",
        ):
            line.counted["payments at the processor"] += row["times"]
            if row["taken"] > 1:
                line.broken(f"order {row['order_id']} was paid {row['taken']} times at the processor")
            if row["keys"] != row["times"] or row["charges"] != row["times"]:
                line.broken(f"order {row['order_id']} has {row['times']} payments at the processor, of {row['charges']} charges")
    return line


KEYS = """
    SELECT key, user_id, effect, count(*) OVER (PARTITION BY effect) AS times, EXISTS ({effects}) AS there
    FROM (SELECT key, user_id, coalesce(body ->> 'charge', body ->> 'id')::uuid AS effect
          FROM idempotency WHERE route = '{route}' AND (status = 201 OR status IS NULL)) AS known
    WHERE effect IS NOT NULL
"""
EFFECTS = (
    ("tickets", "POST /api/tickets", "SELECT FROM tickets WHERE ticket_id = effect AND seller_id = known.user_id"),
    ("orders", "POST /api/orders", "SELECT FROM orders WHERE order_id = effect AND orders.user_id = known.user_id"),
    (
        "payments",
        "POST /api/payments",
        "SELECT FROM charges JOIN order_copies USING (order_id) WHERE charge_id = effect AND order_copies.user_id = known.user_id",
    ),
)
"""Whose keys stand for what: a remembered answer names it."""
