"""The seam to a card processor, and the processor of test mode."""

import re
from typing import Protocol, runtime_checkable

from admitone.kit.config import Settings
from admitone.kit.db import Database
from admitone.payments.model import Charge, UnknownCard

TEST_TOKENS = {
    "tok_visa": None,
    "tok_mastercard": None,
    "tok_chargeDeclined": "card_declined",
    "tok_chargeDeclinedInsufficientFunds": "insufficient_funds",
}
"""Stripe's published test tokens, and the code that each is declined with: https://docs.stripe.com/testing"""
TEST_CARDS = {
    "4242424242424242": "tok_visa",
    "5555555555554444": "tok_mastercard",
    "4000000000000002": "tok_chargeDeclined",
    "4000000000009995": "tok_chargeDeclinedInsufficientFunds",
}


class Declined(Exception):
    """The card's bank says no. That is final for this attempt."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class OutcomeUnknown(Exception):
    """No answer, or none that says what happened. Only the same call again can tell."""


@runtime_checkable
class Gateway(Protocol):
    """A card processor. Every call is idempotent by the charge's own key: again means the same answer and one effect.

    Any call may raise OutcomeUnknown.
    """

    def token(self, text: str) -> str:
        """What is kept of what the buyer sent. Raises UnknownCard for what must not be kept."""

    async def authorize(self, charge: Charge) -> str:
        """Set the amount aside; returns the processor's id. Raises Declined."""

    async def capture(self, charge: Charge) -> None:
        """Take what was set aside."""

    async def void(self, charge: Charge) -> None:
        """Give back what was set aside."""


def gateway_of(_settings: Settings, db: Database | None) -> Gateway:
    """The processor that the settings name. There is only test mode yet."""
    assert db is not None
    return TestGateway(db)


class TestGateway:
    """A processor without money: Stripe's published test cards and tokens, and rows of its own that outlive a crash."""

    def __init__(self, db: Database) -> None:
        self._pool = db.pool

    def token(self, text: str) -> str:
        token = TEST_CARDS.get(re.sub(r"[ -]", "", text), text)
        if token not in TEST_TOKENS:
            raise UnknownCard
        return token

    async def authorize(self, charge: Charge) -> str:
        code = TEST_TOKENS[charge.payment_token]
        await self._pool.execute(
            """
            INSERT INTO test_gateway (idempotency_key, id, amount_cents, currency, status, decline_code)
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (idempotency_key) DO NOTHING
            """,
            charge.idempotency_key,
            f"pi_test_{charge.charge_id.hex}",
            charge.amount_cents,
            charge.currency,
            "declined" if code else "authorized",
            code,
        )
        row = await self._pool.fetchrow("SELECT * FROM test_gateway WHERE idempotency_key = $1", charge.idempotency_key)
        assert row is not None
        if row["decline_code"]:
            raise Declined(row["decline_code"])
        return str(row["id"])

    async def capture(self, charge: Charge) -> None:
        await self._move(charge, "authorized", "captured")

    async def void(self, charge: Charge) -> None:
        await self._move(charge, "authorized", "voided")

    async def _move(self, charge: Charge, before: str, after: str) -> None:
        moved = await self._pool.fetchval(
            "UPDATE test_gateway SET status = $3 WHERE idempotency_key = $1 AND status IN ($2, $3) RETURNING true",
            charge.idempotency_key,
            before,
            after,
        )
        if not moved:
            raise OutcomeUnknown(f"charge {charge.charge_id} can't be {after}")
