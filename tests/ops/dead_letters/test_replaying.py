"""What was parked and is replayed ends as if it had been handled when it came; what is dropped stays dropped."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

import msgspec
import pytest
from support.databases import OwnDatabase, own_database
from support.exchange import exchange
from support.facts import (
    ANN,
    BOB,
    CANCEL_AT,
    CHARGE,
    EXPIRES_AT,
    PRICE,
    TICKET,
    TITLE,
    A,
    expiration_complete,
    order_cancelled,
    order_completed,
    order_created,
    order_extended,
    order_refunded,
    order_reserved,
    payment_authorized,
    payment_created,
    payment_failed,
    payment_refunded,
    payment_uncollected,
    reservation_refused,
    ticket_created,
    ticket_updated,
)
from support.house import eventually

from admitone.config import Settings
from admitone.kit.data.connection import Connection
from admitone.kit.delivery.inbox import handle
from admitone.kit.event import Event, Message, subject
from admitone.kit.testing import NOON
from admitone.ops import dead_letters
from admitone.ops.reach import Databases, open_databases
from admitone.runtime.engines import Engines
from admitone.services import SERVICES

REQUEST = UUID(int=7)
DELIVERY = {"migrations", "inbox", "outbox", "parked", "dropped", "idempotency"}
BEFORE = {
    "tickets": f"""INSERT INTO tickets (ticket_id, version, seller_id, title, price_cents, currency, created_at)
                   VALUES ('{TICKET}', 1, '{ANN}', '{TITLE}', {PRICE}, 'USD', '{NOON}')""",
    "orders": f"""INSERT INTO orders (order_id, version, ticket_id, user_id, status, title, price_cents, currency, lock, expires_at,
                                      cancel_at, created_at, seller_id)
                  VALUES ('{A}', 1, '{TICKET}', '{BOB}', 'created', '{TITLE}', {PRICE}, 'USD', 1, '{EXPIRES_AT}',
                          '{CANCEL_AT}', '{NOON}', '{ANN}')""",
}

COPIES: list[Event] = [order_created(), order_reserved(), order_completed()]
LOCKED = ticket_updated(version=2, order_id=A)
SOLD = ticket_updated(version=3, order_id=A, sold=True)
RELISTED: list[Event] = [order_created(), order_completed(), order_refunded(relist=True)]

# Per service and event: what happens there. The event is parked, everything else goes on, and then it is replayed. What can only
# follow from its having been handled is not there: it does not happen meanwhile.
STORIES: dict[tuple[str, str], list[Event]] = {
    ("tickets", "OrderCreated"): [order_created(), order_cancelled()],
    ("tickets", "OrderExtended"): [order_created(), order_extended(), order_created(order_id=CHARGE, lock=2)],
    ("tickets", "OrderCancelled"): [order_created(), order_cancelled(), order_created(order_id=CHARGE, lock=2)],
    ("tickets", "OrderCompleted"): RELISTED,
    ("tickets", "OrderRefunded"): RELISTED,
    ("orders", "TicketCreated"): [ticket_created(), ticket_updated(version=2, title="Stalls")],
    ("orders", "TicketUpdated"): [ticket_created(), LOCKED, payment_failed(1)],
    ("orders", "ReservationRefused"): [ticket_created(), reservation_refused(reason="withdrawn"), ticket_updated(withdrawn=True)],
    ("orders", "ExpirationComplete"): [ticket_created(), LOCKED, expiration_complete(), payment_failed(2)],
    ("orders", "PaymentAuthorized"): [ticket_created(), LOCKED, payment_failed(1), payment_authorized()],
    ("orders", "PaymentFailed"): [ticket_created(), LOCKED, payment_failed(3), ticket_updated(version=3, title="Stalls")],
    ("orders", "PaymentCreated"): [LOCKED, payment_authorized(), SOLD, payment_created(), payment_refunded()],
    ("orders", "PaymentUncollected"): [LOCKED, payment_authorized(), payment_uncollected(), SOLD, payment_refunded(refund_id=None)],
    ("orders", "PaymentRefunded"): [LOCKED, payment_authorized(), payment_refunded(relist=True), SOLD, payment_created()],
    ("expiration", "OrderCreated"): COPIES,
    ("expiration", "OrderReserved"): COPIES,
    ("expiration", "OrderExtended"): [order_created(), order_extended(), order_reserved()],
    ("expiration", "OrderCancelled"): [order_created(), order_cancelled(), order_reserved()],
    ("expiration", "OrderCompleted"): COPIES,
    ("payments", "OrderCreated"): COPIES,
    ("payments", "OrderReserved"): COPIES,
    ("payments", "OrderExtended"): [order_created(), order_extended(), order_reserved()],
    ("payments", "OrderCancelled"): [order_created(), order_cancelled(), order_reserved()],
    ("payments", "OrderCompleted"): [*COPIES, order_refunded()],
    ("payments", "OrderRefunded"): [*COPIES, order_refunded()],
}
HEARD = [(service.name, event.__name__) for service in SERVICES if service.handlers for event in service.handlers.by_event]


class Service:
    """One service's database; whatever it does, it does at the time when an unpaid order ends."""

    def __init__(self, name: str, own: OwnDatabase) -> None:
        self.name = name
        self.own = own
        self.db = own.db

    async def begins(self) -> None:
        tables = await self._tables("migrations")
        await self.db.pool.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY")
        await self.db.pool.execute(BEFORE.get(self.name, "SELECT"))

    async def handles(self, event: Event) -> None:
        handlers = dead_letters.HANDLERS[self.name]
        async with self.db.transaction() as tx:
            await handle(handlers, [(subject(type(event)), message_of(event))], tx)

    async def parks(self, event: Event, **changes: Any) -> dead_letters.DeadLetter:
        return await self.parks_bytes(message_of(event, **changes), type(event).__name__, id_of(event))

    async def parks_bytes(self, message: bytes, name: str, event_id: UUID) -> dead_letters.DeadLetter:
        await self.db.pool.execute("INSERT INTO parked VALUES ($1, $2, $3, 'ValueError: no', 5, $4)", event_id, name, message, NOON)
        return dead_letters.DeadLetter(service=self.name, event_id=event_id, event=name, error="ValueError: no", tries=5, parked_at=NOON)

    async def rows(self) -> dict[str, Any]:
        """What it owns, and which events it has handled. How often a ticket changed on the way is not the end of it,
        nor is how far an order had come when it was told of its money.
        """
        found: dict[str, Any] = {}
        for table in await self._tables(*DELIVERY):
            rows = await self.own.rows(f"SELECT * FROM {table} ORDER BY 1, 2")
            on_the_way = table in ("tickets", "payment_events")
            found[table] = [{name: value for name, value in row.items() if not (on_the_way and name == "version")} for row in rows]
        found["inbox"] = await self.own.rows("SELECT event_id, event FROM inbox ORDER BY event_id")
        return found

    async def parked(self) -> list[dict[str, Any]]:
        return await self.own.rows("SELECT event_id, error, tries FROM parked")

    async def _tables(self, *but: str) -> list[str]:
        rows = await self.own.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        return [row["tablename"] for row in rows if row["tablename"] not in but]


