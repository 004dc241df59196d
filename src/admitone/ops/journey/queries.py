"""Which thing an id belongs to, and what the services' own databases know of it. One that is away is done without."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from msgspec import Struct

from admitone.apidocs.markdown import NAMES, listeners
from admitone.config import SERVICES_WITH_A_DATABASE, Settings, WrongSettings
from admitone.kit.data.connection import prepare_connection
from admitone.kit.event import CATALOGUE
from admitone.kit.observe.log import printable

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
TROUBLE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, WrongSettings)


class NotToBeFound(Exception):
    """Nobody knows it; the message is the sentence for whoever asked."""


class Subject(Struct, frozen=True):
    """What the story is about."""

    kind: str
    """order, ticket, request or user."""
    id: str


class Heard(Struct, kw_only=True):
    """That one service has handled an event, or has given it up."""

    at: datetime
    milliseconds: float
    """From when it was said."""
    from_published_milliseconds: float
    """From when it was in the stream; 0 when it was heard before that was written down, or the stream was repaired since."""
    tries: int | None = None
    """How often it was tried, where it is parked."""
    error: str | None = None
    """Why it is parked, in a line."""


class Step(Struct, kw_only=True):
    """One event of the story."""

    event_id: UUID
    event: str
    service: str
    """Who said it."""
    time: datetime
    correlation_id: UUID
    causation_id: UUID | None
    data: dict[str, Any]
    published_at: datetime | None
    heard: dict[str, Heard]
    """By whom it was handled."""
    parked: dict[str, Heard]
    """By whom it was given up, until somebody looks at it."""
    dropped: dict[str, str]
    """By whom it is never going to be handled, and why a person has decided so."""
    missing: list[str]
    """Who has still to hear it, and whose database could be asked."""
    order_id: str | None
    """The order that it is about, or whose end it follows from."""


class Timer(Struct, frozen=True):
    order_id: str
    due: datetime | None
    rung_at: datetime | None


class Asking(Struct, frozen=True, kw_only=True):
    """A charge that payments waits for an answer about, from the card processor."""

    order_id: str
    attempt: int
    status: str
    """created (whether it is approved is not known), authorized, or completed (and a refund was asked for)."""
    at_the_bank: bool
    """The buyer has to confirm it there."""
    failed_attempts: int
    """How often in a row the processor was asked without a result."""
    last_error: str | None
    next_attempt_at: datetime


class Story(Struct, kw_only=True):
    """What happened, causes before effects."""

    about: Subject
    steps: list[Step]
    timers: dict[str, Timer]
    """By order."""
    asking: dict[str, Asking]
    """By order."""
    away: dict[str, str]
    """Which services could not be asked, and why."""


class Listed(Struct, frozen=True, kw_only=True):
    """A line of what a user has listed or ordered."""

    id: UUID
    at: datetime
    title: str
    price_cents: int
    currency: str
    status: str
    ticket_id: UUID | None = None
    """Of an order."""


class User(Struct, frozen=True, kw_only=True):
    about: Subject
    email: str | None
    signed_up_at: datetime | None
    listed: list[Listed]
    ordered: list[Listed]
    away: dict[str, str]


class Logs:
    """The services' databases, as far as they answer."""

    def __init__(self, settings: Settings) -> None:
        self.away: dict[str, str] = {}
        """Which do not, and why."""
        self._settings = settings
        self._connections: dict[str, asyncpg.Connection[asyncpg.Record]] = {}

    async def rows(self, service: str, sql: str, *values: object) -> list["asyncpg.Record"]:
        """None of a service that is away; after the first silence it is not asked again."""
        if service in self.away:
            return []
        try:
            return await (await self._connection(service)).fetch(sql, *values)
        except asyncpg.UndefinedTableError:
            self.away[service] = "it is of an older version, and `admitone migrate` brings it up to date"
            return []
        except TROUBLE as error:
            self.away[service] = "no answer" if isinstance(error, TimeoutError) else str(error) or repr(error)
            if connection := self._connections.pop(service, None):
                connection.terminate()
            return []

    async def everywhere(self, sql: str, *values: object) -> list[tuple[str, "asyncpg.Record"]]:
        """What each service answers, asked all at once."""
        answers = await asyncio.gather(*(self.rows(service, sql, *values) for service in SERVICES_WITH_A_DATABASE))
        return [(service, row) for service, rows in zip(SERVICES_WITH_A_DATABASE, answers, strict=True) for row in rows]

    async def _connection(self, service: str) -> "asyncpg.Connection[asyncpg.Record]":
        if service not in self._connections:
            url = self._settings.database_url_of(service)
            connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, command_timeout=ANSWER_SECONDS)
            await prepare_connection(connection)
            self._connections[service] = connection
        return self._connections[service]

    def close(self) -> None:
        for connection in self._connections.values():
            connection.terminate()


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Logs]:
    logs = Logs(settings)
    try:
        yield logs
    finally:
        logs.close()


