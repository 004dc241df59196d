"""One contract for every processor behind the seam: what payments relies on, whoever it is that takes the money.

It runs against TestProcessor on its PostgreSQL, and against StripeProcessor on support/stripe_stub.py. Against Stripe's own
test mode it runs where there is a key of it, and nowhere else:

    STRIPE_SECRET_KEY=sk_test_... make stripe

Left out there is what needs a buyer at the bank's page. It leaves a few test payments behind, and moves no money.
"""

import os
import time
from collections.abc import AsyncIterator
from typing import Any, Protocol
from uuid import uuid4

import msgspec
import pytest
import stripe
from msgspec.structs import replace
from support.databases import empty_database
from support.stripe_stub import WEBHOOK_SECRET, StripeStub, a_charge, running_stub, signature, webhook

from admitone.config import TEST_PROCESSOR, Settings
from admitone.kit.data.db import connected
from admitone.kit.data.migrations import migrate_at
from admitone.payments.model import Charge, UnknownCard, UnknownToken
from admitone.payments.processors import test as test_processor
from admitone.payments.processors.protocol import CardProcessor, ProcessorState, Refused, WrongSignature
from admitone.payments.processors.stripe import StripeProcessor
from admitone.runtime.engines import Engines

REAL_KEY = os.environ.get("STRIPE_SECRET_KEY", "")
AT_HAND = ["test processor", "stripe stub"]
PROCESSORS = [*AT_HAND, *(["stripe"] if REAL_KEY.startswith("sk_test_") else [])]
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # The SDK's way of calling httpx.
with_a_buyer = pytest.mark.parametrize("bench", AT_HAND, indirect=True)

DECLINES = ["card_declined", "insufficient_funds", "lost_card", "processing_error"]
STRIPE_CARDS = {
    "approved": "pm_card_visa",
    "card_declined": "pm_card_visa_chargeDeclined",
    "insufficient_funds": "pm_card_visa_chargeDeclinedInsufficientFunds",
    "lost_card": "pm_card_visa_chargeDeclinedLostCard",
    "processing_error": "pm_card_chargeDeclinedProcessingError",
    "needs_confirmation": "pm_card_threeDSecure2Required",
}
TEST_CARDS = {
    "approved": "4242 4242 4242 4242",
    "card_declined": "tok_chargeDeclined",
    "insufficient_funds": "tok_chargeDeclinedInsufficientFunds",
    "lost_card": "tok_chargeDeclinedLostCard",
    "processing_error": "tok_chargeDeclinedProcessingError",
    "needs_confirmation": "tok_threeDSecure2Required",
}


class Bench(Protocol):
    """A processor, and what a test needs besides: cards, a buyer, its books, its messages."""

    processor: CardProcessor

    async def sent(self, card: str) -> str:
        """What the browser sends for a card that is answered like that."""

    async def confirm(self, id: str, approve: bool) -> None:
        """The buyer's answer on the bank's page."""

    async def kept(self, charge: Charge) -> list[int]:
        """The amount of each payment that the processor has for that charge."""

    def webhook(self, id: str, charge: Charge) -> bytes: ...

    def signature(self, body: bytes, at: int) -> str: ...


class BenchOfTestProcessor:
    def __init__(self, processor: test_processor.TestProcessor) -> None:
        self.processor: CardProcessor = processor
        self._test_processor = processor

    async def sent(self, card: str) -> str:
        return TEST_CARDS[card]

    async def confirm(self, id: str, approve: bool) -> None:
        await self._test_processor.confirm(id, approve)

    async def kept(self, charge: Charge) -> list[int]:
        rows = await self._test_processor.books.pool.fetch("SELECT amount_cents FROM intents WHERE charge_id = $1", charge.charge_id)
        return [row["amount_cents"] for row in rows]

    def webhook(self, id: str, charge: Charge) -> bytes:
        about = {"id": id, "object": "payment_intent", "metadata": {"charge_id": charge.charge_id}}
        return msgspec.json.encode({"type": "payment_intent.succeeded", "data": {"object": about}})

    def signature(self, body: bytes, at: int) -> str:
        return self._test_processor.signature(body, at)


class StripeBench:
    """What the stub and the real one have in common."""

    def __init__(self, settings: Settings) -> None:
        self.stripe_processor = StripeProcessor(settings)
        self.processor: CardProcessor = self.stripe_processor

    def webhook(self, id: str, charge: Charge) -> bytes:
        return webhook(id, charge.charge_id)

    def signature(self, body: bytes, at: int) -> str:
        return signature(body, at)


