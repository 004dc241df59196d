"""What a check looks at: a snapshot of every database, and the stream up to a place that all of them are younger than."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import heapify, heappop, heapreplace
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import nats.errors
import nats.js.errors
from asyncpg import Record
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo

from admitone.apidocs.markdown import listeners
from admitone.config import SERVICES_WITH_A_DATABASE, TEST_PROCESSOR, Settings, WrongSettings
from admitone.kit.data.clock import database_clock
from admitone.kit.data.connection import Connection, prepare_connection
from admitone.kit.data.migrations import status as migration_status
from admitone.kit.delivery.bus import BUS_ERRORS, STREAM
from admitone.kit.delivery.pull import pull_batches
from admitone.kit.delivery.relay import LOCK
from admitone.kit.event import CATALOGUE
from admitone.kit.observe.gauges import waiting
from admitone.ops.verify.report import Aside, UnderWay
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
class Evidence:
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
    aside: Aside = field(default_factory=Aside)
    under_way: UnderWay = field(default_factory=UnderWay)

    @property
    def at_rest(self) -> bool:
        return not self.under_way

    def is_aside(self, *ids: object) -> bool:
        """Whether any of these orders and tickets has a parked event."""
        return bool(self.aside.ids) and any(id in self.aside.ids for id in ids)

    async def rows(self, database: str, sql: str, *args: object, what: str = "rows") -> AsyncIterator[Record]:
        """Every row, without having all of them in memory at any time."""
        cursor = await self.databases[database].cursor(sql, *args)
        number = 0
        while batch := await cursor.fetch(BATCH):
            for row in batch:
                yield row
            number += len(batch)
            self.note(f"{database}: {number:,} {what}")


async def side_by_side(*streams: AsyncIterator[Record]) -> AsyncIterator[tuple[Any, list[Any]]]:
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


def keep_record(event: str) -> Sequence[str]:
    """The services that hear an event and write down that they have."""
    kind = CATALOGUE.get(event)  # A newer version, since taken back, may have said it.
    return [name for name in listeners(kind) if name in SERVICES_WITH_A_DATABASE] if kind is not None else ()


@contextlib.asynccontextmanager
async def engines_of(settings: Settings, say: Callable[[str], None]) -> AsyncIterator[Settings]:
    """The settings of the system that runs; of one that is stopped, with its engines running for as long as the block does.

    Raises EngineError where there is neither.
    """
    if settings.database_url is not None or settings.own_database_urls:
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
async def gathered(settings: Settings, note: Callable[[str], None]) -> AsyncIterator[Evidence]:
    """The evidence of this moment. Raises WrongSettings, EngineError, and what asyncpg raises for a database that is away.

    First the stream is asked where it is, then all snapshots are taken: so each of them has what the stream had, and more.
    """
    async with contextlib.AsyncExitStack() as stack:
        databases: dict[str, Connection] = {}
        for name in SERVICES_WITH_A_DATABASE:
            databases[name] = await stack.enter_async_context(_looking_into(name, settings.database_url_of(name)))
            if (await migration_status(databases[name], name)).missing:
                raise WrongSettings(f"the database of {name} is of an older version: `admitone migrate` brings it up to date.")
        with contextlib.suppress(WrongSettings, asyncpg.InvalidCatalogNameError, asyncpg.InvalidAuthorizationSpecificationError):
            books = await stack.enter_async_context(_looking_into(TEST_PROCESSOR, settings.database_url_of(TEST_PROCESSOR)))
            if await books.fetchval("SELECT to_regclass('intents') IS NOT NULL"):
                databases[TEST_PROCESSOR] = books
        client = await stack.enter_async_context(_bus(settings))
        stream = client.jetstream(timeout=CONNECT_SECONDS)
        began = {name: await database_clock(connection) for name, connection in databases.items()}
        info = await _stream(stream)
        evidence = Evidence(
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
        await asyncio.gather(*(_take_snapshot(connection) for connection in databases.values()))
        yield evidence


def _listening() -> list[str]:
    return [name for name in SERVICES_WITH_A_DATABASE if any(name in keep_record(event) for event in CATALOGUE)]


@contextlib.asynccontextmanager
async def _looking_into(name: str, url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(
        url, timeout=CONNECT_SECONDS, server_settings={"application_name": f"{name} verify", "timezone": "UTC", "work_mem": "64MB"}
    )
    try:
        await prepare_connection(connection)
        yield connection
    finally:
        connection.terminate()


async def _take_snapshot(connection: Connection) -> None:
    """It is taken by the first statement."""
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    await connection.execute("SELECT 1 FROM migrations LIMIT 1")


async def _at_work_since(databases: Mapping[str, Connection]) -> dict[str, datetime]:
    """The services whose relay somebody runs, and since when."""
    found = {}
    for name in SERVICES_WITH_A_DATABASE:
        since = await databases[name].fetchval(
            """
            SELECT min(backend_start) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND datname = current_database()
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND (classid::bigint << 32) + objid::bigint = $1
            """,
            LOCK,
        )
        if since is not None:
            found[name] = since
    return found


@contextlib.asynccontextmanager
async def _bus(settings: Settings) -> AsyncIterator[Client]:
    url = settings.nats_url or settings.nats_url_of("orders")
    client = Client()

    async def nothing(_error: Exception) -> None:
        """What goes wrong is raised to whoever asks; it need not be printed as well."""

    try:
        await client.connect(url, name="admitone verify", connect_timeout=3, allow_reconnect=False, error_cb=nothing)
    except BUS_ERRORS as error:
        raise EngineError("The event bus can't be reached, so what is in the stream can't be checked.") from error
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.close(), 1)


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
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=30.0, filter_subject="events.>"
    )
    expected = 1
    async with pull_batches(client, stream, config) as batches:
        async for batch in batches:
            for message in batch:
                number = message.metadata.sequence
                if number.consumer != expected:
                    raise nats.errors.Error("something was lost on its way")
                expected += 1
                yield Stored(number.stream, (message.headers or {}).get("Nats-Msg-Id", ""), message.subject, message.data)
                if not message.metadata.num_pending or number.stream >= info.state.last_seq:
                    return


def ids_in(data: Mapping[str, Any]) -> set[UUID]:
    """The order and the ticket that an event is about."""
    found = set()
    for name in ("order_id", "ticket_id"):
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            if data.get(name):
                found.add(UUID(data[name]))
    return found
