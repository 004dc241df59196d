"""How events leave a service and how they arrive. The stream is a carrier that may lose, repeat and reorder.

Out: `Relay` publishes outbox rows in order, and repairs the stream from them whenever it may have lost something.
In:  `Consumer` hands events to the handlers in order, a batch in one transaction, and acknowledges afterwards.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from admitone.kit.db import TRANSIENT, Connection, Database, Tx, happened, prepare_connection
from admitone.kit.event import CATALOGUE, LISTENERS, OWNERS, Event, Message, subject, words
from admitone.kit.log import causation_id, correlation_id, log
from admitone.kit.metrics import HANDLED, PARKED, PUBLISHED
from admitone.kit.service import Handler, Handlers, TooEarly

STREAM = "ADMITONE"
BATCH = 100
PUBLISH_TIMEOUT_SECONDS = 2.0
PULL_SECONDS = 5.0
ACK_WAIT_SECONDS = 5.0
"""How long a killed process keeps an event to itself. A batch that takes longer is handled twice, which does no harm."""
HEARTBEAT_SECONDS = 1.0
RETRY_DELAYS_SECONDS = (0.2, 1.0, 5.0, 30.0)
"""How long a failing event rests before each new try; when they are used up, it is parked."""
RELAY_LOCK = 0x52454C4159  # "RELAY"

BUS_TROUBLE = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)


class BusClosed(Exception):
    """The connection to the stream is closed for good, for instance because the credentials are wrong."""


class Unreadable(Exception):
    """A message that is no event we know. Trying again can't help, so it is parked at once."""


class Bus:
    """One service's connection to the stream. It reconnects for ever."""

    def __init__(self, service: str, url: str) -> None:
        self.service = service
        self.url = url
        self.age = 0
        """Rises whenever what we know of the stream may have become untrue: it may have lost something."""
        self.client = Client()
        self.stream: JetStreamContext = self.client.jetstream(timeout=PUBLISH_TIMEOUT_SECONDS)
        self.closed = asyncio.Event()
        self._complained_at = -60.0

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator["Bus"]:
        """Waits for the server for as long as it takes."""

        async def reconnected() -> None:
            self.age += 1
            log.info("the event bus is back", service=self.service)

        async def disconnected() -> None:
            if not self.client.is_closed:
                log.warning("the event bus is away; what happens meanwhile is kept and sent later", service=self.service)

        async def closed() -> None:
            self.closed.set()

        async def trouble(error: Exception) -> None:
            if time.monotonic() - self._complained_at > 30:
                self._complained_at = time.monotonic()
                log.warning("the event bus can't be reached", service=self.service, error=repr(error))

        await self.client.connect(
            self.url,
            name=self.service,
            connect_timeout=2,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type]
            ping_interval=10,
            max_outstanding_pings=2,
            reconnected_cb=reconnected,
            disconnected_cb=disconnected,
            closed_cb=closed,
            error_cb=trouble,
        )
        try:
            await self.ensure_stream()
            yield self
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.client.close(), 1)

    async def ensure_stream(self) -> None:
        """Create the stream where there is none; one that is there is left as its operator has set it."""
        while True:
            try:
                await self.stream.add_stream(
                    StreamConfig(
                        name=STREAM,
                        subjects=["events.>"],
                        storage=StorageType.FILE,
                        retention=RetentionPolicy.LIMITS,
                        discard=DiscardPolicy.NEW,
                        allow_direct=True,
                    )
                )
                return
            except nats.js.errors.BadRequestError:  # It exists, with other settings.
                return
            except BUS_TROUBLE as error:
                self.check()
                log.warning("the stream can't be made yet", service=self.service, error=repr(error))
                await asyncio.sleep(1)

    def check(self) -> None:
        """Raises BusClosed when there is no way back."""
        if self.closed.is_set() or self.client.is_closed:
            raise BusClosed(f"{self.service}: the event bus has closed the connection for good; are the credentials right?")


