"""What only Stripe has: keys that are forgotten, failures that are stored, a search that is behind, and a secret to keep."""

import logging
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import stripe
from msgspec.structs import replace
from support.stripe_stub import SECRET_KEY, Fault, FaultKind, Refund, StripeStub, a_charge, event, running_stub, signature, webhook

from admitone.payments import settlement as processing
from admitone.payments.model import Charge, UnknownToken
from admitone.payments.processors import stripe as our_stripe
from admitone.payments.processors.protocol import CardProcessor, OutcomeUnknown, ProcessorState, Refused, WrongSignature
from admitone.payments.processors.stripe import StripeProcessor

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # The SDK's way of calling httpx.

CALLS = {"capture": "capture", "void": "cancel", "refund": "refund"}
"""What the processor calls it, and what the stub does."""
DONE = {"capture": "captured", "void": "voided", "refund": "refunded"}
LATER = pytest.mark.parametrize("verb", ["capture", "void", "refund"])


class Scene:
    """A processor at a stub that is its own."""

    def __init__(self, stub: StripeStub) -> None:
        self.stub = stub
        self.processor = StripeProcessor(stub.settings(public_url="https://tickets.example"))

    def begun(self, card: str = "pm_card_visa", **changes: Any) -> Charge:
        return a_charge(payment_token=self.stub.token(card), **changes)

    async def ready_to(self, verb: str) -> Charge:
        """A charge that this can be done to."""
        charge = self.begun()
        charge = replace(charge, stripe_id=(await self.processor.authorize(charge)).id)
        if verb == "refund":
            await self.processor.capture(charge)
        return charge

    async def does(self, verb: str, charge: Charge) -> ProcessorState:
        verbs: dict[str, Callable[[Charge], Awaitable[ProcessorState]]] = {
            "authorize": self.processor.authorize,
            "look": self.processor.look,
            "capture": self.processor.capture,
            "void": self.processor.void,
            "refund": self.processor.refund,
        }
        return await verbs[verb](charge)

    def goes_wrong(self, call: str, kind: FaultKind) -> None:
        self.stub.faults.append(Fault(call, kind))

    def statuses(self) -> list[str]:
        return [intent.status for intent in self.stub.intents.values()]

    def refunds(self) -> list[int]:
        return [refund.amount for refund in self.stub.refunds.values()]


@pytest.fixture(scope="module")
async def stub() -> AsyncIterator[StripeStub]:
    async with running_stub() as stub:
        yield stub


