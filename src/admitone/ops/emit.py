"""A message of one's own on the stream, for trying out what the services make of it. No service has said it, and verify reports it."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec

from admitone.kit.event import CATALOGUE, Message, subject
from admitone.ops.reach import connect_to_bus


class NotAnEvent(Exception):
    """What was given is none of our events; the message is the sentence for the person who gave it."""


class _Given(msgspec.Struct, forbid_unknown_fields=True):
    event: str
    data: dict[str, Any]
    event_id: UUID | None = None
    """Said twice with the same id, an event is handled once."""
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    time: datetime | None = None


def message_of(text: bytes) -> Message:
    """The message that a JSON text stands for: `event` and `data`, and what it gives of the rest. Raises NotAnEvent."""
    try:
        given = msgspec.json.decode(text, type=_Given)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotAnEvent(f'this is no message: {error}. It is to be {{"event": "TicketCreated", "data": {{...}}}}.') from None
    if given.event not in CATALOGUE:
        raise NotAnEvent(f"there is no event {given.event[:60]!r}; `admitone events` lists them.")
    try:
        msgspec.convert(given.data, CATALOGUE[given.event])
    except msgspec.ValidationError as error:
        raise NotAnEvent(f"{given.event}: {error}.") from None
    return Message(
        event_id=given.event_id or uuid4(),
        event=given.event,
        time=given.time or datetime.now(UTC),
        correlation_id=given.correlation_id or uuid4(),
        causation_id=given.causation_id,
        data=given.data,
    )


async def emit(nats_url: str, message: Message) -> int:
    """Put it on its owner's subject; returns its number in the stream. Raises BusUnreachable, and what JetStream raises."""
    async with connect_to_bus(nats_url, "emit") as client:
        headers = {"Nats-Msg-Id": str(message.event_id)}
        on = subject(CATALOGUE[message.event])
        return (await client.jetstream().publish(on, msgspec.json.encode(message), headers=headers)).seq
