"""Publishes a service's outbox to the stream, in order, and repairs the stream from it when the stream may have lost events."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import asyncpg
import msgspec
import nats.js.errors
from nats.js import JetStreamContext

from admitone.kit.data.connection import BY_INDEX, Connection, prepare_connection
from admitone.kit.data.db import TRANSIENT, Database, wait_for_signal
from admitone.kit.delivery.bus import BUS_ERRORS, STREAM, Bus
from admitone.kit.delivery.sender import Outgoing
from admitone.kit.event import AGGREGATES, CATALOGUE, LISTENERS, Message, words
from admitone.kit.observe.log import log
from admitone.kit.observe.metrics import PUBLISHED

LOCK = 0x52454C4159  # "RELAY"
CHANNEL = "outbox"
"""On which the process that publishes is told by the others of what they have committed."""
BATCH = 100
REPAIR_BATCH = 5000
POLL_SECONDS = 1.0
LOCK_POLL_SECONDS = 0.25
"""How soon another process goes on when the one that publishes has stopped: less than a request waits for an event."""
MANY, REST_SECONDS = 4, 0.01
"""After a batch of so many events, a rest lets more of them come together for the next batch."""
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
        self._stream_created: str | None = None
        self._checked_at = 0.0

    async def run(self) -> None:
        """Runs for ever; retries while the database or the bus is unavailable."""
        while True:
            try:
                async with self._advisory_lock() as connection:
                    while True:
                        emitted = self.db.emitted.next()
                        published = await self.once(connection)
                        if not published:
                            await wait_for_signal(emitted, POLL_SECONDS)
                        elif published >= MANY:
                            await asyncio.sleep(REST_SECONDS)
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
                **BY_INDEX,
                # A bitmap scan never marks dead index entries: each look would visit every row published since the last vacuum.
                "enable_bitmapscan": "off",
            },
        )
        try:
            await prepare_connection(connection)
            emitted = self.db.emitted.next()
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                # Another process publishes. It is told as soon as this one has something for it: after the commit, once for all that
                # was committed meanwhile, and on this connection. In the transaction itself, a NOTIFY would make commits wait in line.
                await wait_for_signal(emitted, LOCK_POLL_SECONDS)
                if emitted.is_set():
                    emitted = self.db.emitted.next()
                    await connection.execute(f"NOTIFY {CHANNEL}")
            await connection.add_listener(CHANNEL, lambda *_: self.db.emitted.fire())
            self._repaired_epoch = -1
            yield connection
        finally:
            connection.terminate()

    async def once(self, connection: Connection) -> int:
        """One step of the relay. Returns how many events there were to publish.

        1. Every 5 s, check that the stream is still the same one; if not, increment the epoch.
        2. If the epoch has changed, repair: mark the events that the stream has lost as unpublished.
        3. Read up to 100 unpublished events from the outbox, oldest first.
        4. Publish them, as many at once as are about different aggregates; stop when one fails or the epoch changes.
        5. Check the stream once more, and mark as published what it has acknowledged.
        """
        if self._stream_created is not None and time.monotonic() - self._checked_at > CHECK_STREAM_SECONDS:
            await self._is_same_stream()
        if self._repaired_epoch != self.bus.epoch:
            epoch = self.bus.epoch
            self._stream_created = await self.bus.stream_created()
            await repair(connection, self.bus.stream, self.db.service)
            self._repaired_epoch = epoch
        rows = await connection.fetch(
            """
            SELECT id, event_id, event, data::text AS data, correlation_id, causation_id, created_at
            FROM outbox WHERE published_at IS NULL ORDER BY id LIMIT $1
            """,
            BATCH,
        )
        published: list[tuple[int, int]] = []
        try:
            for group in apart(rows):
                numbers = await publish(self.bus, self.db.service, group)
                if self._repaired_epoch != self.bus.epoch:
                    break  # They may have landed on a stream that has just lost something: repair first, then send them again.
                published += [(row["id"], seq) for row, seq in zip(group, numbers, strict=True) if isinstance(seq, int)]
                if failed := [error for error in numbers if isinstance(error, Exception)]:
                    raise failed[0]
        finally:
            if published and await self._is_same_stream():
                await self._mark(connection, published)
        return len(rows)

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


def apart(rows: Sequence[asyncpg.Record]) -> Iterator[list[asyncpg.Record]]:
    """Groups of neighbouring rows in which no two are about the same aggregate: should one get lost, nothing overtakes its own past.

    A row of an event that this version does not know stands by itself.
    """
    group: list[asyncpg.Record] = []
    known: set[object] = set()
    for row in rows:
        field = AGGREGATES.get(row["event"])
        about = msgspec.json.decode(row["data"])[field] if field is not None else None
        if group and (about is None or about in known or None in known):
            yield group
            group, known = [], set()
        group.append(row)
        known.add(about)
    if group:
        yield group


async def publish(bus: Bus, service: str, rows: Sequence[asyncpg.Record]) -> list[int | Exception]:
    """Send outbox rows, all at once; each one's number in the stream, which has acknowledged it, or why it has none.

    Also a row of an event that this version does not know: a newer one, since rolled back, may have said it.
    """
    numbers = await bus.publish([_message(service, row) for row in rows])
    for row, number in zip(rows, numbers, strict=True):
        if isinstance(number, int):
            PUBLISHED.labels(service, row["event"]).inc()
            _log_published(row)
    return numbers


def _message(service: str, row: asyncpg.Record) -> Outgoing:
    message = Message(
        event_id=row["event_id"],
        event=row["event"],
        time=row["created_at"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        data=cast("Any", msgspec.Raw(row["data"].encode())),
    )
    return Outgoing(f"events.{service}.{row['event']}", msgspec.json.encode(message), str(row["event_id"]))


def _log_published(row: asyncpg.Record) -> None:
    data = msgspec.json.decode(row["data"])
    ids = {name.removesuffix("_id"): str(data[name])[:8] for name in ("order_id", "ticket_id") if data.get(name)}
    log.info("event_published", message=_sentence(row["event"]), **ids, correlation=row["correlation_id"])


@functools.cache
def _sentence(name: str) -> str:
    event = CATALOGUE.get(name)
    listeners = ", ".join(LISTENERS[event]) if event else ""
    return f"{words(name)} -> {listeners or '(nobody yet)'}"


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
