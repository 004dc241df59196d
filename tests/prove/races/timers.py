"""Two expirers have the same timers, of which some are moved and some forgotten meanwhile: each deadline is rung once, never early."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID, uuid4

from prove.races.outcome import Outcome, Say, replicas
from support.databases import OwnDatabase
from support.facts import order_cancelled, order_created, order_extended
from support.house import eventually

from admitone.config import Settings
from admitone.events import OrderEvent
from admitone.expiration.handlers import handlers
from admitone.expiration.jobs import ring_timers
from admitone.kit.data.db import Database

EXPIRERS, WRITERS = 2, 4
HEARD_AT_ONCE = 100
"""In one transaction."""
MOVED, FORGOTTEN = 0.2, 0.1
MOVED_BY = timedelta(seconds=2)


async def timers(expiration: OwnDatabase, say: Say, count: int = 20_000, seconds: float = 20, seed: int = 1) -> Outcome:
    """The deadlines lie within so many seconds from now, so that many are due while others are still being set."""
    outcome, story = Outcome(), _Story(count, random.Random(seed))
    async with replicas(expiration, EXPIRERS) as dbs, expiration.db.reading() as tx:
        events = story.events(tx.now, seconds)
        ringing = [asyncio.create_task(job) for db in dbs for job in (ring_timers(db, Settings()), _counts(db, outcome))]
        try:
            await asyncio.gather(*(_hears(dbs[number % EXPIRERS], events, say) for number in range(WRITERS)))
            await eventually(lambda: _all_rung(expiration), seconds=seconds + 60)
            assert not any(task.done() for task in ringing), "it rings for ever"
        finally:
            for task in ringing:
                task.cancel()
            await asyncio.gather(*ringing, return_exceptions=True)
    await _judge(expiration, story, outcome)
    return outcome


class _Story:
    """What is said of each order: when its time is over, maybe that it has more, maybe that it has ended otherwise."""

    def __init__(self, count: int, chance: random.Random) -> None:
        self.count = count
        self.chance = chance
        self.deadlines: dict[UUID, list[datetime]] = {}
        self.forgotten: set[UUID] = set()

    def events(self, now: datetime, seconds: float) -> Iterator[OrderEvent]:
        later: list[OrderEvent] = []
        for _ in range(self.count):
            order_id, due = uuid4(), now + timedelta(seconds=self.chance.uniform(0, seconds))
            self.deadlines[order_id] = [due]
            yield order_created(order_id=order_id, cancel_at=due)
            draw = self.chance.random()
            if draw < MOVED:
                self.deadlines[order_id].append(due + MOVED_BY)
                later.append(order_extended(order_id=order_id, cancel_at=due + MOVED_BY))
            elif draw < MOVED + FORGOTTEN:
                self.forgotten.add(order_id)
                later.append(order_cancelled(order_id=order_id, cancel_at=due))
            if later and self.chance.random() < MOVED + FORGOTTEN:
                yield later.pop(self.chance.randrange(len(later)))
        yield from later


async def _hears(db: Database, events: Iterator[OrderEvent], say: Say) -> None:
    said = 0
    while batch := list(islice(events, HEARD_AT_ONCE)):
        async with db.transaction() as tx:
            for event in sorted(batch, key=lambda event: event.order_id):  # Or two writers could wait for each other.
                await handlers.by_event[type(event)](event, tx)
        said += len(batch)
        say(said * WRITERS)


async def _counts(db: Database, outcome: Outcome) -> None:
    """How often this expirer has rung."""
    who = f"times that expirer {sum(name.startswith('times') for name in outcome.counted) + 1} rang"
    outcome.counted[who] = 0
    while True:
        rung = db.emitted.next()
        await rung.wait()
        outcome.counted[who] += 1


async def _all_rung(expiration: OwnDatabase) -> bool:
    return not await expiration.rows("SELECT true FROM timers WHERE due IS NOT NULL AND rung_at IS NULL LIMIT 1")


async def _judge(expiration: OwnDatabase, story: _Story, outcome: Outcome) -> None:
    rung: dict[UUID, list[datetime]] = defaultdict(list)
    early = []
    for row in await expiration.rows("SELECT data, created_at FROM outbox"):
        order_id, deadline = UUID(row["data"]["order_id"]), datetime.fromisoformat(row["data"]["cancel_at"])
        rung[order_id].append(deadline)
        early += [deadline - row["created_at"]] if row["created_at"] < deadline else []
    outcome.must(not early, f"{len(early)} timers rang early, one by {max(early, default='')}")
    _none(outcome, "rang more than once for one deadline", (one for one, at in rung.items() if max(Counter(at).values()) > 1))
    _none(outcome, "rang for a deadline that they never had", (one for one, at in rung.items() if not set(at) <= set(story.deadlines[one])))
    last = {one: deadlines[-1] for one, deadlines in story.deadlines.items() if one not in story.forgotten}
    _none(outcome, "did not ring for their last deadline", (one for one, deadline in last.items() if deadline not in rung[one]))
    idle = [name for name, count in outcome.counted.items() if count == 0]
    outcome.must(not idle, f"too little of a race: no {', '.join(idle)}")
    outcome.counted["rung"] = sum(len(at) for at in rung.values())
    outcome.counted["moved"] = sum(len(deadlines) > 1 for deadlines in story.deadlines.values())
    outcome.counted["forgotten in time"] = sum(one not in rung for one in story.forgotten)


def _none(outcome: Outcome, otherwise: str, found: Iterable[UUID]) -> None:
    orders = list(found)
    outcome.must(not orders, f"{len(orders)} timers {otherwise}, for one {min(orders, key=str, default='')}")
