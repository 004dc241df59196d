"""Events on their way: all of them are in the stream (I7), and check_handled, or parked where everybody can see it (I13)."""

import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
from asyncpg import Record

from admitone.config import SERVICES_WITH_A_DATABASE
from admitone.kit.event import CATALOGUE, Message
from admitone.ops.reach import recording_services
from admitone.ops.verify.report import MAX_ROWS, Excluded, Line
from admitone.ops.verify.snapshot import Snapshot, Stored, ids_in, merge_by_key

BATCH = 1000


async def find_excluded(snapshot: Snapshot) -> Line:
    """I13, what is parked; and the orders and tickets that are left out of comparisons because of it."""
    line = Line(name="I13", claim="every event is handled, or parked where everybody can see it")
    ids: set[UUID] = set()
    for service in SERVICES_WITH_A_DATABASE:
        parked = dropped = handled = 0
        async for row in snapshot.rows(
            service,
            """
            SELECT event_id, event, message, false AS dropped, EXISTS (SELECT FROM inbox WHERE inbox.event_id = parked.event_id) AS handled
            FROM parked UNION ALL SELECT event_id, event, message, true, false FROM dropped
            """,
        ):
            parked, dropped, handled = parked + (not row["dropped"]), dropped + row["dropped"], handled + row["handled"]
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                ids |= ids_in(msgspec.json.decode(row["message"], type=Message).data)
        line.counted["parked"] += parked
        if parked:
            line.notes.append(f"{service} has parked {parked:,}: `admitone parked` shows them")
        if handled:
            line.notes.append(
                f"{service} has handled {handled:,} of them since, when they came again: `admitone parked replay --all` says so"
            )
        if dropped:
            line.notes.append(f"of {service}, somebody has dropped {dropped:,}")
    if ids:
        async for row in snapshot.rows(
            "orders", "SELECT order_id, ticket_id FROM orders WHERE order_id = ANY($1) OR ticket_id = ANY($1)", list(ids)
        ):
            ids |= {row["order_id"], row["ticket_id"]}
        line.notes.append(f"{len(ids):,} orders and tickets that they are about are left out where services are compared")
    snapshot.excluded = Excluded(frozenset(ids))
    return line


async def check_handled(snapshot: Snapshot, line: Line) -> None:
    """I13: whoever listens to an event has it on record, unless it is under way."""
    owners, listening = SERVICES_WITH_A_DATABASE, list(snapshot.waiting)
    said = [snapshot.rows(owner, "SELECT event_id, event, seq FROM outbox ORDER BY event_id", what="events") for owner in owners]
    known = [
        snapshot.rows(
            listener,
            """
            SELECT event_id, max(handled_at) AS handled_at FROM (
                SELECT event_id, handled_at FROM inbox UNION ALL
                SELECT event_id, NULL FROM parked UNION ALL SELECT event_id, NULL FROM dropped) AS known
            GROUP BY event_id ORDER BY event_id
            """,
            what="events heard",
        )
        for listener in listening
    ]
    who_hears = {event: [listening.index(name) for name in recording_services(event)] for event in CATALOGUE}
    events = hearings = 0
    async for event_id, found in merge_by_key(*said, *known):
        owner = next((owner for owner, row in zip(owners, found, strict=False) if row is not None), None)
        if owner is None:
            _nobody_said(snapshot, line, event_id, dict(zip(listening, found[len(owners) :], strict=True)))
            continue
        events += 1
        row = found[owners.index(owner)]
        seq = row["seq"]
        if seq is None:
            snapshot.under_way.unpublished[owner] += 1
            continue
        since = seq > snapshot.last_seq  # Said between the snapshots: who has heard it may have a younger one than others.
        for number in who_hears.get(row["event"], ()):
            if found[len(owners) + number] is not None and not since:
                hearings += 1
            elif since or snapshot.waiting[listening[number]]:
                snapshot.under_way.unheard[listening[number]] += 1
            else:
                line.broken(f"{listening[number]} has never heard {owner}'s {row['event']} {event_id}, and nothing waits for it any more")
    line.counted.update(events=events, hearings=hearings)
    for listener, waiting in snapshot.waiting.items():
        # Also what is in the stream again, or by no hand of ours, and what comes too early.
        snapshot.under_way.unheard[listener] = max(snapshot.under_way.unheard[listener], waiting)


def _nobody_said(snapshot: Snapshot, line: Line, event_id: UUID, records: dict[str, Record | None]) -> None:
    """On somebody's record, and in nobody's log. Parked, it may be anything; and it may be younger than its owner's snapshot."""
    for listener, record in records.items():
        if record is None or record["handled_at"] is None:
            continue
        if record["handled_at"] >= snapshot.began[listener]:
            snapshot.under_way.unheard[listener] += 1
        else:
            line.broken(f"{listener} has handled {event_id}, which is in nobody's log")


