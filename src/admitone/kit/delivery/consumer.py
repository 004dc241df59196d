"""Consumes a service's events in order: a batch in one transaction, acknowledged after the commit."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from admitone.kit.data.db import TRANSIENT, Database
from admitone.kit.delivery.bus import BUS_ERRORS, Bus
from admitone.kit.delivery.inbox import Unreadable, format_error, handle
from admitone.kit.delivery.pull import RequestEnded, give_back, pull_batches
from admitone.kit.event import subject
from admitone.kit.observe.log import clear_correlation, log
from admitone.kit.observe.metrics import HANDLED, PARKED
from admitone.kit.service import Handlers, TooEarly

ACK_WAIT_SECONDS = 5.0
"""How long a killed process keeps an event to itself. A batch that takes longer is handled twice, which does no harm."""
RETRY_DELAYS_SECONDS = (0.2, 1.0, 5.0, 30.0)
"""Delays before each retry of a failing event; after the last one it is parked (dead letter)."""


MANY, REST_SECONDS = 4, 0.01
"""After a batch of so many events, a rest lets more of them come together for the next batch."""


class Consumer:
    """One durable consumer per service over all its subjects, so that events keep their order."""

    def __init__(self, handlers: Handlers, db: Database, bus: Bus, retry_delays: Sequence[float] = RETRY_DELAYS_SECONDS) -> None:
        self.handlers = handlers
        self.db = db
        self.bus = bus
        self.retry_delays = retry_delays
        self._failures: dict[UUID, int] = {}

    async def run(self) -> None:
        """Runs for ever; retries while the database or the bus is unavailable."""
        while True:
            try:
                async with pull_batches(self.bus.client, self.bus.stream, self._config()) as batches:
                    async for batch in batches:
                        try:
                            await self.handle_batch(batch)
                        except asyncio.CancelledError:
                            await give_back(batch)
                            raise
                        finally:
                            clear_correlation()
                        if len(batch) >= MANY:
                            await asyncio.sleep(REST_SECONDS)
            except TRANSIENT + BUS_ERRORS as error:
                self.bus.report_error(error)
                if isinstance(error, nats.js.errors.NotFoundError):
                    await self.bus.ensure_stream()
                if isinstance(error, nats.js.errors.NotFoundError | RequestEnded):
                    self.bus.epoch += 1
                await asyncio.sleep(0.25)

    def _config(self) -> ConsumerConfig:
        service = self.handlers.service
        return ConsumerConfig(
            name=service,
            durable_name=service,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_SECONDS,
            max_deliver=-1,
            max_ack_pending=1000,
            filter_subjects=sorted(subject(event) for event in self.handlers.by_event),
        )

    async def handle_batch(self, batch: list[Msg]) -> None:
        """In order and in one transaction. When one event of it fails, all is taken back and each is taken by itself."""
        try:
            async with self.db.transaction() as tx:
                handled = await handle(self.handlers, [(message.subject, message.data) for message in batch], tx)
        except Exception:
            for message in batch:
                await self._handle_alone(message)
        else:
            await self._done(batch, handled)

    async def _handle_alone(self, message: Msg) -> None:
        try:
            async with self.db.transaction() as tx:
                handled = await handle(self.handlers, [(message.subject, message.data)], tx)
        except TooEarly as early:
            await message.nak(delay=early.seconds)
        except TRANSIENT:
            await message.nak(delay=0.5)
        except Exception as error:
            await self._failed(message, error)
        else:
            self._failures.pop(_event_id(message), None)
            await self._done([message], handled)

    async def _done(self, messages: list[Msg], handled: list[str]) -> None:
        counted = Counter(handled)
        for event, number in counted.items():
            HANDLED.labels(self.handlers.service, event).inc(number)
        if counted:  # Once for all of a batch: a line per event would cost a tenth of handling it.
            received = ", ".join(f"{event} ×{number}" if number > 1 else event for event, number in counted.items())
            log.info("events_handled", message=f"{self.handlers.service} received {received}", service=self.handlers.service)
        for message in messages:
            await message.ack()

    async def _failed(self, message: Msg, error: Exception) -> None:
        """Retry a failing event after a delay; park it after the last retry, so that it does not block the others."""
        event_id = _event_id(message)
        tries = self._failures[event_id] = self._failures.get(event_id, 0) + 1
        service, name = self.handlers.service, message.subject.rpartition(".")[2]
        if tries <= len(self.retry_delays) and not isinstance(error, Unreadable):
            delay = self.retry_delays[tries - 1]
            log.warning(
                "handler_failed", message=f"{service} could not handle {name}; again in {delay:g} s", tries=tries, error=repr(error)[:300]
            )
            await message.nak(delay=delay)
            return
        try:
            async with self.db.transaction() as tx:
                parked = await tx.run(
                    """
                    INSERT INTO parked (event_id, event, message, error, tries, parked_at)
                    SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT FROM dropped WHERE event_id = $1)
                    ON CONFLICT (event_id) DO UPDATE SET error = excluded.error, tries = excluded.tries
                    """,
                    event_id,
                    name,
                    message.data,
                    format_error(error),
                    tries,
                    tx.now,
                )
        except TRANSIENT:
            await message.nak(delay=0.5)
            return
        if parked:  # What a person has dropped stays dropped.
            log.error("event_parked", message=f"{service} has parked {name}: it can't be handled", tries=tries, exc_info=error)
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
