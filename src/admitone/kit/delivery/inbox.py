"""Handle one event once, in one transaction with its inbox row. Used by the consumer and by the replay of parked events."""

import msgspec

from admitone.kit.data.db import Tx
from admitone.kit.event import CATALOGUE, Event, Message
from admitone.kit.observe.log import causation_id, clear_correlation, correlation_id
from admitone.kit.observe.metrics import HANDLING
from admitone.kit.service import Handler, Handlers


class Unreadable(Exception):
    """The message is not an event that this service knows. A retry can't help, so it is parked at once."""


async def handle(handlers: Handlers, data: bytes, tx: Tx) -> str | None:
    """Record the event in the inbox, call its handler, and return the event's name; None when it was handled before.

    Events and log lines from here on carry the event's correlation id, also those about a failure.
    Raises Unreadable, and what the handler raises.
    """
    clear_correlation()
    envelope = envelope_of(data)
    correlation_id.set(envelope.correlation_id)
    causation_id.set(envelope.event_id)
    event, handler = decode(handlers, envelope)
    if not await record_handled(envelope, tx):
        return None
    with HANDLING.labels(handlers.service, envelope.event).time():
        await handler(event, tx)
    return envelope.event


async def record_handled(envelope: Message, tx: Tx) -> bool:
    """Insert the event's inbox row, so that it is not handled again. False when the row is there already."""
    return bool(
        await tx.run(
            "INSERT INTO inbox (event_id, event, handled_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            envelope.event_id,
            envelope.event,
            tx.now,
        )
    )


def envelope_of(data: bytes) -> Message:
    """The envelope around an event. Raises Unreadable."""
    try:
        return msgspec.json.decode(data, type=Message)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from error


def decode(handlers: Handlers, envelope: Message) -> tuple[Event, Handler]:
    """The event and its handler in this service. Raises Unreadable."""
    try:
        event_type = CATALOGUE[envelope.event]
        return msgspec.convert(envelope.data, event_type), handlers.by_event[event_type]
    except (msgspec.MsgspecError, KeyError) as error:
        raise Unreadable(str(error)) from error


def format_error(error: Exception) -> str:
    """An error as the text that is stored with a parked event."""
    return f"{type(error).__name__}: {error}"[:2000].replace("\0", "")
