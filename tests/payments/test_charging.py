"""When a charge may begin, and when it may not."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from conftest import Rehearse
from facts import (
    BOB,
    EVE,
    EXPIRES_AT,
    PRICE,
    A,
    order_cancelled,
    order_completed,
    order_created,
    order_reserved,
    payment_authorized,
    payment_created,
    payment_failed,
)

from admitone import payments
from admitone.kit.problem import Problem
from admitone.kit.testing import Rehearsal
from admitone.payments import commands
from admitone.payments.model import Charge, NotPayableYet, OrderCancelled, OrderNotFound, PaidAlready, PaymentUnderWay, TimeIsUp
from delivery import every_order, heard

SECOND = timedelta(seconds=1)


async def begins(it: Rehearsal, who: UUID = BOB, order_id: UUID = A) -> Charge:
    return await it.does(commands.begin_charge, order_id, who, "tok_visa", it.now)


async def declined(it: Rehearsal) -> Charge:
    charge = await begins(it)
    await it.does(commands.note_failed, charge.charge_id, "card_declined")
    return charge


async def test_a_reserved_order_may_be_paid(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_created(), order_reserved())
        charge = await begins(it)
        assert (charge.status, charge.attempt, charge.amount_cents, charge.currency) == ("created", 1, PRICE, "USD")
        assert str(charge.charge_id) in charge.idempotency_key
        assert await it.said() == []


async def test_an_order_that_is_not_reserved_yet_may_not_be_paid_yet(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_created())
        with pytest.raises(NotPayableYet):
            await begins(it)


async def test_an_order_may_be_paid_though_only_its_reservation_was_heard_of(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved(), order_created())
        assert (await begins(it)).attempt == 1


async def test_payments_begin_until_the_time_is_up(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        it.now = EXPIRES_AT
        with pytest.raises(TimeIsUp):
            await begins(it)
        it.now = EXPIRES_AT - SECOND
        assert (await begins(it)).status == "created"


async def test_an_order_with_more_time_may_be_paid_longer(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved(version=3, expires_at=EXPIRES_AT + 300 * SECOND, extended=True), order_reserved())
        it.now = EXPIRES_AT + SECOND
        assert (await begins(it)).status == "created"


@pytest.mark.parametrize(("event", "refusal"), [(order_cancelled(), OrderCancelled), (order_completed(), PaidAlready)])
async def test_an_order_that_has_ended_is_not_paid(rehearse: Rehearse, event: Any, refusal: type[Problem]) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(event, order_reserved())
        with pytest.raises(refusal):
            await begins(it)
        assert await it.rows("SELECT 1 FROM charges") == []


async def test_nobody_pays_another_persons_order_or_one_that_never_was(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        with pytest.raises(OrderNotFound):
            await begins(it, EVE)
        with pytest.raises(OrderNotFound):
            await begins(it, order_id=uuid4())


async def test_an_order_has_one_live_charge(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        charge = await begins(it)
        with pytest.raises(PaymentUnderWay):
            await begins(it)
        await it.does(commands.note_authorized, charge.charge_id, "pi_1")
        with pytest.raises(PaymentUnderWay):
            await begins(it)
        await it.does(commands.note_captured, charge.charge_id)
        with pytest.raises(PaidAlready):
            await begins(it)
        assert len(await it.rows("SELECT 1 FROM charges")) == 1


async def test_the_schema_itself_holds_one_live_charge_per_order(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        await begins(it)
        with pytest.raises(asyncpg.UniqueViolationError, match="one_live_charge_per_order"):
            await it.rows(
                """
                INSERT INTO charges (charge_id, order_id, attempt, status, amount_cents, currency, payment_token, idempotency_key,
                                     begun_at, correlation_id)
                SELECT gen_random_uuid(), order_id, 2, 'created', amount_cents, currency, payment_token, 'another', begun_at,
                       correlation_id FROM charges
                """
            )


async def test_a_declined_card_may_be_tried_again_but_not_a_fourth_time(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        for attempt in (1, 2, 3):
            charge = await declined(it)
            assert charge.attempt == attempt
            assert await it.said() == [payment_failed(attempt, charge_id=charge.charge_id)]
        with pytest.raises(OrderCancelled):
            await begins(it)
        assert len({row["idempotency_key"] for row in await it.rows("SELECT idempotency_key FROM charges")}) == 3


async def test_an_approval_is_said_once(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        charge = await begins(it)
        for _ in range(2):
            await it.does(commands.note_authorized, charge.charge_id, "pi_1")
        assert await it.said() == [payment_authorized(charge_id=charge.charge_id)]


async def test_a_capture_is_said_once_and_only_of_what_was_approved(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        charge = await begins(it)
        await it.does(commands.note_captured, charge.charge_id)
        assert await it.said() == []
        await it.does(commands.note_authorized, charge.charge_id, "pi_1")
        await it.said()
        for _ in range(2):
            await it.does(commands.note_captured, charge.charge_id)
        assert await it.said() == [payment_created(charge_id=charge.charge_id)]


async def test_a_charge_that_has_ended_is_not_brought_back(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        failed = await declined(it)
        await it.said()
        await it.does(commands.note_authorized, failed.charge_id, "pi_1")
        await it.does(commands.note_failed, failed.charge_id, "voided")
        taken = await begins(it)
        await it.does(commands.note_authorized, taken.charge_id, "pi_2")
        await it.does(commands.note_captured, taken.charge_id)
        await it.said()
        await it.does(commands.note_failed, taken.charge_id, "voided")
        assert await it.said() == []
        assert await it.rows("SELECT status, failure FROM charges ORDER BY attempt") == [
            {"status": "failed", "failure": "card_declined"},
            {"status": "completed", "failure": None},
        ]


@pytest.mark.parametrize("end", [order_cancelled(version=4), order_completed(version=4)])
async def test_the_copy_of_an_order_is_its_newest_state_whatever_came_first(rehearse: Rehearse, end: Any) -> None:
    later = EXPIRES_AT + 300 * SECOND
    events = [order_created(), order_reserved(), order_reserved(version=3, expires_at=later), end]
    async with rehearse(payments.service) as it:
        for arrival in every_order(*events):
            async with heard(it, arrival):
                expected = {"order_id": A, "version": 4, "user_id": BOB, "status": end.status}
                expected |= {"price_cents": PRICE, "currency": "USD", "expires_at": EXPIRES_AT}
                assert await it.rows("SELECT * FROM order_copies") == [expected], arrival
        assert await it.said() == []
