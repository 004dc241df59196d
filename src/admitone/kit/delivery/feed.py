"""An ordered, ephemeral consumer for every process of its own: no database, no acknowledgement."""

import asyncio
from collections.abc import AsyncGenerator
from uuid import UUID

import msgspec
import nats.js.errors

from admitone.kit.delivery.bus import BUS_ERRORS, STREAM, Bus
from admitone.kit.delivery.pull import ordered
from admitone.kit.event import CATALOGUE, Event, Message, subject
from admitone.kit.observe.log import log


async def feed(bus: Bus, *events: type[Event]) -> AsyncGenerator[tuple[UUID, Event] | None, None]:
    """These events from now on, in order and for ever, each with its id. Waits while the bus is unavailable.

    Yields None first, and again whenever events may have been missed: the stream was created anew, or has lost its tail.
    """
    wanted = sorted(subject(event) for event in events)
    position, last_id = 0, ""
    while True:
        try:
            if not last_id or not await _is_at(bus, position, last_id):
                position = (await bus.stream.stream_info(STREAM)).state.last_seq
                yield None
            async with ordered(bus.client, bus.stream, wanted, position + 1) as messages:
                async for message in messages:
                    position, last_id = message.metadata.sequence.stream, (message.headers or {}).get("Nats-Msg-Id", "")
                    if heard := _read(message.data):
                        yield heard
        except BUS_ERRORS as error:
            bus.report_error(error)
            if isinstance(error, nats.js.errors.NotFoundError):
                await bus.ensure_stream()
        await asyncio.sleep(0.25)


async def _is_at(bus: Bus, position: int, event_id: str) -> bool:
    """Whether the last message that we received is still at its position in the stream."""
    try:
        return ((await bus.stream.get_msg(STREAM, position)).headers or {}).get("Nats-Msg-Id") == event_id
    except nats.js.errors.NotFoundError:
        return False


def _read(data: bytes) -> tuple[UUID, Event] | None:
    """The event and its id; None for a message that can't be decoded, which durable consumers park."""
    try:
        message = msgspec.json.decode(data, type=Message)
        return message.event_id, msgspec.convert(message.data, CATALOGUE[message.event])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
        log.warning("message_unreadable", message="a message on the stream can't be read", error=str(error))
        return None
