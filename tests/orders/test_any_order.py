"""Twice, and in every order: the same order and the same copy in the end."""

import contextlib
import random
from uuid import UUID

import pytest
from conftest import Rehearse
from support.delivery import every_order, heard
from support.facts import (
    BOB,
    CANCEL_AT,
    CHARGE,
    EXPIRES_AT,
    MORE,
    TICKET,
    expiration_complete,
    payment_authorized,
    payment_created,
    payment_failed,
    payment_refunded,
    payment_uncollected,
    reservation_refused,
    ticket_created,
    ticket_updated,
)

from admitone import orders
from admitone.config import Settings
from admitone.events import OrderEvent, OrderExtended
from admitone.kit.http.problem import Problem
from admitone.kit.service import TooEarly
from admitone.kit.testing import Rehearsal
from admitone.orders import commands


async def bought(it: Rehearsal) -> UUID:
    await it.hears(ticket_created())
    return (await it.does(commands.create_order, BOB, TICKET, None, Settings())).order_id


async def test_the_copy_of_a_ticket_is_its_newest_state_whatever_came_first(rehearse: Rehearse) -> None:
    newest = ticket_updated(version=5, title="Balcony", price_cents=3000, withdrawn=True)
    events = [
        ticket_created(),
        ticket_updated(version=2, price_cents=2000),
        ticket_updated(version=3, title="Stalls"),
        ticket_updated(version=4, price_cents=1500),
        newest,
    ]
    async with rehearse(orders.service) as it:
        for arrival in every_order(*events):
            async with heard(it, arrival):
                assert [type(newest)(**row) for row in await it.rows("SELECT * FROM ticket_copies")] == [newest], arrival


async def test_a_paid_order_is_complete_whatever_came_first(rehearse: Rehearse) -> None:
    async with rehearse(orders.service) as it:
        order_id = await bought(it)
        await it.hears(ticket_updated(order_id=order_id))
        sold = ticket_updated(version=3, order_id=order_id, sold=True)
        events = [
            sold,
            payment_failed(2, order_id=order_id),
            payment_authorized(order_id=order_id),
            payment_created(order_id=order_id),
            ticket_updated(order_id=order_id),
        ]
        for arrival in every_order(*events):
            async with heard(it, arrival):
                (order,) = await it.rows("SELECT status, version, charge_id FROM orders")
                assert order == {"status": "complete", "version": 3, "charge_id": CHARGE}, arrival
                assert [type(sold)(**row) for row in await it.rows("SELECT * FROM ticket_copies")] == [sold], arrival


@pytest.mark.parametrize("ending", ["expiry", "refusal", "third decline"])
async def test_an_unpaid_order_is_cancelled_whatever_came_first(rehearse: Rehearse, ending: str) -> None:
    async with rehearse(orders.service) as it:
        order_id = await bought(it)
        it.now = CANCEL_AT
        end, reason = {
            "expiry": (expiration_complete(order_id=order_id), "expired"),
            "refusal": (reservation_refused(order_id=order_id, reason="withdrawn"), "withdrawn"),
            "third decline": (payment_failed(3, order_id=order_id), "payment_failed"),
        }[ending]
        freed = ticket_updated(version=3)
        events = [
            end,
            freed,
            payment_failed(1, order_id=order_id),
            expiration_complete(order_id=order_id, cancel_at=EXPIRES_AT),
        ]
        for arrival in every_order(*events):
            async with heard(it, arrival):
                assert await it.rows("SELECT status, reason, version FROM orders") == [
                    {"status": "cancelled", "reason": reason, "version": 2}
                ], arrival
                assert [type(freed)(**row) for row in await it.rows("SELECT * FROM ticket_copies")] == [freed], arrival


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_a_version_rises_by_one_with_each_event_and_never_without(rehearse: Rehearse, seed: int) -> None:
    """Versions without gaps, allowed steps only, more time once; and the row always equal to the last that was said of it."""
    chance = random.Random(seed)
    steps = {
        None: {"created"},
        "created": {"awaiting:payment", "cancelled"},
        "awaiting:payment": {"awaiting:payment", "complete", "cancelled"},
    }
    steps["complete"] = {"refunded"}
    async with rehearse(orders.service) as it:
        order_id = await bought(it)
        ordered = {"order_id": order_id}
        can_happen = [
            ticket_updated(**ordered),
            ticket_updated(version=3),
            payment_failed(1, **ordered),
            payment_authorized(**ordered),
            payment_created(**ordered),
            payment_uncollected(**ordered),
            payment_refunded(**ordered, relist=seed % 2 == 0),
            expiration_complete(**ordered),
            expiration_complete(**ordered, cancel_at=CANCEL_AT + MORE),
            payment_failed(3, **ordered) if seed % 3 == 0 else payment_failed(2, **ordered),
            reservation_refused(**ordered) if seed % 3 == 1 else ticket_updated(**ordered),
        ]
        status, version, extensions = None, 0, 0
        for event in chance.choices(can_happen, k=20):
            it.now = chance.choice([EXPIRES_AT - MORE, EXPIRES_AT, CANCEL_AT, CANCEL_AT + MORE])
            if chance.random() < 0.3:
                with contextlib.suppress(Problem):
                    await it.does(commands.extend, order_id, BOB, it.now)
            try:
                await it.hears(event)
            except TooEarly:
                assert it.now < CANCEL_AT + extensions * MORE
            for said in await it.said():
                assert isinstance(said, OrderEvent)
                assert said.version == version + 1
                assert said.status in steps[status]
                extensions += isinstance(said, OrderExtended)
                status, version = said.status, said.version
            assert extensions <= 1
            expires_at = EXPIRES_AT + extensions * MORE
            (row,) = await it.rows("SELECT status, version, extended, expires_at FROM orders")
            assert row == {"status": status, "version": version, "extended": extensions == 1, "expires_at": expires_at}
        assert version >= 2, "nothing has happened"
