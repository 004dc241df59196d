"""Money follows the state of the order: captured when complete, given back when cancelled, asked for again when in doubt."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from facts import BOB, PRICE, order_cancelled, order_completed, order_reserved

from admitone.events import OrderEvent
from admitone.kit.connection import Connection
from admitone.kit.testing import NOON
from admitone.local import Engines
from admitone.payments import commands, gateway, processing
from admitone.payments.gateway import Declined, Gateway, OutcomeUnknown
from admitone.payments.handlers import copy_order
from admitone.payments.model import Charge, PaymentUnderWay
from databases import OwnDatabase, own_database

MINUTE = timedelta(minutes=1)


class Unreliable:
    """A processor out in the world: the next answers are lost, before or after it has done what it was asked."""

    def __init__(self, processor: Gateway) -> None:
        self.processor = processor
        self.lost: list[str] = []
        self.keys: list[str] = []

    def token(self, text: str) -> str:
        return self.processor.token(text)

    async def authorize(self, charge: Charge) -> str:
        self.keys.append(charge.idempotency_key)
        self._lose("before")
        answer = await self.processor.authorize(charge)
        self._lose("after")
        return answer

    async def capture(self, charge: Charge) -> None:
        self._lose("before")
        await self.processor.capture(charge)
        self._lose("after")

    async def void(self, charge: Charge) -> None:
        self._lose("before")
        await self.processor.void(charge)
        self._lose("after")

    def _lose(self, when: str) -> None:
        if self.lost and self.lost[0] == when:
            self.lost.pop(0)
            raise OutcomeUnknown(when)


class Scene:
    """Orders of Bob's, what payments does about them, and what the processor knows. `now` is the service's clock."""

    def __init__(self) -> None:
        self.now = NOON
        self.own: OwnDatabase
        self.processor: Unreliable

    async def clock(self, _connection: Connection) -> datetime:
        return self.now

    async def hears(self, *events: OrderEvent) -> None:
        async with self.own.db.transaction() as tx:
            for event in events:
                await copy_order(event, tx)

    async def begins(self, order_id: UUID, token: str = "tok_visa") -> Charge:
        """The intent is written down; nobody has called the processor yet."""
        async with self.own.db.transaction() as tx:
            return await commands.begin_charge(tx, order_id, BOB, self.processor.token(token), tx.now)

    async def authorizes(self, order_id: UUID, token: str = "tok_visa") -> Charge:
        charge = await self.begins(order_id, token)
        await processing.authorize(self.own.db, self.processor, charge)
        return charge

    async def settles(self) -> int:
        return await processing.settle(self.own.db, self.processor)

    async def charges(self) -> list[str]:
        return [row["status"] for row in await self.own.rows("SELECT status FROM charges ORDER BY begun_at, attempt")]

    async def at_the_processor(self) -> list[str]:
        return [row["status"] for row in await self.own.rows("SELECT status FROM test_gateway")]

    async def said(self) -> list[str]:
        return [row["event"] for row in await self.own.rows("SELECT event FROM outbox ORDER BY id")]


@pytest.fixture(scope="module")
async def stage(engines: Engines) -> AsyncIterator[Scene]:
    scene = Scene()
    async with own_database(engines, "payments", scene.clock) as scene.own:
        yield scene


@pytest.fixture
async def scene(stage: Scene) -> Scene:
    await stage.own.db.pool.execute("TRUNCATE order_copies, charges, test_gateway, outbox")
    stage.now = NOON
    stage.processor = Unreliable(gateway.TestGateway(stage.own.db))
    return stage


async def test_an_approved_payment_is_not_taken_before_the_order_is_complete(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.authorizes(order.order_id)
    assert await scene.settles() == 0
    assert (await scene.charges(), await scene.at_the_processor()) == (["authorized"], ["authorized"])
    assert await scene.said() == ["PaymentAuthorized"]


async def test_the_payment_of_a_complete_order_is_taken_once(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.authorizes(order.order_id)
    await scene.hears(order_completed())
    assert [await scene.settles(), await scene.settles()] == [0, 0]
    assert (await scene.charges(), await scene.at_the_processor()) == (["completed"], ["captured"])
    assert await scene.said() == ["PaymentAuthorized", "PaymentCreated"]


async def test_the_payment_of_a_cancelled_order_is_given_back(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.authorizes(order.order_id)
    await scene.hears(order_cancelled(reason="expired"))
    assert [await scene.settles(), await scene.settles()] == [0, 0]
    assert (await scene.charges(), await scene.at_the_processor()) == (["failed"], ["voided"])
    (row,) = await scene.own.rows("SELECT data FROM outbox WHERE event = 'PaymentFailed'")
    assert (row["data"]["decline_code"], row["data"]["charge_id"]) == ("voided", str(charge.charge_id))


async def test_an_approval_is_given_back_although_the_order_ended_before_it(scene: Scene) -> None:
    """The cancellation was heard while the processor was being asked: no event comes after the approval to void it."""
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.begins(order.order_id)
    await scene.hears(order_cancelled())
    await processing.authorize(scene.own.db, scene.processor, charge)
    await scene.settles()
    assert (await scene.charges(), await scene.at_the_processor()) == (["failed"], ["voided"])


async def test_a_declined_card_is_final_for_its_attempt(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.authorizes(order.order_id, "tok_chargeDeclined")
    await scene.authorizes(order.order_id)
    await scene.hears(order_completed())
    await scene.settles()
    assert await scene.charges() == ["failed", "completed"]
    assert await scene.at_the_processor() == ["declined", "captured"]
    assert await scene.said() == ["PaymentFailed", "PaymentAuthorized", "PaymentCreated"]


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_a_payment_in_doubt_is_asked_for_again_with_the_same_key(scene: Scene, lost: str) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.begins(order.order_id)
    scene.processor.lost = [lost]
    with pytest.raises(OutcomeUnknown):
        await processing.authorize(scene.own.db, scene.processor, charge)
    assert await scene.charges() == ["created"]
    assert await scene.said() == []
    with pytest.raises(PaymentUnderWay):
        await scene.begins(order.order_id)

    scene.now += processing.IN_DOUBT_AFTER
    assert await scene.settles() == 0
    assert await scene.charges() == ["created"], "asked again too early: the first call may still be under way"
    scene.now += timedelta(seconds=1)
    assert await scene.settles() == 0
    assert scene.processor.keys == [charge.idempotency_key] * 2
    assert (await scene.charges(), await scene.at_the_processor()) == (["authorized"], ["authorized"])
    assert await scene.said() == ["PaymentAuthorized"]


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_a_payment_in_doubt_whose_order_was_cancelled_is_resolved_and_then_given_back(scene: Scene, lost: str) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.begins(order.order_id)
    scene.processor.lost = [lost]
    with pytest.raises(OutcomeUnknown):
        await processing.authorize(scene.own.db, scene.processor, charge)
    await scene.hears(order_cancelled(reason="expired"))
    scene.now += MINUTE
    await scene.settles()
    await scene.settles()
    assert (await scene.charges(), await scene.at_the_processor()) == (["failed"], ["voided"])


async def test_a_crash_between_the_intent_and_the_call_leaves_a_charge_that_is_found_again(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.begins(order.order_id, "tok_chargeDeclined")
    scene.now += MINUTE
    await scene.settles()
    assert (await scene.charges(), await scene.at_the_processor()) == (["failed"], ["declined"])
    assert await scene.said() == ["PaymentFailed"]


@pytest.mark.parametrize("lost", [["before"], ["after"], ["after", "before", "after"]])
@pytest.mark.parametrize("complete", [True, False])
async def test_a_capture_or_void_in_doubt_is_repeated_and_has_one_effect(scene: Scene, lost: list[str], complete: bool) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.authorizes(order.order_id)
    await scene.hears(order_completed() if complete else order_cancelled())
    scene.processor.lost = list(lost)
    for _ in lost:
        assert await scene.settles() == 1
        assert await scene.charges() == ["authorized"]
    assert await scene.settles() == 0
    assert (await scene.charges(), await scene.at_the_processor()) == (
        (["completed"], ["captured"]) if complete else (["failed"], ["voided"])
    )
    assert (await scene.said())[1:] == ["PaymentCreated" if complete else "PaymentFailed"]


async def test_one_charge_that_cannot_be_settled_holds_up_no_other(scene: Scene) -> None:
    first, second = uuid4(), uuid4()
    for order_id in (first, second):
        await scene.hears(order_reserved(order_id=order_id))
        await scene.authorizes(order_id)
        await scene.hears(order_completed(order_id=order_id))
        scene.now += timedelta(seconds=1)
    scene.processor.lost = ["before"]
    assert await scene.settles() == 1
    assert await scene.charges() == ["authorized", "completed"]


async def test_two_replicas_that_settle_at_once_take_the_money_once(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.authorizes(order.order_id)
    await scene.hears(order_completed())
    await asyncio.gather(*(scene.settles() for _ in range(4)))
    assert (await scene.charges(), await scene.at_the_processor()) == (["completed"], ["captured"])
    assert await scene.said() == ["PaymentAuthorized", "PaymentCreated"]


async def test_of_many_clicks_at_once_one_begins_a_charge(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    answers = await asyncio.gather(*(scene.begins(order.order_id) for _ in range(8)), return_exceptions=True)
    assert [type(answer) for answer in answers].count(Charge) == 1
    assert [type(answer) for answer in answers].count(PaymentUnderWay) == 7
    assert await scene.charges() == ["created"]


async def test_the_test_processor_gives_the_same_answer_to_the_same_key(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.begins(order.order_id)
    processor = gateway.TestGateway(scene.own.db)
    assert await processor.authorize(charge) == await processor.authorize(charge)
    await processor.capture(charge)
    await processor.capture(charge)
    with pytest.raises(OutcomeUnknown):
        await processor.void(charge)
    assert await scene.own.rows("SELECT status, amount_cents FROM test_gateway") == [{"status": "captured", "amount_cents": PRICE}]


async def test_the_test_processor_declines_the_same_key_again(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.begins(order.order_id, "4000 0000 0000 9995")
    for _ in range(2):
        with pytest.raises(Declined, match="insufficient_funds"):
            await gateway.TestGateway(scene.own.db).authorize(charge)