@pytest.fixture
async def scene(stub: StripeStub, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(our_stripe, "TIMEOUT_SECONDS", 0.3)
    for books in (stub.tokens, stub.intents, stub.refunds, stub.stored, stub.calls, stub.faults):
        books.clear()
    stub.search_is_behind, stub.refunds_become = False, "succeeded"
    scene = Scene(stub)
    yield scene
    await scene.processor.close()


def test_a_call_ends_before_the_deadline_for_all_of_them() -> None:
    assert our_stripe.TIMEOUT_SECONDS < processing.DEADLINE_SECONDS


async def test_it_is_a_gateway(scene: Scene) -> None:
    assert isinstance(scene.processor, CardProcessor)


async def test_what_is_sent_with_a_payment(scene: Scene) -> None:
    charge = scene.begun()
    await scene.processor.authorize(charge)
    (call,) = scene.stub.made("create")
    assert call.key == charge.idempotency_key
    assert call.params == {
        "amount": "4990",
        "currency": "usd",
        "capture_method": "manual",
        "allowed_payment_method_types": ["card"],
        "confirmation_token": charge.payment_token,
        "confirm": "true",
        "use_stripe_sdk": "false",
        "return_url": f"https://tickets.example/api/payments/{charge.charge_id}/return",
        "metadata": {"order_id": str(charge.order_id), "charge_id": str(charge.charge_id), "attempt": "1"},
    }


async def test_each_later_call_has_a_key_of_its_own(scene: Scene) -> None:
    charge = await scene.ready_to("refund")
    await scene.processor.refund(charge)
    keys = [call.key for name in ("create", "capture", "refund") for call in scene.stub.made(name)]
    assert keys == [charge.idempotency_key, f"{charge.idempotency_key}:capture", f"{charge.idempotency_key}:refund"]


# An authorization in doubt


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_time_out_is_resolved_by_the_same_key(scene: Scene, when: str) -> None:
    charge = scene.begun()
    scene.goes_wrong("create", "timeout_before" if when == "before" else "timeout_after")
    with pytest.raises(OutcomeUnknown, match="no answer from Stripe"):
        await scene.processor.authorize(charge)
    assert scene.statuses() == ([] if when == "before" else ["requires_capture"])
    assert (await scene.processor.authorize(charge)).state == "authorized"
    assert scene.statuses() == ["requires_capture"]


async def test_a_decline_whose_answer_was_lost_is_given_again(scene: Scene) -> None:
    charge = scene.begun("pm_card_visa_chargeDeclinedLostCard")
    scene.goes_wrong("create", "timeout_after")
    with pytest.raises(OutcomeUnknown):
        await scene.processor.authorize(charge)
    processor_state = await scene.processor.authorize(charge)
    assert (processor_state.state, processor_state.code) == ("declined", "lost_card")
    assert scene.statuses() == ["requires_payment_method"]


async def test_a_failure_after_the_effect_is_looked_through_at_once(scene: Scene) -> None:
    charge = scene.begun()
    scene.goes_wrong("create", "500_after")
    processor_state = await scene.processor.authorize(charge)
    assert (processor_state.state, [processor_state.id]) == ("authorized", list(scene.stub.intents))


async def test_a_failure_before_the_effect_stays_unknown_while_it_is_stored(scene: Scene) -> None:
    """And is never called failed: what a 500 means, only Stripe knows."""
    charge = scene.begun()
    scene.goes_wrong("create", "500_before")
    for _ in range(3):
        with pytest.raises(OutcomeUnknown, match="500"):
            await scene.processor.authorize(charge)
    assert scene.statuses() == []


async def test_a_failure_in_front_of_stripe_is_unknown_and_the_same_key_resolves_it(scene: Scene) -> None:
    charge = scene.begun()
    scene.goes_wrong("create", "502")
    with pytest.raises(OutcomeUnknown, match="502"):
        await scene.processor.authorize(charge)
    assert (await scene.processor.authorize(charge)).state == "authorized"


async def test_a_payment_is_found_by_search_when_its_token_is_gone(scene: Scene) -> None:
    charge = scene.begun()
    scene.goes_wrong("create", "timeout_after")
    with pytest.raises(OutcomeUnknown):
        await scene.processor.authorize(charge)
    scene.stub.tokens.clear()
    old = replace(charge, begun_at=datetime.now(UTC) - timedelta(hours=30))
    assert (await scene.processor.authorize(old)).state == "authorized"


async def test_a_call_that_comes_again_without_its_key_being_known_is_not_called_declined(scene: Scene) -> None:
    """Its token was used up, by our own first call: nothing but a look tells."""
    charge = scene.begun()
    scene.goes_wrong("create", "timeout_after")
    with pytest.raises(OutcomeUnknown):
        await scene.processor.authorize(charge)
    scene.stub.forget_keys()
    assert (await scene.processor.authorize(charge)).state == "authorized"
    assert scene.statuses() == ["requires_capture"]


async def test_a_call_that_comes_again_from_another_version_of_us_is_looked_up(scene: Scene) -> None:
    """What goes along with it has changed meanwhile, and Stripe takes that for another call under the same key."""
    charge = scene.begun()
    scene.goes_wrong("create", "timeout_after")
    with pytest.raises(OutcomeUnknown):
        await scene.processor.authorize(charge)
    await scene.processor.close()
    scene.processor = StripeProcessor(scene.stub.settings(public_url="https://moved.example"))
    assert (await scene.processor.authorize(charge)).state == "authorized"
    assert scene.statuses() == ["requires_capture"]


async def test_a_token_that_another_charge_has_used_buys_nothing(scene: Scene) -> None:
    first = scene.begun()
    await scene.processor.authorize(first)
    second = a_charge(payment_token=first.payment_token)
    assert (await scene.processor.authorize(second)).state == "declined"
    assert scene.statuses() == ["requires_capture"]


async def test_what_stripe_refuses_outright_is_declined_without_a_payment(scene: Scene) -> None:
    charge = scene.begun(amount_cents=10)
    processor_state = await scene.processor.authorize(charge)
    assert (processor_state.state, processor_state.code, processor_state.amount_cents) == ("declined", "amount_too_small", 10)
    assert processor_state.id == f"none:{charge.charge_id}"
    assert scene.statuses() == []


# A key that may be forgotten


async def test_a_payment_whose_key_may_be_forgotten_is_looked_up_and_never_made_again(scene: Scene) -> None:
    charge = scene.begun()
    processor_state = await scene.processor.authorize(charge)
    scene.stub.forget_keys()
    old = replace(charge, begun_at=datetime.now(UTC) - timedelta(hours=23, seconds=1))
    assert await scene.processor.authorize(old) == processor_state
    assert len(scene.stub.made("create")) == 1


async def test_a_payment_is_not_called_failed_while_search_may_be_behind(scene: Scene) -> None:
    charge = scene.begun()
    processor_state = await scene.processor.authorize(charge)
    scene.stub.forget_keys()
    scene.stub.tokens.clear()
    scene.stub.search_is_behind = True
    old = replace(charge, begun_at=datetime.now(UTC) - timedelta(hours=24, minutes=30))
    with pytest.raises(OutcomeUnknown, match="search"):
        await scene.processor.authorize(old)
    scene.stub.search_is_behind = False
    assert await scene.processor.authorize(old) == processor_state
    assert len(scene.stub.made("create")) == 1


async def test_a_payment_that_stripe_does_not_know_after_all_that_time_never_arrived(scene: Scene) -> None:
    charge = scene.begun(begun_at=datetime.now(UTC) - timedelta(hours=26))
    processor_state = await scene.processor.authorize(charge)
    assert (processor_state.state, processor_state.code) == ("declined", "never_arrived")
    assert scene.stub.made("create") == []


async def test_a_search_that_fails_is_no_answer(scene: Scene) -> None:
    charge = scene.begun(begun_at=datetime.now(UTC) - timedelta(hours=26))
    scene.goes_wrong("search", "500_before")
    with pytest.raises(OutcomeUnknown):
        await scene.processor.authorize(charge)


# A capture, a void or a refund in doubt


@LATER
@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after"])
async def test_a_time_out_of_a_later_call_is_resolved_by_the_next(scene: Scene, verb: str, kind: FaultKind) -> None:
    charge = await scene.ready_to(verb)
    scene.goes_wrong(CALLS[verb], kind)
    with pytest.raises(OutcomeUnknown):
        await scene.does(verb, charge)
    assert (await scene.does(verb, charge)).state == DONE[verb]
    assert scene.refunds() == ([4990] if verb == "refund" else [])


@LATER
async def test_a_later_call_that_failed_after_its_effect_is_fine(scene: Scene, verb: str) -> None:
    charge = await scene.ready_to(verb)
    scene.goes_wrong(CALLS[verb], "500_after")
    assert (await scene.does(verb, charge)).state == DONE[verb]
    assert len(scene.stub.made(CALLS[verb])) == 1
    assert scene.refunds() == ([4990] if verb == "refund" else [])


@LATER
async def test_a_stored_failure_of_a_later_call_does_not_block_it_for_a_day(scene: Scene, verb: str) -> None:
    charge = await scene.ready_to(verb)
    scene.goes_wrong(CALLS[verb], "500_before")
    with pytest.raises(OutcomeUnknown, match="500"):
        await scene.does(verb, charge)
    assert (await scene.does(verb, charge)).state == DONE[verb]
    first, again, fresh = (call.key for call in scene.stub.made(CALLS[verb]))
    assert first == again == f"{charge.idempotency_key}:{verb}"
    assert fresh is not None
    assert fresh.startswith(f"{first}:")
    assert scene.refunds() == ([4990] if verb == "refund" else [])


@LATER
async def test_a_fresh_key_is_tried_once_at_a_time(scene: Scene, verb: str) -> None:
    charge = await scene.ready_to(verb)
    scene.goes_wrong(CALLS[verb], "500_before")
    with pytest.raises(OutcomeUnknown):
        await scene.does(verb, charge)
    for _ in ("stored", "fresh"):
        scene.goes_wrong(CALLS[verb], "500_before")
    with pytest.raises(OutcomeUnknown, match="500"):
        await scene.does(verb, charge)
    assert len(scene.stub.made(CALLS[verb])) == 3
    assert (await scene.does(verb, charge)).state == DONE[verb]


@LATER
async def test_a_later_call_may_come_when_its_key_is_forgotten(scene: Scene, verb: str) -> None:
    charge = await scene.ready_to(verb)
    first = await scene.does(verb, charge)
    scene.stub.forget_keys()
    assert await scene.does(verb, charge) == first
    assert scene.refunds() == ([4990] if verb == "refund" else [])


@pytest.mark.parametrize("kind", ["429", "409", "lock_timeout"])
@pytest.mark.parametrize("verb", ["authorize", "capture", "void", "refund"])
async def test_too_many_or_too_early_calls_decide_nothing(scene: Scene, verb: str, kind: FaultKind) -> None:
    charge = scene.begun() if verb == "authorize" else await scene.ready_to(verb)
    before = scene.statuses(), scene.refunds()
    scene.goes_wrong("create" if verb == "authorize" else CALLS[verb], kind)
    with pytest.raises(OutcomeUnknown, match=kind):
        await scene.does(verb, charge)
    assert (scene.statuses(), scene.refunds()) == before
    assert (await scene.does(verb, charge)).state == {"authorize": "authorized", **DONE}[verb]


async def test_an_approval_that_stripe_let_lapse_is_refused(scene: Scene) -> None:
    charge = await scene.ready_to("capture")
    scene.stub.intents[charge.stripe_id or ""].status = "canceled"  # As after seven days.
    with pytest.raises(Refused) as refused:
        await scene.processor.capture(charge)
    assert refused.value.code == "payment_intent_unexpected_state"


# A refund that takes its time


async def test_a_refund_under_way_is_unknown_until_it_has_arrived(scene: Scene) -> None:
    charge = await scene.ready_to("refund")
    scene.stub.refunds_become = "pending"
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="under way"):
            await scene.processor.refund(charge)
    assert (await scene.processor.look(charge)).state == "captured"
    scene.stub.forget_keys()
    with pytest.raises(OutcomeUnknown, match="under way"):
        await scene.processor.refund(charge)
    (refund,) = scene.stub.refunds.values()
    refund.status = "succeeded"
    processor_state = await scene.processor.refund(charge)
    assert (processor_state.state, processor_state.refund_id) == ("refunded", refund.id)


