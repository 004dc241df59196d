"""A complete order whose buyer has the money back: refunded once, and its ticket is only sold again if it is to be."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import Rehearse
from support.delivery import every_order, heard
from support.facts import (
    ANN,
    BOB,
    CANCEL_AT,
    CHARGE,
    EVE,
    TICKET,
    expiration_complete,
    order_completed,
    order_refunded,
    payment_authorized,
    payment_created,
    payment_failed,
    payment_refunded,
    payment_uncollected,
    reservation_refused,
    ticket_created,
    ticket_updated,
)

from admitone import orders
from admitone.config import Settings
from admitone.events import OrderRefunded, OrderReserved
from admitone.kit.testing import Rehearsal
from admitone.orders import commands, repository
from admitone.orders.model import Order, OrderComplete, OrderView, TicketSold, TicketTaken

SETTINGS = Settings(fee_basis_points=250)


class Scene:
    """Bob's complete order; the news that his ticket is sold is still under way."""

    def __init__(self, it: Rehearsal, order_id: UUID) -> None:
        self.it = it
        self.order_id = order_id
        self.refunded = payment_refunded(order_id=order_id)
        self.relisted = payment_refunded(order_id=order_id, relist=True)
        self.sold = ticket_updated(version=3, order_id=order_id, sold=True)
        self.on_sale_again = ticket_updated(version=4)

    async def order(self) -> Order:
        order = await repository.get(self.it.tx, self.order_id)
        assert order is not None
        return order

    async def is_now(self) -> tuple[str, int]:
        order = await self.order()
        return order.status, order.version

    async def buys(self, who: UUID = EVE) -> Order:
        return await self.it.does(commands.create_order, who, TICKET, None, SETTINGS)


@pytest.fixture
async def scene(rehearse: Rehearse) -> AsyncIterator[Scene]:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        order = await it.does(commands.create_order, BOB, TICKET, None, SETTINGS)
        await it.hears(ticket_updated(order_id=order.order_id), payment_authorized(order_id=order.order_id))
        *_, completed = await it.said()
        assert completed == order_completed(order_id=order.order_id, fee_basis_points=250)
        yield Scene(it, order.order_id)


@pytest.mark.parametrize("relist", [False, True])
async def test_an_order_whose_money_was_given_back_is_refunded(scene: Scene, relist: bool) -> None:
    await scene.it.hears(payment_refunded(order_id=scene.order_id, relist=relist))
    assert await scene.it.said() == [order_refunded(order_id=scene.order_id, seller_id=ANN, fee_basis_points=250, relist=relist)]
    assert await scene.is_now() == ("refunded", 4)


async def test_an_order_is_refunded_once(scene: Scene) -> None:
    await scene.it.hears(scene.refunded, scene.refunded, scene.relisted)
    assert [type(event) for event in await scene.it.said()] == [OrderRefunded]
    assert await scene.is_now() == ("refunded", 4)
    assert not (await scene.order()).relist


async def test_the_refund_of_an_unknown_order_is_ignored(scene: Scene) -> None:
    await scene.it.hears(payment_refunded(order_id=uuid4()))
    assert await scene.it.said() == []
    assert await scene.is_now() == ("complete", 3)


@pytest.mark.parametrize("status", ["created", "awaiting:payment", "cancelled"])
async def test_an_order_that_is_not_complete_is_not_refunded(rehearse: Rehearse, status: str) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        order = await it.does(commands.create_order, BOB, TICKET, None, SETTINGS)
        if status != "created":
            await it.hears(ticket_updated(order_id=order.order_id))
        if status == "cancelled":
            await it.does(commands.cancel_by_buyer, order.order_id, BOB)
        await it.said()
        before = await it.rows("SELECT * FROM orders")
        await it.hears(payment_refunded(order_id=order.order_id, relist=True))
        assert await it.said() == []
        assert await it.rows("SELECT * FROM orders") == before
        assert before[0]["status"] == status


@pytest.mark.parametrize("relist", [False, True])
async def test_a_refunded_order_is_refunded_whatever_else_comes_late(scene: Scene, relist: bool) -> None:
    ordered: dict[str, Any] = {"order_id": scene.order_id}
    scene.it.now = CANCEL_AT
    events = [payment_refunded(**ordered, relist=relist), payment_created(**ordered), payment_authorized(**ordered), scene.sold]
    for arrival in every_order(*events, payment_failed(3, **ordered)):
        async with heard(scene.it, arrival):
            order = await scene.order()
            assert (order.status, order.version, order.reason) == ("refunded", 4, None), arrival
            assert (order.charge_id, order.relist, order.uncollected) == (CHARGE, relist, False), arrival
            assert [type(event) for event in await scene.it.said()] == [OrderRefunded], arrival


