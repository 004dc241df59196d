"""Payments with a processor of its own, and a clock that goes as the scene wants.

await scene.hears(order_reserved())
await scene.authorizes(A)
await scene.hears(order_completed())
await scene.settles()
assert await scene.both_sides() == (["completed"], ["captured"])
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

from support.databases import OwnDatabase, empty_database, own_database
from support.facts import BOB, order_completed

from admitone.config import TEST_PROCESSOR
from admitone.events import OrderEvent
from admitone.kit.data.connection import Connection
from admitone.kit.data.db import Database, connected
from admitone.kit.data.migrations import migrate_at
from admitone.kit.service import Delivered
from admitone.kit.testing import NOON
from admitone.payments import commands, repository
from admitone.payments import settlement as processing
from admitone.payments.handlers import copy_orders
from admitone.payments.model import Charge
from admitone.payments.processors import test as test_processor
from admitone.runtime.engines import Engines

MINUTE = timedelta(minutes=1)


class Scene:
    """Orders of Bob's, what payments does about them, and what the processor knows. `now` is the service's clock."""

    def __init__(self) -> None:
        self.now = NOON
        self.own: OwnDatabase
        self.books: Database
        self.processor: test_processor.TestProcessor

    async def clock(self, _connection: Connection) -> datetime:
        return self.now

    async def begins_anew(self) -> None:
        await self.own.db.pool.execute("TRUNCATE order_copies, charges, ledger, outbox")
        await self.books.pool.execute("TRUNCATE intents, webhooks, faults")
        self.now = NOON

    async def hears(self, *events: OrderEvent) -> None:
        async with self.own.db.transaction() as tx:
            for event in events:
                await copy_orders([Delivered.now(event)], tx)

    async def begins(self, order_id: UUID, token: str = "tok_visa") -> Charge:
        """The intent is written down; nobody has called the processor yet."""
        async with self.own.db.transaction() as tx:
            return await commands.begin_charge(tx, order_id, BOB, await self.processor.token(token), tx.now)

    async def authorizes(self, order_id: UUID, token: str = "tok_visa") -> Charge:
        charge = await self.begins(order_id, token)
        await processing.authorize(self.own.db, self.processor, charge)
        return charge

    async def pays(self, order: OrderEvent) -> Charge:
        """The whole way to the money."""
        await self.hears(order)
        charge = await self.authorizes(order.order_id)
        await self.hears(order_completed(order_id=order.order_id, price_cents=order.price_cents))
        assert await self.settles() == 0
        return charge

    async def refunds(self, order_id: UUID, *, relist: bool = False) -> None:
        """It is asked for; nobody has called the processor yet."""
        async with self.own.db.transaction() as tx:
            await commands.ask_for_refund(tx, order_id, "the show is off", relist, tx.now)

    async def misbehaves(self, call: str, *faults: str) -> None:
        """The processor, in its next calls of that name."""
        for fault in faults:
            await self.books.pool.execute("INSERT INTO faults (call, fault, times) VALUES ($1, $2, 1)", call, fault)

    async def settles(self) -> int:
        """The job goes through its work once; for how many charges that brought no result."""
        async with self.own.db.reading() as tx:
            due = await repository.due(tx, tx.now)
        done = await asyncio.gather(*(processing.reconcile_charge(self.own.db, self.processor, charge) for charge in due))
        return done.count(False)

    async def settles_for(self, seconds: int) -> None:
        """The job goes on and on, and the time with it: in steps of five seconds."""
        for _ in range(0, seconds, 5):
            self.now += timedelta(seconds=5)
            await self.settles()

    async def settles_in_the_end(self) -> None:
        """Half a minute after the last fault there is nothing left to do."""
        await self.settles_for(30)
        assert await self.settles() == 0

    async def charges(self) -> list[str]:
        return [row["status"] for row in await self.own.rows("SELECT status FROM charges ORDER BY begun_at, attempt")]

    async def at_the_processor(self) -> list[str]:
        return [row["status"] for row in await self.books.pool.fetch("SELECT status FROM intents ORDER BY made_at")]

    async def both_sides(self) -> tuple[list[str], list[str]]:
        return await self.charges(), await self.at_the_processor()

    async def has_taken(self, order_id: UUID) -> bool:
        """Whether the money of that order was taken, as we have written it down."""
        return bool(await self.own.rows("SELECT 1 FROM charges WHERE order_id = $1 AND status = 'completed'", order_id))

    async def no_faults_left(self) -> bool:
        """Whether the processor has done everything wrong that it was told to."""
        return not await self.books.pool.fetch("SELECT 1 FROM faults WHERE times > 0")

    async def said(self) -> list[str]:
        return [row["event"] for row in await self.own.rows("SELECT event FROM outbox ORDER BY id")]

    async def unsettled(self) -> list[UUID]:
        """What `admitone money` would list."""
        async with self.own.db.reading() as tx:
            return [charge.order_id for charge in await repository.unsettled(tx, tx.now - MINUTE)]

    async def booked(self) -> dict[str, int]:
        """The balance of each account."""
        rows = await self.own.rows("SELECT account, sum(amount_cents)::bigint AS cents FROM ledger GROUP BY account")
        return {row["account"]: row["cents"] for row in rows}


@contextlib.asynccontextmanager
async def paying(engines: Engines) -> AsyncIterator[Scene]:
    """Payments and its processor, each on a database of its own."""
    scene = Scene()
    async with own_database(engines, "payments", scene.clock) as scene.own, empty_database(engines) as url:
        await migrate_at(url, TEST_PROCESSOR, test_processor.MIGRATIONS)
        async with connected(TEST_PROCESSOR, url) as scene.books:
            scene.processor = await test_processor.TestProcessor.open(scene.books)
            yield scene
