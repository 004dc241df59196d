"""What is published from now on, for every process of its own: no consumer, no database, no acknowledgement."""

import asyncio
from collections.abc import AsyncGenerator
from uuid import UUID

from nats.aio.msg import Msg

from admitone.kit.delivery.bus import BUS_ERRORS, Bus
from admitone.kit.delivery.inbox import Unreadable, decode, envelope_of
from admitone.kit.event import Event, subject
from admitone.kit.observe.log import log

LOOK_SECONDS = 0.25
"""How often it is looked whether the connection was lost meanwhile."""


async def feed(bus: Bus, *events: type[Event]) -> AsyncGenerator[tuple[UUID, Event] | None, None]:
    """These events as they are published, for ever, each with its id. Waits while the bus is unavailable.

    A plain subscription, so it needs no right to make or delete a consumer. Yields None first, and again after the connection was lost:
    what was published meanwhile was missed.
    """
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    subscriptions = [await bus.client.subscribe(subject(event), cb=arrived.put) for event in events]
    epoch = -1
    try:
        while True:
            if epoch != bus.epoch and bus.client.is_connected:
                epoch = bus.epoch
                try:
                    await bus.client.flush()  # From here on we are subscribed.
                except BUS_ERRORS as error:
                    bus.report_error(error)
                    epoch = -1
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
                yield None
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    message = await arrived.get()
            except TimeoutError:
                continue
            try:
                envelope = envelope_of(message.data, message.subject)
                yield envelope.event_id, decode(envelope)
            except Unreadable as error:  # The services that record what they hear park it.
                log.warning("message_unreadable", message="a message on the stream can't be read", error=str(error))
    finally:
        for subscription in subscriptions:
            if not bus.client.is_closed:
                await subscription.unsubscribe()
