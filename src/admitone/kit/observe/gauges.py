"""Gauges of a service, read from its database and the bus at the moment of a scrape.

exposition.py shows them at /metrics, and `admitone doctor` judges them.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg
from nats.js.api import ConsumerInfo

from admitone.kit.data.clock import database_clock
from admitone.kit.data.connection import single_connection
from admitone.kit.data.db import Tx
from admitone.kit.delivery.bus import STREAM, Bus
from admitone.kit.delivery.relay import running_since

READ_SECONDS = 1.0
"""For all gauges of one service together: a scrape has to be over before the next one."""

GaugeValues = dict[str, float]
"""Values by name, without those that can't be read at the moment."""


@dataclass(frozen=True)
class Gauge:
    """One number about one service."""

    name: str
    """Ends with its unit; at /metrics it has `admitone_` before it."""
    meaning: str
    read: Callable[[Tx], Awaitable[float]]


async def _unpublished(tx: Tx) -> float:
    return float(await tx.value("SELECT count(*) FROM outbox WHERE published_at IS NULL"))


async def _oldest_unpublished(tx: Tx) -> float:
    oldest = await tx.value("SELECT min(created_at) FROM outbox WHERE published_at IS NULL")
    return max(0.0, (tx.now - oldest).total_seconds()) if oldest is not None else 0.0


async def _relay_at_work(tx: Tx) -> float:
    return float(await running_since(tx.connection) is not None)


async def _parked(tx: Tx) -> float:
    return float(await tx.value("SELECT count(*) FROM parked"))


async def _clock_difference(tx: Tx) -> float:
    """Compared with the middle of the round trip: the error is at most half of the round trip."""
    before = time.time()
    there = await database_clock(tx.connection)
    return there.timestamp() - (before + time.time()) / 2


DATABASE_GAUGES = (
    Gauge("outbox_unpublished_events", "Events that the service has said and the stream does not have yet.", _unpublished),
    Gauge("outbox_oldest_seconds", "How long the oldest of them has waited; 0 without any.", _oldest_unpublished),
    Gauge("relay_at_work", "1 while some process holds the lock of the service's relay: only that one publishes.", _relay_at_work),
    Gauge("parked_events", "Events that the service could not handle, and that wait for a person.", _parked),
    Gauge("clock_difference_seconds", "The database's clock minus that of the process.", _clock_difference),
)
DATABASE_UP = ("database_up", "1 when the service's database answers within a second.")
BUS_UP = ("bus_up", "1 when the stream answers within a second.")
WAITING = ("consumer_waiting_events", "Events in the stream that the service is still to handle, or to handle again.")


def waiting(consumer: ConsumerInfo) -> int:
    """How many events are between the stream and the service: not delivered yet, or not acknowledged."""
    return (consumer.num_pending or 0) + (consumer.num_ack_pending or 0)


@contextlib.asynccontextmanager
async def read_only_tx(service: str, url: str, seconds: float) -> AsyncIterator[Tx]:
    """For statements that only read. All of them take no longer than that: then it raises TimeoutError.

    It has a connection of its own: a pool with no free connection is when the gauges are needed most.
    """
    async with asyncio.timeout(seconds):
        async with single_connection(
            url,
            f"{service} gauges",
            seconds,
            statement_timeout=f"{seconds * 500:.0f}",  # One slow answer does not use up the time of all others.
            default_transaction_read_only="on",
        ) as connection:
            yield Tx(connection, service, await database_clock(connection))
            await connection.close()


async def read(tx: Tx, gauges: Sequence[Gauge]) -> GaugeValues:
    """The values of those gauges that can be read. A table may be missing in a database that is not migrated yet."""
    found: GaugeValues = {}
    for gauge in gauges:
        with contextlib.suppress(asyncpg.PostgresError):
            found[gauge.name] = float(await gauge.read(tx))
    return found


async def service_gauges(service: str, url: str, own: Sequence[Gauge], bus: Bus, hears: bool) -> GaugeValues:
    """All gauges of a service that runs in this process. Never raises, and never takes longer than READ_SECONDS."""
    in_database, on_bus = await asyncio.gather(_in_database(service, url, own), _on_bus(bus, hears))
    return in_database | on_bus


async def _in_database(service: str, url: str, own: Sequence[Gauge]) -> GaugeValues:
    found = {DATABASE_UP[0]: 0.0}
    with contextlib.suppress(Exception):
        async with read_only_tx(service, url, READ_SECONDS) as tx:
            found[DATABASE_UP[0]] = 1.0
            for gauge in (*DATABASE_GAUGES, *own):
                found |= await read(tx, [gauge])
    return found


async def _on_bus(bus: Bus, hears: bool) -> GaugeValues:
    found = {BUS_UP[0]: 0.0}
    with contextlib.suppress(Exception):
        async with asyncio.timeout(READ_SECONDS):
            await bus.stream.stream_info(STREAM)
            found[BUS_UP[0]] = 1.0
            if hears:
                found[WAITING[0]] = float(waiting(await bus.stream.consumer_info(STREAM, bus.service)))
    return found
