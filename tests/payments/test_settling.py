"""Money follows the state of the order: captured when complete, given back when cancelled, asked for again when in doubt."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from support.facts import PRICE, order_cancelled, order_completed, order_reserved
from support.house import eventually
from support.paying import MINUTE, Scene

from admitone.config import Settings
from admitone.kit.observe.log import correlation_scope
from admitone.payments import commands, repository
from admitone.payments import settlement as processing
from admitone.payments.jobs import reconcile_charges
from admitone.payments.model import Charge, NothingToRefund, PaymentUnderWay
from admitone.payments.processors.protocol import OutcomeUnknown


async def test_an_approved_payment_is_not_taken_before_the_order_is_complete(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.authorizes(order.order_id)
    assert await scene.settles() == 0
    assert await scene.both_sides() == (["authorized"], ["authorized"])
    assert await scene.said() == ["PaymentAuthorized"]


async def test_events_after_a_retry_keep_the_correlation_id_of_the_charge(scene: Scene) -> None:
    order, request = order_reserved(), uuid4()
    await scene.hears(order)
    with correlation_scope(request):
        charge = await scene.begins(order.order_id)
    with correlation_scope(uuid4()):  # A webhook's, say.
        await processing.authorize(scene.own.db, scene.processor, charge)
    assert await scene.own.rows("SELECT correlation_id FROM outbox") == [{"correlation_id": request}]


async def test_the_payment_of_a_complete_order_is_taken_once(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.authorizes(order.order_id)
    await scene.hears(order_completed())
    assert [await scene.settles(), await scene.settles()] == [0, 0]
    assert await scene.both_sides() == (["completed"], ["captured"])
    assert await scene.said() == ["PaymentAuthorized", "PaymentCreated"]


async def test_the_payment_of_a_cancelled_order_is_given_back(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.authorizes(order.order_id)
    await scene.hears(order_cancelled(reason="expired"))
    assert [await scene.settles(), await scene.settles()] == [0, 0]
    assert await scene.both_sides() == (["failed"], ["voided"])
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
    assert await scene.both_sides() == (["failed"], ["voided"])


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


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after", "error"])
async def test_a_payment_in_doubt_is_asked_for_again_with_the_same_key(scene: Scene, fault: str) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.begins(order.order_id)
    await scene.misbehaves("authorize", fault)
    with pytest.raises(OutcomeUnknown):
        await processing.authorize(scene.own.db, scene.processor, charge)
    assert (await scene.charges(), await scene.said()) == (["created"], [])
    with pytest.raises(PaymentUnderWay):
        await scene.begins(order.order_id)

    scene.now += repository.IN_DOUBT_AFTER - timedelta(seconds=1)
    await scene.settles()
    assert await scene.charges() == ["created"], "asked again too early: the first call may still be under way"
    scene.now += timedelta(seconds=1)
    assert await scene.settles() == 0
    assert await scene.both_sides() == (["authorized"], ["authorized"])
    assert [row["idempotency_key"] for row in await scene.books.pool.fetch("SELECT * FROM intents")] == [charge.idempotency_key]
    assert await scene.said() == ["PaymentAuthorized"]


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after"])
async def test_an_unknown_outcome_of_a_cancelled_order_is_resolved_and_voided(scene: Scene, fault: str) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.begins(order.order_id)
    await scene.misbehaves("authorize", fault)
    with pytest.raises(OutcomeUnknown):
        await processing.authorize(scene.own.db, scene.processor, charge)
    await scene.hears(order_cancelled(reason="expired"))
    await scene.settles_in_the_end()
    assert await scene.both_sides() == (["failed"], ["voided"])
    assert await scene.said() == ["PaymentAuthorized", "PaymentFailed"]


async def test_a_crash_between_the_intent_and_the_call_leaves_a_charge_that_is_found_again(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.begins(order.order_id, "tok_chargeDeclined")
    scene.now += MINUTE
    await scene.settles()
    assert await scene.both_sides() == (["failed"], ["declined"])
    assert await scene.said() == ["PaymentFailed"]


@pytest.mark.parametrize("faults", [["timeout_before"], ["timeout_after"], ["timeout_after", "error", "timeout_before"]])
@pytest.mark.parametrize("end", ["capture", "void", "refund"])
async def test_whatever_is_in_doubt_is_repeated_and_has_one_effect(scene: Scene, end: str, faults: list[str]) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.authorizes(order.order_id)
    await scene.hears(order_cancelled() if end == "void" else order_completed())
    if end == "refund":
        await scene.settles()
        await scene.refunds(order.order_id)
    await scene.misbehaves(end, *faults)
    before = await scene.charges()
    for _ in faults:
        assert await scene.settles() == 1
        assert await scene.charges() == before
        scene.now += timedelta(seconds=4)  # The delay grows with each failure.
    assert await scene.settles() == 0
    expected = {"capture": ("completed", "captured"), "void": ("failed", "voided"), "refund": ("refunded", "refunded")}[end]
    assert await scene.both_sides() == ([expected[0]], [expected[1]])
    said = {"capture": ["PaymentCreated"], "void": ["PaymentFailed"], "refund": ["PaymentCreated", "PaymentRefunded"]}[end]
    assert (await scene.said())[1:] == said


async def test_a_processor_that_is_down_for_ten_minutes_costs_nobody_anything(scene: Scene) -> None:
    """One order waits for its capture, one for its void, one was never answered and has expired since."""
    taken, given_back, expired = uuid4(), uuid4(), uuid4()
    for order_id in (taken, given_back, expired):
        await scene.hears(order_reserved(order_id=order_id))
    for order_id in (taken, given_back):
        await scene.authorizes(order_id)
    await scene.books.pool.execute(
        "INSERT INTO faults (call, fault) VALUES ('authorize', 'error'), ('capture', 'error'), ('void', 'error')"
    )
    await scene.begins(expired)
    await scene.hears(
        order_completed(order_id=taken), order_cancelled(order_id=given_back), order_cancelled(order_id=expired, reason="expired")
    )
    for _ in range(600):
        scene.now += timedelta(seconds=1)
        await scene.settles()
    assert sorted(await scene.unsettled()) == sorted([taken, given_back, expired])
    assert {row["last_error"] for row in await scene.own.rows("SELECT last_error FROM charges")} == {"the processor answered 500"}

    await scene.books.pool.execute("TRUNCATE faults")
    await scene.settles_in_the_end()
    assert sorted(await scene.charges()) == ["completed", "failed", "failed"]
    assert sorted(await scene.at_the_processor()) == ["captured", "voided", "voided"]
    assert await scene.unsettled() == []


async def test_a_call_that_hangs_is_given_up_and_made_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.misbehaves("authorize", "hang")
    with monkeypatch.context() as impatient:
        impatient.setattr(processing, "DEADLINE_SECONDS", 0.5)
        with pytest.raises(OutcomeUnknown, match="no answer within"):
            await scene.authorizes(order.order_id)
    await scene.settles_in_the_end()
    assert await scene.both_sides() == (["authorized"], ["authorized"])


async def test_a_call_that_hangs_holds_up_no_other_charge(scene: Scene) -> None:
    stuck, other = uuid4(), uuid4()
    for order_id in (stuck, other):
        await scene.hears(order_reserved(order_id=order_id))
        await scene.authorizes(order_id)
    await scene.misbehaves("capture", "hang")
    job = asyncio.create_task(reconcile_charges(scene.own.db, Settings(), scene.processor))
    try:
        for order_id in (stuck, other):
            await scene.hears(order_completed(order_id=order_id))
            await eventually(lambda: scene.no_faults_left())
        await eventually(lambda: scene.has_taken(other), seconds=5)  # Long before the first call is given up.
        assert not await scene.has_taken(stuck)
    finally:
        job.cancel()


async def test_one_charge_that_cannot_be_settled_holds_up_no_other(scene: Scene) -> None:
    first, second = uuid4(), uuid4()
    for order_id in (first, second):
        await scene.hears(order_reserved(order_id=order_id))
        await scene.authorizes(order_id)
        await scene.hears(order_completed(order_id=order_id))
        scene.now += timedelta(seconds=1)
    await scene.misbehaves("capture", "timeout_before")
    assert await scene.settles() == 1
    assert sorted(await scene.charges()) == ["authorized", "completed"]


async def test_sixty_charges_that_are_refused_for_ever_hold_up_no_other(scene: Scene) -> None:
    orders = [uuid4() for _ in range(60)]
    for order_id in orders:
        await scene.pays(order_reserved(order_id=order_id))
    for order_id in orders:
        await scene.refunds(order_id)
    await scene.books.pool.execute("INSERT INTO faults (call, fault) VALUES ('refund', 'refuse')")
    scene.now += timedelta(seconds=1)
    later = uuid4()
    await scene.hears(order_reserved(order_id=later))
    await scene.authorizes(later)
    await scene.hears(order_completed(order_id=later))
    assert [await scene.settles(), await scene.settles(), await scene.settles()] == [50, 10, 0]
    assert (await scene.charges())[-1] == "completed"


async def test_a_capture_refused_for_good_is_uncollected_and_waits_for_a_person(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.authorizes(order.order_id)
    await scene.misbehaves("capture", "refuse")
    await scene.hears(order_completed())
    assert [await scene.settles(), await scene.settles()] == [0, 0]
    assert await scene.both_sides() == (["uncollected"], ["voided"])
    assert await scene.said() == ["PaymentAuthorized", "PaymentUncollected"]
    assert (await scene.unsettled(), await scene.booked()) == ([order.order_id], {})
    async with scene.own.db.transaction() as tx:
        await commands.settle_uncollected(tx, order.order_id, "paid in cash")
    assert await scene.unsettled() == []


async def test_refunding_an_uncollected_sale_gives_nothing_back(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.authorizes(order.order_id)
    await scene.misbehaves("capture", "refuse")
    await scene.hears(order_completed())
    await scene.settles()
    await scene.refunds(order.order_id, relist=True)
    await scene.settles()
    assert await scene.both_sides() == (["refunded"], ["voided"])
    (row,) = await scene.own.rows("SELECT data FROM outbox WHERE event = 'PaymentRefunded'")
    assert (row["data"]["amount_cents"], row["data"]["refund_id"], row["data"]["relist"]) == (0, None, True)
    assert (await scene.unsettled(), await scene.booked()) == ([], {})


async def test_a_refund_gives_back_once_however_often_it_is_asked_for(scene: Scene) -> None:
    order = order_reserved(fee_basis_points=1000)
    await scene.pays(order)
    assert await scene.booked() == {"processor": PRICE, "seller": -(PRICE - 499), "fees": -499}
    for _ in range(3):
        await scene.refunds(order.order_id)
        await scene.settles()
    assert await scene.both_sides() == (["refunded"], ["refunded"])
    assert await scene.said() == ["PaymentAuthorized", "PaymentCreated", "PaymentRefunded"]
    assert await scene.booked() == {"processor": 0, "seller": 0, "fees": 0}
    assert len(await scene.own.rows("SELECT 1 FROM ledger")) == 6


async def test_a_refund_may_be_asked_for_before_the_money_was_taken(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.authorizes(order.order_id)
    await scene.hears(order_completed())
    await scene.refunds(order.order_id)
    await scene.settles()
    await scene.settles()
    assert await scene.both_sides() == (["refunded"], ["refunded"])
    assert await scene.said() == ["PaymentAuthorized", "PaymentCreated", "PaymentRefunded"]


@pytest.mark.parametrize("state", ["reserved", "declined", "cancelled", "unknown"])
async def test_nothing_is_given_back_for_an_order_that_was_not_paid(scene: Scene, state: str) -> None:
    order = order_reserved()
    if state != "unknown":
        await scene.hears(order)
    if state == "declined":
        await scene.authorizes(order.order_id, "tok_chargeDeclined")
    elif state == "cancelled":
        await scene.authorizes(order.order_id)
        await scene.hears(order_cancelled())
    with pytest.raises(NothingToRefund):
        await scene.refunds(order.order_id)
    assert await scene.own.rows("SELECT 1 FROM charges WHERE refund_asked_at IS NOT NULL") == []


async def test_a_confirmed_payment_goes_on_without_a_webhook(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.authorizes(order.order_id, "4000 0000 0000 3220")
    assert await scene.both_sides() == (["created"], ["needs_confirmation"])
    await scene.settles_in_the_end()
    assert (await scene.charges(), await scene.unsettled()) == (["created"], [])
    await scene.processor.confirm(f"pi_test_{charge.charge_id.hex}", approve=True)
    await scene.settles_in_the_end()
    assert await scene.both_sides() == (["authorized"], ["authorized"])
    assert await scene.said() == ["PaymentAuthorized"]


async def test_a_payment_that_its_buyer_refuses_at_the_bank_is_declined(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.authorizes(order.order_id, "tok_threeDSecure2Required")
    await scene.processor.confirm(f"pi_test_{charge.charge_id.hex}", approve=False)
    await scene.processor.confirm(f"pi_test_{charge.charge_id.hex}", approve=True)
    await scene.settles_in_the_end()
    assert await scene.both_sides() == (["failed"], ["declined"])
    assert (await scene.authorizes(order.order_id)).attempt == 2


async def test_an_unconfirmed_payment_ends_with_its_order(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    charge = await scene.authorizes(order.order_id, "tok_threeDSecure2Required")
    await scene.hears(order_cancelled(reason="expired"))
    assert await scene.settles() == 0, "at once, not with the next look"
    assert await scene.both_sides() == (["failed"], ["voided"])
    assert (await scene.processor.confirm(f"pi_test_{charge.charge_id.hex}", approve=True)).status == "voided"


async def test_two_replicas_that_settle_at_once_move_the_money_once(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    await scene.authorizes(order.order_id)
    await scene.hears(order_completed())
    await asyncio.gather(*(scene.settles() for _ in range(4)))
    assert await scene.both_sides() == (["completed"], ["captured"])
    await scene.refunds(order.order_id)
    await asyncio.gather(*(scene.settles() for _ in range(4)))
    assert await scene.both_sides() == (["refunded"], ["refunded"])
    assert await scene.said() == ["PaymentAuthorized", "PaymentCreated", "PaymentRefunded"]
    assert await scene.booked() == {"processor": 0, "seller": 0}


async def test_of_many_clicks_at_once_one_begins_a_charge(scene: Scene) -> None:
    order = order_reserved()
    await scene.hears(order)
    answers = await asyncio.gather(*(scene.begins(order.order_id) for _ in range(8)), return_exceptions=True)
    assert [type(answer) for answer in answers].count(Charge) == 1
    assert [type(answer) for answer in answers].count(PaymentUnderWay) == 7
    assert await scene.charges() == ["created"]
