"""What the last published check has found, as everybody may read it."""

from typing import Literal

from msgspec import Struct

from admitone.kit.http.form import Moment
from admitone.kit.http.problem import NotFound


class Claim(Struct, frozen=True, kw_only=True):
    """One thing that must always hold, and what was found of it."""

    name: str
    """Its number, such as `I1`."""
    claim: str
    counted: str
    """What was looked at, and how much of it."""
    violations: int


class GivenBack(Struct, frozen=True, kw_only=True):
    """Money that its buyer has again, or that was never taken after all; by why, and in which currency."""

    why: Literal["by_buyer", "expired", "price_changed", "withdrawn", "payment_failed", "refunded", "relisted"]
    """The reason of the cancelled order whose approval was given back; or that a sale was undone, with its ticket on sale again or not."""
    times: int
    amount: float
    currency: str


class Proof(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the last published check of the whole marketplace has found."""

    checked_at: Moment
    command: str
    """What was typed to check it."""
    tickets: int
    """Ever listed."""
    orders: int
    """Attempts to buy that were told yes."""
    refused: dict[str, int]
    """Attempts to buy that were told no, before anything was paid, by reason."""
    sold: int
    """Tickets that somebody has paid for."""
    double_sales: int
    """Tickets that two orders had at once."""
    given_back: list[GivenBack]
    parked: int
    """Events that could not be handled, and wait for a person."""
    claims: list[Claim]


class ProofNotFound(NotFound):
    """No check has been published yet."""
