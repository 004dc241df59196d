"""What is known of an order, a ticket, a request or a user."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct


class Subject(Struct, frozen=True):
    """What the story is about."""

    kind: str
    """order, ticket, request or user."""
    id: str


class Handling(Struct, kw_only=True):
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
    heard: dict[str, Handling]
    """By whom it was handled."""
    parked: dict[str, Handling]
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


class OpenCharge(Struct, frozen=True, kw_only=True):
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
    asking: dict[str, OpenCharge]
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
