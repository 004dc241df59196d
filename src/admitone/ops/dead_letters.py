"""Dead letters: what the services could not handle, to be looked at, replayed, or dropped with a reason."""

import json
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from admitone.config import Settings
from admitone.kit.data.db import TRANSIENT, Database
from admitone.kit.delivery.inbox import Unreadable, format_error, handle, record_handled
from admitone.kit.event import CATALOGUE, Message, subject
from admitone.kit.observe.log import printable
from admitone.kit.service import Handlers, TooEarly
from admitone.ops.format import first_line, moment
from admitone.ops.reach import Databases, describe_error, open_databases
from admitone.services import SERVICES

HANDLERS = {service.name: service.handlers or Handlers(service.name) for service in SERVICES if service.has_database}
MIN_ID_LENGTH = 8


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """What one service could not handle. The same event may have been parked by several."""

    service: str
    event_id: UUID
    event: str
    error: str
    tries: int
    parked_at: datetime
    reason: str | None = None
    """Why it was dropped, where it was."""
    dropped_at: datetime | None = None


class UnknownDeadLetter(Exception):
    """Nothing of that id is parked, or more than one."""


@asynccontextmanager
async def open_dead_letters(settings: Settings, service: str | None = None) -> AsyncIterator[Databases]:
    """The databases of all services, or of that one. Raises UnknownDeadLetter for a service without a database."""
    if service is not None and service not in HANDLERS:
        raise UnknownDeadLetter(f"There is no service named {printable(service)!r} with a database; there are {', '.join(HANDLERS)}.")
    async with open_databases(settings, [service] if service else list(HANDLERS)) as databases:
        yield databases


async def find(databases: Databases, id_begins: str = "", dropped: bool = False) -> list[DeadLetter]:
    """What is parked (or was dropped), by service and time."""
    table = "dropped" if dropped else "parked"
    columns = ["event_id", "event", "error", "tries", "parked_at", *(["reason", "dropped_at"] if dropped else [])]
    found = await databases.rows_of_all(
        f"SELECT {', '.join(columns)} FROM {table} WHERE event_id::text LIKE $1 || '%' ORDER BY {columns[-1]}", id_begins
    )
    return [DeadLetter(service=service, **row) for service, row in found]


async def of_event(databases: Databases, id_begins: str, or_dropped: bool = False) -> list[DeadLetter]:
    """The dead letters of the only event that an id, or its beginning, means. Raises UnknownDeadLetter;
    none is returned where no database could be asked.
    """
    found = await find(databases, id_begins) + (await find(databases, id_begins, dropped=True) if or_dropped else [])
    ids = list(dict.fromkeys(letter.event_id for letter in found))
    if not ids and len(databases.unreachable) < len(databases.services):
        raise UnknownDeadLetter(f"Nothing is parked under {id_begins}{' elsewhere' if databases.unreachable else ''}.")
    if len(ids) > 1:
        raise UnknownDeadLetter(
            f"{id_begins} is the beginning of {len(ids)} ids: {', '.join(map(str, ids[:5]))}{' ...' if ids[5:] else ''}."
        )
    return found


def beginning_of_id(text: str) -> str:
    """An event id, or as much of it as one has. Raises UnknownDeadLetter for what no id begins with."""
    if not re.fullmatch(r"[0-9a-f-]{1,36}", text.lower()):
        raise UnknownDeadLetter(
            f"{printable(text)!r} is no id, nor the beginning of one; an id looks like 7f0c1c9e-5a54-4c39-8d53-0c7b2c1d3e4f."
        )
    return text.lower()


async def replay(db: Database, letter: DeadLetter) -> tuple[bool, str]:
    """Handle it once more, as the consumer would, in one transaction. Says whether it is parked no more, and what happened."""
    try:
        async with db.transaction() as tx:
            message = await tx.value("SELECT message FROM parked WHERE event_id = $1 FOR UPDATE", letter.event_id)
            if message is None:
                return True, "is not parked any more"
            handled_now = await handle(HANDLERS[letter.service], [(_subject(letter.event), message)], tx)
            await tx.run("DELETE FROM parked WHERE event_id = $1", letter.event_id)
    except TooEarly as early:
        at = tx.now + timedelta(seconds=early.seconds)
        return False, f"comes too early and stays parked; its time is {moment(at)} UTC, in {early.seconds:.0f} s"
    except TRANSIENT as error:
        return False, f"could not be tried just now and stays parked: {printable(describe_error(error))}"
    except Exception as error:
        with suppress(*TRANSIENT):
            await _failed_again(db, letter.event_id, error)
        what = "can't be read" if isinstance(error, Unreadable) else "has failed again"
        return False, f"{what} and stays parked: {printable(first_line(format_error(error)))}"
    return True, "is handled" if handled_now else "was handled before; it is parked no more"


