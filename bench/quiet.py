"""Waits until nothing is under way: every outbox is published, and every consumer has acknowledged everything."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import asyncpg
import nats
from bench.stage import BenchError, Stage
from nats.aio.client import Client

from admitone.config import SERVICES_WITH_A_DATABASE
from admitone.kit.delivery.bus import STREAM
from admitone.services import SERVICES

LOOK_SECONDS = 0.03
EVENTS_PER_SECOND = 4000
"""More than any consumer handles: to wait that long for what waits is never too long."""
GIVE_UP_SECONDS = 300


class Watch:
    """Open connections that look at what is under way: an index of each outbox, and NATS's own counters."""

    def __init__(self, bus: Client, databases: list["asyncpg.Connection[asyncpg.Record]"]) -> None:
        self.bus = bus
        self.databases = databases

    async def waiting(self) -> int:
        """How many events the consumers have not acknowledged yet."""
        return sum((info.num_pending or 0) + (info.num_ack_pending or 0) for info in await self._consumers())

    async def unpublished(self) -> bool:
        """Whether any outbox has something that is not published."""
        for database in self.databases:
            if await database.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE published_at IS NULL)"):
                return True
        return False

    async def until_published(self) -> None:
        """Whether anybody has heard it or not."""
        while await self.unpublished():
            await asyncio.sleep(LOOK_SECONDS)

    async def until_quiet(self) -> None:
        """The outboxes are asked last, and then the consumers once more: what was handled in between has said something by then.

        The more there is to wait for, the longer it does not look: looking costs the engines something, too.
        """
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while (waiting := await self.waiting()) or await self.unpublished() or await self.waiting():
            if time.monotonic() > deadline:
                raise BenchError(f"The marketplace does not come to rest: {waiting} events wait.")
            await asyncio.sleep(LOOK_SECONDS + min(1.0, waiting / EVENTS_PER_SECOND))

    async def missing_consumers(self) -> set[str]:
        """The services that listen and have no consumer yet: what they have not heard would not be counted."""
        there = {info.name for info in await self._consumers()}
        return {service.name for service in SERVICES if service.handlers is not None} - there

    async def _consumers(self) -> list[nats.js.api.ConsumerInfo]:
        """The durable ones: each service has one. What an open page reads by is not waited for."""
        with contextlib.suppress(nats.js.errors.NotFoundError):  # There is no stream yet.
            return [info for info in await self.bus.jetstream().consumers_info(STREAM) if info.config.durable_name]
        return []


@contextlib.asynccontextmanager
async def watching(stage: Stage) -> AsyncIterator[Watch]:
    """For as long as the block runs; it begins when every service listens."""
    async with contextlib.AsyncExitStack() as stack:
        bus = await nats.connect(stage.engines.nats_url)
        stack.push_async_callback(bus.close)
        databases = []
        for service in SERVICES_WITH_A_DATABASE:
            connection = await asyncpg.connect(stage.database_url(service))
            stack.push_async_callback(connection.close)
            databases.append(connection)
        watch = Watch(bus, databases)
        while await watch.missing_consumers():
            await asyncio.sleep(LOOK_SECONDS)
        yield watch


async def quiet(stage: Stage) -> None:
    """Wait for it once. Raises BenchError when it takes five minutes."""
    async with watching(stage) as watch:
        await watch.until_quiet()