class Relay:
    """Brings a service's outbox to the stream. One at a time per service, or events would leave out of order."""

    def __init__(self, db: Database, bus: Bus, url: str) -> None:
        self.db = db
        self.bus = bus
        self.url = url
        self._repaired_age = -1

    async def run(self) -> None:
        """Runs for ever. An engine that is away is waited for."""
        while True:
            try:
                async with self._as_the_only_one() as connection:
                    while True:
                        await self._once(connection)
            except TRANSIENT + BUS_TROUBLE as error:
                self.bus.check()
                if isinstance(error, nats.js.errors.NoStreamResponseError | nats.js.errors.NotFoundError):
                    await self.bus.ensure_stream()
                    self.bus.age += 1
                await asyncio.sleep(0.25)

    @contextlib.asynccontextmanager
    async def _as_the_only_one(self) -> AsyncIterator[Connection]:
        """A connection that holds the lock of this service's relay; a crash of ours frees it."""
        connection = await asyncpg.connect(
            self.url, timeout=5, command_timeout=10, server_settings={"application_name": f"{self.db.service} relay"}
        )
        try:
            await prepare_connection(connection)
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", RELAY_LOCK):
                await asyncio.sleep(1)
            self._repaired_age = -1
            yield connection
        finally:
            connection.terminate()

    async def _once(self, connection: Connection) -> None:
        if self._repaired_age != self.bus.age:
            age = self.bus.age
            await repair(connection, self.bus.stream, self.db.service)
            self._repaired_age = age
        emitted = self.db.emitted.next()
        rows = await connection.fetch("SELECT * FROM outbox WHERE published_at IS NULL ORDER BY id LIMIT $1", BATCH)
        published: list[tuple[int, int]] = []
        try:
            for row in rows:
                if self._repaired_age != self.bus.age:
                    break
                published.append((row["id"], await publish(self.bus.stream, row)))
        finally:
            if published:
                await connection.execute(
                    """
                    UPDATE outbox SET published_at = $3, seq = done.seq
                    FROM unnest($1::bigint[], $2::bigint[]) AS done (id, seq) WHERE outbox.id = done.id
                    """,
                    [row_id for row_id, _ in published],
                    [seq for _, seq in published],
                    await self.db.clock(connection),
                )
        if not rows:
            await happened(emitted, 1.0)