class StubBench(StripeBench):
    def __init__(self, stub: StripeStub) -> None:
        super().__init__(stub.settings())
        self.stub = stub

    async def sent(self, card: str) -> str:
        return self.stub.token(STRIPE_CARDS[card])

    async def confirm(self, id: str, approve: bool) -> None:
        self.stub.answer_bank(id, approve)

    async def kept(self, charge: Charge) -> list[int]:
        return [intent.amount for intent in self.stub.intents.values() if intent.metadata["charge_id"] == str(charge.charge_id)]


class RealBench(StripeBench):
    def __init__(self) -> None:
        super().__init__(Settings(stripe_secret_key=REAL_KEY, stripe_webhook_secret=WEBHOOK_SECRET))
        self._stripe = stripe.StripeClient(REAL_KEY, http_client=stripe.HTTPXClient()).v1

    async def sent(self, card: str) -> str:
        token = await self._stripe.test_helpers.confirmation_tokens.create_async({"payment_method": STRIPE_CARDS[card]})
        return token.id

    async def confirm(self, id: str, approve: bool) -> None:
        raise NotImplementedError("there is no buyer")

    async def kept(self, charge: Charge) -> list[int]:
        """From the list, which is right at once, unlike search."""
        intents = await self._stripe.payment_intents.list_async({"limit": 100})
        return [intent.amount for intent in intents.data if intent.to_dict()["metadata"].get("charge_id") == str(charge.charge_id)]


@pytest.fixture(scope="module", params=PROCESSORS)
async def bench(request: pytest.FixtureRequest, engines: Engines) -> AsyncIterator[Bench]:
    match request.param:
        case "test processor":
            async with empty_database(engines) as url:
                await migrate_at(url, TEST_PROCESSOR, test_processor.MIGRATIONS)
                async with connected(TEST_PROCESSOR, url) as books:
                    yield BenchOfTestProcessor(await test_processor.TestProcessor.open(books))
        case "stripe stub":
            async with running_stub() as stub:
                on_stub = StubBench(stub)
                yield on_stub
                await on_stub.stripe_processor.close()
        case _:
            real = RealBench()
            yield real
            await real.stripe_processor.close()


async def begun(bench: Bench, card: str = "approved", **changes: Any) -> Charge:
    """A charge that is written down, and nobody was called for."""
    return a_charge(payment_token=await bench.processor.token(await bench.sent(card)), **changes)


async def authorized(bench: Bench, card: str = "approved") -> tuple[Charge, ProcessorState]:
    charge = await begun(bench, card)
    processor_state = await bench.processor.authorize(charge)
    return replace(charge, stripe_id=processor_state.id), processor_state


async def captured(bench: Bench) -> Charge:
    charge, _ = await authorized(bench)
    await bench.processor.capture(charge)
    return charge


async def test_an_approved_payment_is_set_aside(bench: Bench) -> None:
    charge, processor_state = await authorized(bench)
    assert (processor_state.state, processor_state.amount_cents, processor_state.currency) == ("authorized", 4990, "USD")
    assert (processor_state.code, processor_state.redirect_url, processor_state.refund_id) == (None, None, None)
    assert await bench.kept(charge) == [4990]


@pytest.mark.parametrize("code", DECLINES)
async def test_a_declined_card_is_a_standing_with_the_banks_word(bench: Bench, code: str) -> None:
    charge, processor_state = await authorized(bench, code)
    assert (processor_state.state, processor_state.code, processor_state.amount_cents, processor_state.currency) == (
        "declined",
        code,
        4990,
        "USD",
    )
    assert await bench.processor.look(charge) == processor_state


@pytest.mark.parametrize("card", ["approved", "card_declined", "needs_confirmation"])
async def test_the_same_key_has_one_effect_and_the_same_answer(bench: Bench, card: str) -> None:
    charge = await begun(bench, card)
    first = await bench.processor.authorize(charge)
    assert await bench.processor.authorize(charge) == first
    assert await bench.kept(charge) == [4990]


async def test_the_same_key_with_another_amount_is_refused(bench: Bench) -> None:
    charge = await begun(bench)
    processor_state = await bench.processor.authorize(charge)
    with pytest.raises(Refused):
        await bench.processor.authorize(replace(charge, amount_cents=9980))
    assert await bench.kept(charge) == [4990]
    assert await bench.processor.look(replace(charge, stripe_id=processor_state.id)) == processor_state


