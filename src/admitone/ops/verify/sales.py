"""What must hold of every order and ticket: one walk along the tickets, one along the orders.

Each service's log says all that ever happened: what a row is now is compared with that, and so is every move on the way.
"""

from admitone.ops.verify.orders import OVERDUE_AFTER, OrderChecks
from admitone.ops.verify.tickets import TicketChecks


class Sales(TicketChecks, OrderChecks):
    """I1, I3 to I6, I8 and I9."""

    async def check(self) -> None:
        """All of it."""
        await self._along_tickets()
        await self._along_orders()
        await self._users()
        if self._late:
            self.i4.notes.append(
                f"{self._late:,} were ended more than {OVERDUE_AFTER.seconds} s late (at most {self._latest}): whoever ends them was away"
            )

    async def _users(self) -> None:
        async for row in self.snapshot.rows(
            "auth",
            """
            SELECT coalesce(users.user_id, (data ->> 'user_id')::uuid) AS user_id, users.user_id IS NOT NULL AS there,
                data IS NOT NULL AS said, (email, version) = (data ->> 'email', (data ->> 'version')::integer) AS alike
            FROM users FULL JOIN outbox ON (data ->> 'user_id')::uuid = user_id
            """,
            what="users",
        ):
            self.i8.counted["rows"] += row["there"]
            self.i8.counted["events"] += row["said"]
            if not row["alike"]:
                self.i8.broken(f"user {row['user_id']} is not what the log of auth adds up to")
