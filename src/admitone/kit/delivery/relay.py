"""Publishes a service's outbox to the stream, in order, and repairs the stream from it when the stream may have lost events."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec
import nats.js.errors
from nats.js import JetStreamContext

from admitone.kit.data.connection import Connection, prepare_connection
from admitone.kit.data.db import TRANSIENT, Database, wait_for_signal
from admitone.kit.delivery.bus import BUS_ERRORS, STREAM, Bus
from admitone.kit.event import CATALOGUE, LISTENERS, Message, words
from admitone.kit.observe.log import log
from admitone.kit.observe.metrics import PUBLISHED

LOCK = 0x52454C4159  # "RELAY"
BATCH = 100
REPAIR_BATCH = 5000
POLL_SECONDS = 1.0
CHECK_STREAM_SECONDS = 5.0
STREAM_NOT_FOUND = 10059


async def running_since(connection: Connection) -> datetime | None:
    """Since when some process holds the lock of the relay of this database; None when nobody does."""
    since: datetime | None = await connection.fetchval(
        """
        SELECT min(backend_start) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND datname = current_database()
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND (classid::bigint << 32) + objid::bigint = $1
        """,
        LOCK,
    )
    return since


class Relay:
    """One active relay per service, so that events are published in order; those of replicas wait for the advisory lock."""

    def __init__(self, db: Database, bus: Bus, url: str) -> None:
        self.db = db
        self.bus = bus
        self.url = url
        self._repaired_epoch = -1
        self._stream_created: datetime | None = None
        self._checked_at = 0.0

    async def run(self) -> None:
        """Runs for ever; retries while the database or the bus is unavailable."""
        while True:
            try:
                async with self._advisory_lock() as connection:
                    while True:
                        emitted = self.db.emitted.next()
                        if not await self.once(connection):
                            await wait_for_signal(emitted, POLL_SECONDS)
            except TRANSIENT + BUS_ERRORS as error:
                await self.recover(error)
                await asyncio.sleep(0.25)

    async def recover(self, error: Exception) -> None:
        """Create the stream again if it is gone; everything that it had is then published again."""
        self.bus.report_error(error)
        if isinstance(error, nats.js.errors.NoStreamResponseError | nats.js.errors.NotFoundError):
            await self.bus.ensure_stream()
            self.bus.epoch += 1

    @contextlib.asynccontextmanager
    async def _advisory_lock(self) -> AsyncIterator[Connection]:
        """A connection that holds the relay's advisory lock. A crash of this process frees the lock, a dead network within 30 s."""
        connection = await asyncpg.connect(
            self.url,
            timeout=5,
            command_timeout=10,
            server_settings={
                "application_name": f"{self.db.service} relay",
                "tcp_keepalives_idle": "10",
                "tcp_keepalives_interval": "5",
                "tcp_keepalives_count": "3",
            },
        )
        try:
            await prepare_connection(connection)
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                await asyncio.sleep(POLL_SECONDS)
            self._repaired_epoch = -1
            yield connection
        finally:
            connection.terminate()

    async def once(self, connection: Connection) -> bool:
        """One step of the relay. Returns whether there was anything to publish.

        1. Every 5 s, check that the stream is still the same one; if not, increment the epoch.
        2. If the epoch has changed, repair: mark the events that the stream has lost as unpublished.
        3. Read up to 100 unpublished events from the outbox, oldest first.
        4. Publish them one by one; stop when the epoch changes.
        5. Check the stream once more, and mark as published what it has acknowledged.
        """
        if self._stream_created is not None and time.monotonic() - self._checked_at > CHECK_STREAM_SECONDS:
            await self._is_same_stream()
        if self._repaired_epoch != self.bus.epoch:
            epoch = self.bus.epoch
            self._stream_created = await self.bus.stream_created()
            await repair(connection, self.bus.stream, self.db.service)
            self._repaired_epoch = epoch
        rows = await connection.fetch("SELECT * FROM outbox WHERE published_at IS NULL ORDER BY id LIMIT $1", BATCH)
        published: list[tuple[int, int]] = []
        try:
            for row in rows:
                seq = await publish(self.bus.stream, self.db.service, row)
                if self._repaired_epoch != self.bus.epoch:
                    break  # It may have landed on a stream that has just lost something: repair first, then send it again.
                published.append((row["id"], seq))
        finally:
            if published and await self._is_same_stream():
                await self._mark(connection, published)
        return bool(rows)

    async def _is_same_stream(self) -> bool:
        """Whether it is still the same stream: it may have been deleted and created again while we were connected.

        Checked every 5 s and before events are marked: sequence numbers of two streams in one outbox would hide lost events.
        """
        self._checked_at = time.monotonic()
        if await self.bus.stream_created() == self._stream_created:
            return True
        self.bus.epoch += 1
        return False

    async def _mark(self, connection: Connection, published: list[tuple[int, int]]) -> None:
        await connection.execute(
            """
            UPDATE outbox SET published_at = $3, seq = done.seq
            FROM unnest($1::bigint[], $2::bigint[]) AS done (id, seq) WHERE outbox.id = done.id
            """,
            [row_id for row_id, _ in published],
            [seq for _, seq in published],
            await self.db.clock(connection),
        )


