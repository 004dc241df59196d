"""The ledger: whatever happens, every posting sums to zero, and the accounts say what the processor says."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid5

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from support.facts import ANN, EVE, PRICE, A, order_cancelled, order_completed, order_reserved
from support.paying import Scene

from admitone.kit.http.problem import Problem
from admitone.payments import ledger
from admitone.payments.processors.protocol import OutcomeUnknown

ORDERS = [uuid5(A, str(number)) for number in range(3)]
CALLS = ["authorize", "look", "capture", "void", "refund"]
STEPS = (
    some.tuples(some.just("pays"), some.sampled_from(["tok_visa", "tok_visa", "tok_chargeDeclined", "tok_threeDSecure2Required"]))
    | some.tuples(some.just("confirms"), some.booleans())
    | some.tuples(some.sampled_from(["completes", "cancels", "refunds", "settles", "waits"]))
    | some.tuples(some.just("fault"), some.sampled_from(CALLS), some.sampled_from(["timeout_before", "timeout_after", "error"]))
    | some.tuples(some.just("fault"), some.sampled_from(["capture", "refund"]), some.just("refuse"))
)
HISTORIES = some.lists(some.tuples(some.sampled_from(range(3)), STEPS), min_size=4, max_size=30)
TERM = some.tuples(some.integers(50, 99_999_999), some.integers(0, 10_000), some.sampled_from(["USD", "EUR"]))
TERMS = some.tuples(TERM, TERM, TERM)
"""Price, fee and currency of each order."""


@given(terms=TERMS, history=HISTORIES)
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
async def test_whatever_happens_both_ledgers_say_the_same(
    stage: Scene, terms: tuple[tuple[int, int, str], ...], history: Iterable[tuple[int, tuple[Any, ...]]]
) -> None:
    await stage.begins_anew()
    reserved = [
        order_reserved(order_id=order_id, price_cents=price, fee_basis_points=fee, currency=currency, seller_id=seller)
        for order_id, (price, fee, currency), seller in zip(ORDERS, terms, (ANN, EVE, ANN), strict=True)
    ]
    await stage.hears(*reserved)
    for number, step in history:
        await happens(stage, ORDERS[number], terms[number], step)
        await adds_up(stage)
    await stage.books.pool.execute("TRUNCATE faults")
    await ends(stage, terms)
    await adds_up(stage)
    await agrees_with_the_processor(stage)


async def happens(it: Scene, order_id: UUID, terms: tuple[int, int, str], step: tuple[Any, ...]) -> None:
    """What can't be, at this moment, is refused; a processor that does not answer is one that does not answer."""
    try:
        match step:
            case "pays", token:
                await it.authorizes(order_id, token)
            case "confirms", approve:
                for row in await it.own.rows("SELECT stripe_id FROM charges WHERE order_id = $1 AND redirect_url IS NOT NULL", order_id):
                    await it.processor.confirm(row["stripe_id"], approve)
            case ("completes",):  # As orders does: only what was approved, and only if it has not ended otherwise.
                approved = await it.own.rows("SELECT 1 FROM charges WHERE order_id = $1 AND status = 'authorized'", order_id)
                if approved and await status_of(it, order_id) == "awaiting:payment":
                    price, fee, currency = terms
                    await it.hears(order_completed(order_id=order_id, price_cents=price, fee_basis_points=fee, currency=currency))
            case ("cancels",):
                if await status_of(it, order_id) == "awaiting:payment":
                    await it.hears(order_cancelled(order_id=order_id))
            case ("refunds",):
                await it.refunds(order_id)
            case ("settles",):
                await it.settles()
            case ("waits",):
                await it.settles_for(seconds=20)
            case "fault", call, fault:
                await it.misbehaves(call, fault)
    except (Problem, OutcomeUnknown):
        pass


async def ends(it: Scene, terms: tuple[tuple[int, int, str], ...]) -> None:
    """Orders decides about whatever is still open, and the time goes on."""
    for _ in range(2):
        await it.settles_for(seconds=60)
        for order_id, term in zip(ORDERS, terms, strict=True):
            await happens(it, order_id, term, ("completes",))
            await happens(it, order_id, term, ("cancels",))
    await it.settles_for(seconds=700)  # What was refused for good is looked at again after ten minutes.


