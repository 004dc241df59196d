"""How events reach the handlers: in order, once, again when they fail, and parked when that is no use."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
import structlog
from support.exchange import Exchange, exchange
from support.facts import BOB, TICKET, reservation_refused, ticket_created, ticket_updated
from support.house import eventually

from admitone import orders
from admitone.config import Settings
from admitone.events import TicketCreated, TicketEvent, TicketUpdated
from admitone.kit.data.db import Tx
from admitone.kit.delivery.bus import STREAM
from admitone.kit.delivery.consumer import ACK_WAIT_SECONDS
from admitone.kit.observe.log import correlation_id
from admitone.kit.service import Delivered, Handlers, TooEarly
from admitone.orders import commands
from admitone.runtime.engines import Engines


@pytest.fixture(scope="module")
async def stage(engines: Engines) -> AsyncIterator[Exchange]:
    async with exchange(engines) as stage:
        yield stage


@pytest.fixture
async def here(stage: Exchange) -> Exchange:
    await stage.begins_anew()
    return stage


class Listener:
    """Notes what it hears; what is listed in `trouble` for a title is raised first, one after the other."""

    def __init__(self, **trouble: list[Exception]) -> None:
        self.heard: list[str] = []
        self.tries = 0
        self.trouble = trouble
        self.handlers = Handlers("orders")
        self.handlers.by_event = {TicketCreated: self.hear, TicketUpdated: self.hear}

    async def hear(self, event: TicketEvent, _tx: Tx) -> None:
        self.tries += 1
        if self.trouble.get(event.title):
            raise self.trouble[event.title].pop(0)
        self.heard.append(event.title)


def ticket(title: str) -> TicketCreated:
    return ticket_created(ticket_id=uuid4(), title=title)


async def parked(here: Exchange) -> list[dict[str, Any]]:
    return await here.own.rows("SELECT event_id, event, message, error, tries FROM parked ORDER BY parked_at")


async def done(here: Exchange, handled: int, parked: int = 0) -> None:
    """Wait until so many are handled and parked, and the stream waits for no answer any more."""

    async def settled() -> bool:
        counts = await here.own.rows("SELECT (SELECT count(*) FROM inbox) AS handled, (SELECT count(*) FROM parked) AS parked")
        if counts != [{"handled": handled, "parked": parked}]:
            return False
        pending: int = (await here.bus.stream.consumer_info(STREAM, "orders")).num_ack_pending
        return pending == 0

    await eventually(settled)


async def test_a_backlog_is_consumed_in_order(here: Exchange) -> None:
    listener = Listener()
    titles = [f"ticket {number}" for number in range(150)]
    for title in titles:
        await here.sends(ticket(title))
    async with here.at_work(here.consumer(listener.handlers)):
        await done(here, handled=150)
    assert listener.heard == titles


async def test_what_a_stopped_consumer_had_not_handled_is_delivered_to_another_at_once(here: Exchange) -> None:
    """And not only when the stream has waited for an acknowledgement in vain."""
    begun, listener = asyncio.Event(), Listener()
    slow = Handlers("orders")

    async def never_ends(_event: TicketEvent, _tx: Tx) -> None:
        begun.set()
        await asyncio.Event().wait()

    slow.by_event = {TicketCreated: never_ends, TicketUpdated: never_ends}
    for number in range(150):  # More than it pulls at once.
        await here.sends(ticket(f"ticket {number}"))
    async with here.at_work(here.consumer(slow)):
        await begun.wait()
    async with asyncio.timeout(ACK_WAIT_SECONDS - 1), here.at_work(here.consumer(listener.handlers)):
        await done(here, handled=150)


async def test_the_same_event_under_two_message_ids_has_one_effect(here: Exchange) -> None:
    listener = Listener()
    event = ticket("twice")
    event_id = await here.sends(event)
    await here.sends(event, event_id)
    async with here.at_work(here.consumer(listener.handlers)):
        await done(here, handled=1)
        await here.sends(event, event_id)
        await here.sends(ticket("once"))
        await done(here, handled=2)
    assert listener.heard == ["twice", "once"]


async def test_a_failing_event_is_tried_again_until_it_works(here: Exchange) -> None:
    listener = Listener(shaky=[ValueError("once"), ValueError("twice")])
    await here.sends(ticket("shaky"))
    async with here.at_work(here.consumer(listener.handlers)):
        await done(here, handled=1)
    assert listener.heard == ["shaky"]
    assert await parked(here) == []


async def test_an_event_that_never_works_is_parked_and_holds_up_no_other(here: Exchange) -> None:
    """For real: orders does not know this reason for a refusal."""
    async with here.own.db.transaction() as tx:
        await commands.copy_tickets(tx, [Delivered.now(ticket_created())])
        order = await commands.create_order(tx, BOB, TICKET, None, Settings())
    bad = await here.sends(reservation_refused(order_id=order.order_id, reason="nonsense"))
    await here.sends(ticket_updated(order_id=order.order_id))
    others = [ticket("another"), ticket("a third")]
    for other in others:
        await here.sends(other)
    assert orders.service.handlers is not None
    async with here.at_work(here.consumer(orders.service.handlers)):
        await done(here, handled=3, parked=1)
    (row,) = await parked(here)
    assert row["event"] == "ReservationRefused"
    assert row["tries"] == 3
    assert "CheckViolationError" in row["error"]
    assert msgspec.json.decode(row["message"])["event_id"] == str(bad)
    assert await here.own.rows("SELECT status FROM orders") == [{"status": "awaiting:payment"}]
    assert len(await here.own.rows("SELECT 1 FROM ticket_copies")) == 3


async def test_one_failing_event_of_a_batch_spoils_none_of_the_others(here: Exchange) -> None:
    listener = Listener(bad=[ValueError(str(number)) for number in range(10)])
    for title in ("a", "b", "bad", "c", "d"):
        await here.sends(ticket(title))
    async with here.at_work(here.consumer(listener.handlers)):
        await done(here, handled=4, parked=1)
    assert [title for title in listener.heard if title in "cd"] == ["c", "d"]
    assert set(listener.heard) == {"a", "b", "c", "d"}


async def test_an_event_that_comes_too_early_is_taken_again_and_never_parked(here: Exchange) -> None:
    listener = Listener(early=[TooEarly(0.01) for _ in range(6)])
    await here.sends(ticket("early"))
    await here.sends(ticket("other"))
    async with here.at_work(here.consumer(listener.handlers, retry_delays=())):
        await done(here, handled=2)
    assert sorted(set(listener.heard)) == ["early", "other"]
    assert await parked(here) == []


@pytest.mark.parametrize("trouble", [asyncpg.DeadlockDetectedError("x"), asyncpg.SerializationError("x"), ConnectionResetError()])
async def test_trouble_with_an_engine_parks_nothing(here: Exchange, trouble: Exception) -> None:
    listener = Listener(unlucky=[trouble, trouble])
    await here.sends(ticket("unlucky"))
    async with here.at_work(here.consumer(listener.handlers, retry_delays=())):
        await done(here, handled=1)
    assert listener.heard == ["unlucky"]
    assert await parked(here) == []


def message(**changes: Any) -> bytes:
    whole: dict[str, Any] = {
        "event_id": str(uuid4()),
        "event": "TicketCreated",
        "time": "2026-06-01T12:00:00Z",
        "correlation_id": str(uuid4()),
    }
    whole |= {"causation_id": None, "data": msgspec.to_builtins(ticket("read"))} | changes
    return msgspec.json.encode({name: value for name, value in whole.items() if value is not ...})


def data(**changes: Any) -> dict[str, Any]:
    whole = msgspec.to_builtins(ticket("read")) | changes
    return {name: value for name, value in whole.items() if value is not ...}


UNREADABLE = {
    "nothing": b"",
    "not JSON": b"\x00\xff nonsense",
    "not UTF-8": b'{"event": "\xff"}',
    "a list": b"[]",
    "no envelope": b"{}",
    "no id": message(event_id=...),
    "an id that is none": message(event_id="x"),
    "an event we have never heard of": message(event="TicketEaten"),
    "an event of somebody else's": message(event="OrderCreated"),
    "no state": message(data=...),
    "a missing field": message(data=data(price_cents=...)),
    "a field of another type": message(data=data(price_cents="much")),
    "a version that is none": message(data=data(version=None)),
    "an event that counts on another subject alone": message(event="TicketUpdated"),
}


async def test_a_message_that_is_no_event_we_know_is_parked_at_once(here: Exchange) -> None:
    listener = Listener()
    ids = {name: await here.sends_bytes("events.tickets.TicketCreated", unreadable) for name, unreadable in UNREADABLE.items()}
    await here.sends(ticket("next"))
    async with here.at_work(here.consumer(listener.handlers, retry_delays=(60,))):
        await done(here, handled=1, parked=len(UNREADABLE))
    found = {row["event_id"]: (row["event"], row["message"], row["tries"]) for row in await parked(here)}
    assert found == {ids[name]: ("TicketCreated", unreadable, 1) for name, unreadable in UNREADABLE.items()}
    assert listener.heard == ["next"]


async def test_a_message_without_an_id_is_parked_too(here: Exchange) -> None:
    await here.bus.stream.publish("events.tickets.TicketCreated", b"nonsense")
    async with here.at_work(here.consumer(Listener().handlers)):
        await done(here, handled=0, parked=1)


async def test_fields_of_tomorrow_are_no_trouble(here: Exchange) -> None:
    listener = Listener()
    await here.sends_bytes("events.tickets.TicketCreated", message(data=data(title="tomorrow", seat="12b"), shape=2))
    async with here.at_work(here.consumer(listener.handlers)):
        await done(here, handled=1)
    assert listener.heard == ["tomorrow"]


async def test_events_of_a_handler_carry_the_causing_event_and_the_request_id(here: Exchange) -> None:
    async with here.own.db.transaction() as tx:
        await commands.copy_tickets(tx, [Delivered.now(ticket_created())])
        order = await commands.create_order(tx, BOB, TICKET, None, Settings())
    request = uuid4()
    cause = await here.sends(ticket_updated(order_id=order.order_id), correlation_id=request)
    assert orders.service.handlers is not None
    async with here.at_work(here.consumer(orders.service.handlers)):
        await done(here, handled=1)
    assert await here.own.rows("SELECT correlation_id, causation_id FROM outbox WHERE event = 'OrderReserved'") == [
        {"correlation_id": request, "causation_id": cause}
    ]


async def test_a_log_line_about_an_event_has_its_own_correlation_id(here: Exchange) -> None:
    requests = [uuid4(), uuid4()]
    listener = Listener(bad=[ValueError("among others"), ValueError("by itself")])
    await here.sends(ticket("good"), correlation_id=requests[0])
    await here.sends(ticket("bad"), correlation_id=requests[1])
    await here.sends_bytes("events.tickets.TicketCreated", b"nonsense")
    logged: list[tuple[str, UUID | None]] = []

    def note(_logger: Any, _method: str, line: structlog.typing.EventDict) -> str:
        if line["event"] != "events_handled":  # That one is about a whole batch.
            logged.append((line["event"], correlation_id.get()))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[note])
    try:
        async with here.at_work(here.consumer(listener.handlers)):
            await done(here, handled=2, parked=1)
    finally:
        structlog.configure(**before)
    assert logged == [
        ("handler_failed", requests[1]),
        ("event_parked", None),
    ]


async def test_a_failing_handler_leaves_no_row_and_no_event_behind(here: Exchange) -> None:
    class Half(Listener):
        async def hear(self, event: TicketEvent, tx: Tx) -> None:
            await commands.copy_tickets(tx, [Delivered.now(event)])
            await super().hear(event, tx)

    listener = Half(half=[ValueError("after the change")] * 10)
    await here.sends(ticket("half"))
    async with here.at_work(here.consumer(listener.handlers)):
        await done(here, handled=0, parked=1)
    assert listener.tries >= 3
    assert await here.own.rows("SELECT 1 FROM ticket_copies") == []


async def test_a_consumer_at_work_goes_on_with_a_stream_that_was_made_anew(here: Exchange) -> None:
    listener = Listener()
    await here.sends(ticket("before"))
    async with here.at_work(here.consumer(listener.handlers)):
        await done(here, handled=1)
        await here.bus.stream.delete_stream(STREAM)
        await here.bus.ensure_stream()
        await here.sends(ticket("after"))
        await eventually(lambda: asyncio.sleep(0, "after" in listener.heard))
    assert listener.heard == ["before", "after"]


async def test_two_replicas_share_the_work(here: Exchange) -> None:
    listener = Listener()
    async with here.at_work(here.consumer(listener.handlers), here.consumer(listener.handlers)):
        ids: set[UUID] = {await here.sends(ticket(str(number))) for number in range(40)}
        await done(here, handled=40)
    assert {row["event_id"] for row in await here.own.rows("SELECT event_id FROM inbox")} == ids
    assert sorted(set(listener.heard), key=int) == [str(number) for number in range(40)]
