"""What has been committed and done so far, and the rules that hold at the moment of each action.

Every event enters it when its transaction commits, in the order of the commits: so the book is the truth that no service has whole.
"""

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from prove.simulator.processor import Intent
from prove.simulator.wires import Said

from admitone.events import (
    ExpirationComplete,
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderEvent,
    OrderExtended,
    OrderRefunded,
    OrderReserved,
    PaymentAuthorized,
    PaymentCreated,
    PaymentFailed,
    PaymentRefunded,
    PaymentUncollected,
    ReservationRefused,
    TicketCreated,
    TicketEvent,
)
from admitone.kit.event import CATALOGUE, Event
from admitone.orders.commands import EXTENSION
from admitone.orders.jobs import SWEEP_SECONDS
from admitone.payments.model import Charge

if TYPE_CHECKING:
    from prove.simulator.world import World

OPEN = ("created", "awaiting:payment")
STEPS = {
    ("created", OrderReserved): "awaiting:payment",
    ("awaiting:payment", OrderExtended): "awaiting:payment",
    ("created", OrderCancelled): "cancelled",
    ("awaiting:payment", OrderCancelled): "cancelled",
    ("awaiting:payment", OrderCompleted): "complete",
    ("complete", OrderRefunded): "refunded",
}
PROMPT_SECONDS = 5.0
AFTER_OUTAGE_SECONDS = 60.0


