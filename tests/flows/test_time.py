"""The lock's time: an order left alone ends, and a payment that races the end has one outcome."""

import asyncio
from uuid import UUID

from house import House, eventually


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
