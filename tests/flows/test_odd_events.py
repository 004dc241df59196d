"""Events as they should never come, and do: unreadable, before what they follow from, twice."""

from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import msgspec
from support.house import House, Json, eventually
from support.till import paid

from admitone.events import OrderCancelled, OrderCreated


async def test_a_poison_event_is_parked_and_everything_after_it_goes_on(own_house: House) -> None:
    await own_house.start()
    ann, bob = await own_house.people("ann", "bob")
    ticket = await ann.lists("Front row", 30)
    await own_house.publish_bytes("events.orders.OrderCreated", b"\xff{ this is no event")
    await own_house.publish_bytes("events.orders.OrderCancelled", b'{"event": "OrderCancelled"}')
    order = await bob.buys(ticket)
    await eventually(partial(paid, bob, order), seconds=30)
    await own_house.at_rest()
    for service in ("tickets", "payments", "expiration"):
        parked = await own_house.rows(service, "SELECT event, tries, error FROM parked ORDER BY event")
        assert [(row["event"], row["tries"]) for row in parked] == [("OrderCancelled", 1), ("OrderCreated", 1)]


async def test_a_cancellation_that_overtakes_its_orders_creation_leaves_the_ticket_free(house: House) -> None:
    [ann] = await house.people("ann")
    ticket = await ann.lists("Front row", 30)
    created = _order_created(ticket)
    cancelled = msgspec.convert({**msgspec.to_builtins(created), "version": 2, "status": "cancelled", "reason": "by_buyer"}, OrderCancelled)
    await house.publish(cancelled)
    last = await house.publish(created)
    await eventually(lambda: house.rows("tickets", "SELECT true FROM inbox WHERE event_id = $1", last))
    assert (await ann.ticket(ticket))["status"] == "available"
    assert (await ann.edits(ticket, "Front row", 40)).status_code == 200


async def test_an_event_that_is_delivered_twice_has_one_effect(house: House) -> None:
    [ann] = await house.people("ann")
    ticket = await ann.lists("Front row", 30)
    created = _order_created(ticket)
    first = await house.publish(created)
    await eventually(lambda: house.rows("tickets", "SELECT true FROM inbox WHERE event_id = $1", first))
    await house.publish(created, first)
    another = await house.publish(created)
    await eventually(lambda: house.rows("tickets", "SELECT true FROM inbox WHERE event_id = $1", another))
    assert (await ann.ticket(ticket))["version"] == 2


def _order_created(ticket: Json) -> OrderCreated:
    now = datetime.now(UTC)
    return OrderCreated(
        order_id=uuid4(),
        version=1,
        ticket_id=UUID(ticket["id"]),
        user_id=uuid4(),
        status="created",
        reason=None,
        title=ticket["title"],
        price_cents=round(ticket["price"] * 100),
        currency=ticket["currency"],
        lock=1,
        expires_at=now + timedelta(minutes=15),
        cancel_at=now + timedelta(minutes=15, seconds=30),
        extended=False,
    )
