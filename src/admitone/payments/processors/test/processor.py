"""The card processor of test mode: no money, but everything else a processor does, with books of its own that outlive a crash.

It takes Stripe's published test cards and tokens, and nothing else. It can be told to misbehave, by rows in its table `faults`.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from admitone.kit.data.db import Database, Tx
from admitone.payments.model import Charge, ChargeNotFound, UnknownCard
from admitone.payments.processors.protocol import Notice, ProcessorState, Refused, State, WrongSignature
from admitone.payments.processors.test import faults, webhooks

MIGRATIONS = ["payments.processors.test"]
NEEDS_CONFIRMATION = "needs_confirmation"
TEST_TOKENS = {
    "tok_visa": None,
    "tok_mastercard": None,
    "tok_chargeDeclined": "card_declined",
    "tok_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "tok_chargeDeclinedLostCard": "lost_card",
    "tok_chargeDeclinedProcessingError": "processing_error",
    "tok_threeDSecure2Required": NEEDS_CONFIRMATION,
}
"""Stripe's published test tokens, and what each is answered with: https://docs.stripe.com/testing"""
TEST_CARDS = {
    "4242424242424242": "tok_visa",
    "5555555555554444": "tok_mastercard",
    "4000000000000002": "tok_chargeDeclined",
    "4000000000009995": "tok_chargeDeclinedInsufficientFunds",
    "4000000000009987": "tok_chargeDeclinedLostCard",
    "4000000000000119": "tok_chargeDeclinedProcessingError",
    "4000000000003220": "tok_threeDSecure2Required",
}
SIGNED_WITHIN_SECONDS = 300


class Intent(Struct, frozen=True, kw_only=True):
    """One payment, as the processor knows it."""

    id: str
    idempotency_key: str
    order_id: UUID
    charge_id: UUID
    token: str
    amount_cents: int
    currency: str
    status: State
    code: str | None
    captured_cents: int
    refunded_cents: int
    refund_id: str | None
    made_at: datetime


