"""Every call to the card processor goes wrong in every way, or kills its caller: the money ends where the order says."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from support.house import House, Json, eventually
from support.ledgers import settled
from support.till import answers_bank, goes_to_bank, intents, is_paid, lets_doubt_pass, misbehaves, refunds, sales, unused_faults


async def test_failed_processor_calls_are_retried_until_the_money_is_right(own_house: House) -> None:
    await own_house.start()
    bob, [told_by_webhook] = await sales(own_house, 30)
    await misbehaves(own_house, "authorize", "timeout_after")
    assert (await bob.pays(told_by_webhook)).status_code == 201

    ways = ("timeout_before", "timeout_after", "error", "slow")
    await misbehaves(own_house, "webhook", "lose", None)
    bob, paying = await sales(own_house, *[30] * 4)
    eve, [confirmed, *refunding] = await sales(own_house, *[30] * 5)
    joe, cancelling = await sales(own_house, *[30] * 4)
    for order in cancelling:
        await goes_to_bank(joe, order)
    for order in refunding:
        assert (await eve.pays(order)).status_code == 201
        await is_paid(own_house, order)
    await answers_bank(eve, await goes_to_bank(eve, confirmed), "approval")  # And never comes back to us.

    for call in ("authorize", "capture", "void", "refund", "look"):
        for fault in ways:
            await misbehaves(own_house, call, fault)
    answers, *_ = await asyncio.gather(
        asyncio.gather(*(bob.pays(order) for order in paying)),
        asyncio.gather(*(joe.cancels(order) for order in cancelling)),
        asyncio.gather(*(refunds(own_house, order) for order in refunding)),
    )
    assert sorted(answer.status_code for answer in answers)[1:] == [202, 202, 202]

    await lets_doubt_pass(own_house)
    await settled(own_house, 60)
    for buyer, orders, status, ended in (
        (bob, paying, "complete", "captured"),
        (eve, [confirmed], "complete", "captured"),
        (joe, cancelling, "cancelled", "voided"),
        (eve, refunding, "refunded", "refunded"),
    ):
        assert [(await buyer.order(order))["status"] for order in orders] == [status] * len(orders)
        assert [await intents(own_house, order) for order in orders] == [[ended]] * len(orders)
    assert [fault for fault in await unused_faults(own_house) if fault["call"] != "look"] == []


async def test_payments_killed_during_a_call_finishes_it_after_its_restart(own_house: House) -> None:
    await own_house.start_six()
    bob, [*paying, refunding, refunding_too] = await sales(own_house, *[30] * 6)
    eve, cancelling = await sales(own_house, 30, 30)
    for order in (refunding, refunding_too):
        assert (await bob.pays(order)).status_code == 201
        await is_paid(own_house, order)
    for order in cancelling:
        await goes_to_bank(eve, order)

    async def pays(order: Json) -> None:
        async def answered() -> bool:
            return (await bob.pays(order)).status_code in (201, 202, 409)

        await eventually(answered, seconds=60)

    async def cancels(order: Json) -> None:
        await eve.cancels(order)

    async def gives_back(order: Json) -> None:
        await refunds(own_house, order)

    async def is_dead() -> bool:
        return own_house.processes["payments"].exitcode is not None

    scenes: list[tuple[str, Callable[[Json], Coroutine[Any, Any, None]], list[Json]]] = [
        ("authorize", pays, paying[:2]),
        ("capture", pays, paying[2:]),
        ("void", cancels, cancelling),
        ("refund", gives_back, [refunding, refunding_too]),
    ]
    under_way = []
    for call, act, orders in scenes:
        for crash, order in zip(("crash_before", "crash_after"), orders, strict=True):
            await misbehaves(own_house, call, crash)
            under_way.append(asyncio.create_task(act(order)))
            await eventually(is_dead, seconds=30)
            own_house.begin_one("payments")
            await own_house.ready()
    await lets_doubt_pass(own_house)
    await asyncio.gather(*under_way)
    assert await unused_faults(own_house) == []
    await settled(own_house, 60)
    for buyer, orders, status, ended in (
        (bob, paying, "complete", "captured"),
        (eve, cancelling, "cancelled", "voided"),
        (bob, [refunding, refunding_too], "refunded", "refunded"),
    ):
        assert [(await buyer.order(order))["status"] for order in orders] == [status] * len(orders)
        assert [await intents(own_house, order) for order in orders] == [[ended]] * len(orders)