def databases_of(service: Service) -> AbstractAsyncContextManager[Databases]:
    return open_databases(Settings(own_database_urls={service.name: service.own.url}), [service.name])


def id_of(event: Event) -> UUID:
    return uuid5(REQUEST, repr(event))


def message_of(event: Event, **changes: Any) -> bytes:
    message = Message(
        event_id=id_of(event),
        event=type(event).__name__,
        time=NOON,
        correlation_id=REQUEST,
        causation_id=None,
        data=msgspec.to_builtins(event) | changes,
    )
    return msgspec.json.encode(message)


async def when_an_unpaid_order_ends(_connection: Connection) -> datetime:
    return CANCEL_AT


@pytest.fixture(scope="module")
async def services(engines: Engines) -> AsyncIterator[dict[str, Service]]:
    async with AsyncExitStack() as stack:
        yield {
            name: Service(name, await stack.enter_async_context(own_database(engines, name, when_an_unpaid_order_ends)))
            for name in dict.fromkeys(name for name, _ in HEARD)
        }


@pytest.fixture
async def orders(services: dict[str, Service]) -> Service:
    await services["orders"].begins()
    return services["orders"]


@pytest.mark.parametrize(("name", "event"), HEARD, ids=lambda value: value)
async def test_an_event_that_was_parked_and_is_replayed_ends_as_if_it_never_was(
    services: dict[str, Service], name: str, event: str
) -> None:
    assert (name, event) in STORIES, f"say in STORIES what {name} hears when {event} is the one that was parked"
    service, story = services[name], STORIES[name, event]
    (late,) = (fact for fact in story if type(fact).__name__ == event and fact is not SOLD)
    await service.begins()
    untouched = await service.rows()
    for fact in story:
        await service.handles(fact)
    as_if_never_parked = await service.rows()
    assert as_if_never_parked != untouched

    await service.begins()
    letter = await service.parks(late)
    for fact in story:
        if fact is not late:
            await service.handles(fact)
    assert await service.rows() != as_if_never_parked
    assert await dead_letters.replay(service.db, letter) == (True, "is handled")
    assert await service.rows() == as_if_never_parked
    assert await service.parked() == []

    again = await service.parks(late)  # The stream brings it once more, and it was handled in the meantime.
    assert await dead_letters.replay(service.db, again) == (True, "was handled before; it is parked no more")
    assert await dead_letters.replay(service.db, again) == (True, "is not parked any more")
    assert await service.rows() == as_if_never_parked
    assert await service.parked() == []


async def test_events_of_a_replay_carry_the_causing_event_and_the_request_id(orders: Service) -> None:
    letter = await orders.parks(LOCKED)
    await dead_letters.replay(orders.db, letter)
    assert await orders.own.rows("SELECT event, correlation_id, causation_id FROM outbox") == [
        {"event": "OrderReserved", "correlation_id": REQUEST, "causation_id": letter.event_id}
    ]


