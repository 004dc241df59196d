"""One service's outbox and inbox at a real stream.

async with exchange(engines) as here:
    await here.begins_anew()
    await here.emits(order_created())
    async with here.at_work(here.relay()):
        await here.published()
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import nats.js.errors
from nats.js.api import RawStreamMsg
from support.databases import OwnDatabase, own_database
from support.house import eventually

from admitone.kit.delivery.bus import STREAM, Bus
from admitone.kit.delivery.consumer import Consumer
from admitone.kit.delivery.relay import Relay
from admitone.kit.event import Event, Message, subject
from admitone.kit.service import Handlers
from admitone.runtime.engines import Engines

FOREIGN = "events.auth.UserCreated"


class Exchange:
    def __init__(self, own: OwnDatabase, bus: Bus) -> None:
        self.own = own
        self.bus = bus

    async def begins_anew(self) -> None:
        """Nothing is in the stream, and nothing in the database."""
        with contextlib.suppress(nats.js.errors.NotFoundError):
            await self.bus.stream.delete_stream(STREAM)
        await self.bus.ensure_stream()
        await self.own.db.pool.execute("TRUNCATE outbox, inbox, parked, dropped, orders, payment_events, ticket_copies RESTART IDENTITY")

    def relay(self) -> Relay:
        return Relay(self.own.db, self.bus, self.own.url)

    def consumer(self, handlers: Handlers, retry_delays: Sequence[float] = (0.01, 0.02)) -> Consumer:
        return Consumer(handlers, self.own.db, self.bus, retry_delays)

    @contextlib.asynccontextmanager
    async def at_work(self, *workers: Relay | Consumer) -> AsyncIterator[None]:
        """They run for as long as the block does."""
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            yield
            assert not any(task.done() for task in tasks), "it runs for ever"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def emits(self, *events: Event) -> list[UUID]:
        """The service says this, each in a transaction of its own. Returns the ids of all it has said, in order."""
        for event in events:
            async with self.own.db.transaction() as tx:
                tx.emit(event)
        return await self.said()

    async def said(self) -> list[UUID]:
        return [row["event_id"] for row in await self.own.rows("SELECT event_id FROM outbox ORDER BY id")]

    async def published(self) -> None:
        """Wait until nothing is left to be published."""
        await eventually(lambda: self._none("SELECT 1 FROM outbox WHERE published_at IS NULL"))

    async def _none(self, sql: str) -> bool:
        return not await self.own.rows(sql)

    async def sends(self, event: Event, event_id: UUID | None = None, **envelope: Any) -> UUID:
        """The event is in the stream, as if its owner had published it: under a message id of its own."""
        event_id = event_id or uuid4()
        message = Message(
            event_id=event_id,
            event=type(event).__name__,
            time=datetime.now(UTC),
            correlation_id=envelope.get("correlation_id", uuid4()),
            causation_id=None,
            data=msgspec.to_builtins(event),
        )
        await self.sends_bytes(subject(type(event)), msgspec.json.encode(message))
        return event_id

    async def sends_bytes(self, to: str, data: bytes, message_id: UUID | None = None) -> UUID:
        """Anything at all is in the stream."""
        message_id = message_id or uuid4()
        await self.bus.stream.publish(to, data, headers={"Nats-Msg-Id": str(message_id)})
        return message_id

    async def in_the_stream(self) -> list[RawStreamMsg]:
        """Every message of ours, oldest first."""
        state = (await self.bus.stream.stream_info(STREAM)).state
        numbers = range(state.first_seq, state.last_seq + 1) if state.messages else ()
        messages = [await self.bus.stream.get_msg(STREAM, seq) for seq in numbers]
        return [message for message in messages if message.subject != FOREIGN]

    async def ids_in_the_stream(self) -> list[UUID]:
        return [UUID((message.headers or {})["Nats-Msg-Id"]) for message in await self.in_the_stream()]

    async def loses(self, lost: int, foreign: int = 0) -> None:
        """The stream forgets its last messages, as after a power cut; others have taken so many of the lost numbers since."""
        kept = (await self.in_the_stream())[: -lost or None]
        await self.bus.stream.delete_stream(STREAM)
        await self.bus.ensure_stream()
        for message in kept:
            await self.bus.stream.publish(str(message.subject), message.data or b"", headers=message.headers)
        for _ in range(foreign):
            await self.sends_bytes(FOREIGN, b"{}")


@contextlib.asynccontextmanager
async def exchange(engines: Engines) -> AsyncIterator[Exchange]:
    """That of orders."""
    async with own_database(engines, "orders") as own, Bus("orders", engines.nats_url).connected() as bus:
        yield Exchange(own, bus)
