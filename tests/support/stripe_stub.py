"""A Stripe to fall over: the few endpoints that payments uses, with the rules that Stripe's documentation states, and books to read.

async with running_stub() as stub:
    processor = StripeProcessor(stub.settings())
    charge = a_charge(payment_token=stub.token("pm_card_visa"))
    stub.faults = [Fault("create", "timeout_after")]

What may be sent with a call is taken from the SDK's own types, which Stripe generates from its specification: anything else is
refused, as Stripe refuses it. Each rule names the page that it comes from.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

import msgspec
import stripe
import uvicorn
from stripe import RequestOptions
from stripe.params import (
    ConfirmationTokenRetrieveParams,
    PaymentIntentCancelParams,
    PaymentIntentCaptureParams,
    PaymentIntentCreateParams,
    PaymentIntentRetrieveParams,
    PaymentIntentSearchParams,
    RefundCreateParams,
    RefundListParams,
    RefundRetrieveParams,
)
from stripe.params.test_helpers import ConfirmationTokenCreateParams

from admitone.config import Settings
from admitone.payments.model import Charge
from admitone.runtime.programs import free_port

SECRET_KEY = "sk_test_StubOfStripe0001"
WEBHOOK_SECRET = "whsec_StubOfStripe0001"
NEEDS_CONFIRMATION = "needs confirmation"

CARDS: dict[str, dict[str, str] | str | None] = {
    "pm_card_visa": None,
    "pm_card_mastercard": None,
    "pm_card_visa_chargeDeclined": {"code": "card_declined", "decline_code": "generic_decline"},
    "pm_card_visa_chargeDeclinedInsufficientFunds": {"code": "card_declined", "decline_code": "insufficient_funds"},
    "pm_card_visa_chargeDeclinedLostCard": {"code": "card_declined", "decline_code": "lost_card"},
    "pm_card_chargeDeclinedProcessingError": {"code": "processing_error"},
    "pm_card_threeDSecure2Required": NEEDS_CONFIRMATION,
    "pm_card_authenticationRequired": NEEDS_CONFIRMATION,
}
"""What each test card is answered with: https://docs.stripe.com/testing?testing-method=payment-methods"""

FaultKind = Literal["timeout_before", "timeout_after", "500_before", "500_after", "502", "429", "409", "lock_timeout"]


@dataclass
class Fault:
    """What goes wrong with the next call of that name, once."""

    call: str
    kind: FaultKind


@dataclass
class Token:
    """https://docs.stripe.com/api/confirmation_tokens/object"""

    id: str
    card: str
    expires_at: int
    payment_intent: str | None = None

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "confirmation_token",
            "expires_at": self.expires_at,
            "payment_intent": self.payment_intent,
            "setup_intent": None,
            "use_stripe_sdk": True,
        }


@dataclass
class Refund:
    """https://docs.stripe.com/api/refunds/object"""

    id: str
    payment_intent: str
    amount: int
    status: str

    def shown(self) -> dict[str, Any]:
        return {"id": self.id, "object": "refund", "payment_intent": self.payment_intent, "amount": self.amount, "status": self.status}


