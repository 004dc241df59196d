"""The lock's time: an order left alone ends, and a payment that races the end has one outcome."""

import asyncio
import time
from datetime import datetime
from uuid import UUID

from support.house import House, eventually


async def test_an_order_left_alone_expires_and_its_ticket_can_be_bought_by_somebody_else(own_house: House) -> None:
    await own_house.start(ADMITONE_ORDER_WINDOW_SECONDS="2", ADMITONE_SETTLE_SECONDS="1")
    ann, bob, eve = await own_house.people("ann", "bob", "eve")
    ticket = await ann.lists("Front row", 30)
    left_alone = await bob.orders(ticket)
    expired = await bob.sees_order(left_alone, "cancelled")
    assert expired["reason"] == "expired"
    *_, last = (await bob.ask("GET", f"/api/orders/{left_alone['id']}/history")).json()
    assert last["text"] == "Cancelled: the time to pay was over."
    await own_house.at_rest()  # Payments has heard of it too.
    assert (await bob.pays(left_alone)).json()["title"] == "Order cancelled"
    order = await eve.buys(ticket)
    assert (await eve.pays(order)).status_code == 201


async def test_a_payment_that_races_the_expiration_never_leaves_half_a_sale(own_house: House) -> None:
    await own_house.start(ADMITONE_ORDER_WINDOW_SECONDS="2", ADMITONE_SETTLE_SECONDS="1")
    ann, *buyers = await own_house.people("ann", *(f"buyer{number}" for number in range(6)))
    orders = {}
    for buyer in buyers:
        orders[buyer] = await buyer.buys(await ann.lists("Front row", 30))
    own_house.freeze_bus()  # The approvals get stuck, the clock goes on.
    paying = [asyncio.create_task(buyer.pays(order)) for buyer, order in orders.items()]
    deadline = "SELECT true FROM orders WHERE cancel_at > clock_timestamp()"

    async def all_overdue() -> bool:
        return not await own_house.rows("orders", deadline)

    await eventually(all_overdue)
    own_house.thaw_bus()
    answers = await asyncio.gather(*paying)
    assert {answer.status_code for answer in answers} <= {201, 202, 409}
    await own_house.at_rest()

    async def settled() -> bool:
        return not await own_house.rows("payments", "SELECT true FROM charges WHERE status IN ('created', 'authorized')")

    await eventually(settled)
    money = {row["order_id"]: row["status"] for row in await own_house.rows("testgateway", "SELECT order_id, status FROM intents")}
    for buyer, order in orders.items():
        ended = await buyer.order(order)
        assert ended["status"] in ("complete", "cancelled")
        ticket = await buyer.ticket(ended["ticket"])
        paid = money.get(UUID(order["id"]), "never asked for")
        if ended["status"] == "complete":
            assert (paid, ticket["status"], ticket["orderId"]) == ("captured", "sold", order["id"])
        else:
            assert paid in ("voided", "never asked for")
            assert ticket["status"] == "available"


async def test_an_order_with_more_time_outlives_its_first_deadline_and_can_be_paid(own_house: House) -> None:
    await own_house.start(ADMITONE_ORDER_WINDOW_SECONDS="2", ADMITONE_SETTLE_SECONDS="1")
    ann, bob, eve = await own_house.people("ann", "bob", "eve")
    order = await bob.orders(await ann.lists("Front row", 30))
    clicks = await asyncio.gather(bob.extends(order), bob.extends(order))
    assert [answer.status_code for answer in clicks] == [200, 200]
    extended = clicks[0].json()
    more = datetime.fromisoformat(extended["expiresAt"]) - datetime.fromisoformat(order["expiresAt"])
    assert (extended["extended"], more.total_seconds()) == (True, 300)
    left_alone = await eve.orders(await ann.lists("Second row", 20))  # Made later: when it has ended, the other one would have.
    await eve.sees_order(left_alone, "cancelled")
    await own_house.at_rest()
    assert (await bob.order(order))["status"] == "awaiting:payment"
    locked = await ann.ticket(order["ticket"])
    assert datetime.fromisoformat(locked["lockedUntil"]) > datetime.fromisoformat(extended["expiresAt"])
    assert (await bob.pays(order)).status_code == 201


async def test_news_of_more_time_is_waited_for_before_a_payment_is_refused(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 30))
    await house.at_rest()
    late = "UPDATE order_copies SET expires_at = clock_timestamp() WHERE order_id = $1"
    await house.rows("payments", late, UUID(order["id"]))
    begun = time.monotonic()
    assert (await bob.pays(order)).json()["title"] == "Time is up"
    assert time.monotonic() - begun > 1
    assert (await bob.extends(order)).status_code == 200
    assert (await bob.pays(order)).status_code == 201