async def test_nothing_ends_a_refunded_order_again(scene: Scene) -> None:
    await scene.it.hears(scene.refunded)
    await scene.it.said()
    scene.it.now = CANCEL_AT
    await scene.it.hears(expiration_complete(order_id=scene.order_id), reservation_refused(order_id=scene.order_id))
    with pytest.raises(OrderComplete):
        await scene.it.does(commands.cancel_by_buyer, scene.order_id, BOB)
    assert await scene.it.does(commands.expire_overdue, CANCEL_AT) == 0
    assert await scene.it.said() == []
    assert await scene.is_now() == ("refunded", 4)


async def test_that_money_could_not_be_taken_is_shown_and_changes_nothing_else(scene: Scene) -> None:
    before = await scene.order()
    uncollected = payment_uncollected(order_id=scene.order_id)
    await scene.it.hears(uncollected, uncollected, payment_uncollected(order_id=uuid4()))
    assert await scene.it.said() == []
    after = await scene.order()
    assert (after.status, after.version, after.uncollected) == ("complete", 3, True)
    assert (OrderView.of(before, scene.it.now).uncollected, OrderView.of(after, scene.it.now).uncollected) == (False, True)


async def test_uncollected_and_refunded_may_arrive_in_any_order(scene: Scene) -> None:
    for arrival in every_order(payment_uncollected(order_id=scene.order_id), scene.refunded, scene.sold):
        async with heard(scene.it, arrival):
            order = await scene.order()
            assert (order.status, order.version, order.uncollected) == ("refunded", 4, True), arrival
            assert await scene.it.said() == [order_refunded(order_id=scene.order_id, fee_basis_points=250)], arrival


async def test_a_refunded_order_keeps_its_ticket(scene: Scene) -> None:
    """Even where the copy of the ticket does not say yet that it is sold, or says by some mistake that it is not."""
    await scene.it.hears(scene.refunded)
    (holder,) = await scene.it.rows("SELECT * FROM orders WHERE ticket_id = $1 AND holds_ticket", TICKET)
    assert holder is not None
    assert holder["order_id"] == scene.order_id
    for news in [(), (scene.sold,), (scene.on_sale_again,)]:
        async with heard(scene.it, news):
            with pytest.raises(TicketSold):
                await scene.buys()


async def test_a_relisted_ticket_is_for_the_next_buyer_once_it_is_on_sale(scene: Scene) -> None:
    await scene.it.hears(scene.sold, scene.relisted)
    with pytest.raises(TicketSold):
        await scene.buys()
    await scene.it.hears(scene.on_sale_again)
    order = await scene.buys()
    assert (order.status, order.lock) == ("created", 2)
    with pytest.raises(TicketTaken):
        await scene.buys(BOB)


async def test_the_next_buyer_need_not_wait_for_the_news_of_the_sale_before(scene: Scene) -> None:
    await scene.it.hears(scene.relisted)
    order = await scene.buys()
    await scene.it.said()
    await scene.it.hears(scene.sold, scene.on_sale_again)
    assert await scene.it.said() == []
    await scene.it.hears(ticket_updated(version=5, order_id=order.order_id))
    (reserved,) = await scene.it.said()
    assert isinstance(reserved, OrderReserved)
    assert (reserved.order_id, reserved.lock) == (order.order_id, 2)
    assert await scene.is_now() == ("refunded", 4)


async def test_a_late_refund_does_not_touch_the_next_order(scene: Scene) -> None:
    await scene.it.hears(scene.relisted, scene.sold, scene.on_sale_again)
    order = await scene.buys()
    await scene.it.hears(ticket_updated(version=5, order_id=order.order_id), payment_authorized(order_id=order.order_id))
    await scene.it.said()
    await scene.it.hears(scene.relisted, scene.refunded, payment_created(order_id=scene.order_id))
    assert await scene.it.said() == []
    assert await scene.it.rows("SELECT status, lock FROM orders ORDER BY lock") == [
        {"status": "refunded", "lock": 1},
        {"status": "complete", "lock": 2},
    ]