async def publish(stream: JetStreamContext, service: str, row: asyncpg.Record) -> int:
    """Send one outbox row; returns its number in the stream, which the stream has acknowledged.

    Also a row of an event that this version does not know: a newer one, since rolled back, may have said it.
    """
    message = Message(
        event_id=row["event_id"],
        event=row["event"],
        time=row["created_at"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        data=row["data"],
    )
    ack = await stream.publish(
        f"events.{service}.{row['event']}",
        msgspec.json.encode(message),
        stream=STREAM,
        headers={"Nats-Msg-Id": str(row["event_id"])},
    )
    PUBLISHED.labels(service, row["event"]).inc()
    event = CATALOGUE.get(row["event"])
    listeners = ", ".join(LISTENERS[event]) if event else ""
    ids = {name.removesuffix("_id"): str(row["data"][name])[:8] for name in ("order_id", "ticket_id") if row["data"].get(name)}
    log.info("event_published", message=f"{words(row['event'])} -> {listeners or '(nobody yet)'}", **ids, correlation=row["correlation_id"])
    return ack.seq


async def repair(connection: Connection, stream: JetStreamContext, service: str) -> int:
    """Mark for publishing again whatever the stream has lost of this service's events; returns how many.

    The stream may lose its tail or all of it, and other services may have taken the lost sequence numbers since. So we go back
    through our own rows, in strides that double, until the stream has one of them at its number with its own id.
    Everything after it is published again. The inboxes of the consumers drop duplicates.
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
    lost = 0
    while found := await _forget_newest(connection, kept):  # Newest first: a crash in between leaves something to walk back through.
        lost += found
    if lost:
        log.warning("stream_events_lost", message="the stream has lost events; they are published again", service=service, events=lost)
    return lost


async def _forget_newest(connection: Connection, kept: int) -> int:
    status: str = await connection.execute(
        """
        UPDATE outbox SET published_at = NULL, seq = NULL
        WHERE id IN (SELECT id FROM outbox WHERE seq > $1 ORDER BY seq DESC LIMIT $2)
        """,
        kept,
        REPAIR_BATCH,
    )
    return int(status.rpartition(" ")[2])


async def _still_there(stream: JetStreamContext, seq: int, event_id: UUID) -> bool:
    try:
        message = await stream.get_msg(STREAM, seq)
    except nats.js.errors.NotFoundError as error:
        if error.err_code == STREAM_NOT_FOUND:  # The whole stream is gone: it is made again before anything else.
            raise
        return False
    return (message.headers or {}).get("Nats-Msg-Id") == str(event_id)
