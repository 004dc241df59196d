"""What the API answers, as the pages read it."""

from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

Item = TypeVar("Item")


class Ticket(msgspec.Struct, frozen=True, rename="camel"):
    id: UUID
    title: str
    price: Decimal
    currency: str
    user_id: UUID
    order_id: UUID | None
    status: str
    locked_until: datetime | None
    server_time: datetime | None = None
    version: int = 0


class OrderedTicket(msgspec.Struct, frozen=True):
    id: UUID
    title: str
    price: Decimal


class Order(msgspec.Struct, frozen=True, rename="camel"):
    id: UUID
    status: str
    reason: str | None
    expires_at: datetime
    server_time: datetime
    ticket: OrderedTicket
    currency: str
    paid: bool
    uncollected: bool = False
    """Whether the bank had approved, and the money could not be taken all the same."""
    extended: bool = False
    """Whether its buyer has had more time."""

    @property
    def seconds_left(self) -> int:
        """How long a payment may still begin, by the clock of the one who decides it."""
        return max(0, int((self.expires_at - self.server_time).total_seconds()))


class Session(msgspec.Struct, frozen=True, rename="camel"):
    """A place where the visitor is signed in."""

    id: UUID
    browser: str
    created_at: datetime
    used_at: datetime
    current: bool


class HistoryLine(msgspec.Struct, frozen=True):
    """A line of an order's history."""

    at: datetime
    text: str


class Attempt(msgspec.Struct, frozen=True, rename="camel"):
    """One try to pay for an order."""

    id: UUID
    attempt: int
    status: str
    failure: str | None
    redirect_url: str | None
    """Where the buyer confirms the payment at the bank, while it waits for that."""


class Claim(msgspec.Struct, frozen=True):
    """One thing that must always hold, and what was found of it."""

    name: str
    claim: str
    counted: str
    violations: int


class GivenBack(msgspec.Struct, frozen=True):
    """Money that somebody has again, and why."""

    why: str
    times: int
    amount: Decimal
    currency: str


class Proof(msgspec.Struct, frozen=True, rename="camel"):
    """What the last published check has found."""

    checked_at: datetime
    command: str
    tickets: int
    orders: int
    refused: dict[str, int]
    sold: int
    double_sales: int
    given_back: list[GivenBack]
    parked: int
    claims: list[Claim]

    @property
    def refusals(self) -> int:
        return sum(self.refused.values())

    @property
    def attempts(self) -> int:
        """All attempts to buy: orders and refusals."""
        return self.orders + self.refusals


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """A part of a list, and where the next part begins."""

    items: list[Item]
    cursor: str | None
