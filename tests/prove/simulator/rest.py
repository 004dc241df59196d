"""What must hold once everything has come to rest: every row of every service against the book, the processor and the stream."""

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from admitone.events import OrderEvent, PaymentAuthorized, TicketEvent
from admitone.kit.data.db import Tx
from admitone.kit.event import OWNERS, Message
from admitone.kit.service import TooEarly
from admitone.kit.testing import NOON

if TYPE_CHECKING:
    from prove.simulator.clients import Clients
    from prove.simulator.world import World

Row = dict[str, Any]
TICKET = ("version", "seller_id", "title", "price_cents", "currency", "order_id", "withdrawn", "sold")
ORDER = ("version", "user_id", "status", "price_cents", "currency", "expires_at", "seller_id", "fee_basis_points")
REBUILT = {
    "tickets": ("DELETE FROM purchases", "SELECT order_id, user_id, refunded FROM purchases ORDER BY order_id", "tickets"),
    "orders": ("DELETE FROM ticket_copies", "SELECT * FROM ticket_copies ORDER BY ticket_id", "orders"),
    "expiration": ("DELETE FROM timers", "SELECT order_id, version, due FROM timers ORDER BY order_id", None),
    "payments": (
        "UPDATE order_copies SET version = 0, status = 'created', price_cents = 0, expires_at = 'epoch'",
        "SELECT * FROM order_copies ORDER BY order_id",
        "charges",
    ),
}
"""Per service: how it forgets its copies, how they look, and the table of its own that no replay may touch."""


async def check(world: "World", clients: "Clients") -> None:
    await Rest(world).check(clients)