def _subject(event: str) -> str:
    """The subject on which the consumer heard it: it hears no other with an event of this name."""
    return subject(CATALOGUE[event]) if event in CATALOGUE else event


async def _failed_again(db: Database, event_id: UUID, error: Exception) -> None:
    async with db.transaction() as tx:
        await tx.run("UPDATE parked SET error = $2, tries = tries + 1 WHERE event_id = $1", event_id, format_error(error))


async def drop(db: Database, letter: DeadLetter, reason: str) -> bool:
    """Decide that it is never handled, here; False when it is not parked any more. The letter is kept with the reason."""
    async with db.transaction() as tx:
        message = await tx.value(
            """
            WITH gone AS (DELETE FROM parked WHERE event_id = $1 RETURNING *)
            INSERT INTO dropped (event_id, event, message, error, tries, parked_at, reason, dropped_at)
            SELECT event_id, event, message, error, tries, parked_at, $2, $3 FROM gone
            ON CONFLICT (event_id) DO UPDATE SET reason = excluded.reason, dropped_at = excluded.dropped_at
            RETURNING message
            """,
            letter.event_id,
            reason,
            tx.now,
        )
        envelope = _envelope(message) if message is not None else None
        if envelope is not None:
            await record_handled([envelope], tx)  # So that it is not handled either when the stream brings it once more.
    return message is not None


def title(letter: DeadLetter) -> str:
    """Which one, in the sentence that says what became of it."""
    return printable(f"{letter.service}: {letter.event} {letter.event_id}")


def format_rows(found: Sequence[DeadLetter]) -> list[str]:
    """A line for each."""
    shown = _shortest({letter.event_id for letter in found})
    width = max((len(letter.event) for letter in found), default=0)
    lines = []
    for letter in found:
        line = f"{letter.service:<10}  {letter.event:<{width}}  {shown[letter.event_id]}  "
        if letter.dropped_at is not None:
            line += f"dropped {moment(letter.dropped_at)}  {letter.reason}"
        else:
            line += f"since {moment(letter.parked_at)}  {_tries(letter.tries)}  {first_line(letter.error)}"
        lines.append(printable(line))
    return lines


async def format_whole(databases: Databases, letter: DeadLetter) -> list[str]:
    """Everything about one: where, since when, why, and what is in it."""
    table = "parked" if letter.dropped_at is None else "dropped"
    messages = await databases.rows(letter.service, f"SELECT message FROM {table} WHERE event_id = $1", letter.event_id)
    lines = [f"{letter.service}  {letter.event}  {letter.event_id}"]
    lines += [f"parked since {moment(letter.parked_at)} UTC, after {_tries(letter.tries)}"]
    if letter.dropped_at is not None:
        lines += [f"dropped at {moment(letter.dropped_at)} UTC: {letter.reason}"]
    lines += ["", "error", *_indented(letter.error), ""]
    return [printable(line) for line in lines] + _content(messages[0]["message"] if messages else b"")


def _content(message: bytes) -> list[str]:
    try:
        content: Any = json.loads(message)
    except (ValueError, RecursionError):
        return [f"no JSON: {len(message)} bytes", *_indented(printable(message.decode("utf-8", "backslashreplace")))]
    if not isinstance(content, dict):
        return ["no event", *_indented(_pretty(content))]
    envelope = {name: value for name, value in content.items() if name != "data"}
    lines = ["envelope", *_indented(_pretty(envelope))]
    return [*lines, "data", *_indented(_pretty(content["data"]))] if "data" in content else [*lines, "no data"]


def _pretty(value: Any) -> str:
    return printable(json.dumps(value, indent=2, ensure_ascii=False))


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.split("\n")]


def _envelope(message: bytes) -> Message | None:
    try:
        return msgspec.json.decode(message, type=Message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _shortest(ids: Iterable[UUID]) -> dict[UUID, str]:
    """As much of each id as tells it from the others."""
    texts = sorted(map(str, ids))
    shown = {}
    for before, text, after in zip(["", *texts], texts, [*texts[1:], ""], strict=False):
        shown[UUID(text)] = text[: max(MIN_ID_LENGTH, _shared(before, text) + 1, _shared(text, after) + 1)]
    return shown


def _shared(one: str, other: str) -> int:
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _tries(number: int) -> str:
    return "1 try" if number == 1 else f"{number} tries"
