"""Stripe, by its official SDK: a PaymentIntent for each charge, confirmed with what Stripe's form made of the card, captured by hand.

Nothing is decided by an exception's text, and none of Stripe's exceptions leaves this module: each call is answered, refused for
good, or its outcome is unknown. Under an idempotency key Stripe stores the first answer for a day, even a 500, and gives it again
(https://docs.stripe.com/api/idempotent_requests): so after such an answer we look for what really happened.
"""

import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import stripe
from msgspec.structs import replace
from stripe.params import PaymentIntentCaptureParams, RefundCreateParams

from admitone.config import Settings
from admitone.payments.model import Charge, UnknownToken
from admitone.payments.processors.protocol import Notice, OutcomeUnknown, ProcessorState, Refused, State, WrongSignature
from admitone.payments.processors.stripe_answers import (
    Event,
    Failed,
    Intent,
    No,
    OfAnotherCharge,
    Token,
    answer_of,
    as_charge_id,
    charge_id_of,
    declined,
    read,
    state_of,
    was_replayed,
)

TIMEOUT_SECONDS = 8.0
"""Of one call to Stripe: less than all of them together have in settlement.py."""
KEY_IS_KNOWN_FOR = timedelta(hours=23)
"""Stripe may forget a key after 24 h, and would take the same call for a new payment from then on."""
SEARCH_KNOWS_AFTER = timedelta(hours=2)
"""Search may be an hour behind: https://docs.stripe.com/search#data-freshness"""
UNDER_WAY = ("pending", "requires_action")
"""What a refund is until it has succeeded or failed: https://docs.stripe.com/api/refunds/object"""
ABOUT_PAYMENTS = ("payment_intent.", "charge.", "refund.")