class Rest:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.book = world.book

    async def check(self, clients: "Clients") -> None:
        tickets = {row["ticket_id"]: row for row in await self.rows("tickets", "SELECT * FROM tickets")}
        orders = {row["order_id"]: row for row in await self.rows("orders", "SELECT * FROM orders")}
        copies = {row["ticket_id"]: row for row in await self.rows("orders", "SELECT * FROM ticket_copies")}
        order_copies = {row["order_id"]: row for row in await self.rows("payments", "SELECT * FROM order_copies")}
        timers = {row["order_id"]: row for row in await self.rows("expiration", "SELECT * FROM timers")}
        charges = await self.rows("payments", "SELECT * FROM charges ORDER BY order_id, attempt")
        self._own_rows(tickets, orders)
        self._locks(tickets, orders)
        self._copies("orders' copy of", tickets, copies, TICKET)
        self._copies("payments' copy of", orders, order_copies, ORDER)
        self._timers(orders, timers)
        self._money(orders, charges)
        await self._ledger(charges)
        await self._carried()
        await self._parked()
        self._keys(clients, charges)
        await self._notes(clients)
        if self.world.seed % 3 == 0 and not self.world.violations:
            for service in REBUILT:
                await self._rebuilt(service)

    def broken(self, rule: str, sentence: str, *about: UUID | None) -> None:
        self.world.broken(rule, f"at rest, {sentence}", *about)

    async def rows(self, service: str, sql: str) -> list[Row]:
        return [dict(row) for row in await self.world.ground.looking[service].fetch(sql)]

    def _own_rows(self, tickets: dict[UUID, Row], orders: dict[UUID, Row]) -> None:
        """What a service has is what it has said."""
        for rows, said in ((tickets, self.book.tickets), (orders, self.book.orders)):
            if rows.keys() != said.keys():
                self.broken("I7", "there are rows of which nobody has heard, or the other way round")
            for key, history in said.items():
                wrong = _differing(rows.get(key, {}), msgspec.structs.asdict(history[-1]))
                if wrong:
                    self.broken("I9", f"{self.world.name(key)} is not what was said last: {wrong}", key)

    def _locks(self, tickets: dict[UUID, Row], orders: dict[UUID, Row]) -> None:
        for ticket_id, ticket in tickets.items():
            name = self.world.name(ticket_id)
            live = [order for order in orders.values() if order["ticket_id"] == ticket_id and self._holds(order)]
            if len(live) > 1:
                self.broken("I1", f"{name} has {len(live)} orders that are neither cancelled nor refunded", live[0]["order_id"])
            holder = live[0]["order_id"] if live else None
            if ticket["order_id"] != holder:
                held_by, by = self.world.name(ticket["order_id"]), self.world.name(holder)
                self.broken("I5", f"{name} is held by {held_by}, and should be by {by}", ticket_id, holder, ticket["order_id"])
            if ticket["sold"] != bool(live and live[0]["status"] in ("complete", "refunded")):
                self.broken("I5", f"{name} is {'' if ticket['sold'] else 'not '}marked as sold", ticket_id, holder)
        for order_id, order in orders.items():
            if order["status"] in ("created", "awaiting:payment"):
                self.broken("I4", f"{self.world.name(order_id)} is still {order['status']}", order_id)

    @staticmethod
    def _holds(order: Row) -> bool:
        return order["status"] != "cancelled" and not (order["status"] == "refunded" and order["relist"])

    def _copies(self, whose: str, owned: dict[UUID, Row], copies: dict[UUID, Row], fields: tuple[str, ...]) -> None:
        for key in owned.keys() | copies.keys():
            wrong = _differing(copies.get(key, {}), {field: owned.get(key, {}).get(field) for field in fields})
            if wrong:
                self.broken("I9", f"{whose} {self.world.name(key)} differs: {wrong}", key)

    def _timers(self, orders: dict[UUID, Row], timers: dict[UUID, Row]) -> None:
        for order_id, order in orders.items():
            timer = timers.get(order_id)
            last_heard = [event for event in self.book.orders.get(order_id, []) if type(event).__name__ != "OrderRefunded"]
            if timer is None or timer["due"] is not None or (last_heard and timer["version"] != last_heard[-1].version):
                self.broken("I9", f"the timer of {self.world.name(order_id)} is {timer}, and the order is {order['status']}", order_id)

    def _money(self, orders: dict[UUID, Row], charges: list[Row]) -> None:
        """Taken and given back at the processor, per order; nothing set aside for ever."""
        uncollected = {charge["order_id"] for charge in charges if charge["status"] == "uncollected"}
        intents = list(self.world.processor.intents.values())
        for order_id, order in orders.items():
            own = [intent for intent in intents if intent.order_id == order_id]
            held = sum(intent.captured_cents - intent.refunded_cents for intent in own)
            wanted = order["price_cents"] if order["status"] == "complete" and order_id not in uncollected else 0
            if held != wanted:
                self.broken("I2", f"{self.world.name(order_id)} is {order['status']}, and {held} cents of {wanted} are taken", order_id)
            if any(intent.state in ("authorized", "needs_confirmation") for intent in own):
                self.broken("I2", f"money is still set aside for {self.world.name(order_id)}, which is {order['status']}", order_id)
            if order["status"] == "complete" and order["uncollected"] != (order_id in uncollected):
                self.broken("I2", f"{self.world.name(order_id)} does not know whether its money could be collected", order_id)
        states = {"completed": "captured", "failed": ("declined", "voided"), "uncollected": "voided", "refunded": ("refunded", "voided")}
        known = {intent.charge_id: intent.state for intent in intents}
        for charge in charges:
            name, status = self.world.name(charge["order_id"]), charge["status"]
            if status in ("created", "authorized"):
                self.broken("I2", f"a charge of {name} is still {status}: {charge['last_error']}", charge["order_id"])
            elif known.get(charge["charge_id"], "declined") not in states[status]:
                self.broken("I2", f"a charge of {name} is {status}, and {known.get(charge['charge_id'])} there", charge["order_id"])
        for order_id, live in Counter(charge["order_id"] for charge in charges if charge["status"] != "failed").items():
            if live > 1:
                self.broken("I2", f"{self.world.name(order_id)} has {live} charges that have not failed", order_id)

    async def _ledger(self, charges: list[Row]) -> None:
        booked = {
            row["charge_id"]: row["held"]
            for row in await self.rows(
                "payments", "SELECT charge_id, sum(amount_cents)::bigint AS held FROM ledger WHERE account = 'processor' GROUP BY charge_id"
            )
        }
        for charge in charges:
            wanted = charge["amount_cents"] if charge["status"] == "completed" else 0
            if booked.get(charge["charge_id"], 0) != wanted:
                self.broken("I2", f"the ledger has another sum for {self.world.name(charge['order_id'])}", charge["order_id"])

    async def _carried(self) -> None:
        """What was committed is in the stream, and nothing else."""
        carried = {stored.event_id for stored in self.world.carrier.messages}
        for event_id, (service, _, said) in self.book.events.items():
            if str(event_id) not in carried:
                about = [UUID(said.data[field]) for field in ("order_id", "ticket_id") if said.data.get(field)]
                self.broken("I7", f"{self.world.in_short(event_id)} of {service} is not in the stream", *about)
        known = {str(event_id) for event_id in self.book.events}
        if strangers := carried - known - self.world.poison.keys():
            self.broken("I7", f"there are events in the stream that nobody has said: {len(strangers)}")
        for service in self.world.nodes:
            for row in await self.rows(service, "SELECT event_id FROM outbox"):
                if row["event_id"] not in self.book.events:
                    self.broken("I7", f"{service} has an event in its outbox that it never said")
        for service, queue in self.world.carrier.filters.items():
            process = self.world.nodes[service].process
            assert process.consumer is not None
            wanted = {
                event_id
                for event_id, (_, event, _) in self.book.events.items()
                if type(event) in process.consumer.handlers.by_event and queue
            }
            for event_id in wanted - set(self.book.heard[service]):
                self.broken("I7", f"{service} never handled {self.world.in_short(event_id)}", *self.world.ids_of(event_id))

    async def _parked(self) -> None:
        for service, filters in self.world.carrier.filters.items():
            parked = {str(row["event_id"]): row for row in await self.rows(service, "SELECT event_id, error FROM parked")}
            there = {stored.event_id for stored in self.world.carrier.messages}
            unbearable = {event_id for event_id, subject in self.world.poison.items() if subject in filters}
            for event_id in parked.keys() - unbearable:
                self.broken("I13", f"{service} has parked what it could have handled: {parked[event_id]['error'][:200]}")
            for _ in (unbearable & there) - parked.keys():
                self.broken("I13", f"{service} can't handle a message, and has not parked it")
            if parked:
                self.world.saw("a message was parked")

    def _keys(self, clients: "Clients", charges: list[Row]) -> None:
        """However often a key was sent, it had one effect."""
        for request in clients.asked:
            if request.key is None:
                continue
            made = {effect for correlation in request.correlations for effect in self.book.effects.get(correlation, [])}
            made |= {charge["charge_id"] for charge in charges if charge["correlation_id"] in request.correlations}
            if len(made) > 1:
                self.broken("I12", f"{request.label} was sent {len(request.correlations)} times, and did it {len(made)} times", *made)

    async def _notes(self, clients: "Clients") -> None:
        """Each ticket has the note that was sent with it."""
        notes = {row["ticket_id"]: row["note"] for row in await self.rows("tickets", "SELECT ticket_id, note FROM notes")}
        for request in clients.asked:
            sent = request.body.get("note", "")
            for made in (effect for correlation in request.correlations for effect in self.book.effects.get(correlation, [])):
                if made in self.book.tickets and notes.get(made, "") != sent:
                    self.broken("note", f"the note of {self.world.name(made)} is {notes.get(made, '')!r}, and {sent!r} was sent", made)

    async def _rebuilt(self, service: str) -> None:
        """A service that has lost its copies hears everything again, mixed and with repetitions.

        Its copies are the same then, its own rows untouched, and it has said nothing.
        """
        forget, look, own = REBUILT[service]
        dice = Random(f"{self.world.seed}: rebuilding {service}")
        handlers = self.world.nodes[service].service.handlers
        assert handlers is not None
        foreign = [event for _, event, _ in self.book.events.values() if type(event) in handlers.by_event]
        foreign += [event for event in foreign if dice.random() < 0.25]
        dice.shuffle(foreign)
        connection = self.world.ground.looking[service]
        rows = f"SELECT * FROM {own} ORDER BY 1" if own else "SELECT 1"
        columns = "SELECT count(*) FROM outbox"
        transaction = connection.transaction()
        await transaction.start()
        try:
            before = [await connection.fetch(sql) for sql in (look, rows, columns)]
            await connection.execute(forget)
            for event in foreign:
                tx = Tx(connection, service, self.world.nodes[service].now)
                try:
                    await handlers.by_event[type(event)](event, tx)
                    await tx.write_outbox()
                except TooEarly:
                    self.broken("I8", f"{service} finds a deadline too early that has passed long ago")
            after = [await connection.fetch(sql) for sql in (look, rows, columns)]
        finally:
            await transaction.rollback()
        for what, then, now in zip(("copies", "own rows", "outbox"), before, after, strict=True):
            if [tuple(row.values()) for row in then] != [tuple(row.values()) for row in now]:
                self.broken("I9", f"{service}, rebuilt from the log, has other {what}: {_first_difference(then, now)}")
        self.world.saw(f"{service} was rebuilt from the log")


