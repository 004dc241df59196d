"""Hands a service what it hears: in order, a batch in one transaction, acknowledged afterwards."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from admitone.kit.bus import BUS_TROUBLE, STREAM, Bus
from admitone.kit.db import TRANSIENT, Database, Tx
from admitone.kit.event import CATALOGUE, Event, Message, subject
from admitone.kit.log import causation_id, correlation_id, log
from admitone.kit.metrics import HANDLED, PARKED
from admitone.kit.service import Handler, Handlers, TooEarly

BATCH = 100
PULL_SECONDS = 5.0
HEARTBEAT_SECONDS = 1.0
ACK_WAIT_SECONDS = 5.0
"""How long a killed process keeps an event to itself. A batch that takes longer is handled twice, which does no harm."""
RETRY_DELAYS_SECONDS = (0.2, 1.0, 5.0, 30.0)
"""How long a failing event rests before each new try; when they are used up, it is parked."""


class Unreadable(Exception):
    """A message that is no event we know. Trying again can't help, so it is parked at once."""


class Consumer:
    """One durable consumer per service over all its subjects, so that events keep their order."""

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
                self.bus.complain(error)
                if isinstance(error, nats.js.errors.NotFoundError):
                    await self.bus.ensure_stream()
                    self.bus.age += 1
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
            self._failures.pop(_event_id(message), None)
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