@dataclass
class Intent:
    """https://docs.stripe.com/api/payment_intents/object"""

    id: str
    amount: int
    currency: str
    metadata: dict[str, str]
    status: str
    return_url: str | None
    redirects: bool
    amount_received: int = 0
    refunds: list[Refund] = field(default_factory=list)
    last_payment_error: dict[str, Any] | None = None

    @property
    def refunded(self) -> int:
        return sum(refund.amount for refund in self.refunds if refund.status not in ("failed", "canceled"))

    def shown(self, expand: list[str]) -> dict[str, Any]:
        tried = self.status != "requires_action"
        charge = {
            "id": f"ch_{self.id[3:]}",
            "object": "charge",
            "payment_intent": self.id,
            "metadata": self.metadata,
            "captured": self.amount_received > 0,
            "amount_refunded": self.refunded,
            "refunded": 0 < self.amount_received == self.refunded,
        }
        return {
            "id": self.id,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_capturable": self.amount if self.status == "requires_capture" else 0,
            "amount_received": self.amount_received,
            "capture_method": "manual",
            "currency": self.currency,
            "metadata": self.metadata,
            "status": self.status,
            "latest_charge": None if not tried else charge if "latest_charge" in expand else charge["id"],
            "last_payment_error": self.last_payment_error,
            "next_action": self._next_action() if self.status == "requires_action" else None,
        }

    def _next_action(self) -> dict[str, Any]:
        if not self.redirects:
            return {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
        url = f"https://hooks.stripe.com/3d_secure_2/{self.id}"
        return {"type": "redirect_to_url", "redirect_to_url": {"return_url": self.return_url, "url": url}}


@dataclass
class Call:
    """One that has come in."""

    name: str
    key: str | None
    params: dict[str, Any]


@dataclass
class Stored:
    """The first answer under a key."""

    call: tuple[str, str, str]
    status: int
    body: dict[str, Any]


class Refusal(Exception):
    """An answer that is an error: https://docs.stripe.com/api/errors"""

    def __init__(self, status: int, code: str | None, message: str, *, type: str = "invalid_request_error", **more: Any) -> None:
        self.status = status
        self.body = {"error": {"type": type, "message": message} | ({"code": code} if code else {}) | more}


Params = dict[str, Any]
Endpoint = Callable[[Params, str], dict[str, Any]]


class StripeStub:
    """Its books are its fields; a test reads them, and writes to them what Stripe would do by itself."""

    def __init__(self) -> None:
        self.url = ""
        self.tokens: dict[str, Token] = {}
        self.intents: dict[str, Intent] = {}
        self.refunds: dict[str, Refund] = {}
        self.stored: dict[str, Stored] = {}
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.search_is_behind = False
        self.refunds_become = "succeeded"
        self._endpoints: list[tuple[str, str, str, Any, Endpoint]] = [
            ("POST", r"/v1/payment_intents", "create", PaymentIntentCreateParams, self._create),
            ("GET", r"/v1/payment_intents/search", "search", PaymentIntentSearchParams, self._search),
            ("GET", r"/v1/payment_intents/(\w+)", "retrieve", PaymentIntentRetrieveParams, self._retrieve),
            ("POST", r"/v1/payment_intents/(\w+)/capture", "capture", PaymentIntentCaptureParams, self._capture),
            ("POST", r"/v1/payment_intents/(\w+)/cancel", "cancel", PaymentIntentCancelParams, self._cancel),
            ("POST", r"/v1/refunds", "refund", RefundCreateParams, self._refund),
            ("GET", r"/v1/refunds", "list_refunds", RefundListParams, self._list_refunds),
            ("GET", r"/v1/refunds/(\w+)", "retrieve_refund", RefundRetrieveParams, self._retrieve_refund),
            ("GET", r"/v1/confirmation_tokens/(\w+)", "retrieve_token", ConfirmationTokenRetrieveParams, self._retrieve_token),
            ("POST", r"/v1/test_helpers/confirmation_tokens", "create_token", ConfirmationTokenCreateParams, self._create_token),
        ]

    # What a test does.

    def settings(self, **changes: Any) -> Settings:
        known = {"stripe_secret_key": SECRET_KEY, "stripe_webhook_secret": WEBHOOK_SECRET, "stripe_api_base": self.url}
        return Settings(**known | changes)

    def token(self, card: str) -> str:
        """What the buyer's browser would send for that test card."""
        token: str = self._create_token({"payment_method": card}, "")["id"]
        return token

    def answer_bank(self, intent_id: str, approve: bool) -> None:
        """What the buyer answers on the bank's page; on that of a payment that has ended, nothing follows."""
        intent = self.intents[intent_id]
        if intent.status != "requires_action":
            return
        intent.status = "requires_capture" if approve else "requires_payment_method"
        if not approve:  # https://docs.stripe.com/error-codes#payment-intent-authentication-failure
            intent.last_payment_error = {"type": "invalid_request_error", "code": "payment_intent_authentication_failure"}

    def forget_keys(self) -> None:
        """As Stripe may after 24 h: https://docs.stripe.com/api/idempotent_requests"""
        self.stored.clear()

    def made(self, name: str) -> list[Call]:
        """The calls of that name, in order."""
        return [call for call in self.calls if call.name == name]

    # What Stripe does.

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        sent = body.decode() if scope["method"] == "POST" else scope["query_string"].decode()
        status, answer, replayed = self._answer(scope["method"], scope["path"], _nested(sent), headers)
        if status == 0:  # Nobody answers, until the other side has had enough.
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        more = [(b"idempotent-replayed", b"true")] if replayed else []
        start = [(b"content-type", b"application/json"), (b"request-id", b"req_stub"), *more]
        await send({"type": "http.response.start", "status": status, "headers": start})
        await send({"type": "http.response.body", "body": b"<html>" if status == 502 else msgspec.json.encode(answer)})

    def _answer(self, method: str, path: str, params: Params, headers: dict[str, str]) -> tuple[int, dict[str, Any], bool]:
        """Status, body, and whether it is a stored one; the status is 0 where there is no answer."""
        found = [(endpoint, match) for endpoint in self._endpoints if endpoint[0] == method and (match := re.fullmatch(endpoint[1], path))]
        if not found:
            return 404, Refusal(404, None, f"Unrecognized request URL ({method}: {path}).").body, False
        (_, _, name, allowed, act), match = found[0]
        key = headers.get("idempotency-key") if method == "POST" else None
        self.calls.append(Call(name, key, params))
        fault = next((fault for fault in self.faults if fault.call == name), None)
        if fault is not None:
            self.faults.remove(fault)
        kind = fault.kind if fault is not None else ""
        try:
            self._at_the_door(headers, params, allowed, kind)
        except Refusal as refusal:  # Not stored: "we save results only after the execution of an endpoint begins".
            return refusal.status, refusal.body, False
        if kind in ("timeout_before", "502"):
            return (0 if kind == "timeout_before" else 502), {}, False
        call = (method, path, msgspec.json.encode(params).decode())
        stored = self.stored.get(key or "")
        if stored is not None:  # https://docs.stripe.com/api/idempotent_requests
            if stored.call != call:
                return 400, Refusal(400, None, "This key was used for another call.", type="idempotency_error").body, False
            return (0 if kind == "timeout_after" else stored.status), stored.body, True
        failed = Refusal(500, None, "An unknown error occurred", type="api_error")
        try:
            if kind == "500_before":
                raise failed
            answer = act(params, match.groups()[0] if match.groups() else "")
            if kind == "500_after":
                raise failed
            status = 200
        except Refusal as refusal:
            status, answer = refusal.status, refusal.body
        if key is not None:
            self.stored[key] = Stored(call, status, answer)
        return (0 if kind == "timeout_after" else status), answer, False

    def _at_the_door(self, headers: dict[str, str], params: Params, allowed: Any, kind: str) -> None:
        """What is refused before anything is done: https://docs.stripe.com/error-low-level#content-errors"""
        if kind == "429":
            raise Refusal(429, "rate_limit", "Too many requests.")
        if kind == "lock_timeout":  # Its status is not documented: this one would be taken for a refusal.
            raise Refusal(400, "lock_timeout", "This object cannot be accessed right now.")
        if kind == "409":
            raise Refusal(409, "idempotency_key_in_use", "There is currently another in-progress request using this key.")
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if given != SECRET_KEY:  # Stripe blots most of it out; to be on the safe side, this one does not.
            raise Refusal(401, None, f"Invalid API Key provided: {given}")
        names = set(allowed.__annotations__) - set(RequestOptions.__annotations__)
        for name in params.keys() - names:  # https://docs.stripe.com/error-codes#parameter-unknown
            raise Refusal(400, "parameter_unknown", f"Received unknown parameter: {name}", param=name)
        for name in allowed.__required_keys__ & names - params.keys():  # https://docs.stripe.com/error-codes#parameter-missing
            raise Refusal(400, "parameter_missing", f"Missing required param: {name}.", param=name)

    def _create(self, params: Params, _id: str) -> dict[str, Any]:
        """https://docs.stripe.com/api/payment_intents/create, as far as payments goes: with a token, confirmed at once."""
        if params.get("confirm") != "true" or params.get("capture_method") != "manual":
            raise NotImplementedError("only what payments does")
        if int(params["amount"]) < 50:  # https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
            raise Refusal(400, "amount_too_small", "Amount must be at least $0.50 usd", param="amount")
        token = self._token(params["confirmation_token"])
        if token.payment_intent is not None or token.expires_at <= time.time():  # …/api/confirmation_tokens/object: both fields
            raise Refusal(400, None, "This ConfirmationToken can't be used (any more).", param="confirmation_token")
        outcome = CARDS[token.card]
        intent = Intent(
            id=f"pi_{uuid4().hex}",
            amount=int(params["amount"]),
            currency=params["currency"],
            metadata=params.get("metadata", {}),
            status="requires_capture",
            return_url=params.get("return_url"),
            # "… the values in this request will take precedence" over the token's, whose use_stripe_sdk is true.
            redirects=params.get("use_stripe_sdk") == "false",
        )
        token.payment_intent = intent.id
        self.intents[intent.id] = intent
        if outcome == NEEDS_CONFIRMATION:
            intent.status = "requires_action"
        elif isinstance(outcome, dict):  # https://docs.stripe.com/declines, and the intent "hangs" on the error: …/api/errors
            intent.status = "requires_payment_method"
            intent.last_payment_error = {"type": "card_error", **outcome}
            raise Refusal(
                402, outcome["code"], "Your card was declined.", type="card_error", **_without_code(outcome), **self._hanging(intent)
            )
        return intent.shown(params.get("expand", []))

    def _search(self, params: Params, _id: str) -> dict[str, Any]:
        """https://docs.stripe.com/search#search-query-language; it may be behind: …/search#data-freshness"""
        name, value = re.fullmatch(r"metadata\['(\w+)'\]:'([\w-]+)'", params["query"]).groups()  # type: ignore[union-attr]
        hits = [] if self.search_is_behind else [intent for intent in self.intents.values() if intent.metadata.get(name) == value]
        return {"object": "search_result", "has_more": False, "data": [intent.shown([]) for intent in hits]}

    def _retrieve(self, params: Params, id: str) -> dict[str, Any]:
        return self._intent(id).shown(params.get("expand", []))

    def _capture(self, params: Params, id: str) -> dict[str, Any]:
        """https://docs.stripe.com/api/payment_intents/capture: only when its status is requires_capture, and not more than that."""
        intent = self._intent(id)
        amount = int(params.get("amount_to_capture", intent.amount))
        if intent.status != "requires_capture":
            raise self._unexpected_state(intent, "captured")
        if amount > intent.amount:
            raise Refusal(400, "amount_too_large", "The amount to capture is too large.", param="amount_to_capture")
        intent.status, intent.amount_received = "succeeded", amount
        return intent.shown(params.get("expand", []))

    def _cancel(self, params: Params, id: str) -> dict[str, Any]:
        """https://docs.stripe.com/api/payment_intents/cancel: in these statuses only."""
        intent = self._intent(id)
        if intent.status not in ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action"):
            raise self._unexpected_state(intent, "canceled")
        intent.status = "canceled"
        return intent.shown(params.get("expand", []))

    def _refund(self, params: Params, _id: str) -> dict[str, Any]:
        """https://docs.stripe.com/api/refunds/create: an error "when called on an already-refunded charge, or when trying to refund
        more money than is left on a charge"."""
        intent = self._intent(params["payment_intent"])
        amount = int(params.get("amount", intent.amount_received - intent.refunded))
        if intent.status != "succeeded":
            raise self._unexpected_state(intent, "refunded")
        if intent.refunded == intent.amount_received:
            raise Refusal(400, "charge_already_refunded", "Charge has already been refunded.")
        if amount > intent.amount_received - intent.refunded:
            raise Refusal(400, None, "Refund amount is greater than unrefunded amount on charge.", param="amount")
        refund = Refund(id=f"re_{uuid4().hex}", payment_intent=intent.id, amount=amount, status=self.refunds_become)
        intent.refunds.append(refund)
        self.refunds[refund.id] = refund
        return refund.shown()

    def _list_refunds(self, params: Params, _id: str) -> dict[str, Any]:
        """https://docs.stripe.com/api/refunds/list: the most recent first."""
        refunds = list(reversed(self._intent(params["payment_intent"]).refunds))
        return {"object": "list", "has_more": False, "data": [refund.shown() for refund in refunds]}

    def _retrieve_refund(self, _params: Params, id: str) -> dict[str, Any]:
        return self.refunds[id].shown()

    def _retrieve_token(self, _params: Params, id: str) -> dict[str, Any]:
        return self._token(id).shown()

    def _create_token(self, params: Params, _id: str) -> dict[str, Any]:
        """https://docs.stripe.com/api/confirmation_tokens/test_create; it lives for 12 h, by the example there."""
        if params["payment_method"] not in CARDS:
            raise _missing("payment_method", params["payment_method"])
        token = Token(id=f"ctoken_{uuid4().hex}", card=params["payment_method"], expires_at=int(time.time()) + 12 * 3600)
        self.tokens[token.id] = token
        return token.shown()

    def _intent(self, id: str) -> Intent:
        if id not in self.intents:
            raise _missing("payment_intent", id)
        return self.intents[id]

    def _token(self, id: str) -> Token:
        if id not in self.tokens:
            raise _missing("confirmation_token", id)
        return self.tokens[id]

    def _unexpected_state(self, intent: Intent, what: str) -> Refusal:
        """https://docs.stripe.com/error-codes#payment-intent-unexpected-state"""
        message = f"This PaymentIntent could not be {what} because it has a status of {intent.status}."
        return Refusal(400, "payment_intent_unexpected_state", message, **self._hanging(intent))

    def _hanging(self, intent: Intent) -> dict[str, Any]:
        return {"payment_intent": intent.shown([])}


def webhook(intent_id: str, charge_id: UUID, type: str = "payment_intent.succeeded") -> bytes:
    """What Stripe tells about a payment: https://docs.stripe.com/api/events/object"""
    about = {"id": intent_id, "object": "payment_intent", "metadata": {"charge_id": str(charge_id)}}
    return event(type, about)


def event(type: str, about: Any) -> bytes:
    return msgspec.json.encode({"id": f"evt_{uuid4().hex}", "object": "event", "type": type, "data": {"object": about}})


def signature(body: bytes, at: int | None = None, secret: str = WEBHOOK_SECRET) -> str:
    """https://docs.stripe.com/webhooks#verify-manually"""
    header: str = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at)
    return header


