"""The marketplace that is tormented: each service, the gateway, PostgreSQL and NATS as a process of its own, children of this one."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx

from admitone.auth.tokens import make_key, public_key
from admitone.config import DATABASES, SERVICES_WITH_A_DATABASE, TEST_PROCESSOR, own_database_url, owner_database_url
from admitone.kit.data.connection import Connection, prepare_connection
from admitone.kit.data.migrations import migrate_at
from admitone.payments.processors import test as test_processor
from admitone.runtime.engines import Engines
from admitone.runtime.nats_users import USERS
from admitone.runtime.privileges import as_account
from admitone.runtime.programs import free_port
from admitone.runtime.provisioning import create_databases
from admitone.services import SERVICES

NAMES = tuple(service.name for service in SERVICES)
PARTS = (*NAMES, "gateway", "postgres", "nats")
ORDER_WINDOW_SECONDS, SETTLE_SECONDS = 15, 12
"""Short, so that orders expire while something is being killed; the second still covers the processor's deadline of 10 s."""
COUNT_DELIVERIES = """
    CREATE TABLE deliveries (event_id uuid NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE FUNCTION count_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO deliveries VALUES (NEW.event_id); RETURN NEW; END $$;
    CREATE TRIGGER count_deliveries BEFORE INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION count_delivery();
"""
"""It counts an event that the inbox knows already, too: those are what is looked for."""
MISBEHAVES = {
    "authorize": {"timeout_before": 0.03, "timeout_after": 0.04, "error": 0.02, "slow": 0.02},
    "capture": {"timeout_before": 0.03, "timeout_after": 0.04, "error": 0.02},
    "void": {"timeout_after": 0.05},
    "webhook": {"lose": 0.1, "repeat": 0.1},
}
"""The share of the card processor's calls that go wrong."""


