"""What an id, or its beginning, belongs to."""

import asyncio
import re
from collections.abc import Sequence
from uuid import UUID

from admitone.config import SERVICES_WITH_A_DATABASE
from admitone.kit.observe.log import printable
from admitone.ops.journey.story import Subject
from admitone.ops.reach import Databases


class NotToBeFound(Exception):
    """Nobody knows it; the message is the sentence for whoever asked."""


async def identify(databases: Databases, text: str) -> Subject:
    """What this id belongs to, or the only id that begins like this. An event's means what it is about. Raises NotToBeFound."""
    found = await (_with_address(databases, text) if "@" in text else _with_id(databases, text))
    if len(found) > 1:
        ids = ", ".join(subject.id for subject in found[:4])
        raise NotToBeFound(f"Several ids begin with {printable(text)}: {ids}{', and more' if found[4:] else ''}.")
    if found:
        return found[0]
    if databases.unreachable:
        raise NotToBeFound(f"Nobody who could be asked knows {printable(text)}. {databases.unreachable_sentence()}")
    raise NotToBeFound(f"Nobody knows {printable(text)}: it is no order, ticket, user, request or event of this marketplace.")


async def _with_address(databases: Databases, address: str) -> list[Subject]:
    rows = await databases.rows("auth", "SELECT user_id FROM users WHERE lower(email) = lower($1)", address)
    return [Subject("user", str(row["user_id"])) for row in rows]


async def _with_id(databases: Databases, text: str) -> list[Subject]:
    digits = text.lower().replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{8,32}", digits):
        raise NotToBeFound(
            f"{text!r} is no id: give that of an order, a ticket, a user or a request, or its first eight digits, "
            "or a user's e-mail address."
        )
    first, last = str(UUID(digits.ljust(32, "0"))), str(UUID(digits.ljust(32, "f")))
    for kind, services, sql in PLACES:
        rows = await asyncio.gather(*(databases.rows(service, sql, first, last) for service in services))
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
