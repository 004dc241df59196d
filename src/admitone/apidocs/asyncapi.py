"""The events as an AsyncAPI 3.0 document, for tools: docs/asyncapi.json, and /docs/asyncapi.json in every process."""

import json
from datetime import datetime
from typing import Any

import msgspec

from admitone import __version__
from admitone.apidocs.overview import EventFacts, Overview, ServiceFacts, meanings_of_fields, sentence
from admitone.kit.event import Event, Message

Json = dict[str, Any]


def text(about: Overview) -> str:
    """The whole of docs/asyncapi.json."""
    return json.dumps(document(about), indent=2, ensure_ascii=False) + "\n"


def document(about: Overview) -> Json:
    """A channel per event, whose address is its subject; an operation for its owner and for each of its listeners."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Admit One",
            "version": __version__,
            "description": "Every fact that crosses a boundary between the services of Admit One: who says it, what it carries, "
            "who listens and what they do then. Made from the code by `make docs`.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": service.name, "description": service.sentence} for service in about.services],
        },
        "defaultContentType": "application/json",
        "channels": {event.name: _channel(event) for event in about.events},
        "operations": {name: operation for service in about.services for name, operation in _operations(service)},
        "components": {"messages": {event.name: _message(event) for event in about.events}, "schemas": _schemas(about)},
    }


def _channel(event: EventFacts) -> Json:
    return {
        "address": event.subject,
        "description": event.sentence,
        "messages": {event.name: {"$ref": f"#/components/messages/{event.name}"}},
        "tags": [{"name": event.owner}],
    }


def _operations(service: ServiceFacts) -> list[tuple[str, Json]]:
    said = [(f"{service.name}_sends_{event.name}", _operation("send", event, event.sentence, service)) for event in service.publishes]
    heard = [(f"{service.name}_receives_{event.name}", _operation("receive", event, does, service)) for event, does in service.hears]
    return said + heard


def _operation(action: str, event: EventFacts, summary: str, service: ServiceFacts) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{event.name}"},
        "summary": summary,
        "tags": [{"name": service.name}],
        "messages": [{"$ref": f"#/channels/{event.name}/messages/{event.name}"}],
    }


def _message(event: EventFacts) -> Json:
    """The envelope around this event: its name is fixed, its data are the event's fields."""
    (envelope,), schemas = msgspec.json.schema_components([Message], ref_template="{name}")
    described = _described(schemas[envelope["$ref"]], Message)
    own = {"event": {"type": "string", "const": event.name}, "data": {"$ref": f"#/components/schemas/{event.name}"}}
    message = {
        "name": event.name,
        "summary": event.sentence,
        "contentType": "application/json",
        "payload": described | {"title": event.name, "properties": described["properties"] | own},
    }
    return message | ({"examples": [{"payload": event.example}]} if event.example else {})


def _schemas(about: Overview) -> Json:
    """What each event carries."""
    kinds = [event.kind for event in about.events]
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return {kind.__name__: _described(schemas[kind.__name__], kind) for kind in kinds}


def _described(schema: Json, of: type[Event] | type[Message]) -> Json:
    """The schema with what the docstrings say, and with the format of times, of which msgspec says only that they are strings."""
    meanings = meanings_of_fields(of)
    properties = dict(schema["properties"])
    for field in msgspec.structs.fields(of):
        time = {"format": "date-time"} if field.type is datetime else {}
        meaning = {"description": meanings[field.name]} if field.name in meanings else {}
        properties[field.name] = properties[field.name] | time | meaning
    return schema | {"description": sentence(of), "properties": properties}
