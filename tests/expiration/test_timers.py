"""Timers: set, moved, forgotten; each rings once, and never early."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from conftest import Rehearse
from support.delivery import every_order, heard
from support.facts import (
    CANCEL_AT,
    MORE,
    A,
    expiration_complete,
    order_cancelled,
    order_completed,
    order_created,
    order_extended,
)

from admitone import expiration
from admitone.events import OrderEvent
from admitone.expiration import commands, repository
from admitone.kit.observe.gauges import read
from admitone.kit.observe.log import correlation_id
from admitone.kit.testing import Rehearsal

SECOND = timedelta(seconds=1)
LATER = CANCEL_AT + MORE


async def rings(it: Rehearsal, at: datetime) -> int:
    return await it.does(commands.ring_due_timers, at)


async def test_a_timer_rings_when_it_is_due_and_not_before(rehearse: Rehearse) -> None:
    async with rehearse(expiration.service) as it:
        await it.hears(order_created())
        assert await rings(it, CANCEL_AT - timedelta(microseconds=1)) == 0
        assert await it.said() == []
        assert await rings(it, CANCEL_AT) == 1
        assert await it.said() == [expiration_complete()]


async def test_a_timer_rings_once(rehearse: Rehearse) -> None:
    async with rehearse(expiration.service) as it:
        await it.hears(order_created())
        await rings(it, CANCEL_AT)
        await it.said()
        assert await rings(it, LATER) == 0
        assert await it.said() == []


@pytest.mark.parametrize("end", [order_cancelled(), order_completed()])
async def test_an_order_that_has_ended_is_forgotten(rehearse: Rehearse, end: OrderEvent) -> None:
    async with rehearse(expiration.service) as it:
        await it.hears(order_created(), end, end)
        assert await rings(it, LATER) == 0
        assert await repository.next_due(it.tx) is None
        assert await it.rows("SELECT version, due FROM timers") == [{"version": 3, "due": None}]


@pytest.mark.parametrize("end", [order_cancelled(), order_completed()])
async def test_a_late_event_does_not_set_a_forgotten_timer_again(rehearse: Rehearse, end: OrderEvent) -> None:
    async with rehearse(expiration.service) as it:
        await it.hears(end, order_created())
        assert await rings(it, LATER) == 0


async def test_a_timer_that_has_rung_is_not_set_again_by_news_of_the_same_deadline(rehearse: Rehearse) -> None:
    async with rehearse(expiration.service) as it:
        await it.hears(order_created())
        await rings(it, CANCEL_AT)
        await it.hears(order_created(), order_created(version=2))
        assert await rings(it, LATER) == 0


async def test_a_newer_deadline_moves_a_timer(rehearse: Rehearse) -> None:
    async with rehearse(expiration.service) as it:
        await it.hears(order_created(), order_extended())
        assert await rings(it, LATER - SECOND) == 0
        await rings(it, LATER)
        assert await it.said() == [expiration_complete(cancel_at=LATER)]


async def test_a_newer_deadline_sets_a_timer_again_that_has_rung(rehearse: Rehearse) -> None:
    async with rehearse(expiration.service) as it:
        await it.hears(order_created())
        await rings(it, CANCEL_AT)
        await it.hears(order_extended())
        await rings(it, LATER)
        assert await it.said() == [expiration_complete(), expiration_complete(cancel_at=LATER)]


async def test_an_older_deadline_moves_nothing(rehearse: Rehearse) -> None:
    async with rehearse(expiration.service) as it:
        await it.hears(order_extended(), order_created())
        assert await rings(it, LATER - SECOND) == 0
        assert await rings(it, LATER) == 1


async def test_a_ring_and_all_that_follows_belong_to_the_request_that_made_the_order(rehearse: Rehearse) -> None:
    request = uuid4()
    token = correlation_id.set(request)
    async with rehearse(expiration.service) as it:
        await it.hears(order_created())
        correlation_id.reset(token)
        await rings(it, CANCEL_AT)
        assert await it.rows("SELECT correlation_id FROM outbox") == [{"correlation_id": request}]


async def test_the_next_timer_is_the_earliest_that_has_not_rung(rehearse: Rehearse) -> None:
    another = uuid4()
    async with rehearse(expiration.service) as it:
        assert await repository.next_due(it.tx) is None
        await it.hears(order_created(order_id=another, cancel_at=LATER), order_created())
        assert await repository.next_due(it.tx) == CANCEL_AT
        assert await rings(it, CANCEL_AT) == 1
        assert await it.said() == [expiration_complete(order_id=A)]
        assert await repository.next_due(it.tx) == LATER


@pytest.mark.parametrize("end", [order_cancelled(), order_completed()])
async def test_an_ended_order_has_no_timer_whatever_came_first(rehearse: Rehearse, end: OrderEvent) -> None:
    ended = type(end)(**{name: getattr(end, name) for name in end.__struct_fields__} | {"version": 4})
    async with rehearse(expiration.service) as it:
        for arrival in every_order(order_created(), order_extended(), ended):
            async with heard(it, arrival):
                assert await it.rows("SELECT version, due, rung_at FROM timers") == [{"version": 4, "due": None, "rung_at": None}], arrival
                assert await rings(it, LATER) == 0, arrival


async def test_an_open_order_has_its_newest_deadline_whatever_came_first(rehearse: Rehearse) -> None:
    async with rehearse(expiration.service) as it:
        for arrival in every_order(order_created(), order_extended()):
            async with heard(it, arrival):
                assert await rings(it, LATER - SECOND) == 0, arrival
                assert await rings(it, LATER) == 1, arrival
                assert await it.said() == [expiration_complete(cancel_at=LATER)], arrival


async def test_a_timer_counts_as_overdue_five_seconds_after_its_time_until_it_rings(rehearse: Rehearse) -> None:
    async with rehearse(expiration.service) as it:
        await it.hears(order_created())
        for now, overdue in ((CANCEL_AT + 5 * SECOND, 0.0), (CANCEL_AT + 6 * SECOND, 1.0)):
            it.now = now
            assert await read(it.tx, expiration.service.gauges) == {"overdue_timers": overdue}
        await rings(it, it.now)
        assert await read(it.tx, expiration.service.gauges) == {"overdue_timers": 0.0}
