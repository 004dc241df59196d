"""Everything about the events that the documents show, read from the code: docstrings, fields, owners and consumers."""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import msgspec

from admitone.kit.event import CATALOGUE, LISTENERS, OWNERS, Event, subject
from admitone.kit.service import Service

EXAMPLES = Path(__file__).parent / "examples"
INTENTIONALLY_UNHEARD = {"UserCreated": "notifications will"}
"""Events that nobody listens to yet, and who is going to. A test fails for any other."""


class Field(NamedTuple):
    name: str
    type: str
    meaning: str
    came_later: bool
    """It has a default, so messages from before it was added can still be read."""


class Listener(NamedTuple):
    service: str
    does: str
    """What it does about the event, in a sentence."""


class EventFacts(NamedTuple):
    kind: type[Event]
    name: str
    sentence: str
    subject: str
    owner: str
    fields: Sequence[Field]
    listeners: Sequence[Listener]
    """In the order in which services.py lists the services."""
    unheard: str | None
    """Who is going to listen, where nobody does yet."""
    example: dict[str, Any] | None
    """A whole message, as the owner has really written it."""


class ServiceFacts(NamedTuple):
    name: str
    sentence: str
    owns: str
    publishes: Sequence[EventFacts]
    hears: Sequence[tuple[EventFacts, str]]
    """Each event it listens to, and what it does then."""


class Overview(NamedTuple):
    services: Sequence[ServiceFacts]
    events: Sequence[EventFacts]
    """Owner by owner, in the order in which services.py lists them."""


def overview(services: Sequence[Service]) -> Overview:
    """Everything about the events of these services."""
    names = [service.name for service in services]
    events = [_event(kind, names) for name in names for kind in CATALOGUE.values() if OWNERS[kind] == name]
    return Overview([_service(service, events) for service in services], events)


def listeners(event: type[Event], names: Sequence[str]) -> list[str]:
    """The services that hear an event, in the order of `names`."""
    return sorted(LISTENERS[event], key=names.index)


def fields(struct: type[msgspec.Struct]) -> list[Field]:
    """What a struct carries: what is its own after what it shares, what came later last."""
    meanings = meanings_of_fields(struct)
    return [Field(field.name, type_in_words(field.type), meanings.get(field.name, ""), not field.required)
            for field in sorted(msgspec.structs.fields(struct), key=lambda field: not field.required)]  # fmt: skip


def sentence(thing: Any) -> str:
    """Its docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").split())


def type_in_words(of: Any) -> str:
    """UUID | None -> UUID or null."""
    if get_origin(of) is dict:
        return "object"
    parts: Sequence[Any] = get_args(of) or (of,)
    return " or ".join("null" if part is type(None) else part.__name__ for part in parts)


@cache
def meanings_of_fields(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The docstrings under the fields, those of the structs it is made from included. Python itself does not keep them."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if base in (object, msgspec.Struct) or not issubclass(base, msgspec.Struct):
            continue
        (written,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(written, ast.ClassDef)
        for field, below in zip(written.body, written.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


def example(name: str) -> dict[str, Any] | None:
    """The frozen message of this event, or None while there is none."""
    file = EXAMPLES / f"{name}.json"
    if not file.exists():
        return None
    message: dict[str, Any] = json.loads(file.read_text())
    return message


def _event(kind: type[Event], names: Sequence[str]) -> EventFacts:
    name = kind.__name__
    return EventFacts(
        kind=kind,
        name=name,
        sentence=sentence(kind),
        subject=subject(kind),
        owner=OWNERS[kind],
        fields=fields(kind),
        listeners=[Listener(service, sentence(LISTENERS[kind][service])) for service in listeners(kind, names)],
        unheard=None if LISTENERS[kind] else INTENTIONALLY_UNHEARD.get(name, "nobody has said who will"),
        example=example(name),
    )


def _service(service: Service, events: Sequence[EventFacts]) -> ServiceFacts:
    doc = inspect.getdoc(import_module(f"admitone.{service.name}")) or ""
    owns = re.search(r"^owns: (.*(?:\n +.*)*)", doc, re.M)
    return ServiceFacts(
        name=service.name,
        sentence=" ".join(doc.partition("\n\n")[0].split()),
        owns=" ".join(owns[1].split()) if owns else "nothing",
        publishes=[event for event in events if event.owner == service.name],
        hears=[(event, listener.does) for event in events for listener in event.listeners if listener.service == service.name],
    )