def unbearable(event_id: str, subject: str) -> bytes:
    """A message of a known event that no database takes: its numbers are too big."""
    event = next(event for event in OWNERS if f"events.{OWNERS[event]}.{event.__name__}" == subject)
    assert issubclass(event, OrderEvent | TicketEvent)
    nobody, big = UUID(int=1), 2**62
    data: Row = {"ticket_id": nobody, "seller_id": nobody, "version": big, "title": "?", "price_cents": 1, "currency": "USD"}
    if issubclass(event, OrderEvent):
        data |= {"order_id": nobody, "user_id": nobody, "status": "created", "reason": None, "lock": big}
        data |= {"expires_at": NOON, "cancel_at": NOON, "extended": False}
    else:
        data |= {"order_id": None, "withdrawn": False, "sold": False}
    message = Message(
        event_id=UUID(event_id),
        event=event.__name__,
        time=NOON,
        correlation_id=nobody,
        causation_id=None,
        data=msgspec.to_builtins(data),
    )
    return msgspec.json.encode(message)


def forged(event_id: str, order: OrderEvent) -> bytes:
    """A payment of that order which payments has never heard of; whoever sends it may not use the subject of payments."""
    message = Message(
        event_id=UUID(event_id),
        event=PaymentAuthorized.__name__,
        time=NOON,
        correlation_id=UUID(int=1),
        causation_id=None,
        data={"charge_id": UUID(event_id), "order_id": order.order_id, "amount_cents": order.price_cents, "currency": order.currency},
    )
    return msgspec.json.encode(message)


def _differing(row: Row, wanted: Row) -> str:
    """The fields that are not as wanted, of those that the row could have."""
    wrong = {field: (row.get(field), value) for field, value in wanted.items() if (field in row or not row) and row.get(field) != value}
    return ", ".join(f"{field} is {found!r} and not {value!r}" for field, (found, value) in sorted(wrong.items()))


def _only(row: Any, other: Any) -> Row:
    """The columns of a row that are not the same in another one, and the first, which says which row it is."""
    return {name: value for number, (name, value) in enumerate(row.items()) if number == 0 or other.get(name) != value}


def _first_difference(then: list[Any], now: list[Any]) -> str:
    for a, b in zip(then, now, strict=False):
        if tuple(a.values()) != tuple(b.values()):
            return f"{_only(a, b)} became {_only(b, a)}"
    return f"{len(then)} rows became {len(now)}"