async def test_of_two_refunds_both_have_to_arrive(scene: Scene) -> None:
    charge = await scene.ready_to("refund")
    intent = scene.stub.intents[charge.stripe_id or ""]
    intent.refunds = [Refund("re_1", intent.id, 1000, "succeeded"), Refund("re_2", intent.id, 3990, "pending")]
    assert (await scene.processor.look(charge)).state == "captured"
    intent.refunds[1].status = "succeeded"
    processor_state = await scene.processor.look(charge)
    assert (processor_state.state, processor_state.refund_id) == ("refunded", "re_2")


async def test_a_payment_without_an_id_is_refused(scene: Scene) -> None:
    for verb in ("look", "capture", "void", "refund"):
        with pytest.raises(Refused, match="unknown_payment"):
            await scene.does(verb, scene.begun())


async def test_a_stored_answer_about_a_refund_is_not_the_last_word(scene: Scene) -> None:
    charge = await scene.ready_to("refund")
    scene.stub.refunds_become = "pending"
    with pytest.raises(OutcomeUnknown):
        await scene.processor.refund(charge)
    (refund,) = scene.stub.refunds.values()
    refund.status = "failed"
    with pytest.raises(Refused) as refused:
        await scene.processor.refund(charge)
    assert refused.value.code == "refund_failed"