async def publish(stream: JetStreamContext, row: asyncpg.Record) -> int:
    """Send one outbox row; returns its number in the stream, which the stream has acknowledged."""
    event = CATALOGUE[row["event"]]
    message = Message(
        event_id=row["event_id"],
        event=row["event"],
        time=row["created_at"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        data=row["data"],
    )
    ack = await stream.publish(subject(event), msgspec.json.encode(message), stream=STREAM, headers={"Nats-Msg-Id": str(row["event_id"])})
    listeners = ", ".join(LISTENERS[event]) or "(nobody yet)"
    ids = {name.removesuffix("_id"): str(row["data"][name])[:8] for name in ("order_id", "ticket_id") if row["data"].get(name)}
    PUBLISHED.labels(OWNERS[event], event.__name__).inc()
    log.info(f"{words(event)} -> {listeners}", **ids, correlation=str(row["correlation_id"])[:8])
    return ack.seq


async def repair(connection: Connection, stream: JetStreamContext, service: str) -> int:
    """Mark for publishing again whatever the stream has lost of this service's events; returns how many.

    The stream loses its tail, or all of it, and other services may have taken the lost numbers since. So we walk back
    through our own rows, in strides that double, until one is found that still stands at its number with its own id;
    everything after it is sent again. What is sent needlessly is dropped by the inboxes.
    """
    stride, offset = 1, 0
    while True:
        row = await connection.fetchrow(
            "SELECT event_id, seq FROM outbox WHERE seq IS NOT NULL ORDER BY seq DESC OFFSET $1 LIMIT 1", offset
        )
        if row is None or await _still_there(stream, row["seq"], row["event_id"]):
            break
        offset, stride = offset + stride, stride * 2
    kept = row["seq"] if row is not None else 0
    status = await connection.execute("UPDATE outbox SET published_at = NULL, seq = NULL WHERE seq > $1", kept)
    lost = int(status.rpartition(" ")[2])
    if lost:
        log.warning("the stream has lost events; they are sent again", service=service, events=lost)
    return lost


async def _still_there(stream: JetStreamContext, seq: int, event_id: UUID) -> bool:
    try:
        message = await stream.get_msg(STREAM, seq)
    except nats.js.errors.NotFoundError as error:
        if error.err_code == 10059:  # The whole stream is gone: make it again before anything else.
            raise
        return False
    return (message.headers or {}).get("Nats-Msg-Id") == str(event_id)


class Consumer:
    """Hands a service what it hears: one durable consumer over all its subjects, so that events keep their order."""

    def __init__(self, handlers: Handlers, db: Database, bus: Bus, retry_delays: Sequence[float] = RETRY_DELAYS_SECONDS) -> None:
        self.handlers = handlers
        self.db = db
        self.bus = bus
        self.retry_delays = retry_delays
        self._failures: dict[UUID, int] = {}

    async def run(self) -> None:
        """Runs for ever. An engine that is away is waited for."""
        while True:
            try:
                async with self._pulled() as batches:
                    async for batch in batches:
                        await self._handle_batch(batch)
            except TRANSIENT + BUS_TROUBLE as error:
                self.bus.check()
                if isinstance(error, nats.js.errors.NotFoundError):
                    await self.bus.ensure_stream()
                await asyncio.sleep(0.25)

    @contextlib.asynccontextmanager
    async def _pulled(self) -> AsyncIterator[AsyncIterator[list[Msg]]]:
        service = self.handlers.service
        await self.bus.stream.add_consumer(
            STREAM,
            ConsumerConfig(
                name=service,
                durable_name=service,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_SECONDS,
                max_deliver=-1,
                max_ack_pending=1000,
                filter_subjects=sorted(subject(event) for event in self.handlers.by_event),
            ),
        )
        queue: asyncio.Queue[Msg] = asyncio.Queue()
        subscription = await self.bus.client.subscribe(self.bus.client.new_inbox(), cb=queue.put)
        try:
            yield self._batches(queue, subscription.subject)
        finally:
            with contextlib.suppress(*BUS_TROUBLE):
                await subscription.unsubscribe()

    async def _batches(self, queue: asyncio.Queue[Msg], inbox: str) -> AsyncIterator[list[Msg]]:
        """Whatever has arrived, as soon as something has. Asks for more when the last request is used up or silent."""
        pull = msgspec.json.encode({"batch": BATCH, "expires": int(PULL_SECONDS * 1e9), "idle_heartbeat": int(HEARTBEAT_SECONDS * 1e9)})
        wanted = 0
        while True:
            if wanted <= 0:
                await self.bus.client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{self.handlers.service}", pull, reply=inbox)
                wanted = BATCH
            try:
                arrived = [await asyncio.wait_for(queue.get(), 2.5 * HEARTBEAT_SECONDS)]
            except TimeoutError:  # Not even a heartbeat: the request is lost, or the bus is.
                wanted = 0
                continue
            while not queue.empty():
                arrived.append(queue.get_nowait())
            batch = []
            for message in arrived:
                match (message.headers or {}).get("Status"):
                    case None:
                        batch.append(message)
                        wanted -= 1
                    case "100":
                        pass
                    case "404" | "408":
                        wanted = 0
                    case "503":
                        raise nats.js.errors.NotFoundError(code=503, description="the consumer is gone")
                    case _:  # 409: the consumer was deleted, the server stops, or the like. Begin anew.
                        self.bus.age += 1
                        raise nats.errors.Error("the stream has ended the request")
            if batch:
                yield batch

    async def _handle_batch(self, batch: list[Msg]) -> None:
        """In order and in one transaction. When one event of it fails, all is taken back and each is taken by itself."""
        try:
            async with self.db.transaction() as tx:
                for message in batch:
                    await self._handle(tx, message)
        except Exception:
            for message in batch:
                await self._handle_alone(message)
        else:
            for message in batch:
                await message.ack()

    async def _handle_alone(self, message: Msg) -> None:
        try:
            async with self.db.transaction() as tx:
                await self._handle(tx, message)
        except TooEarly as early:
            await message.nak(delay=early.seconds)
        except TRANSIENT:
            await message.nak(delay=0.5)
        except Exception as error:
            await self._failed(message, error)
        else:
            await message.ack()

    async def _handle(self, tx: Tx, message: Msg) -> None:
        envelope, event, handler = self._decode(message.data)
        correlation_id.set(envelope.correlation_id)
        causation_id.set(envelope.event_id)
        if await tx.run(
            "INSERT INTO inbox (event_id, event, handled_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            envelope.event_id,
            envelope.event,
            tx.now,
        ):
            await handler(event, tx)
            HANDLED.labels(self.handlers.service, envelope.event).inc()

    def _decode(self, data: bytes) -> tuple[Message, Event, Handler]:
        try:
            envelope = msgspec.json.decode(data, type=Message)
            event_type = CATALOGUE[envelope.event]
            return envelope, msgspec.convert(envelope.data, event_type), self.handlers.by_event[event_type]
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
            raise Unreadable(str(error)) from error

    async def _failed(self, message: Msg, error: Exception) -> None:
        """Let a failing event rest, longer each time; park it when that is no use, so that it holds up nothing else."""
        event_id = _event_id(message)
        tries = self._failures[event_id] = self._failures.get(event_id, 0) + 1
        service, name = self.handlers.service, message.subject.rpartition(".")[2]
        if tries <= len(self.retry_delays) and not isinstance(error, Unreadable):
            delay = self.retry_delays[tries - 1]
            log.warning(f"{service} could not handle {name}; again in {delay:g} s", tries=tries, error=repr(error)[:300])
            await message.nak(delay=delay)
            return
        try:
            async with self.db.transaction() as tx:
                await tx.run(
                    """
                    INSERT INTO parked (event_id, event, message, error, tries, parked_at) VALUES ($1, $2, $3, $4, $5, $6)
                    ON CONFLICT (event_id) DO UPDATE SET error = excluded.error, tries = excluded.tries
                    """,
                    event_id,
                    name,
                    message.data,
                    f"{type(error).__name__}: {error}"[:2000].replace("\0", ""),
                    tries,
                    tx.now,
                )
        except TRANSIENT:
            await message.nak(delay=0.5)
            return
        log.error(f"{service} has parked {name}: it can't be handled", tries=tries, exc_info=error)
        PARKED.labels(service, name).inc()
        self._failures.pop(event_id, None)
        await message.ack()


def _event_id(message: Msg) -> UUID:
    """The event's id, from the header: also of an event that can't be read."""
    stated: Any = (message.headers or {}).get("Nats-Msg-Id", "")
    try:
        return UUID(stated)
    except ValueError:
        return UUID(int=message.metadata.sequence.stream)
