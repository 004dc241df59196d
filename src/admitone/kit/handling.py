"""One event in one transaction: read, handled once, on record. The consumer does it, and so does whoever replays what was parked."""

import msgspec

from admitone.kit.db import Tx
from admitone.kit.event import CATALOGUE, Event, Message
from admitone.kit.log import causation_id, correlation_id
from admitone.kit.metrics import HANDLED
from admitone.kit.service import Handler, Handlers


class Unreadable(Exception):
    """A message that is no event we know. Trying again can't help, so it is parked at once."""


async def handle(handlers: Handlers, data: bytes, tx: Tx) -> bool:
    """Give the event to its handler, and note that; False when that was done before. Raises Unreadable, and what the handler raises."""
    envelope, event, handler = decode(handlers, data)
    correlation_id.set(envelope.correlation_id)
    causation_id.set(envelope.event_id)
    if not await note(envelope, tx):
        return False
    await handler(event, tx)
    HANDLED.labels(handlers.service, envelope.event).inc()
    return True


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


def decode(handlers: Handlers, data: bytes) -> tuple[Message, Event, Handler]:
    """The envelope, the event, and who handles it here. Raises Unreadable."""
    try:
        envelope = msgspec.json.decode(data, type=Message)
        event_type = CATALOGUE[envelope.event]
        return envelope, msgspec.convert(envelope.data, event_type), handlers.by_event[event_type]
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
        raise Unreadable(str(error)) from error


def told(error: Exception) -> str:
    """An error as it is kept with what was parked for it; its first line is its sentence."""
    return f"{type(error).__name__}: {error}"[:2000].replace("\0", "")
