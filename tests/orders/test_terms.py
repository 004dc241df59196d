"""What was agreed when the ticket was locked: whose it was, and which part of the price the marketplace takes."""

from typing import Any

import msgspec
import pytest
from conftest import Rehearse
from support.facts import (
    ANN,
    BOB,
    EVE,
    TICKET,
    order_cancelled,
    order_completed,
    order_created,
    order_extended,
    order_refunded,
    order_reserved,
    payment_authorized,
    payment_refunded,
    ticket_created,
    ticket_updated,
)

from admitone import orders
from admitone.config import Settings
from admitone.events import OrderEvent
from admitone.kit.testing import Rehearsal
from admitone.orders import commands
from admitone.orders.model import Order


async def buys(it: Rehearsal, fee_basis_points: int) -> Order:
    return await it.does(commands.create_order, BOB, TICKET, None, Settings(fee_basis_points=fee_basis_points))


async def test_the_seller_and_the_fee_are_kept_when_the_ticket_is_locked(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created(seller_id=EVE))
        order = await buys(it, 250)
        assert (order.seller_id, order.fee_basis_points) == (EVE, 250)
        assert await it.rows("SELECT seller_id, fee_basis_points FROM orders") == [{"seller_id": EVE, "fee_basis_points": 250}]


async def test_a_later_change_of_the_fee_is_for_later_orders(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        first = await buys(it, 250)
        await it.does(commands.cancel_by_buyer, first.order_id, BOB)
        await buys(it, 1000)
        said = [event for event in await it.said() if isinstance(event, OrderEvent)]
        assert [(event.lock, event.fee_basis_points) for event in said] == [(1, 250), (1, 250), (2, 1000)]
        assert await it.rows("SELECT lock, fee_basis_points FROM orders ORDER BY lock") == [
            {"lock": 1, "fee_basis_points": 250},
            {"lock": 2, "fee_basis_points": 1000},
        ]


@pytest.mark.parametrize("ending", ["cancelled", "refunded"])
async def test_every_event_of_an_order_carries_them(rehearse: Rehearse, ending: str) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        order_id = (await buys(it, 250)).order_id
        await it.hears(ticket_updated(order_id=order_id))
        if ending == "cancelled":
            await it.does(commands.cancel_by_buyer, order_id, BOB)
        else:
            await it.hears(payment_authorized(order_id=order_id), payment_refunded(order_id=order_id))
        terms: dict[str, Any] = {"order_id": order_id, "seller_id": ANN, "fee_basis_points": 250}
        assert await it.said() == [
            order_created(**terms),
            order_reserved(**terms),
            *([order_cancelled(**terms)] if ending == "cancelled" else [order_completed(**terms), order_refunded(**terms)]),
        ]


@pytest.mark.parametrize(
    "event", [order_created(), order_reserved(), order_extended(), order_cancelled(), order_completed(), order_refunded()]
)
def test_an_event_from_before_there_were_sellers_and_fees_can_still_be_read(event: OrderEvent) -> None:
    data = msgspec.to_builtins(event)
    del data["seller_id"], data["fee_basis_points"]
    assert msgspec.convert(data, type(event)) == msgspec.structs.replace(event, seller_id=None, fee_basis_points=0)