class Log:
    """One service's own log in the order of the stream, read along with that."""

    def __init__(self, owner: str, rows: AsyncIterator[Record], line: Line) -> None:
        self.owner = owner
        self.line = line
        self._rows = rows
        self._head: Record | None = None
        self._begun = False
        self.forgotten = 0
        self.lost = 0
        """Since the last one that is where it should be: the relay finds that out by itself, and sends them again."""
        self._lost_rows: list[str] = []

    async def up_to(self, seq: int, first_seq: int) -> Record | None:
        """The row that says it is there, after those that say that they are before it and were not."""
        if not self._begun:
            self._begun, self._head = True, await anext(self._rows, None)
        while self._head is not None and self._head["seq"] < seq:
            self._missing(self._head, first_seq)
            self._head = await anext(self._rows, None)
        if self._head is None or self._head["seq"] > seq:
            return None
        row, self._head = self._head, await anext(self._rows, None)
        return row

    def _missing(self, row: Record, first_seq: int) -> None:
        if row["seq"] < first_seq:
            self.forgotten += 1
            return
        self.lost += 1
        if self.lost <= MAX_ROWS:
            self._lost_rows.append(f"{self.owner}'s {row['event']} {row['event_id']} is not in the stream at its number {row['seq']}")

    def stands(self) -> None:
        """One is where it should be: what is missing before it, nobody will send again."""
        for row in self._lost_rows:
            self.line.broken(row)
        self.line.violations += self.lost - len(self._lost_rows)
        self.lost, self._lost_rows = 0, []

    def found_elsewhere(self, row: Record) -> None:
        """Another message stands at its number."""
        self._missing(row, 0)


async def check_stream(snapshot: Snapshot) -> Line:
    """I7."""
    line = Line(name="I7", claim="every event that was committed is in the stream, and nothing else is")
    logs = {
        owner: Log(
            owner,
            snapshot.rows(
                owner,
                """
                SELECT event_id, event, data, correlation_id, causation_id, created_at, seq FROM outbox
                WHERE seq IS NOT NULL ORDER BY seq
                """,
                what="events",
            ),
            line,
        )
        for owner in SERVICES_WITH_A_DATABASE
    }
    first_seq = snapshot.first_seq if snapshot.forgets else 0
    unmatched: list[Stored] = []
    async for message in snapshot.messages():
        line.counted["messages"] += 1
        if line.counted["messages"] % BATCH == 0:
            snapshot.note(f"the stream: {line.counted['messages']:,} messages")
        owner = message.subject.split(".", 2)[1]
        row = await logs[owner].up_to(message.seq, first_seq) if owner in logs else None
        if row is not None and str(row["event_id"]) == message.id:
            logs[owner].stands()
            if not _says(message, owner, row):
                line.broken(f"message {message.seq} does not say what {owner}'s {row['event']} {row['event_id']} says")
            continue
        if row is not None:
            logs[owner].found_elsewhere(row)
        if message.seq <= snapshot.last_seq:
            unmatched.append(message)
        if len(unmatched) >= BATCH:
            await _look_for(snapshot, unmatched, line)
            unmatched = []
    await _look_for(snapshot, unmatched, line)
    for owner, log in logs.items():
        await log.up_to(1 << 62, first_seq)
        snapshot.under_way.unpublished[owner] += log.lost
        if log.lost:
            line.notes.append(f"the stream has lost the last {log.lost:,} of {owner}, which sends them again when it notices")
    forgotten = sum(log.forgotten for log in logs.values())
    if forgotten:
        line.notes.append(f"{forgotten:,} events are older than what the stream's operator lets it keep")
    return line


def _says(message: Stored, owner: str, row: Record) -> bool:
    """Whether a message is what the relay makes of that row."""
    try:
        said = msgspec.json.decode(message.data, type=Message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    columns = tuple(row[name] for name in ("event_id", "event", "created_at", "correlation_id", "causation_id", "data"))
    return message.subject == f"events.{owner}.{row['event']}" and columns == (
        said.event_id,
        said.event,
        said.time,
        said.correlation_id,
        said.causation_id,
        said.data,
    )


async def _look_for(snapshot: Snapshot, messages: list[Stored], line: Line) -> None:
    """Messages that no row counts as its own: sent twice they may have been, but somebody must have said them."""
    wanted = {}
    for message in messages:
        try:
            wanted[UUID(message.id)] = message
        except ValueError:
            line.broken(f"message {message.seq} ({message.subject}) has no id")
    for owner in SERVICES_WITH_A_DATABASE:
        found = await snapshot.databases[owner].fetch("SELECT event_id FROM outbox WHERE event_id = ANY($1)", list(wanted))
        line.counted["sent twice"] += len(found)
        for row in found:
            del wanted[row["event_id"]]
    for event_id, message in wanted.items():
        line.broken(f"message {message.seq} ({message.subject} {event_id}) is in nobody's log")