async def identify(logs: Logs, text: str) -> Subject:
    """What this id belongs to, or the only id that begins like this. An event's means what it is about. Raises NotToBeFound."""
    found = await (_with_address(logs, text) if "@" in text else _with_id(logs, text))
    if len(found) > 1:
        ids = ", ".join(subject.id for subject in found[:4])
        raise NotToBeFound(f"Several ids begin with {printable(text)}: {ids}{', and more' if found[4:] else ''}.")
    if found:
        return found[0]
    if logs.away:
        raise NotToBeFound(f"Nobody who could be asked knows {printable(text)}. {away_sentence(logs)}")
    raise NotToBeFound(f"Nobody knows {printable(text)}: it is no order, ticket, user, request or event of this marketplace.")


async def _with_address(logs: Logs, address: str) -> list[Subject]:
    rows = await logs.rows("auth", "SELECT user_id FROM users WHERE lower(email) = lower($1)", address)
    return [Subject("user", str(row["user_id"])) for row in rows]


async def _with_id(logs: Logs, text: str) -> list[Subject]:
    digits = text.lower().replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{8,32}", digits):
        raise NotToBeFound(
            f"{text!r} is no id: give that of an order, a ticket, a user or a request, or its first eight digits, "
            "or a user's e-mail address."
        )
    first, last = str(UUID(digits.ljust(32, "0"))), str(UUID(digits.ljust(32, "f")))
    for kind, services, sql in PLACES:
        rows = await asyncio.gather(*(logs.rows(service, sql, first, last) for service in services))
        ids = dict.fromkeys(row["id"] for of_one in rows for row in of_one)
        if ids:
            return [_about(*id) if kind == "event" else Subject(kind, id) for id in ids]
    return []


def _about(order_id: str | None, ticket_id: str | None, correlation_id: str) -> Subject:
    if order_id:
        return Subject("order", order_id)
    return Subject("ticket", ticket_id) if ticket_id else Subject("request", correlation_id)


_IN_DATA = "SELECT DISTINCT data ->> '{0}' AS id FROM outbox WHERE data ->> '{0}' BETWEEN $1::text AND $2::text LIMIT 5"
_IN_COLUMN = "SELECT DISTINCT {1}::text AS id FROM {0} WHERE {1} BETWEEN $1::text::uuid AND $2::text::uuid LIMIT 5"
_OF_EVENT = """
SELECT (data ->> 'order_id', data ->> 'ticket_id', correlation_id::text) AS id
FROM outbox WHERE event_id BETWEEN $1::text::uuid AND $2::text::uuid LIMIT 5
"""
PLACES: Sequence[tuple[str, Sequence[str], str]] = (
    ("order", SERVICES_WITH_A_DATABASE, _IN_DATA.format("order_id")),
    ("ticket", SERVICES_WITH_A_DATABASE, _IN_DATA.format("ticket_id")),
    ("user", ["auth"], _IN_COLUMN.format("users", "user_id")),
    ("user", ["tickets"], _IN_COLUMN.format("tickets", "seller_id")),  # While auth is away.
    ("user", ["orders"], _IN_COLUMN.format("orders", "user_id")),
    ("event", SERVICES_WITH_A_DATABASE, _OF_EVENT),
    ("request", SERVICES_WITH_A_DATABASE, _IN_COLUMN.format("outbox", "correlation_id")),
)
"""Where an id may be, and what it then is: from the first to the last id that is meant."""


def away_sentence(logs: Logs) -> str:
    """Who could not be asked, and why; empty when all could be."""
    if not logs.away:
        return ""
    services = [f"{service} ({reason})" for service, reason in logs.away.items()]
    return f"The database of {', '.join(services)} can't be asked: what it knows is missing here."


async def story_of(logs: Logs, about: Subject) -> Story:
    """Every event about an order (its listing too), about a ticket, or of a request, and what each of them caused."""
    match about.kind:
        case "order":
            said = await _said(logs, "data ->> 'order_id' = $1", about.id)
            ticket_id = next((step.data["ticket_id"] for step in said if step.data.get("ticket_id")), None)
            said += await _said(logs, "event = 'TicketCreated' AND data ->> 'ticket_id' = $1", ticket_id)
        case "ticket":
            said = await _said(logs, "data ->> 'ticket_id' = $1", about.id)
            said += await _said(logs, "data ->> 'order_id' = ANY($1)", _orders_in(said))
        case _:
            said = await _said(logs, "correlation_id = $1", UUID(about.id))
    found: dict[UUID, Step] = {}
    while said:  # What was caused by what we have, until there is no more.
        new = {step.event_id: step for step in said if step.event_id not in found}
        found |= new
        said = await _said(logs, "causation_id = ANY($1)", list(new)) if new else []
    await _add_who_heard(logs, found)
    steps = _causes_first(found)
    orders = _orders_in(steps)
    rows = await logs.rows("expiration", "SELECT * FROM timers WHERE order_id = ANY($1::text[]::uuid[])", orders)
    timers = {str(row["order_id"]): Timer(str(row["order_id"]), row["due"], row["rung_at"]) for row in rows}
    asking = {row["order_id"]: Asking(**row) for row in await logs.rows("payments", ASKING, orders)}
    return Story(about=about, steps=steps, timers=timers, asking=asking, away=dict(logs.away))


