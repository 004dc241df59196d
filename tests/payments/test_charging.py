"""When a charge may begin, and when it may not."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from conftest import Rehearse
from support.delivery import every_order, heard
from support.facts import (
    ANN,
    BOB,
    EVE,
    EXPIRES_AT,
    MORE,
    PRICE,
    A,
    order_cancelled,
    order_completed,
    order_created,
    order_extended,
    order_refunded,
    order_reserved,
    payment_authorized,
    payment_created,
    payment_failed,
)
from support.processor_states import processor_state

from admitone import payments
from admitone.kit.http.problem import Problem
from admitone.kit.testing import Rehearsal
from admitone.payments import commands
from admitone.payments.model import Charge, NotPayableYet, OrderNotFound, OrderWasCancelled, PaidAlready, PaymentUnderWay, TimeIsUp
from admitone.payments.processors.protocol import OutcomeUnknown, State

SECOND = timedelta(seconds=1)


async def begins(it: Rehearsal, who: UUID = BOB, order_id: UUID = A) -> Charge:
    return await it.does(commands.begin_charge, order_id, who, "tok_visa", it.now)


async def stands(it: Rehearsal, charge: Charge, state: State, **changes: Any) -> None:
    """The processor says so."""
    await it.does(commands.record, charge, processor_state(charge, state, **changes), it.now)


async def declined(it: Rehearsal) -> Charge:
    charge = await begins(it)
    await stands(it, charge, "declined", code="card_declined")
    return charge


async def paid(it: Rehearsal) -> Charge:
    """The whole way to the money."""
    charge = await begins(it)
    await stands(it, charge, "authorized")
    await it.hears(order_completed())
    await stands(it, charge, "captured")
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


async def test_an_order_that_became_payable_while_it_was_refused_is_worth_another_try(rehearse: Rehearse) -> None:
    """The reservation is heard between the attempt and the question why it failed: each sees what is committed by then."""
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        why_not = await it.does(commands._why_not, A, BOB, it.now)
        assert type(why_not) is NotPayableYet


async def test_an_order_can_be_paid_after_its_reservation_alone_has_arrived(rehearse: Rehearse) -> None:
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
        await it.hears(order_extended(), order_reserved())
        it.now = EXPIRES_AT + MORE
        with pytest.raises(TimeIsUp):
            await begins(it)
        it.now -= SECOND
        assert (await begins(it)).status == "created"


@pytest.mark.parametrize(
    ("event", "refusal"), [(order_cancelled(), OrderWasCancelled), (order_completed(), PaidAlready), (order_refunded(), PaidAlready)]
)
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
        await stands(it, charge, "authorized")
        with pytest.raises(PaymentUnderWay):
            await begins(it)
        await it.hears(order_completed())
        await stands(it, charge, "captured")
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
                                     begun_at, changed_at, next_attempt_at, correlation_id)
                SELECT gen_random_uuid(), order_id, 2, 'created', amount_cents, currency, payment_token, 'another', begun_at, begun_at,
                       begun_at, correlation_id FROM charges
                """
            )


async def test_a_declined_card_may_be_tried_again_but_not_a_fourth_time(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        for attempt in (1, 2, 3):
            charge = await declined(it)
            assert charge.attempt == attempt
            assert await it.said() == [payment_failed(attempt, charge_id=charge.charge_id)]
        with pytest.raises(OrderWasCancelled):
            await begins(it)
        assert len({row["idempotency_key"] for row in await it.rows("SELECT idempotency_key FROM charges")}) == 3


async def test_an_approval_is_published_once(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        charge = await begins(it)
        for _ in range(2):
            await stands(it, charge, "authorized")
        assert await it.said() == [payment_authorized(charge_id=charge.charge_id)]


async def test_a_capture_is_published_once_and_only_for_a_complete_order(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        charge = await begins(it)
        await stands(it, charge, "captured")
        assert await it.said() == [payment_authorized(charge_id=charge.charge_id)], "the answer to the authorization was lost, no more"
        await it.hears(order_completed())
        for _ in range(2):
            await stands(it, charge, "captured")
        assert await it.said() == [payment_created(charge_id=charge.charge_id)]


async def test_a_charge_that_has_ended_is_not_brought_back(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        failed = await declined(it)
        await it.said()
        for state in ("authorized", "voided", "needs_confirmation", "captured"):
            await stands(it, failed, state)
        taken = await paid(it)
        await it.said()
        await stands(it, taken, "voided")
        await stands(it, taken, "declined")
        assert await it.said() == []
        assert await it.rows("SELECT status, failure FROM charges ORDER BY attempt") == [
            {"status": "failed", "failure": "card_declined"},
            {"status": "completed", "failure": None},
        ]


async def test_a_withdrawn_authorization_fails_no_charge_that_may_be_completing(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        charge = await begins(it)
        await stands(it, charge, "authorized")
        await stands(it, charge, "voided")
        assert [row["status"] for row in await it.rows("SELECT status FROM charges")] == ["authorized"]
        await it.hears(order_cancelled())
        await stands(it, charge, "voided")
        assert [row["status"] for row in await it.rows("SELECT status FROM charges")] == ["failed"]
        assert await it.said() == [
            payment_authorized(charge_id=charge.charge_id),
            payment_failed(1, charge_id=charge.charge_id, decline_code="voided"),
        ]


@pytest.mark.parametrize("other", [{"amount_cents": PRICE + 1}, {"amount_cents": PRICE - 1}, {"currency": "EUR"}])
async def test_nothing_follows_from_an_answer_about_another_amount(rehearse: Rehearse, other: Any) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        charge = await begins(it)
        with pytest.raises(OutcomeUnknown, match="where we say 4990 USD"):
            await stands(it, charge, "authorized", **other)
        await stands(it, charge, "authorized")
        await it.hears(order_completed())
        await it.said()
        with pytest.raises(OutcomeUnknown):
            await stands(it, charge, "captured", **other)
        assert (await it.said(), await it.rows("SELECT status FROM charges")) == ([], [{"status": "authorized"}])


async def test_a_payment_that_needs_confirmation_keeps_the_way_to_the_bank(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        await it.hears(order_reserved())
        charge = await begins(it)
        for _ in range(2):
            await stands(it, charge, "needs_confirmation", redirect_url="https://bank.example/1")
        assert await it.rows("SELECT status, redirect_url FROM charges") == [
            {"status": "created", "redirect_url": "https://bank.example/1"}
        ]
        assert await it.said() == []
        with pytest.raises(PaymentUnderWay):
            await begins(it)
        await stands(it, charge, "authorized")
        await stands(it, charge, "needs_confirmation", redirect_url="https://bank.example/1")
        assert await it.said() == [payment_authorized(charge_id=charge.charge_id)]
        assert await it.rows("SELECT status FROM charges") == [{"status": "authorized"}]


@pytest.mark.parametrize("end", [order_cancelled(version=4), order_completed(version=4), order_refunded(version=5)])
async def test_the_copy_of_an_order_is_its_newest_state_whatever_came_first(rehearse: Rehearse, end: Any) -> None:
    events = [order_created(), order_reserved(), order_extended(), end]
    async with rehearse(payments.service) as it:
        for arrival in every_order(*events):
            async with heard(it, arrival):
                expected = {"order_id": A, "version": end.version, "user_id": BOB, "status": end.status}
                expected |= {"price_cents": PRICE, "currency": "USD", "expires_at": EXPIRES_AT}
                expected |= {"seller_id": ANN, "fee_basis_points": 0}
                assert await it.rows("SELECT * FROM order_copies") == [expected], arrival
        assert await it.said() == []
