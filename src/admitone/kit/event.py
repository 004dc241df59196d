"""What an event is, and the catalogue with the owner and the consumers of each."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact in the past tense. It carries state, never a command.

    A new field needs a default, so that older events can still be read. A changed meaning is a new event.
    """


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way: the fact, and the envelope around it."""

    event_id: UUID
    """Stays the same however often it is sent, so a repetition is noticed."""
    event: str
    """Its name, such as `OrderCreated`."""
    time: datetime
    """When it happened, by the clock of its owner's database."""
    correlation_id: UUID
    """Of the request that started it all."""
    causation_id: UUID | None
    """Of the event whose handler said this one; null when a request did."""
    data: dict[str, Any]
    """What the event carries."""


EventType = TypeVar("EventType", bound=type[Event])
CATALOGUE: dict[str, type[Event]] = {}
OWNERS: dict[type[Event], str] = {}
AGGREGATES: dict[str, str] = {}
"""Per event, the field with the id of what it is about. Two events about the same are never on their way to the stream at once."""
LISTENERS: dict[type[Event], dict[str, Callable[..., Any]]] = {}
"""Per event, the services that consume it, each with its handler."""


def published_by(owner: str, *, about: str) -> Callable[[EventType], EventType]:
    """Register an event under its owner, the only service that may publish it. `about` is the field with its aggregate's id.

    Raises TypeError for a second event of the same name, and for one without that field.
    """

    def enter(event: EventType) -> EventType:
        if event.__name__ in CATALOGUE:
            raise TypeError(f"there are two events named {event.__name__}")
        if about not in event.__struct_fields__:
            raise TypeError(f"{event.__name__} has no field {about}, which is to say what it is about")
        CATALOGUE[event.__name__] = event
        AGGREGATES[event.__name__] = about
        OWNERS[event] = owner
        LISTENERS[event] = {}
        return event

    return enter


def subject(event: type[Event]) -> str:
    """The subject of an event on the bus: events.<owner>.<Event>."""
    return f"events.{OWNERS[event]}.{event.__name__}"


def words(event: type[Event] | str) -> str:
    """OrderCreated -> order created."""
    name = event if isinstance(event, str) else event.__name__
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
