"""Log lines: whose request they are about, whole for a search, short for an eye."""

import io
import json
import logging
from collections.abc import Iterator
from uuid import uuid4

import pytest
import structlog

from admitone.kit.observe.log import configure, correlation_scope, log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """What configures logging here is undone."""
    before, configured = logging.getLogger().handlers[:], structlog.get_config()
    yield
    structlog.configure(**configured)
    logging.getLogger().handlers[:] = before


def test_a_line_for_a_machine_has_the_whole_id() -> None:
    stream, request, another = io.StringIO(), uuid4(), uuid4()
    configure(stream)
    with correlation_scope(request):
        log.info("mine")
        log.info("about another", correlation=another)
    log.info("nobody's")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("correlation") for line in lines] == [str(request), str(another), None]


def test_a_machine_gets_the_key_and_the_sentence_and_a_terminal_the_sentence() -> None:
    machine, terminal = io.StringIO(), Terminal()
    for stream in (machine, terminal):
        configure(stream)
        log.warning("bus_unavailable", message="the event bus is unavailable")
    line = json.loads(machine.getvalue())
    assert (line["event"], line["message"]) == ("bus_unavailable", "the event bus is unavailable")
    assert "the event bus is unavailable" in terminal.getvalue()
    assert "bus_unavailable" not in terminal.getvalue()


def test_a_line_at_a_terminal_has_enough_of_it() -> None:
    stream, request = Terminal(), uuid4()
    configure(stream)
    with correlation_scope(request):
        log.info("mine")
    assert str(request)[:8] in stream.getvalue()
    assert str(request) not in stream.getvalue()