async def test_the_answer_to_the_same_key_is_how_the_payment_stands_by_now(bench: Bench) -> None:
    charge, _ = await authorized(bench)
    voided = await bench.processor.void(charge)
    assert await bench.processor.authorize(replace(charge, stripe_id=None)) == voided


async def test_a_payment_that_needs_confirmation_says_where(bench: Bench) -> None:
    charge, processor_state = await authorized(bench, "needs_confirmation")
    assert (processor_state.state, processor_state.code) == ("needs_confirmation", None)
    assert processor_state.redirect_url is not None
    assert processor_state.redirect_url.startswith(("https://", "http://", "/api/"))
    assert await bench.processor.look(charge) == processor_state


@with_a_buyer
async def test_a_confirmed_payment_is_set_aside(bench: Bench) -> None:
    charge, _ = await authorized(bench, "needs_confirmation")
    await bench.confirm(charge.stripe_id or "", approve=True)
    processor_state = await bench.processor.look(charge)
    assert (processor_state.state, processor_state.redirect_url) == ("authorized", None)
    assert (await bench.processor.capture(charge)).state == "captured"


@with_a_buyer
async def test_a_payment_that_its_buyer_refuses_is_declined(bench: Bench) -> None:
    charge, _ = await authorized(bench, "needs_confirmation")
    await bench.confirm(charge.stripe_id or "", approve=False)
    processor_state = await bench.processor.look(charge)
    assert processor_state.state == "declined"
    assert processor_state.code is not None
    assert "authentication" in processor_state.code


async def test_a_payment_that_needs_confirmation_can_be_ended(bench: Bench) -> None:
    charge, _ = await authorized(bench, "needs_confirmation")
    assert (await bench.processor.void(charge)).state == "voided"
    assert (await bench.processor.look(charge)).state == "voided"


@with_a_buyer
async def test_a_payment_that_was_ended_is_not_confirmed_any_more(bench: Bench) -> None:
    charge, _ = await authorized(bench, "needs_confirmation")
    await bench.processor.void(charge)
    await bench.confirm(charge.stripe_id or "", approve=True)
    assert (await bench.processor.look(charge)).state == "voided"


async def test_what_needs_confirmation_is_not_captured(bench: Bench) -> None:
    charge, processor_state = await authorized(bench, "needs_confirmation")
    with pytest.raises(Refused):
        await bench.processor.capture(charge)
    assert await bench.processor.look(charge) == processor_state


@with_a_buyer
async def test_what_was_refused_too_early_is_captured_once_it_can_be(bench: Bench) -> None:
    charge, _ = await authorized(bench, "needs_confirmation")
    with pytest.raises(Refused):
        await bench.processor.capture(charge)
    await bench.confirm(charge.stripe_id or "", approve=True)
    assert (await bench.processor.capture(charge)).state == "captured"


async def test_the_whole_is_captured_once_however_often_one_asks(bench: Bench) -> None:
    charge, _ = await authorized(bench)
    first = await bench.processor.capture(charge)
    assert (first.id, first.state, first.amount_cents, first.currency) == (charge.stripe_id, "captured", 4990, "USD")
    assert await bench.processor.capture(charge) == first
    assert await bench.processor.look(charge) == first


async def test_more_than_was_set_aside_is_not_captured(bench: Bench) -> None:
    charge, processor_state = await authorized(bench)
    with pytest.raises(Refused):
        await bench.processor.capture(replace(charge, amount_cents=4991))
    assert await bench.processor.look(charge) == processor_state


async def test_more_is_not_captured_once_it_was(bench: Bench) -> None:
    charge = await captured(bench)
    with pytest.raises(Refused):
        await bench.processor.capture(replace(charge, amount_cents=4991))
    assert (await bench.processor.look(charge)).amount_cents == 4990


async def test_what_was_given_back_is_not_captured(bench: Bench) -> None:
    charge, _ = await authorized(bench)
    await bench.processor.void(charge)
    with pytest.raises(Refused):
        await bench.processor.capture(charge)
    assert (await bench.processor.look(charge)).state == "voided"


async def test_what_was_declined_is_not_captured(bench: Bench) -> None:
    charge, processor_state = await authorized(bench, "insufficient_funds")
    with pytest.raises(Refused):
        await bench.processor.capture(charge)
    assert await bench.processor.look(charge) == processor_state


