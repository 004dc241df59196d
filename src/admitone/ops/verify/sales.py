"""What must hold of every order and ticket: one walk along the tickets, one along the orders.

Each service's log says all that ever happened: what a row is now is compared with that, and so is every move on the way.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Record

from admitone.events import OrderCreated, OrderRefunded, TicketUpdated
from admitone.kit.event import Event
from admitone.ops.verify.report import Line
from admitone.ops.verify.snapshot import Evidence, side_by_side

MOVES = {
    ("created", "OrderReserved", "awaiting:payment"),
    ("awaiting:payment", "OrderExtended", "awaiting:payment"),
    ("created", "OrderCancelled", "cancelled"),
    ("awaiting:payment", "OrderCancelled", "cancelled"),
    ("awaiting:payment", "OrderCompleted", "complete"),
    ("complete", "OrderRefunded", "refunded"),
}
OPEN = ("created", "awaiting:payment")
OVERDUE_AFTER = timedelta(seconds=65)
"""Expiration ends an order within 5 s, the sweep within 30, and both have a minute to come back after an outage."""
FIXED = ("ticket_id", "user_id", "title", "price_cents", "currency", "lock", "seller_id", "fee_basis_points")
"""What of an order never changes."""


def holds(order: Record) -> bool:
    """Whether an order has its ticket, or has bought it."""
    return order["status"] != "cancelled" and not (order["status"] == "refunded" and order["relist"])


class Sales:
    """I1, I3 to I6, I8 and I9."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.i1 = Line(name="I1", claim="at most one live order per ticket, at any time")
        self.i3 = Line(name="I3", claim="orders move only forward, their versions by one")
        self.i4 = Line(name="I4", claim="no order expires before its time, and none outlives it")
        self.i4.counted.update({"expired orders": 0, "open orders": 0})
        self.i5 = Line(name="I5", claim="each ticket is held by its live order or by nobody, and its locks only rise")
        self.i6 = Line(name="I6", claim="the price of an order is the ticket's, and frozen while it is locked")
        self.i8 = Line(name="I8", claim="every row is what the events about it add up to, in whatever order")
        self.i9 = Line(name="I9", claim="every copy equals its owner's row")
        self._late, self._latest = 0, timedelta()
        if not evidence.at_rest:
            self.i5.checked = self.i9.checked = False
            self.i6.notes.append("orders were not compared with their tickets: that needs everything at rest")

    async def check(self) -> None:
        """All of it."""
        await self._along_tickets()
        await self._along_orders()
        await self._users()
        if self._late:
            self.i4.notes.append(
                f"{self._late:,} were ended more than {OVERDUE_AFTER.seconds} s late (at most {self._latest}): whoever ends them was away"
            )

    # Along the tickets.

    async def _along_tickets(self) -> None:
        rows = self.evidence.rows
        tickets = rows(
            "tickets",
            """
            SELECT ticket_id, tickets AS row, states FROM tickets FULL JOIN (
                SELECT (data ->> 'ticket_id')::uuid AS ticket_id, array_agg(data ORDER BY (data ->> 'version')::integer) AS states
                FROM outbox WHERE event IN ('TicketCreated', 'TicketUpdated') GROUP BY 1) AS log USING (ticket_id) ORDER BY ticket_id
            """,
            what="tickets",
        )
        orders = rows(
            "orders",
            "SELECT ticket_id, array_agg(orders ORDER BY lock) AS orders FROM orders GROUP BY ticket_id ORDER BY ticket_id",
            what="tickets",
        )
        lives = rows(  # Of whatever stands in the log with a smaller number, its transaction was over when the next one began.
            "orders",
            """
            SELECT (data ->> 'ticket_id')::uuid AS ticket_id, array_agg(event ORDER BY id) AS events,
                array_agg(data ->> 'order_id' ORDER BY id) AS orders
            FROM outbox WHERE event IN ('OrderCreated', 'OrderCancelled', 'OrderRefunded') GROUP BY 1 ORDER BY 1
            """,
            what="tickets",
        )
        copies = rows("orders", "SELECT ticket_id, copy AS row FROM ticket_copies AS copy ORDER BY ticket_id", what="copies")
        async for ticket_id, (ticket, ordered, lived, copy) in side_by_side(tickets, orders, lives, copies):
            row, states = (ticket["row"], ticket["states"] or []) if ticket else (None, [])
            live = ordered["orders"] if ordered else []
            self._one_live_order(ticket_id, live, lived)
            self._ticket_history(ticket_id, states)
            self._newest(f"ticket {ticket_id}", row, states, TicketUpdated)
            if self.evidence.at_rest and not self.evidence.is_aside(ticket_id, *(order["order_id"] for order in live)):
                self._ticket_and_its_orders(ticket_id, row, states, live)
                self._copy(f"ticket {ticket_id}", "orders", row, states, copy["row"] if copy else None, TicketUpdated)

    def _one_live_order(self, ticket_id: UUID, orders: list[Record], lived: Record | None) -> None:
        self.i1.counted["tickets"] += 1
        self.i1.counted["orders"] += len(orders)
        holders = [f"{order['order_id']} ({order['status']})" for order in orders if holds(order)]
        if len(holders) > 1:
            self.i1.broken(f"ticket {ticket_id} has {len(holders)} live orders: {', '.join(holders)}")
            return
        alive: set[str] = set()
        for event, order_id in zip(lived["events"], lived["orders"], strict=True) if lived else ():
            alive = alive | {order_id} if event == "OrderCreated" else alive - {order_id}
            if len(alive) > 1:
                self.i1.broken(f"ticket {ticket_id} had {len(alive)} live orders once: {', '.join(sorted(alive))}")
                return

    def _ticket_history(self, ticket_id: UUID, states: list[dict[str, Any]]) -> None:
        """No version is left out, and nothing is changed that is held, sold or withdrawn."""
        self.i6.counted["states of tickets"] += len(states)
        for version, state in enumerate(states, start=1):
            if state["version"] != version:
                self.i8.broken(f"ticket {ticket_id} has no version {version} in its log, or two")
                break
        for before, after in pairwise(states):
            edited = [name for name in ("title", "price_cents", "currency", "seller_id") if before[name] != after[name]]
            held = before["order_id"] or before["sold"] or before["withdrawn"] or after["order_id"]
            if edited and (held or "seller_id" in edited):
                self.i6.broken(
                    f"ticket {ticket_id}: {' and '.join(edited)} changed with version {after['version']}, "
                    f"while it was {'held by ' + before['order_id'] if before['order_id'] else 'not to be changed'}"
                )

    def _ticket_and_its_orders(self, ticket_id: UUID, row: Record | None, states: list[dict[str, Any]], orders: list[Record]) -> None:
        self.i5.counted["tickets"] += 1
        if row is None:
            self.i5.broken(f"ticket {ticket_id} has {len(orders)} orders, and is not there")
            return
        holder = next((order for order in orders if holds(order)), None)
        should = (holder["order_id"], holder["status"] in ("complete", "refunded")) if holder is not None else (None, False)
        if (row["order_id"], row["sold"]) != should:
            self.i5.broken(f"ticket {ticket_id} is {_held(row['order_id'], row['sold'])}, and should be {_held(*should)}")
        elif holder is not None and holder["status"] == "created":
            self.i5.broken(f"order {holder['order_id']} has its ticket {ticket_id}, and was never told so")
        elif holder is not None and holder["status"] == "awaiting:payment" and row["locked_until"] != holder["cancel_at"]:
            self.i5.broken(f"ticket {ticket_id} is locked until {row['locked_until']}, and its order until {holder['cancel_at']}")
        highest = max((order["lock"] for order in orders), default=0)
        if row["lock"] != highest:
            self.i5.broken(f"ticket {ticket_id} remembers token {row['lock']}, and the highest of its orders is {highest}")
        self._locks(ticket_id, states, {str(order["order_id"]): order for order in orders})

    def _locks(self, ticket_id: UUID, states: list[dict[str, Any]], orders: Mapping[str, Record]) -> None:
        """Whoever got the ticket had a higher token than all before, and had it at the price and title of that moment."""
        highest, held = 0, None
        had = {_terms(state) for state in states}
        for state in states:
            order_id = state["order_id"]
            if order_id is not None and order_id != held:
                order = orders.get(order_id)
                if order is None:
                    self.i5.broken(f"ticket {ticket_id} was held by {order_id} in version {state['version']}, which is no order of it")
                    continue
                self.i5.counted["locks"] += 1
                if order["lock"] <= highest:
                    self.i5.broken(
                        f"ticket {ticket_id} was given to order {order_id} in version {state['version']} by token {order['lock']}, "
                        f"after token {highest}"
                    )
                highest = max(highest, order["lock"])
                if _terms(order) != _terms(state):
                    self.i6.broken(f"order {order_id} got ticket {ticket_id} at {_terms(state)}, and is over {_terms(order)}")
            held = order_id
        for order_id, order in orders.items():
            self.i6.counted["orders"] += 1
            if _terms(order) not in had:
                self.i6.broken(f"order {order_id} is over {_terms(order)}, which ticket {ticket_id} never cost or was called")

    # Along the orders.

    async def _along_orders(self) -> None:
        rows = self.evidence.rows
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
        async for order_id, (order, copy, timer, purchase) in side_by_side(orders, copies, timers, purchases):
            row, events, states = (order["row"], order["events"] or [], order["states"] or []) if order else (None, [], [])
            said_at = order["said_at"] or [] if order else []
            self._order_history(order_id, row, events, states)
            self._deadlines(order_id, row, events, states, said_at)
            self._newest(f"order {order_id}", row, states, OrderRefunded if "OrderRefunded" in events else OrderCreated)
            if self.evidence.at_rest and not self.evidence.is_aside(order_id, row and row["ticket_id"]):
                self._copy(f"order {order_id}", "payments", row, states, copy["row"] if copy else None, OrderCreated)
                self._timer(order_id, row, timer)
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
        now, since = self.evidence.began["orders"], self.evidence.at_work_since.get("orders")
        if since is not None and max(row["cancel_at"], since) < now - OVERDUE_AFTER:
            self.i4.broken(f"order {order_id} is {row['status']} still, and its time was over at {row['cancel_at']}")

    def _timer(self, order_id: UUID, row: Record | None, timer: Record | None) -> None:
        """Expiration does not hear of refunds: its version of a refunded order is one lower."""
        self.i9.counted["timers"] += 1
        if timer is None or row is None:
            self.i9.broken(f"the timer of order {order_id} {'is not there' if timer is None else 'has no order'}")
            return
        should = (row["version"] - (row["status"] == "refunded"), row["cancel_at"] if row["status"] in OPEN else None)
        if (timer["version"], timer["due"]) != should:
            self.i9.broken(
                f"the timer of order {order_id} is of version {timer['version']}, due {timer['due']}; "
                f"it should be of version {should[0]}, due {should[1]}"
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

    # Both.

    def _newest(self, name: str, row: Record | None, states: list[dict[str, Any]], event: type[Event]) -> None:
        """A row is the newest of its states: so it does not matter in which order they are heard."""
        self.i8.counted["rows"] += 1
        self.i8.counted["events"] += len(states)
        if len({state["version"] for state in states}) != len(states):
            self.i8.broken(f"{name} has two events of one version")
        if row is None or not states:
            self.i8.broken(f"{name} is {'in the log, and not there' if row is None else 'there, and not in the log'}")
        elif differing := _differing(row, states[-1], event):
            self.i8.broken(f"{name} is not what its log adds up to: {', '.join(differing)}")

    def _copy(self, of: str, where: str, row: Record | None, states: list[dict[str, Any]], copy: Record | None, event: type[Event]) -> None:
        self.i8.counted["copies"] += 1
        self.i9.counted["copies"] += 1
        name, owner = f"the copy of {of} in {where}", of.partition(" ")[0]
        if copy is None or row is None:
            self.i9.broken(f"{name} {'is not there' if copy is None else f'has no {owner}'}")
            return
        differing = [field for field, value in copy.items() if value != row[field]]
        if differing:
            self.i9.broken(f"{name} differs in {', '.join(differing)}")
        if states and (folded := _differing(copy, states[-1], event)):
            self.i8.broken(f"{name} is not what the log of {owner}s adds up to: {', '.join(folded)}")

    async def _users(self) -> None:
        async for row in self.evidence.rows(
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


def _differing(row: Record, state: dict[str, Any], event: type[Event]) -> list[str]:
    """The columns that are not as an event says. A column that was added since the event was said is not in it."""
    try:
        said = msgspec.convert(state, event)
    except msgspec.ValidationError as error:
        return [str(error)]
    return [name for name in event.__struct_fields__ if name in state and name in row and row[name] != getattr(said, name)]


def _terms(of: Record | dict[str, Any]) -> tuple[str, int, str]:
    return of["title"], of["price_cents"], of["currency"]


def _held(order_id: UUID | None, sold: bool) -> str:
    if order_id is None:
        return "sold to nobody" if sold else "free"
    return f"{'sold to' if sold else 'held by'} {order_id}"
