"""What a simulated marketplace stands on: a real PostgreSQL with a database per service, emptied between two histories."""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import asyncpg

from admitone.config import SERVICES_WITH_A_DATABASE, owner_database_url
from admitone.kit.data.connection import BY_INDEX, prepare_connection
from admitone.kit.data.migrations import migrate_at
from admitone.runtime.engines import Engines
from admitone.runtime.provisioning import create_databases

CONNECTIONS = 4
"""Per service: three requests at once, and its relay."""
SESSION = {
    "timezone": "UTC",
    "synchronous_commit": "off",
    "plan_cache_mode": "force_generic_plan",  # Plans that change as a statement is used more often could return rows in another order.
    "jit": "off",
    **BY_INDEX,
}


class Ground:
    """Open connections to every database, and one more per service to look with."""

    def __init__(self, connections: Mapping[str, list["asyncpg.Connection[asyncpg.Record]"]]) -> None:
        self.connections = {name: those[:-1] for name, those in connections.items()}
        self.looking = {name: those[-1] for name, those in connections.items()}
        self.forgets: Mapping[str, str] = {}
        """What a service loses whenever its process starts: for planted bugs."""
        self._empty: dict[str, str] = {}

    async def empty(self) -> None:
        """Nothing is left of what was. TRUNCATE, not DELETE: rows lie on fresh pages, so that they are found in the same order again."""
        for name, connection in self.looking.items():
            if name not in self._empty:
                tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'migrations'")
                for table in tables:
                    await connection.execute(f"ALTER TABLE {table['tablename']} SET (autovacuum_enabled = off)")
                self._empty[name] = f"TRUNCATE {', '.join(table['tablename'] for table in tables)}"
            await connection.execute(self._empty[name])


@contextlib.asynccontextmanager
async def ground_at(urls: Mapping[str, str]) -> AsyncIterator[Ground]:
    """On migrated databases at these addresses, which belong to the simulation alone."""
    connections = {}
    try:
        for name, url in urls.items():
            connections[name] = [await asyncpg.connect(url, server_settings=SESSION) for _ in range(CONNECTIONS + 1)]
            for connection in connections[name]:
                await prepare_connection(connection)
        yield Ground(connections)
    finally:
        for those in connections.values():
            for connection in those:
                connection.terminate()


@contextlib.asynccontextmanager
async def own_ground() -> AsyncIterator[Ground]:
    """With a PostgreSQL of its own, in memory where there is some; it goes with the block."""
    with _folder() as folder:
        engines = Engines(folder, lambda line: None, durable=False)
        try:
            engines.start()
            await engines.ready()
            await create_databases(engines.database_url, SERVICES_WITH_A_DATABASE)
            urls = {name: owner_database_url(engines.database_url, name) for name in SERVICES_WITH_A_DATABASE}
            for name, url in urls.items():
                await migrate_at(url, name)
            async with ground_at(urls) as ground:
                yield ground
        finally:
            engines.stop()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="admitone-simulator-", dir=memory if memory.is_dir() else None))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
