"""What the processor tells us by itself: we look, whatever it says, whenever it comes, and believe nobody else."""

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from support.facts import order_cancelled, order_completed, order_reserved
from support.paying import Scene

from admitone import payments
from admitone.config import Settings
from admitone.kit.http.app import litestar_app
from admitone.kit.http.session import Verifier
from admitone.payments.model import Charge
from admitone.payments.processors.test.webhooks import Webhook


class Endpoint:
    """The address that the processor sends to."""

    def __init__(self, scene: Scene, client: httpx.AsyncClient) -> None:
        self.scene = scene
        self._client = client

    async def hears(self, charge: Charge, type: str = "payment_intent.amount_capturable_updated") -> httpx.Response:
        return await self.takes(body_about(charge, type))

    async def takes(self, body: bytes, *, signed_at: float | None = None, signature: str | None = None) -> httpx.Response:
        right = self.scene.processor.signature(body, int(time.time() if signed_at is None else signed_at))
        return await self._client.post(
            "/api/payments/webhook", content=body, headers={"Stripe-Signature": right if signature is None else signature}
        )


def body_about(charge: Charge, type: str = "payment_intent.succeeded") -> bytes:
    return Webhook(webhook_id=1, type=type, intent_id=f"pi_test_{charge.charge_id.hex}", charge_id=charge.charge_id, tries=1).body()


@pytest.fixture
async def endpoint(scene: Scene) -> AsyncIterator[Endpoint]:
    app: Any = litestar_app(
        payments.service,
        {"settings": Settings(), "db": scene.own.db, "processor": scene.processor},
        Verifier(()),
        secure=False,
        origins=Settings().origins,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost:8000") as client:
        yield Endpoint(scene, client)


async def test_a_webhook_that_is_there_before_the_answer_tells_us_all_the_same(scene: Scene, endpoint: Endpoint) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.begins(order.order_id)
    await scene.processor.authorize(charge)  # The answer is still on its way, or will never come.
    for _ in range(2):
        assert (await endpoint.hears(charge)).json() == {"looked": True}
    assert await scene.both_sides() == (["authorized"], ["authorized"])
    assert await scene.said() == ["PaymentAuthorized"]


async def test_the_content_of_a_webhook_is_not_trusted(scene: Scene, endpoint: Endpoint) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.authorizes(order.order_id)
    for type in ("payment_intent.succeeded", "payment_intent.canceled", "payment_intent.payment_failed", "charge.refunded"):
        assert (await endpoint.hears(charge, type)).status_code == 200
    assert await scene.both_sides() == (["authorized"], ["authorized"])
    assert await scene.said() == ["PaymentAuthorized"]


@pytest.mark.parametrize("end", ["completed", "failed", "refunded"])
async def test_a_late_webhook_changes_nothing(scene: Scene, endpoint: Endpoint, end: str) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.authorizes(order.order_id)
    await scene.hears(order_cancelled() if end == "failed" else order_completed())
    await scene.settles()
    if end == "refunded":
        await scene.refunds(order.order_id)
        await scene.settles()
    said, booked = await scene.said(), await scene.booked()
    assert (await endpoint.hears(charge)).status_code == 200
    assert (await scene.charges(), await scene.said(), await scene.booked()) == ([end], said, booked)


async def test_a_confirmation_is_known_as_soon_as_the_processor_tells(scene: Scene, endpoint: Endpoint) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.authorizes(order.order_id, "tok_threeDSecure2Required")
    await scene.processor.confirm(f"pi_test_{charge.charge_id.hex}", approve=True)
    await endpoint.hears(charge)
    assert await scene.charges() == ["authorized"]


async def test_a_processor_that_can_not_be_looked_at_is_to_send_again(scene: Scene, endpoint: Endpoint) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.authorizes(order.order_id)
    await scene.misbehaves("look", "error")
    assert (await endpoint.hears(charge)).status_code == 503
    assert (await endpoint.hears(charge)).status_code == 200


async def test_a_payment_that_comes_to_life_after_it_was_declined_is_ended(scene: Scene, endpoint: Endpoint) -> None:
    """Whoever has the payment's secret may confirm it again with another card, without us."""
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.authorizes(order.order_id, "tok_chargeDeclined")
    await scene.books.pool.execute("UPDATE intents SET status = 'authorized'")
    assert (await endpoint.hears(charge)).status_code == 200
    assert await scene.both_sides() == (["failed"], ["voided"])
    assert await scene.said() == ["PaymentFailed"]


@pytest.mark.parametrize("trick", ["no signature", "another secret", "another body", "an old one", "one from tomorrow", "garbage"])
async def test_a_message_that_is_not_the_processors_is_refused(scene: Scene, endpoint: Endpoint, trick: str) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.authorizes(order.order_id, "tok_threeDSecure2Required")
    await scene.processor.confirm(f"pi_test_{charge.charge_id.hex}", approve=True)
    body, hour = body_about(charge), timedelta(hours=1).total_seconds()
    match trick:
        case "no signature":
            answer = await endpoint.takes(body, signature="")
        case "another secret":
            answer = await endpoint.takes(body, signature=f"t={int(time.time())},v1={'0' * 64}")
        case "another body":
            answer = await endpoint.takes(body, signature=scene.processor.signature(body + b" ", int(time.time())))
        case "an old one":
            answer = await endpoint.takes(body, signed_at=time.time() - hour)
        case "one from tomorrow":
            answer = await endpoint.takes(body, signed_at=time.time() + hour)
        case _:
            answer = await endpoint.takes(b"\xff\x00", signature="t=x,v1=")
    assert (answer.status_code, answer.json()["title"]) == (400, "Wrong signature")
    assert await scene.charges() == ["created"], "nobody has looked"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": {"object": {"id": 7, "metadata": null}}}', b"\xff"])
async def test_a_signed_message_that_nobody_can_read_is_left_alone(scene: Scene, endpoint: Endpoint, body: bytes) -> None:
    answer = await endpoint.takes(body)
    assert (answer.status_code, answer.json()) == (200, {"looked": False})


async def test_a_payment_nobody_knows_is_not_found_and_a_huge_message_is_not_read(scene: Scene, endpoint: Endpoint) -> None:
    order = order_reserved()
    await scene.hears(order)
    unknown = await scene.begins(order.order_id)
    about_another = Webhook(webhook_id=1, type="x", intent_id="pi_test_other", charge_id=uuid4(), tries=1).body()
    assert (await endpoint.takes(about_another)).status_code == 404
    assert (await endpoint.takes(body_about(unknown) + b" " * 100_000)).status_code == 413
    assert await scene.charges() == ["created"]


async def test_the_processor_sends_every_change_once_it_has_happened(scene: Scene) -> None:
    await scene.pays(order_reserved())
    sent = [row["type"] for row in await scene.books.pool.fetch("SELECT type FROM webhooks ORDER BY webhook_id")]
    assert sent == ["payment_intent.amount_capturable_updated", "payment_intent.succeeded"]