async def test_a_refund_in_parts_by_hand_leaves_the_rest_to_a_person(scene: Scene) -> None:
    charge = await scene.ready_to("refund")
    await scene.processor.refund(replace(charge, amount_cents=4990))
    (refund,) = scene.stub.refunds.values()
    refund.amount = 1000
    scene.stub.forget_keys()
    with pytest.raises(Refused):
        await scene.processor.refund(charge)
    assert scene.refunds() == [1000]


async def test_for_what_was_not_captured_no_refund_is_asked(scene: Scene) -> None:
    charge = await scene.ready_to("capture")
    with pytest.raises(Refused, match="not_captured"):
        await scene.processor.refund(charge)
    assert scene.stub.made("refund") == []


# How a payment stands


async def test_of_a_payment_captured_in_part_by_hand_the_part_counts(scene: Scene) -> None:
    charge = await scene.ready_to("refund")
    scene.stub.intents[charge.stripe_id or ""].amount_received = 3000
    assert (await scene.processor.look(charge)).amount_cents == 3000


@pytest.mark.parametrize("status", ["processing", "requires_confirmation", "something_new"])
async def test_a_status_that_says_nothing_is_unknown(scene: Scene, status: str) -> None:
    charge = await scene.ready_to("capture")
    scene.stub.intents[charge.stripe_id or ""].status = status
    with pytest.raises(OutcomeUnknown, match=status):
        await scene.processor.look(charge)


