"""Money on the real services: whatever goes wrong between us and the card processor, both sides' books agree in the end."""

import asyncio
import copy
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import msgspec
import pytest
from conftest import reachable
from support.house import House, eventually
from support.ledgers import Books, settled
from support.till import (
    answers_bank,
    behaves,
    comes_back,
    goes_to_bank,
    intents,
    misbehaves,
    refunds,
    sale,
    sales,
)

from admitone.payments.processors import test as test_processor

DECLINED = "tok_chargeDeclined"
POSTINGS = "SELECT order_id, posting FROM ledger JOIN charges USING (charge_id)"


@pytest.fixture(scope="module")
async def house_with_a_fee(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """It takes 2.5 %. Each test lets its processor behave again, and everything is settled when it ends."""
    async with House(reachable(tmp_path_factory.mktemp("fee")), prepared) as house:
        await house.start(ADMITONE_FEE_PERCENT="2.5")
        yield house


async def test_uncollected_money_is_listed_until_somebody_settles_or_refunds_it(house_with_a_fee: House) -> None:
    house = house_with_a_fee
    await misbehaves(house, "capture", "refuse", None)
    bob, orders = await sales(house, 30, 30, 30)
    kept, undone, relisted = orders
    for order in orders:
        assert (await bob.pays(order)).status_code == 201
    await settled(house, 20)
    await behaves(house)
    for order in orders:
        seen = await bob.order(order)
        assert (seen["status"], seen["uncollected"], seen["paid"]) == ("complete", True, False)
        assert (await bob.ticket(order["ticket"]))["status"] == "sold"
    listed = house.admitone("money")
    assert listed.returncode == 1
    assert len(listed.stdout.splitlines()) == 3
    assert all(f"order {order['id']}" in listed.stdout for order in orders)
    assert "uncollected" in listed.stdout

    assert house.admitone("settle", kept["id"], "--reason", "paid in cash").returncode == 0
    for arguments, order in (([], undone), (["--relist"], relisted)):
        answered = house.admitone("refund", order["id"], "--reason", "never paid", *arguments)
        assert (answered.returncode, "nothing to give back" in answered.stdout) == (0, True)
    await settled(house, 20)
    ended = [((await bob.order(order))["status"], (await bob.ticket(order["ticket"]))["status"]) for order in orders]
    assert ended == [("complete", "sold"), ("refunded", "sold"), ("refunded", "available")]
    assert [await intents(house, order) for order in orders] == [["voided"]] * 3
    assert not [row for row in await house.rows("payments", POSTINGS) if str(row["order_id"]) in {order["id"] for order in orders}]
    again = house.admitone("money")
    assert (again.returncode, again.stdout) == (0, "Everything about money is settled.\n")


async def test_a_refund_gives_the_money_back_once_and_the_ticket_stays_sold(house: House) -> None:
    bob, order = await sale(house)
    unpaid = house.admitone("refund", order["id"], "--reason", "asked for")
    assert (unpaid.returncode, unpaid.stderr) == (1, "admitone: This order was not paid, so there is nothing to give back.\n")
    assert (await bob.pays(order)).status_code == 201
    for arguments in ([], ["--relist"]):
        answered = house.admitone("refund", order["id"], "--reason", "asked for", *arguments)
        assert answered.returncode == 0
        assert answered.stdout.startswith("Refunded: 30.00 USD (re_test_")
    assert "the ticket stays sold" in answered.stdout
    await bob.sees_order(order, "refunded")
    assert (await bob.ticket(order["ticket"]))["status"] == "sold"
    assert (await bob.tries_to_buy(order["ticket"])).status_code == 409
    await settled(house, 20)
    assert await intents(house, order) == ["refunded"]


async def test_a_refund_that_relists_lets_the_next_buyer_have_the_ticket(house: House) -> None:
    ann, bob, eve = await house.people("ann", "bob", "eve")
    ticket = await ann.lists("Front row", 30)
    order = await bob.buys(ticket)
    assert (await bob.pays(order)).status_code == 201
    assert house.admitone("refund", order["id"], "--reason", "asked for", "--relist").returncode == 0
    await eve.sees_ticket(ticket, "available")
    await house.at_rest()  # Orders has heard of it, too.
    next_order = await eve.buys(ticket)
    assert (await eve.pays(next_order)).status_code == 201
    await eve.sees_ticket(ticket, "sold")
    await settled(house, 20)
    assert [await intents(house, each) for each in (order, next_order)] == [["refunded"], ["captured"]]
    assert (await bob.order(order))["status"] == "refunded"


async def test_a_payment_confirmed_at_the_bank_completes_the_order(house: House) -> None:
    bob, order = await sale(house)
    url = await goes_to_bank(bob, order)
    assert await comes_back(bob, url, await answers_bank(bob, url, "approval")) == f"/orders/{order['id']}"
    await bob.sees_order(order, "complete")
    asked_again = await bob.client.get(url)
    assert (asked_again.status_code, await comes_back(bob, url, asked_again) != "") == (303, True)
    late = await bob.client.post(f"{url}/refusal")
    assert late.status_code == 303
    await settled(house, 20)
    assert await intents(house, order) == ["captured"]


async def test_a_payment_refused_at_the_bank_is_declined_and_another_card_can_be_tried(house: House) -> None:
    bob, order = await sale(house)
    url = await goes_to_bank(bob, order)
    assert (await bob.pays(order)).json()["title"] == "Payment under way"
    await comes_back(bob, url, await answers_bank(bob, url, "refusal"))
    [attempt] = (await bob.ask("GET", f"/api/payments?orderId={order['id']}")).json()
    assert (attempt["status"], attempt["failure"]) == ("failed", "authentication_failed")
    assert (await bob.pays(order)).status_code == 201
    await settled(house, 20)
    assert await intents(house, order) == ["declined", "captured"]


async def test_an_order_cancelled_while_the_bank_waits_is_not_paid_by_a_late_confirmation(house: House) -> None:
    bob, order = await sale(house)
    url = await goes_to_bank(bob, order)
    assert (await bob.cancels(order)).status_code == 204
    await settled(house, 20)
    assert (await bob.client.post(f"{url}/approval")).status_code == 303
    await settled(house, 20)
    assert await intents(house, order) == ["voided"]


async def test_a_confirmation_after_the_deadline_does_not_pay_the_order(own_house: House) -> None:
    await own_house.start(ADMITONE_ORDER_WINDOW_SECONDS="2", ADMITONE_SETTLE_SECONDS="1")
    bob, order = await sale(own_house)
    url = await goes_to_bank(bob, order)
    assert (await bob.sees_order(order, "cancelled"))["reason"] == "expired"
    await settled(own_house, 20)
    assert await comes_back(bob, url, await bob.client.post(f"{url}/approval"))
    await settled(own_house, 20)
    assert await intents(own_house, order) == ["voided"]
    assert (await bob.order(order))["status"] == "cancelled"
    assert (await bob.ticket(order["ticket"]))["status"] == "available"


async def test_webhooks_that_are_lost_or_repeated_change_nothing(house_with_a_fee: House) -> None:
    house = house_with_a_fee
    for fault in ("lose", "repeat"):
        await misbehaves(house, "webhook", fault, None)
        bob, [paid, confirmed, refunded, cancelled] = await sales(house, 30, 30, 30, 30)
        assert (await bob.pays(cancelled, DECLINED)).status_code == 402
        await goes_to_bank(bob, cancelled)
        assert (await bob.cancels(cancelled)).status_code == 204
        assert (await bob.pays(paid)).status_code == 201
        url = await goes_to_bank(bob, confirmed)
        await comes_back(bob, url, await answers_bank(bob, url, "approval"))
        assert (await bob.pays(refunded)).status_code == 201
        assert (await refunds(house, refunded)).status == "refunded"
        await bob.sees_order(confirmed, "complete")
        await bob.sees_order(refunded, "refunded")
        await settled(house, 20)

        async def all_sent() -> bool:
            return not await house.rows("testgateway", "SELECT true FROM webhooks WHERE send_at IS NOT NULL")

        await eventually(all_sent)
        await settled(house, 20)
        ended = [await intents(house, order) for order in (paid, confirmed, refunded, cancelled)]
        assert ended == [["captured"], ["captured"], ["refunded"], ["declined", "voided"]]
        await behaves(house)


async def test_a_webhook_changes_nothing_by_what_it_says(house: House) -> None:
    bob, order = await sale(house)
    await goes_to_bank(bob, order)
    await house.at_rest()
    before = await Books.of(house)
    [secret] = await house.rows("testgateway", "SELECT secret FROM secret")
    signed_by_us = test_processor.TestProcessor(cast(Any, None), secret["secret"].encode()).signature
    signed_by_another = test_processor.TestProcessor(cast(Any, None), b"whsec_guessed").signature
    now = int(time.time())
    [intent] = [intent for intent in before.intents if str(intent["order_id"]) == order["id"]]

    def about(id: str, charge_id: UUID, note: str = "") -> bytes:
        what = {"id": id, "object": "payment_intent", "status": "succeeded", "metadata": {"charge_id": charge_id}, "note": note}
        return msgspec.json.encode({"id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "data": {"object": what}})

    async def told(body: bytes, signature: str) -> int:
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
        return (await bob.client.post("/api/payments/webhook", content=body, headers=headers)).status_code

    known, unknown = about(intent["id"], intent["charge_id"]), about("pi_test_unknown", uuid4())
    long = about(intent["id"], intent["charge_id"], "x" * 100_000)
    assert await told(known, signed_by_another(known, now)) == 400
    assert await told(known, signed_by_us(unknown, now)) == 400
    assert await told(known, signed_by_us(known, now - test_processor.SIGNED_WITHIN_SECONDS - 2)) == 400
    assert await told(known, "") == 400
    assert await told(long, signed_by_us(long, now)) == 413
    assert await told(unknown, signed_by_us(unknown, now)) == 404
    assert await told(known, signed_by_us(known, now)) == 200
    await house.at_rest()
    after = await Books.of(house)
    assert (after.intents, after.orders, after.entries) == (before.intents, before.orders, before.entries)
    assert [charge["status"] for charge in after.charges] == [charge["status"] for charge in before.charges]
    assert (await bob.cancels(order)).status_code == 204
    await settled(house, 20)


async def test_the_ledger_adds_up_and_says_whose_the_money_is(house_with_a_fee: House) -> None:
    house = house_with_a_fee
    before = ledger(house)
    ann, bob = await house.people("ann", "bob")
    for price, given_back in ((49.90, False), (30.00, False), (20.00, True)):
        order = await bob.buys(await ann.lists("Front row", price))
        assert (await bob.pays(order)).status_code == 201
        if given_back:
            await refunds(house, order)
    await settled(house, 20)
    after = ledger(house, "--by-seller")
    assert after[f"seller {ann.id}"] == Decimal("-77.90")
    assert {name: after[name] - before.get(name, 0) for name in ("processor", "fees", "sum")} == {
        "processor": Decimal("79.90"),
        "fees": Decimal("-2.00"),
        "sum": 0,
    }


def ledger(house: House, *arguments: str) -> dict[str, Decimal]:
    """What `admitone ledger` says, a number for each account."""
    told = house.admitone("ledger", *arguments)
    assert told.returncode == 0
    lines = [line.rsplit(maxsplit=2) for line in told.stdout.splitlines() if line.endswith("USD")]
    return {name: Decimal(amount.replace(",", "")) for name, amount, _ in lines}


async def test_two_tabs_with_two_cards_pay_once(house: House) -> None:
    bob, order = await sale(house)
    answers = await asyncio.gather(bob.pays(order, "tok_visa"), bob.pays(order, "tok_mastercard"))
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    await settled(house, 20)
    assert await intents(house, order) == ["captured"]


async def test_two_declines_leave_a_third_try(house: House) -> None:
    bob, order = await sale(house)
    for tries_left in (2, 1):
        declined = await bob.pays(order, DECLINED)
        assert (declined.status_code, declined.json()["triesLeft"]) == (402, tries_left)
    assert (await bob.pays(order)).status_code == 201
    await settled(house, 20)
    assert await intents(house, order) == ["declined", "declined", "captured"]


async def test_the_third_decline_cancels_the_order_and_frees_the_ticket(house: House) -> None:
    bob, order = await sale(house)
    for _ in range(3):
        assert (await bob.pays(order, DECLINED)).status_code == 402
    assert (await bob.sees_order(order, "cancelled"))["reason"] == "payment_failed"
    await bob.sees_ticket(order["ticket"], "available")
    assert (await bob.pays(order)).status_code == 409
    await settled(house, 20)
    assert await intents(house, order) == ["declined"] * 3


async def test_the_comparison_of_the_books_sees_every_single_thing_that_is_wrong(house: House) -> None:
    bob, [paid, refunded, cancelled] = await sales(house, 30, 30, 30)
    assert (await bob.pays(cancelled, DECLINED)).status_code == 402
    await bob.cancels(cancelled)
    for order in (paid, refunded):
        assert (await bob.pays(order)).status_code == 201
    await refunds(house, refunded)
    await bob.sees_order(refunded, "refunded")
    await settled(house, 20)
    books = (await Books.of(house)).only({UUID(order["id"]) for order in (paid, refunded, cancelled)})
    assert books.disagreements() == []
    facts: dict[str, dict[str, Any]] = {
        "charges": {
            "status": "other",
            "amount_cents": 1,
            "currency": "EUR",
            "order_id": uuid4(),
            "idempotency_key": "other",
            "stripe_id": "pi",
        },
        "intents": {"status": "authorized", "amount_cents": 1, "currency": "EUR", "idempotency_key": "other", "captured_cents": 7},
        "orders": {"status": "other", "price_cents": 1, "currency": "EUR", "uncollected": True, "relist": True, "charge_id": uuid4()},
        "entries": {"amount_cents": 1, "currency": "EUR", "account": "fees", "charge_id": uuid4(), "posting": "other"},
    }
    unseen = []
    for table, changes in facts.items():
        for place in range(len(getattr(books, table))):
            for name, value in changes.items():
                wrong = copy.deepcopy(books)
                getattr(wrong, table)[place][name] = value
                if not wrong.disagreements():
                    unseen.append((table, place, name))
            missing = copy.deepcopy(books)
            getattr(missing, table).pop(place)
            if not missing.disagreements():
                unseen.append((table, place, "missing"))
    for ticket in books.tickets:
        ticket["sold"] = not ticket["sold"]
        if not books.disagreements():
            unseen.append(("tickets", ticket["ticket_id"], "sold"))
        ticket["sold"] = not ticket["sold"]
    assert unseen == []
