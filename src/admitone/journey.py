"""One order's story, told from the services' own logs: what happened, where, when, caused by what, and what is missing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from msgspec import Struct

from admitone.flow import NAMES, in_short, listeners
from admitone.kit.config import SERVICES_WITH_A_DATABASE, Settings
from admitone.kit.connection import prepare_connection
from admitone.kit.event import CATALOGUE, words

Connections = dict[str, "asyncpg.Connection[asyncpg.Record]"]


class Step(Struct, kw_only=True):
    """One event of the story."""

    event_id: UUID
    event: str
    service: str
    """Who said it."""
    time: datetime
    correlation_id: UUID
    causation_id: UUID | None
    data: dict[str, Any]
    published: bool
    heard: dict[str, datetime]
    """By whom, and when."""
    parked: dict[str, str]
    """By whom, and why."""
    dropped: dict[str, str]
    """By whom, and why: a person has decided that it is not handled there."""

    @property
    def missing(self) -> list[str]:
        """Who should have heard it and has not."""
        return [name for name in listeners(CATALOGUE[self.event]) if name not in self.heard | self.parked | self.dropped]


class UnknownOrder(Exception):
    """No service's log speaks of this order."""


async def steps_of_order(settings: Settings, order_id: UUID) -> list[Step]:
    """Every event about the order, about its ticket where the order was the cause, and what each of them caused; by time.

    Raises UnknownOrder.
    """
    async with _connected(settings) as connections:
        found: dict[UUID, Step] = {}
        steps = await _said(connections, "data ->> 'order_id' = $1", str(order_id))
        if not steps:
            raise UnknownOrder(f"No service's log speaks of order {order_id}.")
        ticket_id = next((step.data["ticket_id"] for step in steps if step.data.get("ticket_id")), None)
        steps += await _said(connections, "event = 'TicketCreated' AND data ->> 'ticket_id' = $1", ticket_id)
        while steps:  # What was caused by what we have, until there is no more.
            new = [step for step in steps if step.event_id not in found]
            found |= {step.event_id: step for step in new}
            steps = await _said(connections, "causation_id = ANY($1)", [step.event_id for step in new]) if new else []
        await _add_what_was_heard(connections, found)
    return sorted(found.values(), key=lambda step: (step.time, NAMES.index(step.service)))


def tell(order_id: UUID, steps: list[Step]) -> list[str]:
    """The story for a terminal."""
    numbers = {step.event_id: number for number, step in enumerate(steps, 1)}
    start = steps[0].time
    told = [f"order {order_id}", ""]
    for number, step in enumerate(steps, 1):
        cause = f"because of {numbers[step.causation_id]}" if step.causation_id in numbers else f"request {str(step.correlation_id)[:8]}"
        after = (step.time - start).total_seconds()
        told.append(f"{number:>3}  {step.time:%H:%M:%S}.{step.time.microsecond // 1000:03}  +{after:8.3f} s  {step.service:<10}  "
                    f"{words(step.event):<20} {in_short(step.event, step.data):<28} {cause}")  # fmt: skip
        heard = [f"{name} after {(step.heard[name] - step.time).total_seconds() * 1000:.0f} ms" for name in step.heard]
        if heard:
            told.append(f"{'':>35}heard by {', '.join(sorted(heard, key=lambda line: NAMES.index(line.split()[0])))}")
        if not step.published:
            told.append(f"{'':>35}not published yet")
        told += [f"{'':>35}PARKED by {name}: {error}" for name, error in step.parked.items()]
        told += [f"{'':>35}dropped by {name}: {reason}" for name, reason in step.dropped.items()]
    told += ["", *_ending(steps)]
    return told


def _ending(steps: list[Step]) -> list[str]:
    """How it stands, and what is still to come."""
    missing = [f"{step.event} has not reached {', '.join(step.missing)}" for step in steps if step.missing]
    orders = [step for step in steps if step.service == "orders"]
    if not orders:
        return ["Orders has said nothing of it.", *missing]
    newest = max(orders, key=lambda step: step.data["version"])
    events = {step.event for step in steps}
    status = newest.data["status"]
    told = [f"It is {status}" + (f" ({newest.data['reason']})." if newest.data["reason"] else ".")]
    if status == "created":
        missing.append("the tickets service has not confirmed the lock")
    elif status == "awaiting:payment":
        missing.append(f"a payment, begun before {newest.data['expires_at']}; without one it is cancelled at {newest.data['cancel_at']}")
    elif status == "complete" and "PaymentCreated" not in events:
        missing.append("the money is approved, but not taken yet")
    return told + ([f"Still missing: {'; '.join(missing)}."] if missing else ["Nothing is missing."])


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Connections]:
    async with AsyncExitStack() as stack:
        connections: Connections = {}
        for service in SERVICES_WITH_A_DATABASE:
            connection = await asyncpg.connect(settings.database_url_of(service), timeout=5)
            stack.push_async_callback(connection.close)
            await prepare_connection(connection)
            connections[service] = connection
        yield connections


async def _said(connections: Connections, where: str, value: object) -> list[Step]:
    async def ask(service: str, connection: "asyncpg.Connection[asyncpg.Record]") -> list[Step]:
        rows = await connection.fetch(f"SELECT * FROM outbox WHERE {where}", value)
        return [
            Step(
                event_id=row["event_id"],
                event=row["event"],
                service=service,
                time=row["created_at"],
                correlation_id=row["correlation_id"],
                causation_id=row["causation_id"],
                data=row["data"],
                published=row["published_at"] is not None,
                heard={},
                parked={},
                dropped={},
            )
            for row in rows
            if row["event"] in CATALOGUE
        ]

    return [step for steps in await asyncio.gather(*(ask(*entry) for entry in connections.items())) for step in steps]


async def _add_what_was_heard(connections: Connections, found: dict[UUID, Step]) -> None:
    for service, connection in connections.items():
        for row in await connection.fetch("SELECT event_id, handled_at FROM inbox WHERE event_id = ANY($1)", list(found)):
            found[row["event_id"]].heard[service] = row["handled_at"]
        for row in await connection.fetch("SELECT event_id, error FROM parked WHERE event_id = ANY($1)", list(found)):
            found[row["event_id"]].parked[service] = row["error"].splitlines()[0]
        for row in await connection.fetch("SELECT event_id, reason FROM dropped WHERE event_id = ANY($1)", list(found)):
            found[row["event_id"]].dropped[service] = row["reason"]
            found[row["event_id"]].heard.pop(service, None)  # The inbox has it, so that it is not handled.
