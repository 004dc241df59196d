"""Two clocks of one house, in transactions that commit."""

import asyncio
from uuid import uuid4

from support.databases import own_database
from support.facts import CANCEL_AT, order_created

from admitone.expiration import commands, repository
from admitone.expiration.handlers import follow_orders
from admitone.kit.service import Delivered
from admitone.runtime.engines import Engines


async def test_two_replicas_that_ring_at_once_ring_each_timer_once(engines: Engines) -> None:
    async with own_database(engines, "expiration") as own:
        async with own.db.transaction() as tx:
            for _ in range(60):
                await follow_orders([Delivered.now(order_created(order_id=uuid4()))], tx)

        async def ring() -> int:
            async with own.db.transaction() as tx:
                return await commands.ring_due_timers(tx, CANCEL_AT)

        assert sum(await asyncio.gather(*(ring() for _ in range(4)))) == 60
        assert len(await own.rows("SELECT DISTINCT data ->> 'order_id' FROM outbox")) == 60
        assert len(await own.rows("SELECT 1 FROM outbox")) == 60


async def test_a_timer_that_another_replica_has_in_hand_is_left_to_it(engines: Engines) -> None:
    async with own_database(engines, "expiration") as own:
        async with own.db.transaction() as tx:
            await follow_orders([Delivered.now(order_created())], tx)
        async with own.db.transaction() as one, own.db.transaction() as another:
            assert len(await repository.ring(one, CANCEL_AT)) == 1
            assert await repository.ring(another, CANCEL_AT) == []


async def test_a_ring_that_was_rolled_back_rings_again(engines: Engines) -> None:
    class Crash(Exception):
        pass

    async with own_database(engines, "expiration") as own:
        async with own.db.transaction() as tx:
            await follow_orders([Delivered.now(order_created())], tx)
        try:
            async with own.db.transaction() as tx:
                await commands.ring_due_timers(tx, CANCEL_AT)
                raise Crash
        except Crash:
            pass
        assert await own.rows("SELECT 1 FROM outbox") == []
        async with own.db.transaction() as tx:
            assert await commands.ring_due_timers(tx, CANCEL_AT) == 1
