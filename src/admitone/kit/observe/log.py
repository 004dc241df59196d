"""Log lines for a person at a terminal, JSON lines for everything else; each carries its correlation id.

The first argument of a log call is a stable key, such as `bus_unavailable`, for searches and alerts; `message` is the sentence.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any
from uuid import UUID, uuid4

import msgspec
import structlog

correlation_id: ContextVar[UUID | None] = ContextVar("correlation_id", default=None)
causation_id: ContextVar[UUID | None] = ContextVar("causation_id", default=None)


client_address: ContextVar[str | None] = ContextVar("client_address", default=None)
"""Of the client whose request is answered now."""


def correlation() -> UUID:
    """The id of the request that caused this work; a new one where no request did."""
    return correlation_id.get() or uuid4()


@contextlib.contextmanager
def correlation_scope(request_id: UUID) -> Iterator[None]:
    """Log lines and events of the block carry this correlation id, also when a background loop runs the block."""
    token = correlation_id.set(request_id)
    try:
        yield
    finally:
        correlation_id.reset(token)


def clear_correlation() -> None:
    """Forget the correlation and causation ids of the event that was handled before."""
    correlation_id.set(None)
    causation_id.set(None)


def printable(text: str) -> str:
    """A text from elsewhere, safe on a terminal: what is no visible character (but a new line) is spelt out."""
    return "".join(letter if letter.isprintable() or letter == "\n" else f"\\u{ord(letter):04x}" for letter in text)


def configure(stream: Any = sys.stderr) -> None:
    """Set logging up for this process, once."""
    human = stream.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _add_short_correlation if human else _add_correlation,
            *([_show_message] if human else []),
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human),
            structlog.processors.ExceptionRenderer()
            if human
            else structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.dev.ConsoleRenderer(pad_event_to=44, pad_level=False) if human else structlog.processors.JSONRenderer(_as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(stream=stream, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger("asyncpg.pool").setLevel(logging.CRITICAL)  # It tells of every try to reconnect, with a trace.


def _as_json(line: Any, **_: Any) -> str:
    return msgspec.json.encode(line, enc_hook=str).decode()


def _add_correlation(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Whole, so that it can be searched for."""
    if (current := line.get("correlation", correlation_id.get())) is not None:
        line["correlation"] = str(current)
    if (client := client_address.get()) is not None:
        line["client"] = client
    return line


def _add_short_correlation(logger: Any, method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Enough of it for an eye to tell one from another."""
    line = _add_correlation(logger, method, line)
    if "correlation" in line:
        line["correlation"] = line["correlation"][:8]
    return line


def _show_message(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The sentence in place of the key, where a line has both."""
    line["event"] = line.pop("message", line["event"])
    return line


log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