class StripeProcessor:
    """The processor that real money goes through, and that of Stripe's own test mode."""

    def __init__(self, settings: Settings) -> None:
        assert settings.stripe_secret_key is not None
        logging.getLogger("stripe").setLevel(logging.WARNING)  # Below that, it writes down whole answers.
        self._return_url = f"{settings.public_url}/api/payments/{{}}/return"
        self._webhook_secret = settings.stripe_webhook_secret
        self._test_mode = "_test_" in settings.stripe_secret_key
        self._http = stripe.HTTPXClient(timeout=TIMEOUT_SECONDS)
        self._stripe = stripe.StripeClient(
            settings.stripe_secret_key,
            base_addresses={"api": settings.stripe_api_base} if settings.stripe_api_base else {},
            http_client=self._http,
            max_network_retries=0,  # The job asks again, and knows for how long that is safe.
        ).v1

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def token(self, text: str) -> str:
        """The id of a ConfirmationToken that can still be used. Raises UnknownToken, or OutcomeUnknown when Stripe does not say.

        With a test key one of Stripe's test tokens, as tok_visa, stands for a card, too: https://docs.stripe.com/testing
        """
        if self._test_mode and re.fullmatch(r"tok_[A-Za-z0-9_]{1,100}", text):
            return await self._token_of_test_card(text.replace("tok_", "pm_card_", 1))
        if not re.fullmatch(r"ctoken_[A-Za-z0-9_]{1,100}", text):
            raise UnknownToken  # It may be anything, even a card's number: it goes nowhere.
        try:
            token = read(await answer_of(self._stripe.confirmation_tokens.retrieve_async(text)), Token)
        except No as no:
            raise UnknownToken from no
        used = token.payment_intent is not None or token.setup_intent is not None
        if used or (token.expires_at is not None and token.expires_at <= datetime.now(UTC).timestamp()):
            raise UnknownToken
        return text

    async def _token_of_test_card(self, card: str) -> str:
        try:
            made = await answer_of(self._stripe.test_helpers.confirmation_tokens.create_async({"payment_method": card}))
        except No as no:
            raise UnknownToken from no
        return str(made.id)

    async def authorize(self, charge: Charge) -> ProcessorState:
        age = datetime.now(UTC) - charge.begun_at
        if age > KEY_IS_KNOWN_FOR:
            return await self._never_asked_again(charge, age)
        try:
            intent = await answer_of(
                self._stripe.payment_intents.create_async(
                    {
                        "amount": charge.amount_cents,
                        "currency": charge.currency.lower(),
                        "capture_method": "manual",
                        "allowed_payment_method_types": ["card"],
                        "confirmation_token": charge.payment_token,
                        "confirm": True,
                        # The bank's page is reached by an address; a token says otherwise unless the request does.
                        "use_stripe_sdk": False,
                        "return_url": self._return_url.format(charge.charge_id),
                        "metadata": {
                            "order_id": str(charge.order_id),
                            "charge_id": str(charge.charge_id),
                            "attempt": str(charge.attempt),
                        },
                    },
                    {"idempotency_key": charge.idempotency_key},
                )
            )
        except Failed:
            found = await self._found(charge)
            if found is None:
                raise
            return found
        except No as no:
            if no.by_the_bank:
                return declined(charge, no.code, no.intent_id)
            # The first call may have used up the token and lost its answer, or was made by an older version of us.
            found = await self._found(charge)
            if no.code == "idempotency_error" and (found is None or found.amount_cents != charge.amount_cents):
                raise Refused(no.code) from None  # That says nothing of what became of it.
            return found or declined(charge, no.code, no.intent_id)
        if was_replayed(intent.last_response):
            return await self.look(replace(charge, stripe_id=intent.id))  # That is how it was then.
        return state_of(charge, read(intent, Intent))

    async def _never_asked_again(self, charge: Charge, age: timedelta) -> ProcessorState:
        found = await self._found(charge)
        if found is None and age <= KEY_IS_KNOWN_FOR + SEARCH_KNOWS_AFTER:
            raise OutcomeUnknown("it can't be asked for again safely, and Stripe's search may not know of it yet")
        return found or declined(charge, "never_arrived")

    async def look(self, charge: Charge) -> ProcessorState:
        try:
            intent = await answer_of(self._stripe.payment_intents.retrieve_async(charge_id_of(charge), {"expand": ["latest_charge"]}))
            reported = state_of(charge, read(intent, Intent))
            if reported.state != "refunded":
                return reported
            refunds = await answer_of(self._stripe.refunds.list_async({"payment_intent": intent.id, "limit": 100}))
        except No as no:
            raise Refused(no.code) from None
        if any(refund.status in UNDER_WAY for refund in refunds.data):
            return replace(reported, state="captured")  # It may still fail.
        return replace(reported, refund_id=next((refund.id for refund in refunds.data if refund.status == "succeeded"), None))

    async def capture(self, charge: Charge) -> ProcessorState:
        async def take(key: str) -> None:
            amount: PaymentIntentCaptureParams = {"amount_to_capture": charge.amount_cents}
            await answer_of(self._stripe.payment_intents.capture_async(charge_id_of(charge), amount, {"idempotency_key": key}))

        return await self._bring_to(charge, "capture", take, "captured", "refunded")

    async def void(self, charge: Charge) -> ProcessorState:
        async def cancel(key: str) -> None:
            await answer_of(self._stripe.payment_intents.cancel_async(charge_id_of(charge), {}, {"idempotency_key": key}))

        return await self._bring_to(charge, "void", cancel, "voided", "declined")

    async def refund(self, charge: Charge) -> ProcessorState:
        """Of what was not taken, nothing is given back: what Stripe would do then, its documentation does not say, so we don't ask."""
        reported = await self.look(charge)
        if reported.state not in ("captured", "refunded"):
            raise Refused("not_captured")

        async def give_back(key: str) -> None:
            whole: RefundCreateParams = {"payment_intent": charge_id_of(charge), "amount": charge.amount_cents}
            refund = await answer_of(self._stripe.refunds.create_async(whole, {"idempotency_key": key}))
            if refund.status == "pending":  # Maybe that was so when the answer was stored.
                refund = await answer_of(self._stripe.refunds.retrieve_async(refund.id))
            if refund.status in UNDER_WAY:
                raise OutcomeUnknown("the refund is under way")
            if refund.status != "succeeded":
                raise Refused(f"refund_{refund.status}")

        try:
            return await self._bring_to(charge, "refund", give_back, "refunded")
        except Refused as refused:
            if refused.code == "charge_already_refunded":  # And still it is not given back, or it would stand so.
                raise OutcomeUnknown("the refund is under way") from None
            raise

    async def _bring_to(self, charge: Charge, name: str, ask: Callable[[str], Awaitable[None]], *wanted: State) -> ProcessorState:
        """Have one thing done to the payment, once. Raises Refused or OutcomeUnknown when it does not come to stand as wanted.

        An answer that Stripe had stored says what happened then. When that was not what we want, we ask once more with a fresh key:
        unlike a new payment, none of these can happen twice to the same one.
        """
        key = f"{charge.idempotency_key}:{name}"
        trouble: Failed | No | None = None
        for fresh_or_not in (key, f"{key}:{uuid4()}"):
            try:
                await ask(fresh_or_not)
                trouble = None
            except (Failed, No) as error:
                trouble = error
            reported = await self.look(charge)
            if reported.state in wanted and (name == "void" or reported.amount_cents == charge.amount_cents):
                return reported
            if trouble is None:
                raise OutcomeUnknown(f"Stripe says yes to the {name}, and the payment is {reported.state}")
            if not trouble.replayed:
                break
        assert trouble is not None
        raise trouble if isinstance(trouble, Failed) else Refused(trouble.code)

    async def _found(self, charge: Charge) -> ProcessorState | None:
        """The charge's payment, whose id we don't have. The token knows at once what it was used for; search knows after a while."""
        with contextlib.suppress(No):  # They are not kept for ever.
            token = read(await answer_of(self._stripe.confirmation_tokens.retrieve_async(charge.payment_token)), Token)
            if token.payment_intent is not None:
                return await self._if_it_is_of(charge, token.payment_intent)
        try:
            hits = await answer_of(self._stripe.payment_intents.search_async({"query": f"metadata['charge_id']:'{charge.charge_id}'"}))
        except No as no:
            raise OutcomeUnknown(f"Stripe's search refuses: {no.code}") from None
        return await self._if_it_is_of(charge, hits.data[0].id) if hits.data else None

    async def _if_it_is_of(self, charge: Charge, stripe_id: str) -> ProcessorState | None:
        try:
            return await self.look(replace(charge, stripe_id=stripe_id))
        except OfAnotherCharge:
            return None

    def notice_of(self, body: bytes, signature: str) -> Notice | None:
        try:
            stripe.WebhookSignature.verify_header(body, signature, self._webhook_secret, stripe.Webhook.DEFAULT_TOLERANCE)
        except (stripe.SignatureVerificationError, UnicodeDecodeError, TypeError):  # The SDK compares text, and only ASCII.
            raise WrongSignature from None
        try:
            event = msgspec.json.decode(body, type=Event)
        except (msgspec.MsgspecError, RecursionError):
            return None  # Signed, and nothing that we could know how to read.
        if not event.type.startswith(ABOUT_PAYMENTS):
            return None
        about = event.data.object
        stripe_id = about.id if about.object == "payment_intent" else about.payment_intent
        if stripe_id is None or not re.fullmatch(r"pi_[A-Za-z0-9_]{1,250}", stripe_id):
            return None
        return Notice(stripe_id=stripe_id, charge_id=as_charge_id((about.metadata or {}).get("charge_id", "")))


# What we read of Stripe's objects; the rest may be as it likes.