@contextlib.asynccontextmanager
async def running_stub() -> AsyncIterator[StripeStub]:
    """For as long as the block runs, at `stub.url`."""
    stub = StripeStub()
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(stub, port=port, lifespan="off", log_level="warning", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    stub.url = f"http://127.0.0.1:{port}"
    try:
        yield stub
    finally:
        server.should_exit = True
        await serving


def a_charge(**changes: Any) -> Charge:
    """One that has just begun, over 49.90 USD."""
    now, charge_id, order_id = datetime.now(UTC), uuid4(), uuid4()
    known: dict[str, Any] = {
        "charge_id": charge_id,
        "order_id": order_id,
        "attempt": 1,
        "status": "created",
        "amount_cents": 4990,
        "currency": "USD",
        "fee_cents": 0,
        "seller_id": uuid4(),
        "payment_token": "",
        "idempotency_key": f"{order_id}:authorize:{charge_id}",
        "begun_at": now,
        "changed_at": now,
        "next_attempt_at": now,
        "failed_attempts": 0,
        "last_error": None,
        "stripe_id": None,
        "redirect_url": None,
        "failure": None,
        "refund_asked_at": None,
        "refund_reason": None,
        "relist": False,
        "stripe_refund_id": None,
        "settled_reason": None,
        "correlation_id": uuid4(),
    }
    return Charge(**known | changes)


def _missing(what: str, id: str) -> Refusal:
    """https://docs.stripe.com/error-codes#resource-missing"""
    return Refusal(404, "resource_missing", f"No such {what}: '{id}'", param=what)


def _without_code(outcome: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in outcome.items() if name != "code"}


def _nested(sent: str) -> Params:
    """a=1&m[x]=2&l[0]=3 as {"a": "1", "m": {"x": "2"}, "l": ["3"]}; no deeper."""
    params: Params = {}
    for name, value in parse_qsl(sent, keep_blank_values=True):
        parts = re.fullmatch(r"(\w+)(?:\[(\w*)\])?", name)
        assert parts is not None, name
        if parts[2] is None:
            params[parts[1]] = value
        elif parts[2].isdigit() or not parts[2]:
            params.setdefault(parts[1], []).append(value)
        else:
            params.setdefault(parts[1], {})[parts[2]] = value
    return params
