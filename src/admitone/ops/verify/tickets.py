"""What must hold of every ticket (I1, I5, I6): one walk along the tickets, with their orders."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from uuid import UUID

from asyncpg import Record

from admitone.events import TicketUpdated
from admitone.ops.verify.rows import RowChecks
from admitone.ops.verify.snapshot import merge_by_key


class TicketChecks(RowChecks):
    async def _along_tickets(self) -> None:
        rows = self.snapshot.rows
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
        async for ticket_id, (ticket, ordered, lived, copy) in merge_by_key(tickets, orders, lives, copies):
            row, states = (ticket["row"], ticket["states"] or []) if ticket else (None, [])
            live = ordered["orders"] if ordered else []
            self._one_live_order(ticket_id, live, lived)
            self._ticket_history(ticket_id, states)
            self._newest(f"ticket {ticket_id}", row, states, TicketUpdated)
            if self.snapshot.at_rest and not self.snapshot.is_excluded(ticket_id, *(order["order_id"] for order in live)):
                self._ticket_and_its_orders(ticket_id, row, states, live)
                self._copy(f"ticket {ticket_id}", "orders", row, states, copy["row"] if copy else None, TicketUpdated)

    def _one_live_order(self, ticket_id: UUID, orders: list[Record], lived: Record | None) -> None:
        self.i1.counted["tickets"] += 1
        self.i1.counted["orders"] += len(orders)
        holders = [f"{order['order_id']} ({order['status']})" for order in orders if order["holds_ticket"]]
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
        holder = next((order for order in orders if order["holds_ticket"]), None)
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


def _terms(of: Record | dict[str, Any]) -> tuple[str, int, str]:
    return of["title"], of["price_cents"], of["currency"]


def _held(order_id: UUID | None, sold: bool) -> str:
    if order_id is None:
        return "sold to nobody" if sold else "free"
    return f"{'sold to' if sold else 'held by'} {order_id}"
