"""What a check looks at: a snapshot of every database, and the stream up to a place that all of them are younger than."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import heapify, heappop, heapreplace
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import nats.js.errors
from asyncpg import Record
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import StreamInfo

from admitone.config import SERVICES_WITH_A_DATABASE, TEST_PROCESSOR, Settings, WrongSettings
from admitone.kit.data.clock import database_clock
from admitone.kit.data.connection import Connection
from admitone.kit.data.migrations import status as migration_status
from admitone.kit.delivery.bus import STREAM
from admitone.kit.delivery.pull import ordered
from admitone.kit.delivery.relay import running_since
from admitone.kit.event import CATALOGUE
from admitone.kit.observe.gauges import waiting
from admitone.ops.reach import connect_to_bus, has_own_engines, open_connection, recording_services
from admitone.ops.verify.report import Excluded, UnderWay
from admitone.runtime.data_folder import EngineError, only_run_in, settings_of_run
from admitone.runtime.engines import Engines

BATCH = 1000
CONNECT_SECONDS = 5.0


class Stored(NamedTuple):
    """A message of the stream."""

    seq: int
    id: str
    """Its `Nats-Msg-Id`."""
    subject: str
    data: bytes


@dataclass(kw_only=True)
class Snapshot:
    """All that is looked at."""

    databases: Mapping[str, Connection]
    """Each in a snapshot of its own. Without the test processor's where there is none."""
    began: Mapping[str, datetime]
    """What each service's clock said before any snapshot was taken."""
    at_work_since: Mapping[str, datetime] = field(default_factory=dict)
    """The services that run somewhere, by the clock of their databases."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Service -> what the stream had for it, before any snapshot was taken."""
    last_seq: int = 0
    """The stream's last number then: whatever it had said by then is in all snapshots."""
    first_seq: int = 1
    forgets: bool = False
    """Whether its operator lets the stream forget what is old, or too much."""
    messages: Callable[[], AsyncIterator[Stored]]
    """The whole stream, from its beginning."""
    note: Callable[[str], None] = lambda _what: None
    """Is told now and then how far we are."""
    excluded: Excluded = field(default_factory=Excluded)
    under_way: UnderWay = field(default_factory=UnderWay)

    @property
    def at_rest(self) -> bool:
        return not self.under_way

    def is_excluded(self, *ids: object) -> bool:
        """Whether any of these orders and tickets has a parked event."""
        return bool(self.excluded.ids) and any(id in self.excluded.ids for id in ids)

    async def rows(self, database: str, sql: str, *args: object, what: str = "rows") -> AsyncIterator[Record]:
        """Every row, without having all of them in memory at any time."""
        cursor = await self.databases[database].cursor(sql, *args)
        number = 0
        while batch := await cursor.fetch(BATCH):
            for row in batch:
                yield row
            number += len(batch)
            self.note(f"{database}: {number:,} {what}")


async def merge_by_key(*streams: AsyncIterator[Record]) -> AsyncIterator[tuple[Any, list[Any]]]:
    """The rows of several streams that have the same first column, which each of them is sorted by; None where one has none."""
    heads = [await anext(stream, None) for stream in streams]
    keys = [(head[0], number) for number, head in enumerate(heads) if head is not None]
    heapify(keys)
    while keys:
        key, _ = keys[0]
        at_key: list[Any] = [None] * len(streams)
        while keys and keys[0][0] == key:
            number = keys[0][1]
            if at_key[number] is not None:
                break  # It has two of them: the second is shown by itself.
            at_key[number] = heads[number]
            heads[number] = following = await anext(streams[number], None)
            if following is None:
                heappop(keys)
            else:
                heapreplace(keys, (following[0], number))
        yield key, at_key


@contextlib.asynccontextmanager
async def engines_of(settings: Settings, say: Callable[[str], None]) -> AsyncIterator[Settings]:
    """The settings of the system that runs; of one that is stopped, with its engines running for as long as the block does.

    Raises EngineError where there is neither.
    """
    if not has_own_engines(settings):
        yield settings
        return
    try:
        running = settings_of_run(settings)
    except EngineError:
        if not (settings.data / "postgres" / "data").exists():
            raise
    else:
        yield running
        return
    with only_run_in(settings.data):
        say(f"Nothing runs in {settings.data}: its engines are started for this look, and stopped again.")
        engines = Engines(settings.data, say)
        try:
            engines.start()
            await engines.ready()
            yield replace(settings, database_url=engines.database_url, nats_url=engines.nats_url)
        finally:
            engines.stop()