async def test_the_payment_of_another_charge_is_not_taken_for_ours(scene: Scene) -> None:
    charge = await scene.ready_to("capture")
    for verb in ("look", "refund"):
        with pytest.raises(OutcomeUnknown, match="another charge"):
            await scene.does(verb, a_charge(stripe_id=charge.stripe_id))


async def test_the_address_of_the_bank_is_where_stripe_says(scene: Scene) -> None:
    processor_state = await scene.processor.authorize(scene.begun("pm_card_authenticationRequired"))
    assert processor_state.redirect_url == f"https://hooks.stripe.com/3d_secure_2/{processor_state.id}"


# Tokens


@pytest.mark.parametrize(
    "text", ["4242424242424242", "tok_", "tok_a/../b", "ctoken_", "ctoken_a/../b", "ctoken_a\n", "pi_abc", "ctoken_" + "a" * 200]
)
async def test_what_is_no_token_goes_nowhere(scene: Scene, text: str) -> None:
    with pytest.raises(UnknownToken):
        await scene.processor.token(text)
    assert scene.stub.calls == []


async def test_a_test_token_is_a_card_with_a_test_key_only(scene: Scene) -> None:
    """As the clients of the reference system send it: https://docs.stripe.com/testing"""
    token = await scene.processor.token("tok_visa")
    assert scene.stub.tokens[token].card == "pm_card_visa"
    with pytest.raises(UnknownToken):
        await scene.processor.token("tok_never_heard_of")
    live = StripeProcessor(scene.stub.settings(stripe_secret_key="sk_live_StubOfStripe0001"))
    asked = len(scene.stub.calls)
    with pytest.raises(UnknownToken):
        await live.token("tok_visa")
    await live.close()
    assert len(scene.stub.calls) == asked


async def test_a_token_is_good_once_and_for_its_time(scene: Scene) -> None:
    charge = scene.begun()
    assert await scene.processor.token(charge.payment_token) == charge.payment_token
    await scene.processor.authorize(charge)
    with pytest.raises(UnknownToken):
        await scene.processor.token(charge.payment_token)
    late = scene.stub.token("pm_card_visa")
    scene.stub.tokens[late].expires_at = int(time.time()) - 1
    with pytest.raises(UnknownToken):
        await scene.processor.token(late)


@pytest.mark.parametrize("kind", ["timeout_before", "500_before", "429", "502"])
async def test_whether_a_token_is_good_may_be_unknown(scene: Scene, kind: FaultKind) -> None:
    token = scene.stub.token("pm_card_visa")
    scene.goes_wrong("retrieve_token", kind)
    with pytest.raises(OutcomeUnknown):
        await scene.processor.token(token)
    assert await scene.processor.token(token) == token


# Secrets