class Book:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.events: dict[UUID, tuple[str, Event, Said]] = {}
        """By id: who said it, what, and the row."""
        self.orders: dict[UUID, list[OrderEvent]] = {}
        self.tickets: dict[UUID, list[TicketEvent]] = {}
        self.about: dict[UUID, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        """Per order: what else was said about it, by event."""
        self.heard: dict[str, list[UUID]] = defaultdict(list)
        """Per service: the events its handlers took, in order."""
        self.relisted: set[UUID] = set()
        self.effects: dict[UUID, list[UUID]] = defaultdict(list)
        """Per request: what it made, tickets and orders."""

    def broken(self, rule: str, sentence: str, *about: UUID) -> None:
        self.world.broken(rule, sentence, *about)

    # What was said

    def enter(self, service: str, said: Said) -> None:
        event = msgspec.convert(said.data, CATALOGUE[said.event])
        self.events[said.event_id] = (service, event, said)
        match event:
            case OrderEvent():
                self._order(event, said.created_at, said)
            case TicketEvent():
                self._ticket(event, said)
            case _:
                self._other(event, said.created_at)

    def _order(self, event: OrderEvent, now: datetime, said: Said) -> None:  # noqa: PLR0912  (a branch per event)
        name, history = self.world.name(event.order_id), self.orders.setdefault(event.order_id, [])
        if isinstance(event, OrderCreated):
            self._created(event, history, said)
        elif not history:
            self.broken("I3", f"{type(event).__name__} of {name}, which was never created", event.order_id)
        else:
            before = history[-1]
            if event.version != before.version + 1:
                self.broken("I3", f"{name} went from version {before.version} to {event.version}", event.order_id)
            if STEPS.get((before.status, type(event))) != event.status:
                self.broken("I3", f"{name} was {before.status}, and then {type(event).__name__} says {event.status}", event.order_id)
            unchanged = ("ticket_id", "user_id", "title", "price_cents", "currency", "lock")
            if any(getattr(before, field) != getattr(event, field) for field in unchanged):
                self.broken("I6", f"{name} is for another ticket, price or buyer than it was", event.order_id)
            match event:
                case OrderReserved():
                    self._holds_at_its_price(event, "was reserved")
                case OrderCompleted():
                    self._completed(event, now)
                case OrderExtended():
                    if before.extended or now >= before.expires_at or event.expires_at != before.expires_at + EXTENSION:
                        self.broken("I3", f"{name} was extended late, twice or by another time", event.order_id)
                    self.world.saw("an order was extended")
                case OrderCancelled():
                    self._cancelled(event, before, now)
                case OrderRefunded(relist=relist):
                    if not self.about[event.order_id]["PaymentRefunded"]:
                        self.broken("I2", f"{name} is refunded, and no money was given back", event.order_id)
                    if relist:
                        self.relisted.add(event.order_id)
        history.append(event)

    def _created(self, event: OrderCreated, history: list[OrderEvent], said: Said) -> None:
        name, others = self.world.name(event.order_id), self.of_ticket(event.ticket_id)
        if history or event.version != 1 or event.status != "created":
            self.broken("I3", f"{name} was created in a strange state", event.order_id)
        for other in others:
            if self.holds(other):
                holder = self.world.name(other.order_id)
                self.broken("I1", f"{name} was made while {holder} had the ticket", event.order_id, other.order_id)
            if other.lock >= event.lock:
                self.broken(
                    "I5", f"{name} drew the token {event.lock}, and {self.world.name(other.order_id)} has {other.lock}", event.order_id
                )
        states = [(ticket.title, ticket.price_cents, ticket.currency) for ticket in self.tickets.get(event.ticket_id, [])]
        if (event.title, event.price_cents, event.currency) not in states:
            self.broken("I6", f"{name} has a price that its ticket never had", event.order_id)
        if any(other.order_id in self.relisted for other in others):
            self.world.saw("a refunded ticket was ordered again")
        if others and not any(map(self.holds, others)):
            self.world.saw("a ticket was ordered again after an order had ended")
        self.effects[said.correlation_id].append(event.order_id)
        open_orders = [history[-1] for history in self.orders.values() if history and history[-1].status in OPEN]
        most = self.world.settings.max_open_orders
        if sum(order.user_id == event.user_id for order in open_orders) >= most:
            self.broken("limit", f"a buyer has more than {most} open orders", event.order_id)

    def _completed(self, event: OrderCompleted, now: datetime) -> None:
        self._holds_at_its_price(event, "was completed")
        approvals = [approval.amount_cents for approval in self.about[event.order_id]["PaymentAuthorized"]]
        if event.price_cents not in approvals:
            self.broken("I2", f"{self.world.name(event.order_id)} is complete, and nobody has approved its price", event.order_id)
        if now >= event.expires_at:
            self.world.saw("a payment begun in time was approved in the settle time")
        if self.about[event.order_id]["ExpirationComplete"]:
            self.world.saw("the payment beat the timer")

    def _cancelled(self, event: OrderCancelled, before: OrderEvent, now: datetime) -> None:
        name, told = self.world.name(event.order_id), self.about[event.order_id]
        match event.reason:
            case "expired":
                self._expired(event, before, now)
            case "payment_failed":
                self.world.saw("the third decline ended an order")
                if not any(failed.attempt >= 3 for failed in told["PaymentFailed"]):
                    self.broken("I3", f"{name} was cancelled for its payments before the third had failed", event.order_id)
            case "price_changed" | "withdrawn":
                self.world.saw(f"an order was refused: {event.reason}".replace("_", " "))
                if not told["ReservationRefused"]:
                    self.broken("I3", f"{name} was cancelled as {event.reason}, and tickets never refused it", event.order_id)
        if told["PaymentAuthorized"]:
            self.world.saw("an approved payment lost against the end of its order")
        if any(self.world.lost_to_expiry(approval.charge_id, event) for approval in told["PaymentAuthorized"]):
            self.broken("settle", f"{name} expired, and a payment begun in time had been approved", event.order_id)

    def _expired(self, event: OrderCancelled, before: OrderEvent, now: datetime) -> None:
        name, late = self.world.name(event.order_id), (now - before.cancel_at).total_seconds()
        if late < 0:
            self.broken("I4", f"{name} was cancelled as expired {-late:.1f} s before its time", event.order_id)
        # A timer of a slow clock rings late, and so does one whose service was away; then the sweep is the first.
        quiet = self.world.quiet_for(late + AFTER_OUTAGE_SECONDS)
        ahead = self.world.nodes["expiration"].skew >= self.world.nodes["orders"].skew
        most = PROMPT_SECONDS if quiet and ahead else SWEEP_SECONDS + PROMPT_SECONDS
        if late > most and self.world.up_for("orders") > AFTER_OUTAGE_SECONDS:
            self.broken("I4", f"{name} outlived its time by {late:.1f} s", event.order_id)
        if self.world.label.endswith("sweep"):
            self.world.saw("the sweep ended an order")
        else:
            self.world.saw("the timer ended an order")
        whole_life = (now - (before.expires_at - timedelta(seconds=self.world.settings.order_window_seconds))).total_seconds()
        if self.world.quiet_for(whole_life + AFTER_OUTAGE_SECONDS) and not self.world.faults["clocks"]:
            self._was_answered(event, before)

    def _was_answered(self, event: OrderCancelled, before: OrderEvent) -> None:
        if before.status == "created":
            name = self.world.name(event.order_id)
            self.broken("unanswered", f"{name} expired, and tickets had never said whether it may have its ticket", event.order_id)

    def _holds_at_its_price(self, order: OrderEvent, what: str) -> None:
        ticket, name = self.ticket(order.ticket_id), self.world.name(order.order_id)
        if ticket is None or ticket.order_id != order.order_id:
            self.broken("I5", f"{name} {what} without holding its ticket", order.order_id)
        elif (ticket.title, ticket.price_cents, ticket.currency) != (order.title, order.price_cents, order.currency):
            self.broken("I6", f"{name} {what} at another price or title than its ticket has", order.order_id)

    def _ticket(self, event: TicketEvent, said: Said) -> None:
        name, history = self.world.name(event.ticket_id), self.tickets.setdefault(event.ticket_id, [])
        if isinstance(event, TicketCreated):
            if history or event.version != 1:
                self.broken("I5", f"{name} was created twice", event.ticket_id)
            self.effects[said.correlation_id].append(event.ticket_id)
        elif not history:
            self.broken("I5", f"{name} was changed before it was there", event.ticket_id)
        else:
            before = history[-1]
            if event.version != before.version + 1:
                self.broken("I9", f"{name} went from version {before.version} to {event.version}", event.ticket_id)
            if before.order_id is not None and (event.title, event.price_cents) != (before.title, before.price_cents):
                self.broken("I6", f"{name} was edited while {self.world.name(before.order_id)} held it", event.ticket_id, before.order_id)
            if before.order_id is not None and event.withdrawn and not before.withdrawn:
                self.broken("I6", f"{name} was withdrawn while {self.world.name(before.order_id)} held it", event.ticket_id)
            if before.order_id != event.order_id:
                self._changes_hands(event, before)
            if event.sold and not before.sold:
                order = self.order(event.order_id)
                if order is None or order.status not in ("complete", "refunded"):
                    self.broken("I5", f"{name} was marked as sold, and its order is not complete", event.ticket_id)
        history.append(event)

    def _changes_hands(self, event: TicketEvent, before: TicketEvent) -> None:
        name, old, new = self.world.name(event.ticket_id), self.order(before.order_id), self.order(event.order_id)
        if old is not None and self.holds(old):
            self.broken("I5", f"{self.world.name(old.order_id)} is {old.status}, and lost its lock of {name}", old.order_id)
        if new is not None and old is not None and new.lock <= old.lock:
            self.broken("I5", f"{name} went from the token {old.lock} to {new.lock}", new.order_id)
        if new is not None and not self.holds(new) and new.status in ("cancelled", "refunded"):
            self.world.saw("a ticket was locked for an order that had ended already")

    def _other(self, event: Event, now: datetime) -> None:  # noqa: PLR0912
        order_id: UUID | None = getattr(event, "order_id", None)
        if order_id is None:
            return  # A user.
        order, name, told = self.order(order_id), self.world.name(order_id), self.about[order_id]
        if order is None:
            self.broken("I7", f"{type(event).__name__} is about {name}, which was never ordered", order_id)
            return
        match event:
            case ExpirationComplete():
                if now < event.cancel_at:
                    self.broken("I4", f"the timer of {name} rang before its time", order_id)
                if any(before.cancel_at == event.cancel_at for before in told["ExpirationComplete"]):
                    self.broken("I4", f"the timer of {name} rang twice for one deadline", order_id)
                if order.status == "complete":
                    self.world.saw("the payment beat the timer")
                if event.cancel_at < order.cancel_at:
                    self.world.saw("a timer rang for a deadline that was superseded")
            case ReservationRefused():
                if order.status == "complete":
                    self.broken("I5", f"tickets refused {name}, which is complete", order_id)
            case PaymentAuthorized():
                if event.amount_cents != order.price_cents:
                    self.broken("I2", f"{event.amount_cents} was approved for {name}, which costs {order.price_cents}", order_id)
            case PaymentFailed():
                if event.attempt > 3:
                    self.broken("I2", f"{name} was tried a fourth time", order_id)
                if event.decline_code == "voided":
                    self.world.saw("an approval was given back")
            case PaymentCreated():
                self._money_follows(event, order, "captured")
            case PaymentUncollected():
                self._money_follows(event, order, "uncollected")
                self.world.saw("the money of a complete order could not be taken")
            case PaymentRefunded():
                self._money_follows(event, order, "refunded")
        told[type(event).__name__].append(event)

    def _money_follows(self, event: PaymentCreated | PaymentUncollected | PaymentRefunded, order: OrderEvent, what: str) -> None:
        name = self.world.name(order.order_id)
        if order.status not in ("complete", "refunded"):
            self.broken("I2", f"{name} is {order.status}, and its money is {what}", order.order_id)
        if any(before.charge_id == event.charge_id for before in self.about[order.order_id][type(event).__name__]):
            self.broken("I2", f"the money of {name} is {what} a second time", order.order_id)

    # What was heard

    def hear(self, service: str, event_id: UUID, handled: bool) -> None:
        if not handled:
            self.world.saw("an event that came twice was dropped by the inbox")
            return
        if event_id in self.heard[service]:
            self.world.saw("an event was handled twice")
        elif event_id in self.events:
            self._overtaken(service, event_id)
        self.heard[service].append(event_id)

    def _overtaken(self, service: str, event_id: UUID) -> None:
        event = self.events[event_id][1]
        if not isinstance(event, OrderEvent):
            return
        others = [self.events[other][1] for other in self.heard[service] if other in self.events]
        later = [other for other in others if isinstance(other, OrderEvent) and other.ticket_id == event.ticket_id]
        if isinstance(event, OrderCreated) and any(isinstance(o, OrderCancelled) and o.order_id == event.order_id for o in later):
            self.world.saw("a cancellation overtook its creation")
        if any(other.lock > event.lock for other in later):
            self.world.saw("an event of an older order came after one of a newer order")

    # What the processor does

    def at_authorization(self, intent: Intent, all_intents: list[Intent]) -> None:
        order, name = self.order(intent.order_id), self.world.name(intent.order_id)
        if order is None or not any(isinstance(event, OrderReserved) for event in self.orders[intent.order_id]):
            self.broken("I2", f"the processor was asked to set money aside for {name} before its ticket was confirmed", intent.order_id)
        if order is not None and self.world.lost_to_expiry(intent.charge_id, order):
            self.broken("settle", f"{name} had expired when a payment begun in time was approved", intent.order_id)
        if any(other.order_id == intent.order_id and other.alive for other in all_intents):
            self.broken("I2", f"money is set aside twice for {name}", intent.order_id)

    def at_capture(self, intent: Intent, all_intents: list[Intent]) -> None:
        order, name = self.order(intent.order_id), self.world.name(intent.order_id)
        if order is None or order.status != "complete":
            self.broken("I2", f"money was taken for {name}, which is {order.status if order else 'unknown'}", intent.order_id)
        if any(other.order_id == intent.order_id and other.captured_cents > other.refunded_cents for other in all_intents):
            self.broken("I2", f"money was taken twice for {name}", intent.order_id)

    def at_void(self, intent: Intent, charge: Charge) -> None:
        order, name = self.order(intent.order_id), self.world.name(intent.order_id)
        if (order is None or order.status != "cancelled") and charge.status != "failed":
            self.broken("I2", f"the approval for {name} was given back, and it is {order.status if order else 'unknown'}", intent.order_id)

    def at_refund(self, intent: Intent) -> None:
        order = self.order(intent.order_id)
        if order is None or order.status not in ("complete", "refunded"):
            self.broken("I2", f"the money of {self.world.name(intent.order_id)} was given back, and it was never complete", intent.order_id)

    # Looking things up

    def order(self, order_id: UUID | None) -> OrderEvent | None:
        history = self.orders.get(order_id) if order_id is not None else None
        return history[-1] if history else None

    def event(self, event_id: UUID) -> Event | None:
        """None for what was never said: poison."""
        return self.events[event_id][1] if event_id in self.events else None

    def ticket(self, ticket_id: UUID) -> TicketEvent | None:
        history = self.tickets.get(ticket_id)
        return history[-1] if history else None

    def of_ticket(self, ticket_id: UUID) -> list[OrderEvent]:
        return [history[-1] for history in self.orders.values() if history and history[-1].ticket_id == ticket_id]

    def holds(self, order: OrderEvent) -> bool:
        """Whether an order has its ticket, by what orders has said."""
        return order.status not in ("cancelled", "refunded") or (order.status == "refunded" and order.order_id not in self.relisted)

    def find(self, wanted: Callable[[OrderEvent], bool]) -> list[OrderEvent]:
        return [history[-1] for history in self.orders.values() if history and wanted(history[-1])]
