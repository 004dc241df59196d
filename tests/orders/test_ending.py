"""Pay, expire or cancel: whichever comes first ends it, and nothing that comes later changes that."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from conftest import Rehearse
from support.facts import (
    BOB,
    CANCEL_AT,
    CHARGE,
    EVE,
    EXPIRES_AT,
    PRICE,
    TICKET,
    expiration_complete,
    order_cancelled,
    order_completed,
    payment_authorized,
    payment_created,
    payment_failed,
    reservation_refused,
    ticket_created,
    ticket_updated,
)

from admitone import orders
from admitone.config import Settings
from admitone.events import OrderCancelled
from admitone.kit.observe.gauges import read
from admitone.kit.service import TooEarly
from admitone.kit.testing import Rehearsal
from admitone.orders import commands
from admitone.orders.model import OrderComplete, OrderNotFound

SECOND = timedelta(seconds=1)


class Scene:
    """Bob's order of a ticket, confirmed and not paid yet."""

    def __init__(self, it: Rehearsal, order_id: UUID) -> None:
        self.it = it
        self.order_id = order_id

    async def is_now(self) -> tuple[str, str | None, int]:
        (row,) = await self.it.rows("SELECT status, reason, version FROM orders WHERE order_id = $1", self.order_id)
        return row["status"], row["reason"], row["version"]

    async def cancels(self, user: UUID = BOB) -> None:
        await self.it.does(commands.cancel_by_buyer, self.order_id, user)


@pytest.fixture
async def scene(rehearse: Rehearse) -> AsyncIterator[Scene]:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        order = await it.does(commands.create_order, BOB, TICKET, None, Settings())
        await it.hears(ticket_updated(order_id=order.order_id))
        await it.said()
        assert (order.expires_at, order.cancel_at) == (EXPIRES_AT, CANCEL_AT)
        yield Scene(it, order.order_id)


AWAITING = ("awaiting:payment", None, 2)
COMPLETE = ("complete", None, 3)


async def test_the_buyer_gives_the_ticket_back_and_it_is_free_at_once(scene: Scene) -> None:
    await scene.cancels()
    assert await scene.it.said() == [order_cancelled(order_id=scene.order_id)]
    assert (await scene.it.does(commands.create_order, EVE, TICKET, None, Settings())).lock == 2


async def test_cancelling_twice_changes_nothing_more(scene: Scene) -> None:
    await scene.cancels()
    await scene.it.said()
    await scene.cancels()
    assert await scene.it.said() == []
    assert await scene.is_now() == ("cancelled", "by_buyer", 3)


async def test_another_persons_order_is_not_found(scene: Scene) -> None:
    with pytest.raises(OrderNotFound):
        await scene.cancels(EVE)
    assert await scene.is_now() == AWAITING


async def test_an_order_that_never_was_is_not_found(scene: Scene) -> None:
    with pytest.raises(OrderNotFound):
        await scene.it.does(commands.cancel_by_buyer, uuid4(), BOB)


async def test_a_complete_order_cannot_be_cancelled(scene: Scene) -> None:
    await scene.it.hears(payment_authorized(order_id=scene.order_id))
    assert await scene.it.said() == [order_completed(order_id=scene.order_id)]
    with pytest.raises(OrderComplete):
        await scene.cancels()
    assert await scene.it.said() == []
    assert await scene.is_now() == COMPLETE


async def test_nothing_that_comes_late_ends_a_complete_order(scene: Scene) -> None:
    await scene.it.hears(payment_authorized(order_id=scene.order_id))
    await scene.it.said()
    scene.it.now = CANCEL_AT + SECOND
    await scene.it.hears(
        expiration_complete(order_id=scene.order_id),
        reservation_refused(order_id=scene.order_id),
        payment_failed(3, order_id=scene.order_id),
        payment_authorized(order_id=scene.order_id),
        ticket_updated(order_id=scene.order_id),
    )
    assert await scene.it.does(commands.expire_overdue, scene.it.now) == 0
    assert await scene.it.said() == []
    assert await scene.is_now() == COMPLETE


async def test_a_payment_approved_after_the_end_does_nothing(scene: Scene) -> None:
    await scene.cancels()
    await scene.it.said()
    await scene.it.hears(payment_authorized(order_id=scene.order_id))
    assert await scene.it.said() == []
    assert await scene.is_now() == ("cancelled", "by_buyer", 3)


@pytest.mark.parametrize("wrong", [{"amount_cents": PRICE + 1}, {"amount_cents": 0}, {"currency": "EUR"}, {"order_id": uuid4()}])
async def test_a_payment_of_something_else_completes_nothing(scene: Scene, wrong: dict[str, object]) -> None:
    await scene.it.hears(payment_authorized(**{"order_id": scene.order_id} | wrong))
    assert await scene.it.said() == []
    assert await scene.is_now() == AWAITING


