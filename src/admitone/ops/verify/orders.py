"""What must hold of every order (I3, I4, I6): one walk along the orders, with their copies and timers."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from asyncpg import Record

from admitone.events import OrderCreated, OrderRefunded
from admitone.ops.verify.rows import RowChecks
from admitone.ops.verify.snapshot import merge_by_key

MOVES = {
    ("created", "OrderReserved", "awaiting:payment"),
    ("awaiting:payment", "OrderExtended", "awaiting:payment"),
    ("created", "OrderCancelled", "cancelled"),
    ("awaiting:payment", "OrderCancelled", "cancelled"),
    ("awaiting:payment", "OrderCompleted", "complete"),
    ("complete", "OrderRefunded", "refunded"),
}
OPEN = ("created", "awaiting:payment")
FIXED = ("ticket_id", "user_id", "title", "price_cents", "currency", "lock", "seller_id", "fee_basis_points")
"""What of an order never changes."""
TIMED = ("OrderCreated", "OrderExtended", "OrderCancelled", "OrderCompleted")
"""The events that expiration hears."""
OVERDUE_AFTER = timedelta(seconds=65)
"""Expiration ends an order within 5 s, the sweep within 30, and both have a minute to come back after an outage."""


class OrderChecks(RowChecks):
    async def _along_orders(self) -> None:
        rows = self.snapshot.rows
        orders = rows(
            "orders",
            """
            SELECT order_id, orders AS row, events, states, said_at FROM orders FULL JOIN (
                SELECT (data ->> 'order_id')::uuid AS order_id, array_agg(event ORDER BY (data ->> 'version')::integer, id) AS events,
                    array_agg(data ORDER BY (data ->> 'version')::integer, id) AS states,
                    array_agg(created_at ORDER BY (data ->> 'version')::integer, id) AS said_at
                FROM outbox GROUP BY 1) AS log USING (order_id) ORDER BY order_id
            """,
            what="orders",
        )
        copies = rows("payments", "SELECT order_id, copy AS row FROM order_copies AS copy ORDER BY order_id", what="copies")
        timers = rows("expiration", "SELECT order_id, version, due FROM timers ORDER BY order_id", what="timers")
        purchases = rows("tickets", "SELECT order_id, user_id, refunded FROM purchases ORDER BY order_id", what="purchases")
        async for order_id, (order, copy, timer, purchase) in merge_by_key(orders, copies, timers, purchases):
            row, events, states = (order["row"], order["events"] or [], order["states"] or []) if order else (None, [], [])
            said_at = order["said_at"] or [] if order else []
            self._order_history(order_id, row, events, states)
            self._deadlines(order_id, row, events, states, said_at)
            self._newest(f"order {order_id}", row, states, OrderRefunded if "OrderRefunded" in events else OrderCreated)
            if self.snapshot.at_rest and not self.snapshot.is_excluded(order_id, row and row["ticket_id"]):
                self._copy(f"order {order_id}", "payments", row, states, copy["row"] if copy else None, OrderCreated)
                self._timer(order_id, row, timer, events)
                self._purchase(order_id, row, purchase)

    def _order_history(self, order_id: UUID, row: Record | None, events: list[str], states: list[dict[str, Any]]) -> None:
        self.i3.counted["orders"] += 1
        self.i3.counted["moves"] += len(states)
        if row is None:
            self.i3.broken(f"order {order_id} is in the log, and not there")
        elif not states:
            self.i3.broken(f"order {order_id} is there, and not in the log")
        for number, (event, state) in enumerate(zip(events, states, strict=True)):
            before = states[number - 1] if number else None
            if state["version"] != number + 1:
                self.i3.broken(f"order {order_id}: version {state['version']} ({event}) follows {number}")
                return
            legal = (
                (event, state["status"]) == ("OrderCreated", "created")
                if before is None
                else (before["status"], event, state["status"]) in MOVES
                and before["extended"] + (event == "OrderExtended") == state["extended"]
            )
            if not legal:
                self.i3.broken(
                    f"order {order_id}: {event} led from {before['status'] if before else 'nothing'} to {state['status']} "
                    f"(version {state['version']})"
                )
            changed = [  # A field that came later is missing in older events: it has not changed by that.
                name for name in FIXED if before is not None and name in before and name in state and before[name] != state[name]
            ]
            if changed:
                self.i6.broken(f"order {order_id}: {', '.join(changed)} changed with version {state['version']}")

    def _deadlines(
        self, order_id: UUID, row: Record | None, events: list[str], states: list[dict[str, Any]], said_at: list[datetime]
    ) -> None:
        for number, (event, state, at) in enumerate(zip(events, states, said_at, strict=True)):
            before = states[number - 1] if number else state
            deadlines = [(before["expires_at"], before["cancel_at"]), (state["expires_at"], state["cancel_at"])]
            if deadlines[0] != deadlines[1] and event != "OrderExtended":
                self.i4.broken(f"order {order_id}: {event} moved its deadline from {before['cancel_at']} to {state['cancel_at']}")
            if event == "OrderCancelled" and state["reason"] == "expired":
                self.i4.counted["expired orders"] += 1
                late = at - datetime.fromisoformat(state["cancel_at"])
                if late < timedelta():
                    self.i4.broken(f"order {order_id} was cancelled as expired at {at}, and its time is over at {state['cancel_at']}")
                elif late > OVERDUE_AFTER:
                    self._late, self._latest = self._late + 1, max(self._latest, late)
        if row is None or row["status"] not in OPEN:
            return
        self.i4.counted["open orders"] += 1
        now, since = self.snapshot.began["orders"], self.snapshot.at_work_since.get("orders")
        if since is not None and max(row["cancel_at"], since) < now - OVERDUE_AFTER:
            self.i4.broken(f"order {order_id} is {row['status']} still, and its time was over at {row['cancel_at']}")

    def _timer(self, order_id: UUID, row: Record | None, timer: Record | None, events: list[str]) -> None:
        """Expiration does not hear every event: its version is that of the last that it hears, or of a later one."""
        self.i9.counted["timers"] += 1
        if timer is None or row is None:
            self.i9.broken(f"the timer of order {order_id} {'is not there' if timer is None else 'has no order'}")
            return
        lowest = max((number for number, event in enumerate(events, 1) if event in TIMED), default=1)
        due = row["cancel_at"] if row["status"] in OPEN else None
        if timer["due"] != due or not lowest <= timer["version"] <= row["version"]:
            self.i9.broken(
                f"the timer of order {order_id} is of version {timer['version']}, due {timer['due']}; "
                f"it should be of version {lowest}, due {due}"
            )

    def _purchase(self, order_id: UUID, row: Record | None, purchase: Record | None) -> None:
        status, user_id = (row["status"], row["user_id"]) if row is not None else (None, None)
        should = (user_id, status == "refunded") if status in ("complete", "refunded") else None
        if should is None and purchase is None:
            return
        self.i9.counted["purchases"] += 1
        found = (purchase["user_id"], purchase["refunded"]) if purchase is not None else None
        if found != should:
            self.i9.broken(f"the purchase that tickets keeps of order {order_id} is {found}, and should be {should}")