class Stage:
    """Everything ends with the block. PostgreSQL writes as durably as `admitone up` has it, or says yes before it has written."""

    def __init__(self, folder: Path, careless: bool = False) -> None:
        self.folder = folder
        self.engines = Engines(folder, lambda line: None, durable=not careless)
        self.ports = {name: free_port() for name in (*NAMES, "gateway")}
        self.url = f"http://127.0.0.1:{self.ports['gateway']}"
        self.environment: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.down: set[str] = set()
        """Killed by us, and not started again yet."""
        self.schema_changes = self.columns_added = 0
        self.ended: list[str] = []
        """What ended by itself: a sentence each."""

    async def __aenter__(self) -> "Stage":
        self.engines.start()
        await self.engines.ready()
        await create_databases(self.engines.database_url, DATABASES)
        for service in SERVICES:
            if service.has_database:
                owner = owner_database_url(self.engines.database_url, service.name)
                await migrate_at(owner, service.name)
                await self.run_sql(service.name, COUNT_DELIVERIES)
                await migrate_at(owner, service.name)  # The role that serves may write to the new table, too.
        await migrate_at(self.database_url(TEST_PROCESSOR), TEST_PROCESSOR, test_processor.MIGRATIONS)
        key = self.folder / "key.pem"
        make_key(key)
        ours = ("ADMITONE_", "STRIPE_", "DATABASE_", "NATS_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "DATABASE_URL": self.engines.database_url,
            "NATS_URL": self.engines.nats_url,
            "ADMITONE_MARKETPLACE": "chaos",
            **{f"ADMITONE_{name.upper()}_NATS_URL": self.engines.nats_url_of(name) for name in USERS},
            "ADMITONE_DATA": str(self.folder),
            "ADMITONE_SIGNING_KEY_FILE": str(key),
            "ADMITONE_PUBLIC_KEYS": public_key(key),
            "ADMITONE_PUBLIC_URL": f"http://localhost:{self.ports['gateway']}",
            "ADMITONE_SERVICES_URL": self.url,
            "ADMITONE_ORDER_WINDOW_SECONDS": str(ORDER_WINDOW_SECONDS),
            "ADMITONE_SETTLE_SECONDS": str(SETTLE_SECONDS),
            **{f"ADMITONE_{name.upper()}_URL": f"http://127.0.0.1:{self.ports[name]}" for name in NAMES},
        }
        for name in (*NAMES, "gateway"):
            self.begin(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        for name, process in self.processes.items():
            self.down.add(name)
            process.kill()
            process.wait()
        for name in ("postgres", "nats"):
            self.down.add(name)
            with contextlib.suppress(ProcessLookupError):
                self.thaw(name)
        self.engines.stop()

    def begin(self, name: str) -> None:
        """Start it. It answers a while later."""
        if name == "postgres":
            self.engines.start_postgres()
        elif name == "nats":
            self.engines.start_nats()
        else:
            arguments = ["gateway"] if name == "gateway" else ["serve", name]
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "admitone.cli", *arguments],
                    env=self.environment | {"ADMITONE_PORT": str(self.ports[name])},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for us alone.
                    **as_account(None, signal.SIGKILL),
                )
        self.down.discard(name)

    def kill(self, name: str) -> None:
        """kill -9, of all its processes."""
        self.down.add(name)
        for pid in self._pids(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process(name).wait()

    def lose_data(self) -> None:
        """Of NATS, which must be killed."""
        shutil.rmtree(self.folder / "nats" / "data")

    def freeze(self, name: str, all_of_it: bool = True) -> None:
        """Its connections stay open, and nothing is answered; unless it is all of PostgreSQL, it takes new connections."""
        for pid in self._pids(name)[0 if all_of_it else 1 :]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        for pid in self._pids(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _process(self, name: str) -> "subprocess.Popen[bytes]":
        process = {"postgres": self.engines.postgres, "nats": self.engines.nats}.get(name) or self.processes[name]
        assert process is not None
        return process

    def _pids(self, name: str) -> list[int]:
        """PostgreSQL has one process per connection; its first comes first, so that it can't start any of them again."""
        first = self._process(name).pid
        if name != "postgres":
            return [first]
        listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.split()
        return [first, *(int(pid) for pid, parent in zip(listed[::2], listed[1::2], strict=True) if parent == str(first))]

    async def keep_running(self) -> None:
        """For ever: what ends by itself is started again, as whatever runs services does it, and noted."""
        while True:
            await asyncio.sleep(0.1)
            for name in PARTS:
                if name not in self.down and (code := self._process(name).poll()) is not None:
                    log = self.folder / "log" / f"{name}.log" if name in ("postgres", "nats") else self.folder / f"{name}.log"
                    told = log.read_text(errors="replace").strip().splitlines()[-5:]
                    last = next((line for line in told if line.startswith("admitone: ")), (told or ["it said nothing"])[-1])
                    self.ended.append(f"{name} ended with {code}: {last[:300]}")
                    self.down.add(name)
                    await asyncio.sleep(0.2)
                    self.begin(name)

    async def answers(self, name: str, client: httpx.AsyncClient) -> bool:
        """Whether it says that it is ready."""
        if name in self.down:
            return False
        with contextlib.suppress(OSError, TimeoutError, httpx.HTTPError, asyncpg.PostgresError, asyncpg.InterfaceError):
            match name:
                case "postgres":
                    connection = await asyncpg.connect(self.engines.database_url, timeout=2)
                    await connection.close(timeout=1)
                    return True
                case "nats":
                    return await asyncio.wait_for(self._nats_answers(), 2)
                case "gateway":
                    return (await client.get(f"{self.url}/healthz")).is_success
                case _:
                    return (await client.get(f"http://127.0.0.1:{self.ports[name]}/readyz")).is_success
        return False

    async def _nats_answers(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.engines.nats_port)
        try:
            await reader.readline()
            url = urlsplit(self.engines.nats_url)
            who = json.dumps({"user": url.username, "pass": url.password, "verbose": False})
            writer.write(f"CONNECT {who}\r\nPING\r\n".encode())
            return (await reader.readline()).startswith(b"PONG")
        finally:
            writer.close()

    async def all_answer(self, seconds: float) -> list[str]:
        """Wait for that; returns who does not even then."""
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            deadline = time.monotonic() + seconds
            while True:
                silent = [name for name in PARTS if not await self.answers(name, client)]
                if not silent or time.monotonic() > deadline:
                    return silent
                await asyncio.sleep(0.1)

    def database_url(self, service: str) -> str:
        return own_database_url(self.engines.database_url, service)

    async def connected(self, service: str) -> Connection:
        connection = await asyncpg.connect(self.database_url(service), timeout=10)
        await prepare_connection(connection)
        return connection

    async def run_sql(self, service: str, script: str) -> None:
        connection = await asyncpg.connect(owner_database_url(self.engines.database_url, service), timeout=10)
        try:
            await connection.execute(script)
        finally:
            await connection.close()

    async def change_schemas(self) -> None:
        """One column more in every table of each service, as a migration of the next version would add it."""
        self.schema_changes += 1
        for service in SERVICES_WITH_A_DATABASE:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):  # Too busy just now.
                owner = owner_database_url(self.engines.database_url, service)
                connection = await asyncpg.connect(owner, timeout=10, server_settings={"lock_timeout": "2s"})
                try:
                    for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
                        column = f"extra_{self.schema_changes} text DEFAULT 'x'"
                        with contextlib.suppress(asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                            await connection.execute(f"ALTER TABLE {row['tablename']} ADD COLUMN {column}", timeout=10)
                            self.columns_added += 1
                finally:
                    await connection.close(timeout=1)

    async def processor_misbehaves(self) -> None:
        rows = [f"('{call}', '{fault}', {share})" for call, faults in MISBEHAVES.items() for fault, share in faults.items()]
        await self.run_sql(TEST_PROCESSOR, f"INSERT INTO faults (call, fault, share) VALUES {', '.join(rows)}")

    async def processor_behaves_again(self) -> None:
        await self.run_sql(TEST_PROCESSOR, "DELETE FROM faults")

    async def admitone(self, *arguments: str) -> tuple[int, str]:
        """A command beside it: its exit code, and what it said."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "admitone.cli",
            *arguments,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode(errors="replace")

    def log_lines(self, containing: str) -> list[str]:
        """What the services logged with that in it."""
        return [
            line
            for name in (*NAMES, "gateway")
            for line in (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
            if containing in line
        ]
