"""What every command needs: settings, errors as sentences, an event loop, printing."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import click

from admitone import config
from admitone.config import Settings, WrongSettings
from admitone.kit.data.migrations import DataTooOld, MigrationEdited
from admitone.kit.delivery.bus import BusClosed
from admitone.kit.http.form import as_uuid
from admitone.kit.http.problem import Problem
from admitone.kit.marketplace import ForeignMarketplace
from admitone.ops import dead_letters
from admitone.ops import journey as journeys
from admitone.ops.demo.people import NoDemo
from admitone.ops.emit import NotAnEvent
from admitone.ops.reach import BusUnreachable
from admitone.ops.tail import WrongPattern
from admitone.runtime.data_folder import EngineError
from admitone.runtime.privileges import NoAccount

Result = TypeVar("Result")
EXPECTED = (WrongSettings, EngineError, NoAccount, DataTooOld, MigrationEdited, ForeignMarketplace, BusClosed, BusUnreachable,
            WrongPattern, NotAnEvent,
            journeys.NotToBeFound, dead_letters.UnknownDeadLetter, Problem, NoDemo)  # fmt: skip
"""What a person can mend: said in one sentence, without a trace."""


def order_id_of(text: str) -> UUID:
    order_id = as_uuid(text)
    if order_id is None:
        raise WrongSettings(f"{text!r} is no order id; an id looks like 7f0c1c9e-5a54-4c39-8d53-0c7b2c1d3e4f.")
    return order_id


def checked_reason(text: str) -> str:
    if not text.strip() or len(text) > 500:
        raise WrongSettings("--reason must have 1 to 500 characters.")
    return text.strip()


def load_settings() -> Settings:
    with sentences_for_errors():
        return config.load(os.environ)


def listen(settings: Settings) -> socket.socket:
    """The port is taken before anything else is started. Raises WrongSettings when somebody else has it."""
    return _listen(settings.host, settings.port, "ADMITONE_PORT")


def listen_internally(settings: Settings) -> socket.socket | None:
    """The port for what is nobody's business outside, where there is one. Raises WrongSettings when somebody else has it."""
    return _listen(settings.host, settings.internal_port, "ADMITONE_INTERNAL_PORT") if settings.internal_port is not None else None


def _listen(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise WrongSettings(
            f"Port {port} of {host} can't be used ({os.strerror(error.errno or 0)}): stop what listens there, or set {setting}."
        ) from error


def run(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        import uvloop  # noqa: PLC0415  (not everywhere to be had)

        run: Callable[..., Result] = uvloop.run
    except ImportError:
        run = asyncio.run
    return run(work)


async def until_interrupted(work: Coroutine[Any, Any, Result]) -> Result | None:
    """Ctrl-C ends it quietly."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        return await task
    return None


@contextlib.contextmanager
def sentences_for_errors() -> Any:
    """What a person can mend ends the command with a sentence and exit code 1."""
    try:
        yield
    except* EXPECTED as group:
        fail(" ".join(str(error) for error in _leaves(group)))
    except* (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as group:
        fail(f"An engine can't be used: {'; '.join(str(error) or repr(error) for error in _leaves(group))}")


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    return [leaf for error in group.exceptions for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])]


def fail(sentence: str) -> None:
    complain(sentence)
    sys.exit(1)


def complain(sentence: str) -> None:
    click.echo(f"admitone: {sentence}", err=True)


def say(line: str) -> None:
    click.echo(line, err=True)


def print_out(text: str, coloured: bool | None = None) -> bool:
    """False when whoever reads it, `head` for instance, has seen enough; nothing is printed from then on."""
    try:
        click.echo(text, color=coloured)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