async def test_what_fails_again_stays_with_its_new_error_and_changes_nothing(orders: Service) -> None:
    before = await orders.rows()
    letter = await orders.parks(reservation_refused(reason="nonsense"))
    for tries in (6, 7):
        gone, what = await dead_letters.replay(orders.db, letter)
        assert not gone
        assert what.startswith("has failed again and stays parked: CheckViolationError")
        (row,) = await orders.parked()
        assert row["tries"] == tries
        assert row["error"].startswith("CheckViolationError: new row for relation")
    assert await orders.rows() == before
    assert await orders.own.rows("SELECT 1 FROM outbox") == []


async def test_what_comes_too_early_stays_as_it_is_and_its_time_is_said(orders: Service) -> None:
    later = CANCEL_AT.replace(year=2027)
    await orders.db.pool.execute("UPDATE orders SET cancel_at = $1", later)
    letter = await orders.parks(expiration_complete(cancel_at=later))
    gone, what = await dead_letters.replay(orders.db, letter)
    assert not gone
    assert f"its time is {later:%Y-%m-%d %H:%M:%S} UTC" in what
    assert await orders.parked() == [{"event_id": letter.event_id, "error": "ValueError: no", "tries": 5}]


@pytest.mark.parametrize("message", [b"\xff\x00\x1b[31mred", b"[1]", b'{"event": "TicketEaten"}', b"null", b"[" * 5000])
async def test_what_can_not_be_read_is_shown_safely_stays_and_is_dropped(orders: Service, message: bytes) -> None:
    letter = await orders.parks_bytes(message, "TicketCreated", uuid4())
    async with databases_of(orders) as databases:
        shown = "\n".join(await dead_letters.format_whole(databases, letter))
        assert str(letter.event_id) in shown
        assert "5 tries" in shown
        assert all(character.isprintable() or character == "\n" for character in shown)
        gone, what = await dead_letters.replay(orders.db, letter)
        assert not gone
        assert "stays parked" in what
        assert await dead_letters.drop(orders.db, letter, "it says nothing")
        assert await orders.parked() == []
        (dropped,) = await dead_letters.find(databases, dropped=True)
        assert (dropped.event_id, dropped.reason, dropped.tries) == (letter.event_id, "it says nothing", 6)


async def test_what_was_dropped_is_neither_handled_nor_parked_when_it_comes_again(engines: Engines) -> None:
    async with exchange(engines) as here:
        await here.begins_anew()
        readable = ticket_created()
        unreadable = await here.sends_bytes("events.tickets.TicketCreated", b"no event")
        orders = Service("orders", here.own)
        async with here.at_work(here.consumer(dead_letters.HANDLERS["orders"])), databases_of(orders) as databases:
            await eventually(orders.parked)
            letters = [await orders.parks(readable), *await dead_letters.find(databases, str(unreadable))]
            assert [await dead_letters.drop(orders.db, letter, "no use") for letter in letters] == [True, True]
            assert [await dead_letters.drop(orders.db, letter, "no use") for letter in letters] == [False, False]
            await here.bus.stream.delete_stream("ADMITONE")
            await here.bus.ensure_stream()
            await here.sends_bytes("events.tickets.TicketCreated", b"no event", unreadable)
            await here.sends_bytes(subject(type(readable)), message_of(readable), id_of(readable))
            last = await here.sends(ticket_created(ticket_id=uuid4()))
            await eventually(lambda: here.own.rows("SELECT 1 FROM inbox WHERE event_id = $1", last))
        assert await orders.parked() == []
        assert await here.own.rows("SELECT 1 FROM ticket_copies WHERE ticket_id = $1", TICKET) == []


def test_an_id_is_shown_as_far_as_it_takes_to_tell_it_from_the_others() -> None:
    ids = ["11111111-1111-4111-8111-111111111111", "11111111-1111-4222-8111-111111111111", "22222222-1111-4111-8111-111111111111"]
    found = [
        dead_letters.DeadLetter(service="orders", event_id=UUID(text), event="X", error="E: \x1b[31m\nmore", tries=1, parked_at=NOON)
        for text in ids
    ]
    lines = dead_letters.format_rows(found)
    assert [line.split()[2] for line in lines] == ["11111111-1111-41", "11111111-1111-42", "22222222"]
    assert lines[0].endswith("since 2026-06-01 12:00:00  1 try  E: \\u001b[31m")


async def test_a_beginning_that_several_ids_share_names_none_of_them(orders: Service) -> None:
    async with databases_of(orders) as databases:
        one, other = UUID("11111111-1111-4111-8111-111111111111"), UUID("11111111-1111-4222-8111-111111111111")
        for event_id in (one, other):
            await orders.parks_bytes(b"", "TicketCreated", event_id)
        with pytest.raises(dead_letters.UnknownDeadLetter, match=f"11111111 is the beginning of 2 ids: {one}, {other}"):
            await dead_letters.of_event(databases, "11111111")
        (found,) = await dead_letters.of_event(databases, "11111111-1111-41")
        assert found.event_id == one