ASKING = """
SELECT order_id::text, attempt, status, status = 'created' AND redirect_url IS NOT NULL AS at_the_bank,
       failed_attempts, last_error, next_attempt_at
FROM charges
WHERE order_id = ANY($1::text[]::uuid[]) AND (status IN ('created', 'authorized') OR status = 'completed' AND refund_asked_at IS NOT NULL)
"""


async def _said(logs: Logs, where: str, value: object) -> list[Step]:
    return [
        Step(
            event_id=row["event_id"],
            event=row["event"],
            service=service,
            time=row["created_at"],
            correlation_id=row["correlation_id"],
            causation_id=row["causation_id"],
            data=row["data"],
            published_at=row["published_at"],
            heard={},
            parked={},
            dropped={},
            missing=[],
            order_id=row["data"].get("order_id"),
        )
        for service, row in await logs.everywhere(f"SELECT * FROM outbox WHERE {where}", value)
        if row["event"] in CATALOGUE
    ]


async def _add_who_heard(logs: Logs, found: dict[UUID, Step]) -> None:
    for service, row in await logs.everywhere("SELECT event_id, handled_at FROM inbox WHERE event_id = ANY($1)", list(found)):
        found[row["event_id"]].heard[service] = _heard(found[row["event_id"]], row["handled_at"])
    parked = "SELECT event_id, parked_at, tries, split_part(error, E'\\n', 1) AS error FROM parked WHERE event_id = ANY($1)"
    for service, row in await logs.everywhere(parked, list(found)):
        heard = _heard(found[row["event_id"]], row["parked_at"])
        heard.tries, heard.error = row["tries"], row["error"]
        found[row["event_id"]].parked[service] = heard
    for service, row in await logs.everywhere("SELECT event_id, reason FROM dropped WHERE event_id = ANY($1)", list(found)):
        found[row["event_id"]].dropped[service] = row["reason"]
        found[row["event_id"]].heard.pop(service, None)  # The inbox has it, so that it is not handled.
    for step in found.values():
        done = {*step.heard, *step.parked, *step.dropped, *logs.away}
        step.missing = [name for name in keep_record(step.event) if name not in done]


def keep_record(event: str) -> list[str]:
    """The services that hear it and keep a record of that. Those without a database hear it for their open pages, and keep none."""
    return [name for name in listeners(CATALOGUE[event]) if name in SERVICES_WITH_A_DATABASE]


def _heard(step: Step, at: datetime) -> Heard:
    published_at = step.published_at or step.time
    return Heard(at=at, milliseconds=_between(step.time, at), from_published_milliseconds=max(0.0, _between(published_at, at)))


def _between(start: datetime, end: datetime) -> float:
    return round((end - start).total_seconds() * 1000, 1)


def _causes_first(found: dict[UUID, Step]) -> list[Step]:
    """By time; but where the clocks of two databases disagree, an effect still comes after its cause."""

    def place(step: Step) -> tuple[datetime, int]:
        cause = found.get(step.causation_id) if step.causation_id else None
        if cause is None:
            return step.time, 0
        moment, depth = place(cause)
        step.order_id = step.order_id or cause.order_id
        return max(moment, step.time), depth + 1

    return sorted(found.values(), key=lambda step: (*place(step), NAMES.index(step.service)))


def _orders_in(steps: Iterable[Step]) -> list[str]:
    """The orders that a story speaks of, the first one first."""
    return list(dict.fromkeys(step.order_id for step in steps if step.order_id))


async def user_of(logs: Logs, about: Subject) -> User:
    """What a user has listed and ordered, oldest first."""
    user_id = UUID(about.id)
    known = await logs.rows("auth", "SELECT email, created_at FROM users WHERE user_id = $1", user_id)
    listed = await logs.rows(
        "tickets",
        """
        SELECT ticket_id AS id, created_at AS at, title, price_cents, currency,
               CASE WHEN sold THEN 'sold' WHEN withdrawn THEN 'withdrawn' WHEN order_id IS NULL THEN 'available' ELSE 'locked' END AS status
        FROM tickets WHERE seller_id = $1 ORDER BY created_at, ticket_id
        """,
        user_id,
    )
    ordered = await logs.rows(
        "orders",
        """
        SELECT order_id AS id, created_at AS at, title, price_cents, currency, ticket_id, status || coalesce(': ' || reason, '') AS status
        FROM orders WHERE user_id = $1 ORDER BY created_at, order_id
        """,
        user_id,
    )
    return User(
        about=about,
        email=known[0]["email"] if known else None,
        signed_up_at=known[0]["created_at"] if known else None,
        listed=[Listed(**row) for row in listed],
        ordered=[Listed(**row) for row in ordered],
        away=dict(logs.away),
    )
