"""Databases of one's own, for what needs to commit: two at once, a crash in between, a relay.

async with own_database(engines, "payments") as own:
    async with own.db.transaction() as tx:
        ...
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from admitone.kit.data.clock import Clock, database_clock
from admitone.kit.data.db import Database, connected
from admitone.kit.data.migrations import migrate_at
from admitone.runtime.engines import Engines


@dataclass
class OwnDatabase:
    """A migrated, empty database of one service. It goes when the test does."""

    db: Database
    url: str

    async def rows(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """What it holds."""
        async with self.db.reading() as tx:
            return [dict(row) for row in await tx.connection.fetch(sql, *args)]


@contextlib.asynccontextmanager
async def empty_database(engines: Engines) -> AsyncIterator[str]:
    """The address of a database without tables."""
    name = f"own_{uuid4().hex[:12]}"
    administrator = await asyncpg.connect(engines.database_url)
    try:
        await administrator.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield urlunsplit(urlsplit(engines.database_url)._replace(path=f"/{name}"))
    finally:
        await administrator.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await administrator.close()


@contextlib.asynccontextmanager
async def own_database(engines: Engines, service: str, clock: Clock = database_clock) -> AsyncIterator[OwnDatabase]:
    async with empty_database(engines) as url:
        await migrate_at(url, service)
        async with connected(service, url, clock) as db:
            yield OwnDatabase(db, url)


OwnDatabases = Callable[..., contextlib.AbstractAsyncContextManager[OwnDatabase]]
