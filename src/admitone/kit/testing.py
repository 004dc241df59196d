"""Rehearsals: services on real databases, in transactions that never commit. They hear events, do commands, and we look at
what they said. No HTTP, no stream, no sleep, no mock. One service:

    async with rehearsal(orders.service, url) as it:
        await it.hears(ticket_created)
        order = await it.does(commands.create_order, BOB, ticket_created.ticket_id, None, settings)
        assert [type(event) for event in await it.said()] == [OrderCreated]

Several, who hear each other:

    async with ensemble((tickets.service, tickets_url), (orders.service, orders_url)) as them:
        ticket = await them[tickets.service].does(list_ticket, ANN, "Front row", 4990, "USD", them.now)
        await them.play()
        assert await them[orders.service].rows("SELECT title FROM ticket_copies") == [{"title": "Front row"}]
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import Any, Concatenate, ParamSpec, TypeVar

import asyncpg
import msgspec

from admitone.kit.data.connection import prepare_connection
from admitone.kit.data.db import Tx
from admitone.kit.event import CATALOGUE, Event
from admitone.kit.service import Service, TooEarly

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


class Rehearsal:
    """A service on stage. `now` is its clock: set it to whatever the scene needs."""

    def __init__(self, service: Service, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.service = service
        self.now = NOON
        self._connection = connection
        self._heard_until = 0

    @property
    def tx(self) -> Tx:
        """For looking."""
        return Tx(self._connection, self.service.name, self.now)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """Within the one that never commits: it is taken back alone where its block raises."""
        async with self._connection.transaction():
            tx = Tx(self._connection, self.service.name, self.now)
            yield tx
            await tx.write_outbox()

    async def hears(self, *events: Event) -> None:
        """Each event reaches its handler, as often as it is given: there is no inbox here to drop a repetition."""
        assert self.service.handlers is not None
        for event in events:
            async with self.transaction() as tx:
                await self.service.handlers.by_event[type(event)](event, tx)

    async def does(
        self,
        command: Callable[Concatenate[Tx, Arguments], Awaitable[Result]],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """The command's result; a refusal leaves nothing behind, as in a transaction of its own."""
        async with self.transaction() as tx:
            return await command(tx, *args, **kwargs)

    async def said(self) -> list[Event]:
        """What the service has said since the last time we asked, in order."""
        rows = await self._connection.fetch("SELECT id, event, data FROM outbox WHERE id > $1 ORDER BY id", self._heard_until)
        self._heard_until = rows[-1]["id"] if rows else self._heard_until
        return [msgspec.convert(row["data"], CATALOGUE[row["event"]]) for row in rows]

    async def rows(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """What its database holds."""
        return [dict(row) for row in await self._connection.fetch(sql, *args)]


@contextlib.asynccontextmanager
async def rehearsal(service: Service, url: str) -> AsyncIterator[Rehearsal]:
    """The service on its migrated database at this address; everything is taken back at the end."""
    connection = await asyncpg.connect(url)
    try:
        await prepare_connection(connection)
        transaction = connection.transaction()
        await transaction.start()
        try:
            yield Rehearsal(service, connection)
        finally:
            await transaction.rollback()
    finally:
        await connection.close()


class Ensemble:
    """Several services on stage. What one has said, those of them who listen hear as soon as we let them play."""

    def __init__(self, stage: dict[str, Rehearsal]) -> None:
        self.stage = stage
        self.said: list[Event] = []
        """All that anybody has said, as it was handed on."""
        self._under_way: list[tuple[Rehearsal, Event]] = []
        self._too_early: list[tuple[Rehearsal, Event]] = []

    def __getitem__(self, service: Service) -> Rehearsal:
        return self.stage[service.name]

    @property
    def now(self) -> datetime:
        """The clock of them all; set it to whatever the scene needs."""
        return next(iter(self.stage.values())).now

    @now.setter
    def now(self, now: datetime) -> None:
        for rehearsal in self.stage.values():
            rehearsal.now = now

    async def play(self, chance: Random | None = None) -> None:
        """Until nobody has anything more to say. Events come once and in order; with a chance, each comes twice, in any order.

        One that comes too early is heard again in the next play.
        """
        self._under_way, self._too_early = self._too_early, []
        while True:
            await self._hand_on(1 if chance is None else 2)
            if not self._under_way:
                return
            listener, event = self._under_way.pop(0 if chance is None else chance.randrange(len(self._under_way)))
            try:
                await listener.hears(event)
            except TooEarly:
                self._too_early.append((listener, event))

    async def _hand_on(self, times: int) -> None:
        for rehearsal in self.stage.values():
            for event in await rehearsal.said():
                self.said.append(event)
                for listener in self.stage.values():
                    if listener.service.handlers is not None and type(event) in listener.service.handlers.by_event:
                        self._under_way += [(listener, event)] * times


@contextlib.asynccontextmanager
async def ensemble(*services: tuple[Service, str]) -> AsyncIterator[Ensemble]:
    """These services on their migrated databases; everything is taken back at the end."""
    async with contextlib.AsyncExitStack() as stack:
        yield Ensemble({service.name: await stack.enter_async_context(rehearsal(service, url)) for service, url in services})