@pytest.mark.parametrize("verb", ["token", "authorize", "look", "capture", "void", "refund"])
async def test_a_wrong_key_decides_nothing_and_is_not_repeated(
    scene: Scene, verb: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    charge = await scene.ready_to("capture")
    wrong = "sk_test_WrongKeyThatNobodySees"
    await scene.processor.close()
    scene.processor = StripeProcessor(scene.stub.settings(stripe_secret_key=wrong))
    caplog.set_level(logging.DEBUG)
    with pytest.raises(OutcomeUnknown, match="401: is STRIPE_SECRET_KEY right") as unknown:
        await (scene.processor.token(charge.payment_token) if verb == "token" else scene.does(verb, charge))
    said = "".join(traceback.format_exception(unknown.value)) + repr(unknown.value) + "".join(capsys.readouterr()) + caplog.text
    assert wrong not in said
    assert SECRET_KEY not in said
    assert scene.statuses() == ["requires_capture"]


async def test_the_own_words_of_stripe_are_not_passed_on(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    charge = await scene.ready_to("void")
    await scene.processor.void(charge)
    with pytest.raises(Refused) as refused:
        await scene.processor.capture(charge)
    said = "".join(traceback.format_exception(refused.value))
    assert "InvalidRequestError" not in said
    assert "because it has a status" not in said + "".join(capsys.readouterr())


# Webhooks


@pytest.mark.parametrize("type", ["payment_intent.canceled", "charge.refunded", "charge.dispute.created", "refund.failed"])
async def test_what_happens_to_a_payment_is_noticed_whatever_object_it_is_told_of(scene: Scene, type: str) -> None:
    charge_id = uuid4()
    body = webhook("pi_abc", charge_id, type)
    if not type.startswith("payment_intent"):
        body = event(type, {"id": "xx_1", "object": "other", "payment_intent": "pi_abc", "metadata": {"charge_id": str(charge_id)}})
    notice = scene.processor.notice_of(body, signature(body))
    assert notice is not None
    assert (notice.stripe_id, notice.charge_id) == ("pi_abc", charge_id)


@pytest.mark.parametrize("metadata", [{}, None, {"charge_id": "7"}, {"charge_id": ""}, {"other": "x"}])
async def test_a_notice_may_be_without_a_charge_of_ours(scene: Scene, metadata: Any) -> None:
    body = event("refund.updated", {"id": "re_1", "object": "refund", "payment_intent": "pi_abc", "metadata": metadata})
    notice = scene.processor.notice_of(body, signature(body))
    assert notice is not None
    assert (notice.stripe_id, notice.charge_id) == ("pi_abc", None)


@pytest.mark.parametrize(
    "body",
    [
        event("customer.created", {"id": "cus_1", "object": "customer"}),
        event("radar.early_fraud_warning.created", {"id": "issfr_1", "object": "other", "payment_intent": "pi_abc"}),
        event("charge.refunded", {"id": "ch_1", "object": "charge", "payment_intent": None}),
        event("charge.refunded", {"id": "ch_1", "object": "charge", "payment_intent": {"id": "pi_abc"}}),
        event("payment_intent.succeeded", {"id": "pi_../../x", "object": "payment_intent"}),
        event("payment_intent.succeeded", {"id": 7, "object": "payment_intent"}),
        event("payment_intent.succeeded", {"id": "pi_abc", "object": "payment_intent", "metadata": [1]}),
        event("payment_intent.succeeded", None),
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"type": 1}',
        b'{"type": "payment_intent.succeeded"}',
        b'{"type": "payment_intent.succeeded", "data": []}',
        b"not json",
        b'{"a": ' + b"[" * 100_000,
    ],
)
async def test_a_signed_message_about_nothing_of_ours_is_let_be(scene: Scene, body: bytes) -> None:
    assert scene.processor.notice_of(body, signature(body)) is None


async def test_without_a_secret_no_webhook_is_believed(scene: Scene) -> None:
    processor = StripeProcessor(scene.stub.settings(stripe_webhook_secret=None))
    body = webhook("pi_abc", uuid4())
    with pytest.raises(WrongSignature):
        processor.notice_of(body, signature(body, secret=""))
    await processor.close()


# The stub


async def test_the_stub_refuses_what_the_types_of_stripe_do_not_know(scene: Scene) -> None:
    client = stripe.StripeClient(SECRET_KEY, base_addresses={"api": scene.stub.url}, http_client=stripe.HTTPXClient())
    calls: list[tuple[str, dict[str, Any], str]] = [
        ("/v1/payment_intents", {"amount": 4990, "currency": "usd", "payment_method_types": ["card"]}, "payment_method_types"),
        ("/v1/payment_intents/pi_abc/capture", {"amount": 4990}, "amount"),
        ("/v1/payment_intents/pi_abc/cancel", {"reason": "x"}, "reason"),
        ("/v1/refunds", {"intent": "pi_abc"}, "intent"),
    ]
    for path, params, unknown in calls:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await client.raw_request_async("post", path, **params)
        assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, "parameter_unknown", unknown)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.raw_request_async("post", "/v1/payment_intents", amount=4990)
    assert (refused.value.code, refused.value.param) == ("parameter_missing", "currency")
