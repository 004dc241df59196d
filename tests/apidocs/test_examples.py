"""One message per event, as its owner once wrote it, is frozen: today's code reads it, and everybody who listens takes it."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from conftest import Rehearse
from support.facts import ANN, BOB, PRICE, TICKET, order_completed, order_created, ticket_created
from support.frozen import CAME_LATER, file_of, frozen, of_tomorrow, of_yesterday, read, what_broke, what_to_do

from admitone.apidocs.overview import EXAMPLES
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
    TicketEvent,
)
from admitone.kit.delivery.inbox import Unreadable
from admitone.kit.event import CATALOGUE, LISTENERS, Event, Message
from admitone.kit.testing import NOON, Rehearsal
from admitone.orders import repository as orders
from admitone.orders.model import Wish
from admitone.services import SERVICES
from admitone.tickets import repository as tickets
from admitone.web.changes import EVENTS, LiveChanges

BY_NAME = {service.name: service for service in SERVICES}
HEARD = [(listener, name) for name, event in CATALOGUE.items() for listener in sorted(LISTENERS[event]) if BY_NAME[listener].has_database]


@pytest.mark.parametrize("name", CATALOGUE)
def test_an_event_can_be_read_from_what_was_once_written(name: str) -> None:
    message = frozen(name)
    why = what_broke(message, CATALOGUE[name])
    assert why is None, what_to_do(name, why or "")
    assert set(message) == {field.name for field in msgspec.structs.fields(Message)}
    for other in (message, of_yesterday(name), of_tomorrow(name)):
        try:
            read(other)
        except Unreadable as error:
            raise AssertionError(what_to_do(name, str(error))) from error


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_field_that_came_later_is_known_as_such(name: str) -> None:
    later = {field.name for field in msgspec.structs.fields(CATALOGUE[name]) if not field.required}
    new = later - CAME_LATER.get(name, set())
    assert not new, (
        f"enter {new} of {name} into CAME_LATER in tests/support/frozen.py: older messages lack it, so it has to keep its default"
    )


def test_every_example_is_of_an_event_that_there_is() -> None:
    for file in EXAMPLES.iterdir():
        assert file.stem in CATALOGUE, (
            f"there is no {file.stem} any more. Its messages are still in every log and stream: keep the event under its name, "
            f"and say a new one from now on. Only if nobody has ever published it, remove {file_of(file.stem)}"
        )
        assert frozen(file.stem)["event"] == file.stem


REFUSED = frozen("ReservationRefused")
AS_IT_WAS: list[Any] = [("order_id", UUID), ("ticket_id", UUID), ("reason", str)]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ([*AS_IT_WAS, ("note", str, "")], None),
        ([("order_id", UUID), ("ticket_id", UUID), ("why", str, "")], "it has no field `reason` any more"),
        ([*AS_IT_WAS, ("note", str)], "Object missing required field `note`"),
        ([("order_id", UUID), ("ticket_id", UUID), ("reason", int)], "Expected `int`, got `str` - at `$.reason`"),
        ([("order_id", str), ("ticket_id", UUID), ("reason", str)], "`order_id` was a UUID and is a str now"),
    ],
    ids=["added with a default", "renamed", "added without a default", "another type", "a looser type"],
)
def test_a_change_that_breaks_yesterdays_messages_is_noticed(fields: Any, why: str | None) -> None:
    changed: Any = msgspec.defstruct("ReservationRefused", fields, bases=(Event,), kw_only=True, frozen=True)
    assert what_broke(REFUSED, changed) == why


@pytest.mark.parametrize(("listener", "name"), HEARD, ids=[f"{listener} {name}" for listener, name in HEARD])
async def test_whoever_listens_takes_what_was_once_written(rehearse: Rehearse, listener: str, name: str) -> None:
    for message in (frozen(name), of_yesterday(name)):
        event = read(message)
        async with rehearse(BY_NAME[listener]) as it:
            look, expected = await scene(it, event)
            if message == frozen(name):
                assert await it.rows(look) != [expected], "it must be the event that brings this about"
            await it.hears(event)
            assert await it.rows(look) == [expected], what_to_do(name, f"{listener} does not do with it what it did")


@pytest.mark.parametrize("name", ["TicketCreated", "TicketUpdated"])
def test_open_pages_are_told_of_what_was_once_written(name: str) -> None:
    for message in (frozen(name), of_yesterday(name)):
        event, live = read(message), LiveChanges()
        live.record(UUID(message["event_id"]), event)
        [change] = live.changes
        assert isinstance(event, TicketEvent)
        assert change.ticket is not None
        assert (change.ticket.id, change.ticket.title) == (event.ticket_id, event.title)


@pytest.mark.parametrize("name", [event.__name__ for event in EVENTS if not issubclass(event, TicketEvent)])
async def test_a_buyers_open_pages_are_told_of_what_was_once_written(name: str) -> None:
    for message in (frozen(name), of_yesterday(name)):
        event: Any = read(message)
        live = LiveChanges()
        live.record(UUID(int=1), order_created(order_id=event.order_id))
        live.record(UUID(message["event_id"]), event)
        [_, change] = live.changes
        assert (change.order_id, change.buyer) == (event.order_id, getattr(event, "user_id", BOB))


async def scene(it: Rehearsal, event: Event) -> tuple[str, dict[str, Any]]:
    """What has to be there before is there. Returns where to look afterwards, and what is to be seen then."""
    match it.service.name, event:
        case "tickets", OrderEvent():
            return await scene_at_tickets(it, event)
        case "orders", TicketEvent(order_id=None):
            return "SELECT version, title, price_cents FROM ticket_copies", {
                "version": event.version, "title": event.title, "price_cents": event.price_cents}  # fmt: skip
        case "orders", _:
            return await scene_at_orders(it, event)
        case "expiration", OrderCreated() | OrderReserved() | OrderExtended():
            return "SELECT version, due FROM timers", {"version": event.version, "due": event.cancel_at}
        case "expiration", OrderCancelled() | OrderCompleted():
            await it.hears(order_created(order_id=event.order_id))
            return "SELECT version, due FROM timers", {"version": event.version, "due": None}
        case "payments", OrderEvent():
            return "SELECT order_id, version, status FROM order_copies", {
                "order_id": event.order_id, "version": event.version, "status": event.status}  # fmt: skip
    raise AssertionError(f"say here what {it.service.name} needs before it hears {type(event).__name__}, and what is to be seen then")


async def scene_at_tickets(it: Rehearsal, event: OrderEvent) -> tuple[str, dict[str, Any]]:
    await it.does(tickets.insert, event.ticket_id, ANN, event.title, event.price_cents, event.currency, NOON)
    same: dict[str, Any] = {name: getattr(event, name) for name in ("order_id", "ticket_id", "title", "price_cents", "currency", "lock")}
    if not isinstance(event, OrderCreated | OrderExtended):
        await it.hears(order_created(**same))
    look, holds = "SELECT order_id, sold FROM tickets", {"order_id": event.order_id, "sold": False}
    match event:
        case OrderCreated() | OrderExtended():
            return look, holds
        case OrderCancelled():
            return look, {"order_id": None, "sold": False}
        case OrderCompleted():
            return look, holds | {"sold": True}
        case OrderRefunded():
            await it.hears(order_completed(**same))
            return look, {"order_id": None, "sold": False} if event.relist else holds | {"sold": True}
    raise AssertionError(f"say here what is to be seen after {type(event).__name__}")


async def scene_at_orders(it: Rehearsal, event: Any) -> tuple[str, dict[str, Any]]:
    """An order by Bob that has come as far as this event needs."""
    ticket_id = getattr(event, "ticket_id", TICKET)
    cancel_at = getattr(event, "cancel_at", NOON + timedelta(minutes=16))
    price = getattr(event, "amount_cents", getattr(event, "price_cents", PRICE))
    await it.hears(ticket_created(ticket_id=ticket_id, price_cents=price))
    wish = Wish(event.order_id, BOB, ticket_id, None, None, uuid4())
    expires_at = cancel_at - timedelta(seconds=30)
    await it.does(orders.insert_orders, [wish], fee_basis_points=0, max_open=8, expires_at=expires_at, cancel_at=cancel_at)
    if isinstance(event, PaymentAuthorized | PaymentFailed | PaymentCreated | PaymentUncollected | PaymentRefunded):
        await it.does(orders.confirm, [event.order_id])
    if isinstance(event, PaymentCreated | PaymentUncollected | PaymentRefunded):
        await it.does(orders.complete, event.order_id, price, "USD")
    look = "SELECT status, reason, charge_id, uncollected FROM orders"
    row: dict[str, Any] = {"status": "complete", "reason": None, "charge_id": None, "uncollected": False}
    match event:
        case TicketEvent():
            return look, row | {"status": "awaiting:payment"}
        case ReservationRefused():
            return look, row | {"status": "cancelled", "reason": event.reason}
        case ExpirationComplete():
            it.now = cancel_at
            return look, row | {"status": "cancelled", "reason": "expired"}
        case PaymentAuthorized():
            return look, row
        case PaymentFailed():
            return look, row | {"status": "cancelled", "reason": "payment_failed"}
        case PaymentCreated():
            return look, row | {"charge_id": event.charge_id}
        case PaymentUncollected():
            return look, row | {"uncollected": True}
        case PaymentRefunded():
            return look, row | {"status": "refunded"}
    raise AssertionError(f"say here how far the order has to be before {type(event).__name__}, and what is to be seen then")
