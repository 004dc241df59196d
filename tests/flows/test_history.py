"""What happened to an order, as its buyer is told, over the whole house."""

from functools import partial
from uuid import UUID

from support.house import House, Json, Person, eventually

from admitone import config
from admitone.ops import payments as money

LOCKED = "The ticket is locked for you at $30.00."
APPROVED = "Your payment was approved: the ticket is yours."
TAKEN = "The money was taken: $30.00."


async def test_a_sale_is_told_to_its_buyer_and_to_nobody_else(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 30))
    assert (await bob.pays(order)).status_code == 201
    told = await eventually(partial(_tells, bob, order, TAKEN))
    until = order["expiresAt"].partition("T")[2][:5]
    assert [line["text"] for line in told] == [
        f"You clicked Buy: the ticket is yours to pay for until {until} UTC.",
        LOCKED,
        APPROVED,
        TAKEN,
    ]
    assert [line["event"] for line in told] == ["OrderCreated", "OrderReserved", "OrderCompleted", "PaymentCreated"]
    assert [line["at"] for line in told] == sorted(line["at"] for line in told)
    assert all(set(line) == {"at", "event", "text"} for line in told)
    refused = await ann.ask("GET", f"/api/orders/{order['id']}/history")
    assert (refused.status_code, refused.headers["content-type"]) == (404, "application/problem+json")


async def test_a_declined_card_a_sale_and_a_refund_are_told(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 30))
    assert (await bob.pays(order, "tok_chargeDeclined")).status_code == 402
    declined = "Your card was declined: nothing was charged. You had 2 more tries."
    await eventually(partial(_tells, bob, order, declined))
    assert (await bob.pays(order)).status_code == 201
    await eventually(partial(_tells, bob, order, TAKEN))
    await money.refund(config.load(house.settings), UUID(order["id"]), "the concert was called off", relist=False)
    told = await eventually(partial(_tells, bob, order, "Your money was given back."))
    assert [line["text"] for line in told[1:]] == [LOCKED, declined, APPROVED, TAKEN, "Your money was given back."]
    page = (await bob.client.get(f"/orders/{order['id']}")).text
    assert all(line["text"] in page for line in told)


async def _tells(buyer: Person, order: Json, last: str) -> list[Json]:
    """The history, once it ends like this."""
    told: list[Json] = (await buyer.ask("GET", f"/api/orders/{order['id']}/history")).json()
    return told if told[-1]["text"] == last else []
