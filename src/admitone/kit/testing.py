"""Rehearsals: one service on a real database, in a transaction that never commits. It hears events, does commands, and we
look at what it said. No HTTP, no stream, no sleep, no mock.

    async with rehearsal(orders.service, url) as it:
        await it.hears(ticket_created)
        order = await it.does(commands.create_order, BOB, ticket_created.ticket_id, None, settings, it.now)
        assert [type(event) for event in await it.said()] == [OrderCreated]
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

import asyncpg
import msgspec

from admitone.kit.connection import prepare_connection
from admitone.kit.db import Tx
from admitone.kit.event import CATALOGUE, Event
from admitone.kit.service import Service

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
        return Tx(self._connection, self.service.name, self.now)

    async def hears(self, *events: Event) -> None:
        """Each event reaches its handler, as often as it is given: there is no inbox here to drop a repetition."""
        assert self.service.handlers is not None
        for event in events:
            async with self._connection.transaction():
                await self.service.handlers.by_event[type(event)](event, self.tx)

    async def does(
        self,
        command: Callable[Concatenate[Tx, Arguments], Awaitable[Result]],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """The command's result; a refusal leaves nothing behind, as in a transaction of its own."""
        async with self._connection.transaction():
            return await command(self.tx, *args, **kwargs)

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