async def test_a_payment_of_an_order_that_is_not_confirmed_completes_nothing(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        order = await it.does(commands.create_order, BOB, TICKET, None, Settings())
        await it.said()
        await it.hears(payment_authorized(order_id=order.order_id))
        assert await it.said() == []


async def test_a_payment_that_arrives_in_the_settle_time_still_counts(scene: Scene) -> None:
    scene.it.now = CANCEL_AT - SECOND
    await scene.it.hears(payment_authorized(order_id=scene.order_id))
    assert await scene.is_now() == COMPLETE


async def test_an_unpaid_order_expires_when_its_time_is_over(scene: Scene) -> None:
    scene.it.now = CANCEL_AT
    event = expiration_complete(order_id=scene.order_id)
    await scene.it.hears(event, event)
    assert await scene.it.said() == [order_cancelled(order_id=scene.order_id, reason="expired")]
    assert await scene.is_now() == ("cancelled", "expired", 3)


async def test_an_expiry_that_our_own_clock_does_not_see_yet_is_taken_again_later(scene: Scene) -> None:
    scene.it.now = CANCEL_AT - 2 * SECOND
    with pytest.raises(TooEarly) as early:
        await scene.it.hears(expiration_complete(order_id=scene.order_id))
    assert 2 <= early.value.seconds < 3
    assert await scene.is_now() == AWAITING
    assert await scene.it.said() == []
    scene.it.now = CANCEL_AT
    await scene.it.hears(expiration_complete(order_id=scene.order_id))
    assert await scene.is_now() == ("cancelled", "expired", 3)


async def test_an_expiry_for_a_deadline_that_was_moved_is_ignored(scene: Scene) -> None:
    """As after an extension: the event fired for the old deadline, the order has a newer one."""
    scene.it.now = CANCEL_AT
    await scene.it.hears(expiration_complete(order_id=scene.order_id, cancel_at=CANCEL_AT - 300 * SECOND))
    assert await scene.it.said() == []
    assert await scene.is_now() == AWAITING


async def test_an_expiry_of_an_unknown_order_is_ignored(scene: Scene) -> None:
    await scene.it.hears(expiration_complete(order_id=uuid4()))
    assert await scene.it.said() == []


async def test_the_expiry_of_an_order_that_was_never_confirmed_counts_too(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        order = await it.does(commands.create_order, BOB, TICKET, None, Settings())
        await it.said()
        it.now = CANCEL_AT
        await it.hears(expiration_complete(order_id=order.order_id))
        (event,) = await it.said()
        assert isinstance(event, OrderCancelled)
        assert (event.reason, event.version) == ("expired", 2)


async def test_what_the_sweep_ends_belongs_to_the_request_that_made_the_order(scene: Scene) -> None:
    (made,) = await scene.it.rows("SELECT correlation_id FROM outbox WHERE event = 'OrderCreated'")
    assert await scene.it.does(commands.expire_overdue, CANCEL_AT) == 1
    assert await scene.it.rows("SELECT correlation_id FROM outbox WHERE event = 'OrderCancelled'") == [made]


async def test_the_sweep_ends_what_expiration_has_never_spoken_of(scene: Scene) -> None:
    assert await scene.it.does(commands.expire_overdue, CANCEL_AT - SECOND) == 0
    assert await scene.it.said() == []
    assert await scene.it.does(commands.expire_overdue, CANCEL_AT) == 1
    assert await scene.it.does(commands.expire_overdue, CANCEL_AT) == 0
    assert await scene.it.said() == [order_cancelled(order_id=scene.order_id, reason="expired")]


async def test_the_third_failed_attempt_ends_the_order(scene: Scene) -> None:
    await scene.it.hears(payment_failed(1, order_id=scene.order_id), payment_failed(2, order_id=scene.order_id))
    assert await scene.is_now() == AWAITING
    await scene.it.hears(payment_failed(3, order_id=scene.order_id), payment_failed(3, order_id=scene.order_id))
    assert await scene.it.said() == [order_cancelled(order_id=scene.order_id, reason="payment_failed")]


async def test_the_same_failed_attempt_three_times_ends_nothing(scene: Scene) -> None:
    await scene.it.hears(*[payment_failed(2, order_id=scene.order_id)] * 3)
    assert await scene.it.said() == []
    assert await scene.is_now() == AWAITING


async def test_the_third_failed_payment_counts_even_when_it_arrives_first(scene: Scene) -> None:
    await scene.it.hears(payment_failed(3, order_id=scene.order_id), payment_failed(1, order_id=scene.order_id))
    assert await scene.is_now() == ("cancelled", "payment_failed", 3)


async def test_the_charge_is_kept_for_the_record_and_changes_no_version(scene: Scene) -> None:
    await scene.it.hears(payment_authorized(order_id=scene.order_id))
    await scene.it.said()
    await scene.it.hears(payment_created(order_id=scene.order_id), payment_created(order_id=scene.order_id))
    assert await scene.it.said() == []
    assert await scene.is_now() == COMPLETE
    assert await scene.it.rows("SELECT charge_id FROM orders") == [{"charge_id": CHARGE}]


async def test_an_order_counts_as_overdue_when_even_the_sweep_should_have_ended_it(scene: Scene) -> None:
    for now, overdue in ((CANCEL_AT + 65 * SECOND, 0.0), (CANCEL_AT + 66 * SECOND, 1.0)):
        scene.it.now = now
        assert await read(scene.it.tx, orders.service.gauges) == {"overdue_orders": overdue}
    await scene.it.does(commands.expire_overdue, scene.it.now)
    assert await read(scene.it.tx, orders.service.gauges) == {"overdue_orders": 0.0}
