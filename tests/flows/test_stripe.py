"""The whole marketplace with Stripe behind it, as far as a stub can be Stripe: from the buyer's token to the refund."""

import asyncio
import os
import sys
from typing import Any
from uuid import UUID

import httpx
from support.house import House, Json, eventually
from support.stripe_stub import SECRET_KEY, WEBHOOK_SECRET, Intent, StripeStub, running_stub, signature, webhook

from admitone.payments.model import MAX_ATTEMPTS

PUBLISHABLE_KEY = "pk_test_StubOfStripe0001"


def intents_of(stub: StripeStub, order: Json) -> list[Intent]:
    return [intent for intent in stub.intents.values() if intent.metadata["order_id"] == order["id"]]


async def ends_as(stub: StripeStub, order: Json, *statuses: str) -> None:
    async def looks() -> bool:
        return [intent.status for intent in intents_of(stub, order)] == list(statuses)

    await eventually(looks)


async def test_a_marketplace_on_stripe(own_house: House) -> None:
    async with running_stub() as stub:
        keys = {"STRIPE_SECRET_KEY": SECRET_KEY, "STRIPE_PUBLISHABLE_KEY": PUBLISHABLE_KEY, "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET}
        own_house.settings |= keys | {"STRIPE_API_BASE": stub.url}
        await own_house.start()
        ann, bob = await own_house.people("ann", "bob")

        # A sale, and its refund.
        sold = await bob.buys(await ann.lists("Front row", 49.90))
        assert (await bob.pays(sold, stub.token("pm_card_visa"))).status_code == 201
        await ends_as(stub, sold, "succeeded")
        [intent] = intents_of(stub, sold)
        assert (intent.amount, intent.amount_received, intent.currency) == (4990, 4990, "usd")
        assert (await refund(own_house, sold)).startswith("Refunded: 49.90 USD (re_")
        await bob.sees_order(sold, "refunded")
        assert intent.refunded == 4990

        # The demo pays with tok_visa, which is a card for a test key.
        without = {"STRIPE_SECRET_KEY": "", "STRIPE_PUBLISHABLE_KEY": ""}
        demo = await asyncio.to_thread(own_house.admitone, "demo", "--tickets", "2", **without)
        assert (demo.returncode, "sold" in demo.stdout) == (0, True), demo.stderr

        # A declined card, another one; one that the bank asks about, and tells us by a webhook.
        tried = await bob.buys(await ann.lists("Second row", 39.90))
        declined = await bob.pays(tried, stub.token("pm_card_visa_chargeDeclinedInsufficientFunds"))
        assert (declined.status_code, declined.json()["triesLeft"]) == (402, MAX_ATTEMPTS - 1)
        asked = await bob.pays(tried, stub.token("pm_card_threeDSecure2Required"))
        assert (asked.status_code, asked.json()["status"]) == (202, "created")
        assert asked.json()["redirectUrl"].startswith("http")
        [_, waiting] = intents_of(stub, tried)
        stub.answer_bank(waiting.id, approve=True)
        assert await hears(own_house, webhook(waiting.id, UUID(asked.json()["id"]))) == 200
        await bob.sees_order(tried, "complete")
        await ends_as(stub, tried, "requires_payment_method", "succeeded")

        # One given back before the bank was answered; what never was a token; what another secret has signed.
        left = await bob.buys(await ann.lists("Third row", 29.90))
        await bob.pays(left, stub.token("pm_card_threeDSecure2Required"))
        await bob.cancels(left)
        await ends_as(stub, left, "canceled")
        other = await bob.buys(await ann.lists("Fourth row", 19.90))
        for token in ("tok_never_heard_of", "4242 4242 4242 4242", "ctoken_never_made"):
            refused = await bob.pays(other, token)
            assert (refused.status_code, refused.json()["type"]) == (400, "urn:admitone:unknown-token")
        assert await own_house.rows("payments", "SELECT 1 FROM charges WHERE order_id = $1", UUID(other["id"])) == []
        forged = webhook(waiting.id, UUID(asked.json()["id"]))
        assert await hears(own_house, forged, secret="whsec_guessed") == 400

        assert await own_house.rows("testgateway", "SELECT 1 FROM intents") == [], "no two processors at once"
        log = own_house.log()
        assert not [secret for secret in (SECRET_KEY, WEBHOOK_SECRET, "4242 4242", "42424242") if secret in log]


async def hears(house: House, body: bytes, **signed: Any) -> int:
    async with httpx.AsyncClient() as client:
        headers = {"Stripe-Signature": signature(body, **signed)}
        return (await client.post(f"{house.url}/api/payments/webhook", content=body, headers=headers)).status_code


async def refund(house: House, order: Json) -> str:
    """What the command says. The stub runs in this very loop: it must be free meanwhile."""
    command = [sys.executable, "-m", "admitone.cli", "refund", order["id"], "--reason", "the show is off"]
    environment = {**os.environ, **house.settings}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return said.decode()
