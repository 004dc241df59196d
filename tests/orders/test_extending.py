"""More time to pay: five minutes, once, for who asks in time."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from conftest import Rehearse
from support.facts import (
    BOB,
    CANCEL_AT,
    EVE,
    EXPIRES_AT,
    MORE,
    TICKET,
    expiration_complete,
    order_cancelled,
    order_completed,
    order_extended,
    payment_authorized,
    payment_refunded,
    ticket_created,
    ticket_updated,
)

from admitone import orders
from admitone.config import Settings
from admitone.kit.service import TooEarly
from admitone.kit.testing import Rehearsal
from admitone.orders import commands
from admitone.orders.model import NotConfirmedYet, Order, OrderEnded, OrderNotFound, TimeIsUp

SECOND = timedelta(seconds=1)
MORE_TIME = {"expires_at": EXPIRES_AT + MORE, "cancel_at": CANCEL_AT + MORE, "extended": True}


async def bought(it: Rehearsal) -> UUID:
    """Bob's order, not confirmed yet."""
    await it.hears(ticket_created())
    return (await it.does(commands.create_order, BOB, TICKET, None, Settings())).order_id


async def reserved(it: Rehearsal) -> UUID:
    """Bob's order, to be paid for; orders has spoken of it already."""
    order_id = await bought(it)
    await it.hears(ticket_updated(order_id=order_id))
    await it.said()
    return order_id


async def extends(it: Rehearsal, order_id: UUID, who: UUID = BOB) -> Order:
    return await it.does(commands.extend, order_id, who, it.now)


async def test_a_buyer_has_five_minutes_more(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await reserved(it)
        it.now = EXPIRES_AT - timedelta(microseconds=1)
        order = await extends(it, order_id)
        assert (order.expires_at, order.cancel_at, order.extended) == (EXPIRES_AT + MORE, CANCEL_AT + MORE, True)
        assert (order.status, order.version) == ("awaiting:payment", 3)
        assert await it.said() == [order_extended(order_id=order_id)]


async def test_a_second_click_is_answered_with_the_order_as_it_is(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await reserved(it)
        first = await extends(it, order_id)
        await it.said()
        assert await extends(it, order_id) == first
        it.now = EXPIRES_AT + MORE - SECOND
        assert await extends(it, order_id) == first
        assert await it.said() == []


@pytest.mark.parametrize("extended", [False, True])
async def test_who_asks_when_the_time_is_up_has_no_more(rehearse: Rehearse, extended: bool) -> None:
    """A payment that began in time is still waited for, but none may begin."""
    async with rehearse(orders.service) as it:
        order_id = await reserved(it)
        if extended:
            await extends(it, order_id)
            await it.said()
        it.now = EXPIRES_AT + (MORE if extended else 0 * MORE)
        with pytest.raises(TimeIsUp):
            await extends(it, order_id)
        assert await it.said() == []


async def test_an_order_that_is_not_confirmed_yet_has_to_wait(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await bought(it)
        await it.said()
        with pytest.raises(NotConfirmedYet):
            await extends(it, order_id)
        assert await it.said() == []
        await it.hears(ticket_updated(order_id=order_id))
        assert (await extends(it, order_id)).extended


async def test_another_persons_order_or_one_that_never_was_is_not_found(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await reserved(it)
        for wanted, who in ((order_id, EVE), (uuid4(), BOB)):
            with pytest.raises(OrderNotFound):
                await extends(it, wanted, who)
        await extends(it, order_id)
        with pytest.raises(OrderNotFound):  # Nor once it was extended.
            await extends(it, order_id, EVE)


@pytest.mark.parametrize("end", ["complete", "cancelled", "refunded"])
@pytest.mark.parametrize("extended", [False, True])
async def test_an_order_that_has_ended_needs_no_more_time(rehearse: Rehearse, end: str, extended: bool) -> None:
    async with rehearse(orders.service) as it:
        order_id = await reserved(it)
        if extended:
            await extends(it, order_id)
        if end == "cancelled":
            await it.does(commands.cancel_by_buyer, order_id, BOB)
        else:
            await it.hears(payment_authorized(order_id=order_id))
        if end == "refunded":
            await it.hears(payment_refunded(order_id=order_id))
        await it.said()
        with pytest.raises(OrderEnded):
            await extends(it, order_id)
        assert await it.said() == []


async def test_nothing_ends_an_extended_order_at_its_old_deadline(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await reserved(it)
        await extends(it, order_id)
        await it.said()
        it.now = CANCEL_AT
        await it.hears(expiration_complete(order_id=order_id))
        assert await it.does(commands.expire_overdue, it.now) == 0
        with pytest.raises(TooEarly):
            await it.hears(expiration_complete(order_id=order_id, cancel_at=CANCEL_AT + MORE))
        it.now = CANCEL_AT + MORE - SECOND
        await it.hears(expiration_complete(order_id=order_id))
        assert await it.does(commands.expire_overdue, it.now) == 0
        assert await it.said() == []


async def test_an_extended_order_ends_at_its_new_deadline(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await reserved(it)
        await extends(it, order_id)
        await it.said()
        it.now = CANCEL_AT + MORE
        await it.hears(expiration_complete(order_id=order_id), expiration_complete(order_id=order_id, cancel_at=it.now))
        assert await it.said() == [order_cancelled(order_id=order_id, version=4, reason="expired", **MORE_TIME)]


async def test_a_payment_after_the_old_deadline_counts(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await reserved(it)
        await extends(it, order_id)
        await it.said()
        it.now = CANCEL_AT + SECOND
        await it.hears(expiration_complete(order_id=order_id), payment_authorized(order_id=order_id))
        assert await it.said() == [order_completed(order_id=order_id, version=4, **MORE_TIME)]
