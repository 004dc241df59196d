"""One event in one transaction: read, handled once, on record. The consumer does it, and so does whoever replays what was parked."""

import msgspec

from admitone.kit.data.db import Tx
from admitone.kit.event import CATALOGUE, Event, Message
from admitone.kit.observe.log import causation_id, correlation_id, speak_for_nobody
from admitone.kit.observe.metrics import HANDLING
from admitone.kit.service import Handler, Handlers


class Unreadable(Exception):
    """A message that is no event we know. Trying again can't help, so it is parked at once."""


async def handle(handlers: Handlers, data: bytes, tx: Tx) -> str | None:
    """Give the event to its handler, note that, and return the event's name; None when that was done before.

    What is said and logged meanwhile, and afterwards about a failure, belongs to the event's request.
    Raises Unreadable, and what the handler raises.
    """
    speak_for_nobody()
    envelope = envelope_of(data)
    correlation_id.set(envelope.correlation_id)
    causation_id.set(envelope.event_id)
    event, handler = decode(handlers, envelope)
    if not await note(envelope, tx):
        return None
    with HANDLING.labels(handlers.service, envelope.event).time():
        await handler(event, tx)
    return envelope.event


async def note(envelope: Message, tx: Tx) -> bool:
    """This service is done with the event, and will not handle it (again). False when that is on record already."""
    return bool(
        await tx.run(
            "INSERT INTO inbox (event_id, event, handled_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            envelope.event_id,
            envelope.event,
            tx.now,
        )
    )


def envelope_of(data: bytes) -> Message:
    """Raises Unreadable."""
    try:
        return msgspec.json.decode(data, type=Message)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from error


def decode(handlers: Handlers, envelope: Message) -> tuple[Event, Handler]:
    """The event, and who handles it here. Raises Unreadable."""
    try:
        event_type = CATALOGUE[envelope.event]
        return msgspec.convert(envelope.data, event_type), handlers.by_event[event_type]
    except (msgspec.MsgspecError, KeyError) as error:
        raise Unreadable(str(error)) from error


def told(error: Exception) -> str:
    """An error as it is kept with what was parked for it; its first line is its sentence."""
    return f"{type(error).__name__}: {error}"[:2000].replace("\0", "")
