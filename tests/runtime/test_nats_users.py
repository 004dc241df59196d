"""A service's user on the event bus may say what its service says, and hear by its own consumer. Nothing else."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from nats.js.api import ConsumerConfig
from support.bus_users import ANOTHERS, as_user
from support.exchange import exchange

from admitone.kit.delivery.bus import STREAM, Bus
from admitone.kit.event import CATALOGUE, OWNERS, subject
from admitone.runtime.engines import Engines
from admitone.runtime.nats_users import USERS, permissions


@pytest.fixture(autouse=True)
async def stream(engines: Engines) -> AsyncIterator[None]:
    async with exchange(engines) as here:
        await here.begins_anew()
        yield


@pytest.mark.parametrize("name", USERS)
async def test_a_user_may_publish_the_events_of_its_service_alone(engines: Engines, name: str) -> None:
    async with as_user(engines.nats_url_of(name), name) as it:
        for event in CATALOGUE.values():
            if OWNERS[event] == name:
                await it.client.jetstream().publish(subject(event), b"{}", headers={"Nats-Msg-Id": str(uuid4())})
                assert it.refused.empty()
            else:
                await it.client.publish(subject(event), b"{}")
                assert subject(event).lower() in await it.is_refused()


@pytest.mark.parametrize("name", USERS)
@pytest.mark.parametrize(
    "call",
    [
        f"STREAM.DELETE.{STREAM}",
        f"STREAM.PURGE.{STREAM}",
        f"STREAM.UPDATE.{STREAM}",
        f"STREAM.MSG.DELETE.{STREAM}",
        "STREAM.CREATE.ANOTHER",
        f"CONSUMER.DELETE.{STREAM}.{{own}}",
        f"CONSUMER.DELETE.{STREAM}.{{other}}",
        f"CONSUMER.CREATE.{STREAM}",
        f"CONSUMER.CREATE.{STREAM}.{{other}}",
        f"CONSUMER.DURABLE.CREATE.{STREAM}.{{other}}",
        f"CONSUMER.MSG.NEXT.{STREAM}.{{other}}",
    ],
)
async def test_a_user_may_not_touch_what_is_not_its_own(engines: Engines, name: str, call: str) -> None:
    wanted = "$JS.API." + call.format(own=name, other=ANOTHERS[name])
    async with as_user(engines.nats_url_of(name), name) as it:
        await it.client.publish(wanted, b"{}", reply=it.client.new_inbox())
        assert wanted.lower() in await it.is_refused()


@pytest.mark.parametrize("name", USERS)
async def test_a_user_may_not_acknowledge_for_another_or_read_anothers_answers(engines: Engines, name: str) -> None:
    async with as_user(engines.nats_url_of(name), name) as it:
        await it.client.publish(f"$JS.ACK.{STREAM}.{ANOTHERS[name]}.1.1.1.1.1", b"+ACK")
        assert "$js.ack" in await it.is_refused()
        await it.client.subscribe(f"_INBOX_{ANOTHERS[name]}.>")
        assert "_inbox" in await it.is_refused()


@pytest.mark.parametrize("name", [name for name in USERS if name != "web"])
async def test_only_the_pages_follow_what_is_published(engines: Engines, name: str) -> None:
    async with as_user(engines.nats_url_of(name), name) as it:
        await it.client.subscribe("events.>")
        assert "events" in await it.is_refused()


@pytest.mark.parametrize("name", USERS)
async def test_a_user_may_create_the_stream_where_there_is_none(engines: Engines, name: str) -> None:
    async with exchange(engines) as here:
        await here.bus.stream.delete_stream(STREAM)
    async with Bus(name, engines.nats_url_of(name)).connected() as bus:
        assert await bus.stream_created()


@pytest.mark.parametrize("name", [name for name in USERS if "MSG.NEXT" in str(permissions(name))])
async def test_a_user_may_hear_by_its_own_consumer(engines: Engines, name: str) -> None:
    async with as_user(engines.nats_url_of(name), name) as it:
        jetstream = it.client.jetstream()
        await jetstream.add_consumer(STREAM, ConsumerConfig(durable_name=name, filter_subjects=["events.tickets.>", "events.auth.>"]))
        assert (await jetstream.consumer_info(STREAM, name)).name == name
        assert it.refused.empty()