async def status_of(it: Scene, order_id: UUID) -> str:
    (row,) = await it.own.rows("SELECT status FROM order_copies WHERE order_id = $1", order_id)
    return str(row["status"])


async def adds_up(it: Scene) -> None:
    unbalanced = "SELECT posting FROM ledger GROUP BY posting, currency HAVING sum(amount_cents) <> 0"
    assert await it.own.rows(unbalanced) == []
    mixed = "SELECT posting FROM ledger GROUP BY posting HAVING count(DISTINCT currency) > 1"
    assert await it.own.rows(mixed) == []
    async with it.own.db.reading() as tx:
        assert await ledger.unlike_charges(tx) == []


async def agrees_with_the_processor(it: Scene) -> None:
    """Order by order: what it holds for us, what belongs to the seller and to us; nothing is left open."""
    intents = await it.books.pool.fetch("SELECT * FROM intents")
    assert not {row["status"] for row in intents} & {"authorized", "needs_confirmation"}
    for order_id in ORDERS:
        held = sum(row["captured_cents"] - row["refunded_cents"] for row in intents if row["order_id"] == order_id)
        taken = await it.own.rows("SELECT * FROM charges WHERE order_id = $1 AND status = 'completed'", order_id)
        assert held == sum(charge["amount_cents"] for charge in taken)
        booked = await it.own.rows("SELECT ledger.* FROM ledger JOIN charges USING (charge_id) WHERE order_id = $1", order_id)
        share = sum(charge["amount_cents"] - charge["fee_cents"] for charge in taken)
        assert sum(row["amount_cents"] for row in booked if row["account"] == "processor") == held
        assert -sum(row["amount_cents"] for row in booked if row["account"] == "seller") == share
        refused = await it.own.rows("SELECT 1 FROM charges WHERE order_id = $1 AND status IN ('uncollected', 'refunded')", order_id)
        complete = await status_of(it, order_id) == "complete"
        assert complete == bool(taken or refused), "captured if and only if the order is complete"


@pytest.mark.parametrize(
    ("price", "basis_points", "fee"), [(PRICE, 0, 0), (PRICE, 250, 125), (50, 1, 0), (50, 100, 1), (99_999_999, 10_000, 99_999_999)]
)
async def test_the_fee_comes_out_of_the_sellers_share_and_is_rounded_to_the_nearest_cent(
    scene: Scene, price: int, basis_points: int, fee: int
) -> None:
    await scene.pays(order_reserved(price_cents=price, fee_basis_points=basis_points))
    assert await scene.booked() == {
        account: cents for account, cents in {"processor": price, "seller": fee - price, "fees": -fee}.items() if cents
    }


async def test_the_fee_is_the_one_of_the_order_not_of_the_day(scene: Scene) -> None:
    order = order_reserved(fee_basis_points=1000)
    await scene.hears(order)
    await scene.authorizes(order.order_id)
    await scene.hears(order_completed(fee_basis_points=1000))
    await scene.settles()
    assert (await scene.booked())["fees"] == -499


async def test_a_posting_that_does_not_sum_to_zero_is_refused_by_the_schema(scene: Scene) -> None:
    charge = await scene.pays(order_reserved())
    with pytest.raises(asyncpg.RaiseError, match="do not sum to zero"):
        await scene.own.db.pool.execute(
            """
            INSERT INTO ledger (posting, account, charge_id, amount_cents, currency, booked_at)
            VALUES ('gift', 'seller', $1, -100, 'USD', now())
            """,
            charge.charge_id,
        )


@pytest.mark.parametrize("change", ["UPDATE ledger SET amount_cents = 1", "DELETE FROM ledger"])
async def test_the_ledger_is_only_ever_added_to(scene: Scene, change: str) -> None:
    await scene.pays(order_reserved())
    with pytest.raises(asyncpg.RaiseError, match="only ever added to"):
        await scene.own.db.pool.execute(change)