@contextlib.asynccontextmanager
async def take_snapshot(settings: Settings, note: Callable[[str], None]) -> AsyncIterator[Snapshot]:
    """The snapshot of this moment. Raises WrongSettings, BusUnreachable, and what asyncpg raises for a database that is away.

    First the stream is asked where it is, then all snapshots are taken: so each of them has what the stream had, and more.
    """
    async with contextlib.AsyncExitStack() as stack:
        databases: dict[str, Connection] = {}
        for name in SERVICES_WITH_A_DATABASE:
            databases[name] = await stack.enter_async_context(open_connection(settings, name, "verify", work_mem="64MB"))
            if (await migration_status(databases[name], name)).missing:
                raise WrongSettings(f"the database of {name} is of an older version: `admitone migrate` brings it up to date.")
        with contextlib.suppress(WrongSettings, asyncpg.InvalidCatalogNameError, asyncpg.InvalidAuthorizationSpecificationError):
            books = await stack.enter_async_context(open_connection(settings, TEST_PROCESSOR, "verify", work_mem="64MB"))
            if await books.fetchval("SELECT to_regclass('intents') IS NOT NULL"):
                databases[TEST_PROCESSOR] = books
        client = await stack.enter_async_context(connect_to_bus(settings.nats_url or settings.nats_url_of("orders"), "verify"))
        stream = client.jetstream(timeout=CONNECT_SECONDS)
        began = {name: await database_clock(connection) for name, connection in databases.items()}
        info = await _stream(stream)
        snapshot = Snapshot(
            databases=databases,
            began=began,
            at_work_since=await _at_work_since(databases),
            waiting={name: await _waiting(stream, name, info) for name in _listening()},
            last_seq=info.state.last_seq if info else 0,
            first_seq=info.state.first_seq if info else 1,
            forgets=info is not None
            and any((limit or 0) > 0 for limit in (info.config.max_age, info.config.max_msgs, info.config.max_bytes)),
            messages=lambda: _messages(client, stream),
            note=note,
        )
        await asyncio.gather(*(_begin_snapshot(connection) for connection in databases.values()))
        yield snapshot


def _listening() -> list[str]:
    return [name for name in SERVICES_WITH_A_DATABASE if any(name in recording_services(event) for event in CATALOGUE)]


async def _begin_snapshot(connection: Connection) -> None:
    """It is taken by the first statement."""
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    await connection.execute("SELECT 1 FROM migrations LIMIT 1")


async def _at_work_since(databases: Mapping[str, Connection]) -> dict[str, datetime]:
    """The services whose relay somebody runs, and since when."""
    found = {}
    for name in SERVICES_WITH_A_DATABASE:
        since = await running_since(databases[name])
        if since is not None:
            found[name] = since
    return found


async def _stream(stream: JetStreamContext) -> StreamInfo | None:
    """None where there is none: the services make it anew when they run, and send everything again."""
    try:
        return await stream.stream_info(STREAM)
    except nats.js.errors.NotFoundError:
        return None


async def _waiting(stream: JetStreamContext, service: str, info: StreamInfo | None) -> int:
    """What the stream has for a service. Where it does not know the service yet, that is everything, or nothing."""
    try:
        return waiting(await stream.consumer_info(STREAM, service))
    except nats.js.errors.NotFoundError:
        return info.state.messages if info else 0


async def _messages(client: Client, stream: JetStreamContext) -> AsyncIterator[Stored]:
    info = await _stream(stream)
    if info is None or not info.state.messages:
        return
    async with ordered(client, stream, ["events.>"]) as messages:
        async for message in messages:
            number = message.metadata.sequence.stream
            yield Stored(number, (message.headers or {}).get("Nats-Msg-Id", ""), message.subject, message.data)
            if not message.metadata.num_pending or number >= info.state.last_seq:
                return


def ids_in(data: Mapping[str, Any]) -> set[UUID]:
    """The order and the ticket that an event is about."""
    found = set()
    for name in ("order_id", "ticket_id"):
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            if data.get(name):
                found.add(UUID(data[name]))
    return found
