"""An order's history in plain words: every status and every reason has its sentence, each said once, in whatever order it was heard."""

import re
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from conftest import Rehearse
from support.delivery import every_order, heard
from support.facts import (
    BOB,
    CANCEL_AT,
    TICKET,
    expiration_complete,
    order_cancelled,
    payment_authorized,
    payment_created,
    payment_failed,
    payment_refunded,
    payment_uncollected,
    ticket_created,
    ticket_updated,
)

from admitone import orders
from admitone.config import Settings
from admitone.events import OrderEvent
from admitone.kit.event import CATALOGUE, OWNERS
from admitone.kit.testing import Rehearsal
from admitone.orders import commands, repository
from admitone.orders.history import history, sentence
from admitone.orders.model import HistoryLine

CLICKED = "You clicked Buy: the ticket is yours to pay for until 12:15 UTC."
LOCKED = "The ticket is locked for you at $49.90."
APPROVED = "Your payment was approved: the ticket is yours."
TAKEN = "The money was taken: $49.90."
GIVEN_BACK = "Your money was given back."
NOT_TAKEN = "The approved money could not be taken: nothing was charged."
UNDONE = "The sale was undone. Nothing had been charged, so there was nothing to give back."
DECLINED_ONCE = "Your card was declined: nothing was charged. You had 2 more tries."
DECLINED_TWICE = "Your card was declined: nothing was charged. You had 1 more try."
DECLINED_THRICE = "Your card was declined: nothing was charged. That was the last try."


class Scene:
    """Bob's order of a ticket, confirmed and not paid yet."""

    def __init__(self, it: Rehearsal, order_id: UUID) -> None:
        self.it = it
        self.order_id = order_id

    async def history(self) -> list[HistoryLine]:
        order = await repository.get(self.it.tx, self.order_id)
        assert order is not None
        return history(order, await repository.history_entries(self.it.tx, self.order_id))

    async def tells(self) -> list[str]:
        return [happening.text for happening in await self.history()]


@pytest.fixture
async def scene(rehearse: Rehearse) -> AsyncIterator[Scene]:
    async with rehearse(orders.service) as it:
        await it.hears(ticket_created())
        order = await it.does(commands.create_order, BOB, TICKET, None, Settings())
        await it.hears(ticket_updated(order_id=order.order_id))
        yield Scene(it, order.order_id)


async def test_a_paid_and_refunded_order_reads_as_it_went_whatever_was_heard_first(scene: Scene) -> None:
    ordered = {"order_id": scene.order_id}
    assert await scene.tells() == [CLICKED, LOCKED]
    await scene.it.hears(payment_failed(1, **ordered), payment_authorized(**ordered))
    for arrival in every_order(payment_authorized(**ordered), payment_created(**ordered), payment_refunded(**ordered)):
        async with heard(scene.it, arrival):
            assert await scene.tells() == [CLICKED, LOCKED, DECLINED_ONCE, APPROVED, TAKEN, GIVEN_BACK], arrival


async def test_money_that_came_before_its_approval_was_heard_of_is_told_after_it(scene: Scene) -> None:
    ordered = {"order_id": scene.order_id}
    await scene.it.hears(payment_created(**ordered), payment_authorized(**ordered))
    assert await scene.tells() == [CLICKED, LOCKED, APPROVED, TAKEN]


async def test_a_sale_that_was_undone_unpaid_reads_so_whatever_was_heard_first(scene: Scene) -> None:
    ordered = {"order_id": scene.order_id}
    await scene.it.hears(payment_authorized(**ordered))
    for arrival in every_order(payment_uncollected(**ordered), payment_refunded(**ordered)):
        async with heard(scene.it, arrival):
            assert await scene.tells() == [CLICKED, LOCKED, APPROVED, NOT_TAKEN, UNDONE], arrival


async def test_each_decline_is_in_the_history_once_and_before_the_cancellation(scene: Scene) -> None:
    tries = [payment_failed(number, order_id=scene.order_id, charge_id=uuid4()) for number in (1, 2, 3)]
    await scene.it.hears(tries[1], tries[0], tries[1], tries[2], tries[2])
    ended = "Cancelled: the payment failed 3 times."
    assert await scene.tells() == [CLICKED, LOCKED, DECLINED_ONCE, DECLINED_TWICE, DECLINED_THRICE, ended]


async def test_an_approval_that_lost_the_race_is_told_after_the_end(scene: Scene) -> None:
    ordered = {"order_id": scene.order_id}
    scene.it.now = CANCEL_AT
    await scene.it.hears(expiration_complete(**ordered), payment_authorized(**ordered), payment_failed(1, decline_code="voided", **ordered))
    told = await scene.history()
    assert [happening.text for happening in told[2:]] == [
        "Cancelled: the time to pay was over.",
        "The approval of your payment was given back: nothing was charged.",
    ]
    assert [happening.at for happening in told] == sorted(happening.at for happening in told)
    assert told[-1].at == CANCEL_AT


async def test_payment_events_of_an_unknown_order_are_in_no_history(scene: Scene) -> None:
    await scene.it.hears(payment_failed(1), payment_created(), payment_uncollected())
    assert await scene.it.rows("SELECT * FROM payment_events") == []
    assert await scene.tells() == [CLICKED, LOCKED]


async def test_payment_events_change_no_version_and_publish_nothing(scene: Scene) -> None:
    await scene.it.said()
    ordered = {"order_id": scene.order_id}
    await scene.it.hears(payment_failed(1, **ordered), payment_created(**ordered), payment_uncollected(**ordered))
    assert await scene.it.said() == []
    assert await scene.it.rows("SELECT version, status FROM orders") == [{"version": 2, "status": "awaiting:payment"}]


async def test_every_reason_that_an_order_can_be_cancelled_for_has_its_sentence(scene: Scene) -> None:
    (rule,) = await scene.it.rows("SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE conname = 'orders_reason_check'")
    reasons = re.findall(r"'(\w+)'", rule["text"])
    sentences = {sentence(order_cancelled(reason=reason), paid=False) for reason in reasons}
    assert len(sentences) == len(reasons) >= 5
    assert all(re.fullmatch(r"Cancelled: [a-z].*[a-z]\.", text) for text in sentences)


def test_every_event_of_orders_has_its_sentence() -> None:
    owned = [event for event in CATALOGUE.values() if OWNERS[event] == "orders"]
    assert all(issubclass(event, OrderEvent) for event in owned)
    state = {field: getattr(order_cancelled(), field) for field in order_cancelled().__struct_fields__}
    assert len({sentence(event(**state), paid) for event in owned for paid in (False, True)}) == len(owned) + 1
