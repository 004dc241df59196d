"""A second PostgreSQL server that follows the one of a House, synchronously, and can take its place."""

import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
from support.house import eventually

from admitone.runtime.engines import Engines
from admitone.runtime.privileges import as_account
from admitone.runtime.programs import free_port, postgres_programs


class Standby:
    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.port = free_port()

    @property
    def both(self) -> str:
        """An address of both servers, of which the one that takes writes is meant."""
        where = f"127.0.0.1:{self.engines.postgres_port}"
        return self.engines.database_url.replace(where, f"{where},127.0.0.1:{self.port}") + "?target_session_attrs=primary"

    @property
    def url(self) -> str:
        return self.engines.database_url.replace(f":{self.engines.postgres_port}/", f":{self.port}/")

    async def follows(self) -> None:
        """Every commit waits for it from now on."""
        primary = await asyncpg.connect(self.engines.database_url)
        await primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
        await primary.execute("ALTER ROLE ALL SET synchronous_commit = 'on'")  # Tests run without, to be quick.
        await primary.execute("SELECT pg_reload_conf()")
        await eventually(lambda: primary.fetchval("SELECT true FROM pg_stat_replication WHERE sync_state = 'quorum'"), seconds=30)
        await primary.close()

    async def takes_over(self) -> None:
        """kill -9 of the first server with all its processes; this one goes on from there."""
        assert self.engines.postgres is not None
        os.killpg(self.engines.postgres.pid, signal.SIGKILL)
        self.engines.postgres.wait()
        standby = await asyncpg.connect(self.url)
        await standby.execute("SELECT pg_promote()")
        await standby.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await standby.execute("SELECT pg_reload_conf()")
        await standby.close()


@contextlib.asynccontextmanager
async def standby_of(engines: Engines) -> AsyncIterator[Standby]:
    """Made by pg_basebackup from the server that runs."""
    standby = Standby(engines)
    data = engines.folder / "postgres" / "standby"
    copy = ["-h", "127.0.0.1", "-p", str(engines.postgres_port), "-U", "admitone", "-D", str(data), "-R", "-X", "stream", "-c", "fast"]
    subprocess.run(
        [postgres_programs() / "pg_basebackup", *copy, "-C", "-S", "standby"],
        env=os.environ | {"PGPASSWORD": engines.passwords["postgres"]},
        cwd="/",
        check=True,
        **as_account(engines.account, None),
    )
    settings = {
        "port": standby.port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "max_connections": 120,
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with Path(engines.folder / "log" / "standby.log").open("ab") as log:
        process = subprocess.Popen(
            [str(postgres_programs() / "postgres"), "-D", str(data), *options],
            cwd="/",
            stdout=log,
            stderr=log,
            start_new_session=True,
            **as_account(engines.account, signal.SIGINT),
        )
    try:
        await standby.follows()
        yield standby
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