async def test_what_was_set_aside_is_given_back_once_however_often_one_asks(bench: Bench) -> None:
    charge, _ = await authorized(bench)
    first = await bench.processor.void(charge)
    assert (first.id, first.state, first.amount_cents) == (charge.stripe_id, "voided", 4990)
    assert await bench.processor.void(charge) == first
    assert await bench.processor.look(charge) == first


async def test_of_what_was_declined_nothing_has_to_be_given_back(bench: Bench) -> None:
    charge, _ = await authorized(bench, "card_declined")
    assert (await bench.processor.void(charge)).state in ("declined", "voided")


async def test_what_was_captured_is_not_voided(bench: Bench) -> None:
    charge = await captured(bench)
    with pytest.raises(Refused):
        await bench.processor.void(charge)
    assert (await bench.processor.look(charge)).state == "captured"


async def test_the_whole_is_refunded_once_however_often_one_asks(bench: Bench) -> None:
    charge = await captured(bench)
    first = await bench.processor.refund(charge)
    assert (first.id, first.state, first.amount_cents, first.currency) == (charge.stripe_id, "refunded", 4990, "USD")
    assert first.refund_id is not None
    assert await bench.processor.refund(charge) == first
    assert await bench.processor.look(charge) == first


@pytest.mark.parametrize("card", ["approved", "card_declined", "needs_confirmation"])
async def test_what_was_not_captured_is_not_refunded(bench: Bench, card: str) -> None:
    charge, processor_state = await authorized(bench, card)
    with pytest.raises(Refused):
        await bench.processor.refund(charge)
    assert await bench.processor.look(charge) == processor_state


async def test_more_than_was_captured_is_not_refunded(bench: Bench) -> None:
    charge = await captured(bench)
    with pytest.raises(Refused):
        await bench.processor.refund(replace(charge, amount_cents=4991))
    assert (await bench.processor.look(charge)).state == "captured"


async def test_a_payment_that_the_processor_never_heard_of_is_refused(bench: Bench) -> None:
    charge = a_charge(payment_token=await bench.sent("approved"), stripe_id=f"pi_{uuid4().hex}")
    with pytest.raises(Refused):
        await bench.processor.capture(charge)
    with pytest.raises(Refused):
        await bench.processor.void(charge)


@pytest.mark.parametrize("text", ["", "tok_unheard_of", "4111 1111 1111 1111", "ctoken_never_made", "ctoken_' OR 1=1", "x" * 200])
async def test_an_unknown_token_is_refused_and_nothing_is_kept(bench: Bench, text: str) -> None:
    with pytest.raises((UnknownCard, UnknownToken)):
        await bench.processor.token(text)


async def test_a_webhook_is_about_a_payment_and_its_charge(bench: Bench) -> None:
    charge = a_charge()
    body = bench.webhook("pi_abc", charge)
    notice = bench.processor.notice_of(body, bench.signature(body, int(time.time())))
    assert notice is not None
    assert (notice.stripe_id, notice.charge_id) == ("pi_abc", charge.charge_id)


async def test_a_webhook_signed_too_long_ago_is_refused(bench: Bench) -> None:
    body = bench.webhook("pi_abc", a_charge())
    assert bench.processor.notice_of(body, bench.signature(body, int(time.time()) - 290)) is not None
    with pytest.raises(WrongSignature):
        bench.processor.notice_of(body, bench.signature(body, int(time.time()) - 310))


@pytest.mark.parametrize(
    "header", ["", "t=,v1=", "t=1", "v1=abc", "t=1,v1=abc", "t=9999999999999999999999,v1=é", "nonsense", "t=1,v1=\x00"]
)
async def test_a_forged_webhook_is_refused(bench: Bench, header: str) -> None:
    with pytest.raises(WrongSignature):
        bench.processor.notice_of(bench.webhook("pi_abc", a_charge()), header)


async def test_a_signature_goes_with_its_own_time_and_body_only(bench: Bench) -> None:
    now = int(time.time())
    body, other = bench.webhook("pi_abc", a_charge()), bench.webhook("pi_xyz", a_charge())
    right = bench.signature(body, now)
    assert bench.processor.notice_of(body, right) is not None
    with pytest.raises(WrongSignature):
        bench.processor.notice_of(other, right)
    with pytest.raises(WrongSignature):
        bench.processor.notice_of(body + b" ", right)
    with pytest.raises(WrongSignature):
        bench.processor.notice_of(b"\xff\xfe" + body, right)
    with pytest.raises(WrongSignature):
        bench.processor.notice_of(body, right.replace(f"t={now}", f"t={now + 1}"))