class TestProcessor:
    """A processor without money. Make one with `open`."""

    def __init__(self, books: Database, secret: bytes) -> None:
        self.books = books
        self._secret = secret

    @classmethod
    async def open(cls, books: Database) -> "TestProcessor":
        """On its own, migrated database."""
        secret: str = await books.pool.fetchval("SELECT secret FROM secret")
        return cls(books, secret.encode())

    async def token(self, text: str) -> str:
        token = TEST_CARDS.get(re.sub(r"[ -]", "", text), text)
        if token not in TEST_TOKENS:
            raise UnknownCard
        return token

    async def authorize(self, charge: Charge) -> ProcessorState:
        answer = TEST_TOKENS[charge.payment_token]
        state: State = "authorized" if answer is None else "needs_confirmation" if answer == NEEDS_CONFIRMATION else "declined"

        async def act(tx: Tx) -> Intent | None:
            return await tx.one(
                Intent,
                """
                INSERT INTO intents (id, idempotency_key, order_id, charge_id, token, amount_cents, currency, status, code, made_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (idempotency_key) DO NOTHING RETURNING *
                """,
                f"pi_test_{charge.charge_id.hex}",
                charge.idempotency_key,
                charge.order_id,
                charge.charge_id,
                charge.payment_token,
                charge.amount_cents,
                charge.currency,
                state,
                answer if state == "declined" else None,
                tx.now,
            )

        found = await self._call("authorize", charge, act)
        if (found.token, found.amount_cents, found.currency) != (charge.payment_token, charge.amount_cents, charge.currency):
            raise Refused("idempotency_key_in_use_with_other_parameters")
        return self._standing(found)

    async def look(self, charge: Charge) -> ProcessorState:
        async def act(_tx: Tx) -> Intent | None:
            return None

        return self._standing(await self._call("look", charge, act))

    async def capture(self, charge: Charge) -> ProcessorState:
        async def act(tx: Tx) -> Intent | None:
            return await tx.one(
                Intent,
                """
                UPDATE intents SET status = 'captured', captured_cents = $2
                WHERE idempotency_key = $1 AND status = 'authorized' AND amount_cents >= $2 RETURNING *
                """,
                charge.idempotency_key,
                charge.amount_cents,
            )

        found = await self._call("capture", charge, act)
        if found.status != "captured" or found.captured_cents != charge.amount_cents:
            raise Refused("not_capturable")
        return self._standing(found)

    async def void(self, charge: Charge) -> ProcessorState:
        async def act(tx: Tx) -> Intent | None:
            return await tx.one(
                Intent,
                """
                UPDATE intents SET status = 'voided'
                WHERE idempotency_key = $1 AND status IN ('authorized', 'needs_confirmation') RETURNING *
                """,
                charge.idempotency_key,
            )

        found = await self._call("void", charge, act)
        if found.status not in ("voided", "declined"):
            raise Refused("not_voidable")
        return self._standing(found)

    async def refund(self, charge: Charge) -> ProcessorState:
        async def act(tx: Tx) -> Intent | None:
            return await tx.one(
                Intent,
                """
                UPDATE intents SET status = 'refunded', refunded_cents = $2, refund_id = $3
                WHERE idempotency_key = $1 AND status = 'captured' AND captured_cents >= $2 RETURNING *
                """,
                charge.idempotency_key,
                charge.amount_cents,
                f"re_test_{charge.charge_id.hex}",
            )

        found = await self._call("refund", charge, act)
        if found.status != "refunded" or found.refunded_cents != charge.amount_cents:
            raise Refused("not_refundable")
        return self._standing(found)

    async def confirm(self, id: str, approve: bool) -> Intent:
        """What the buyer answered on the bank's page; only the first answer counts. Raises ChargeNotFound."""
        _must_be_storable(id)
        async with self.books.transaction() as tx:
            answered = await tx.one(
                Intent,
                "UPDATE intents SET status = $2, code = $3 WHERE id = $1 AND status = 'needs_confirmation' RETURNING *",
                id,
                "authorized" if approve else "declined",
                None if approve else "authentication_failed",
            )
            if answered is not None:
                await webhooks.queue(tx, answered.id, answered.charge_id, answered.status)
        return await self.intent(id)

    async def intent(self, id: str) -> Intent:
        """Raises ChargeNotFound."""
        _must_be_storable(id)
        async with self.books.reading() as tx:
            intent = await tx.one(Intent, "SELECT * FROM intents WHERE id = $1", id)
        if intent is None:
            raise ChargeNotFound
        return intent

    def signature(self, body: bytes, at: int) -> str:
        """The header that a webhook is sent with, in Stripe's form; `at` in seconds since 1970."""
        return f"t={at},v1={hmac.new(self._secret, f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"

    def notice_of(self, body: bytes, signature: str) -> Notice | None:
        signed_at = re.match(r"t=([0-9]{1,12}),", signature)
        if (
            signed_at is None
            or abs(time.time() - int(signed_at[1])) > SIGNED_WITHIN_SECONDS
            or not hmac.compare_digest(self.signature(body, int(signed_at[1])).encode(), signature.encode())
        ):
            raise WrongSignature
        try:
            about = msgspec.json.decode(body)["data"]["object"]
            return Notice(stripe_id=about["id"], charge_id=UUID(about["metadata"]["charge_id"]))
        except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError, ValueError, AttributeError):
            return None  # Signed, and nothing that we could know how to read.

    async def _call(self, call: str, charge: Charge, act: Callable[[Tx], Awaitable[Intent | None]]) -> Intent:
        """One call of ours with its effect, as well as it behaves today; the payment as it is afterwards. Raises Refused."""
        fault = await faults.draw(self.books, call)
        await faults.before(fault)
        async with self.books.transaction() as tx:
            if fault == "refuse":
                await self._refuse(tx, call, charge)
            changed = await act(tx)
            if changed is not None:
                await webhooks.queue(tx, changed.id, changed.charge_id, changed.status)
            found = changed or await tx.one(Intent, "SELECT * FROM intents WHERE idempotency_key = $1", charge.idempotency_key)
        await faults.after(fault)
        if found is None:
            raise Refused("unknown_payment")
        return found

    async def _refuse(self, tx: Tx, call: str, charge: Charge) -> None:
        """As a bank does that has let an approval lapse. Raises Refused for what changes nothing."""
        if call != "capture":
            raise Refused("refused_for_good")
        await tx.run("UPDATE intents SET status = 'voided' WHERE idempotency_key = $1 AND status = 'authorized'", charge.idempotency_key)

    def _standing(self, intent: Intent) -> ProcessorState:
        return ProcessorState(
            id=intent.id,
            state=intent.status,
            amount_cents=intent.captured_cents or intent.amount_cents,
            currency=intent.currency,
            code=intent.code,
            redirect_url=f"/api/payments/test-bank/{intent.id}" if intent.status == NEEDS_CONFIRMATION else None,
            refund_id=intent.refund_id,
        )


def _must_be_storable(id: str) -> None:
    """Raises ChargeNotFound for what the database would not even look for."""
    if "\0" in id:
        raise ChargeNotFound
