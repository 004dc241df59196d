"""What every process hears for itself: from now on, in order, without a gap, or with a word that there may be one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import pytest
from support.between import Between
from support.exchange import Exchange, exchange
from support.facts import order_created, ticket_created, ticket_updated
from support.house import eventually

from admitone.events import TicketCreated, TicketEvent, TicketUpdated
from admitone.kit.delivery.bus import STREAM, Bus
from admitone.kit.delivery.feed import feed
from admitone.kit.event import Message, subject
from admitone.runtime.engines import Engines

BEGUN = "from here on"


@pytest.fixture(scope="module")
async def stage(engines: Engines) -> AsyncIterator[Exchange]:
    async with exchange(engines) as stage:
        yield stage


@pytest.fixture
async def here(stage: Exchange) -> Exchange:
    await stage.begins_anew()
    return stage


@asynccontextmanager
async def listening(here: Exchange, bus: Bus | None = None) -> AsyncIterator[list[str]]:
    """The titles that a process has heard, for as long as the block runs; it has begun."""
    heard: list[str] = []

    async def follow() -> None:
        async for news in feed(bus or here.bus, TicketCreated, TicketUpdated):
            if news is None:
                heard.append(BEGUN)
            else:
                assert isinstance(news[1], TicketEvent)
                heard.append(news[1].title)

    following = asyncio.create_task(follow())
    await has(heard, BEGUN)
    try:
        yield heard
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def has(heard: list[str], *titles: str) -> None:
    await eventually(lambda: asyncio.sleep(0, heard[-len(titles) :] == [*titles]))


async def consumers(here: Exchange) -> list[str]:
    return [info.name for info in await here.bus.stream.consumers_info(STREAM)]


async def test_each_process_receives_all_new_events_in_order_and_leaves_no_consumer(here: Exchange) -> None:
    await here.sends(ticket_created(title="before"))
    async with listening(here) as one, listening(here) as other:
        titles = [f"ticket {number}" for number in range(150)]
        for title in titles:
            await here.sends(ticket_updated(title=title))
        await here.sends(order_created())
        await here.sends_bytes(subject(TicketCreated), b"no event of ours")
        await here.sends(ticket_updated(title="last"))
        for heard in (one, other):
            await has(heard, "last")
            assert heard == [BEGUN, *titles, "last"]
    assert await consumers(here) == []


async def test_nothing_is_missed_when_the_stream_is_created_anew_or_loses_its_tail(here: Exchange) -> None:
    async with listening(here) as heard:
        for title in ("one", "two", "three"):
            await here.sends(ticket_created(title=title, ticket_id=uuid4()))
        await has(heard, "three")
        await here.loses(3, foreign=5)
        await here.sends(ticket_created(title="four"))
        await has(heard, "four")
        assert heard == [BEGUN, "one", "two", "three", "four"]


async def test_whoever_was_cut_off_begins_anew(here: Exchange, engines: Engines) -> None:
    between = Between(engines.nats_url_of("web"))
    async with between.listening() as url, Bus("web", url).connected() as bus, listening(here, bus) as heard:
        await here.sends(ticket_created(title="one"))
        await has(heard, "one")
        between.hangs_up()
        await has(heard, BEGUN)
        await here.sends(ticket_created(title="two"))
        await has(heard, "two")


async def test_an_event_on_the_subject_of_another_owner_is_not_heard(here: Exchange) -> None:
    forged = Message(
        event_id=uuid4(), event="TicketUpdated", time=datetime.now(UTC), correlation_id=uuid4(), causation_id=None,
        data=msgspec.to_builtins(ticket_updated(title="forged")),
    )  # fmt: skip
    async with listening(here) as heard:
        await here.sends_bytes(subject(TicketCreated), msgspec.json.encode(forged))
        await here.sends(ticket_created(title="true"))
        await has(heard, "true")
        assert heard == [BEGUN, "true"]
