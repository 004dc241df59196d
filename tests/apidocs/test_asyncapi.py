"""docs/asyncapi.json is fresh, is AsyncAPI 3.0, and says what the code does."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.schema import wrong

from admitone.apidocs import asyncapi
from admitone.apidocs.overview import overview, sentence
from admitone.cli import main
from admitone.kit.event import CATALOGUE, LISTENERS, subject
from admitone.services import SERVICES

HERE = Path(__file__).parent
FILE = HERE.parents[1] / "docs" / "asyncapi.json"
DOCUMENT: dict[str, Any] = asyncapi.document(overview(SERVICES))


def test_it_is_printed_as_it_lies_in_docs() -> None:
    printed = CliRunner().invoke(main, ["events", "--asyncapi"]).output
    assert FILE.read_text() == printed, "docs/asyncapi.json is stale: run `make docs` and commit it"


def test_it_is_not_followed() -> None:
    refused = CliRunner().invoke(main, ["events", "--asyncapi", "--follow"])
    assert (refused.exit_code, "say one of them" in refused.output) == (1, True)


def test_it_is_valid_by_the_official_schema() -> None:
    official = json.loads((HERE / "asyncapi-3.0.0.schema.json").read_text())
    assert list(wrong(DOCUMENT, official, root=official)) == []
    for broken in ({"asyncapi": "2.0.0"}, {"channels": {"X": {"address": 1}}}, {"operations": {"X": {"action": "shout"}}}):
        assert list(wrong(DOCUMENT | broken, official, root=official)), "the schema must be able to refuse"


def test_every_reference_leads_somewhere() -> None:
    for reference in _references(DOCUMENT):
        found: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            assert step in found, reference
            found = found[step]


@pytest.mark.parametrize("name", CATALOGUE)
def test_an_event_has_a_channel_an_owner_listeners_and_a_valid_example(name: str) -> None:
    event = CATALOGUE[name]
    assert DOCUMENT["channels"][name]["address"] == subject(event)
    operations = {
        key: operation for key, operation in DOCUMENT["operations"].items() if operation["channel"]["$ref"] == f"#/channels/{name}"
    }
    owner = subject(event).split(".")[1]
    assert operations.pop(f"{owner}_sends_{name}")["action"] == "send"
    assert {key: operation["summary"] for key, operation in operations.items()} == {
        f"{listener}_receives_{name}": sentence(handler) for listener, handler in LISTENERS[event].items()
    }
    assert all(operation["action"] == "receive" for operation in operations.values())

    message = DOCUMENT["components"]["messages"][name]
    [example] = [example["payload"] for example in message["examples"]]
    assert list(wrong(example, message["payload"], root=DOCUMENT)) == []
    changes: list[dict[str, Any]] = [{"event": "AnotherEvent"}, {"data": {}}, {"time": "yesterday"}]
    for change in changes:
        assert list(wrong(example | change, message["payload"], root=DOCUMENT)), "the schema must be able to refuse"


def test_what_is_said_of_a_field_is_its_docstring_also_of_one_that_is_shared() -> None:
    fields = DOCUMENT["components"]["schemas"]["OrderRefunded"]["properties"]
    assert fields["relist"] == {"type": "boolean", "default": False, "description": "The ticket is to be on sale again."}
    assert fields["expires_at"] == {"type": "string", "format": "date-time", "description": "A payment must begin before this."}


def _references(part: Any) -> list[str]:
    match part:
        case {"$ref": str(reference)}:
            return [reference]
        case dict():
            return [found for value in part.values() for found in _references(value)]
        case list():
            return [found for value in part for found in _references(value)]
    return []
