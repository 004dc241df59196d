"""The embedded engines: PostgreSQL and NATS as children of this process, their data in one folder.

They listen on loopback only, on free ports, with passwords that lie in the folder. They die with their parent, however
it dies. As root they run as the user nobody, or, where nobody can't reach the folder, as root in a user namespace of
their own: PostgreSQL refuses plain root. Nothing outside the data folder is changed.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

import asyncpg

from admitone.config import Settings
from admitone.kit.observe.log import log
from admitone.runtime.data_folder import EngineError, passwords_in, with_keys, with_marketplace, write_secret
from admitone.runtime.nats_users import USERS, users
from admitone.runtime.privileges import Account, account_for, as_account
from admitone.runtime.programs import free_port, nats_program, postgres_programs

RECOVERY_SECONDS = 300
STOP_SECONDS = 4
LEFTOVER_SECONDS = 20


class Engines:
    """PostgreSQL and NATS for one data folder. Start them from the main thread: they die with the thread that began them."""

    def __init__(self, folder: Path, report: Callable[[str], None], durable: bool = True) -> None:
        self.folder = folder.resolve()
        self.report = report
        self.durable = durable
        self.account: Account | None = None
        self.postgres: subprocess.Popen[bytes] | None = None
        self.nats: subprocess.Popen[bytes] | None = None
        self.postgres_port = free_port()
        self.nats_port = free_port()
        self.passwords: dict[str, str] = {}

    @property
    def database_url(self) -> str:
        return f"postgresql://admitone:{self.passwords['postgres']}@127.0.0.1:{self.postgres_port}/postgres"

    @property
    def nats_url(self) -> str:
        """As the user who may do everything, for tools."""
        return f"nats://admitone:{self.passwords['nats']}@127.0.0.1:{self.nats_port}"

    def nats_url_of(self, service: str) -> str:
        """As the user of one service."""
        return f"nats://{service}:{self.passwords[service]}@127.0.0.1:{self.nats_port}"

    def start(self) -> None:
        """Start both. Raises EngineError. PostgreSQL may still be recovering when this returns: see `ready`."""
        self.passwords = passwords_in(self.folder / "passwords.json", ("postgres", "nats", *USERS))
        self.account = account_for(self.folder, postgres_programs() / "postgres")
        for name in ("postgres", "nats", "log"):
            self._ensure_owned(self.folder / name)
        self._wait_for_leftovers()
        if not (self.folder / "postgres" / "data").exists():
            self._create_cluster()
        self.start_postgres()
        self.start_nats()

    def start_postgres(self) -> None:
        options = {
            "port": self.postgres_port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 120,
            "shared_buffers": "64MB",
            "jit": "off",
            "log_min_messages": "warning",
            "log_statement": "none",
        }
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        program = postgres_programs() / "postgres"
        data = self.folder / "postgres" / "data"
        self.postgres = self._spawn([str(program), "-D", str(data), *arguments], "postgres", signal.SIGINT)

    def start_nats(self) -> None:
        store = self.folder / "nats" / "data"
        self._ensure_owned(store)
        config = self.folder / "nats" / "nats.conf"
        text = f"""
            listen: "127.0.0.1:{self.nats_port}"
            server_name: admitone
            pid_file: {_quoted(self.folder / "nats" / "nats.pid")}
            jetstream {{ store_dir: {_quoted(store)}, max_memory_store: 64MB }}
            authorization {{ users: [
            {{ user: admitone, password: "{self.passwords["nats"]}" }}
            {users(self.passwords)}
            ] }}
        """
        config.unlink(missing_ok=True)
        with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
            handle.write(text)
        self._ensure_owned(config)
        self.nats = self._spawn([nats_program(), "-c", str(config)], "nats", signal.SIGTERM)

    async def ready(self) -> None:
        """Wait until both answer. Raises EngineError when one has ended instead."""
        started = time.monotonic()
        announced = False
        while True:
            self._check(self.postgres, "PostgreSQL", "postgres")
            try:
                connection = await asyncpg.connect(self.database_url, timeout=5)
                await connection.close()
                break
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if time.monotonic() - started > 1 and not announced:
                    self.report("PostgreSQL is recovering what the last run left ...")
                    announced = True
                if time.monotonic() - started > RECOVERY_SECONDS:
                    raise EngineError(f"PostgreSQL does not answer; see {self.folder}/log/postgres.log.") from None
                await asyncio.sleep(0.02)
        while True:
            self._check(self.nats, "NATS", "nats")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.nats_port), timeout=1):
                return
            await asyncio.sleep(0.02)

    async def keep_running(self) -> None:
        """Runs for ever, and restarts an engine that ends by itself. Raises EngineError after six ends within 30 s."""
        deaths: list[float] = []
        while True:
            await asyncio.sleep(0.3)
            for process, name, start in ((self.postgres, "PostgreSQL", self.start_postgres), (self.nats, "NATS", self.start_nats)):
                if process is None or process.poll() is None:
                    continue
                deaths = [moment for moment in deaths if moment > time.monotonic() - 30] + [time.monotonic()]
                if len(deaths) > 5:
                    raise EngineError(f"{name} ends again and again; see {self.folder}/log.")
                log.error("engine_restarted", message=f"{name} has ended by itself and is started again", code=process.returncode)
                start()

    def stop(self) -> None:
        """Stop both, in good order where they let us."""
        for process, number in ((self.nats, signal.SIGTERM), (self.postgres, signal.SIGINT)):
            if process is not None and process.poll() is None:
                process.send_signal(number)
        for process in (self.nats, self.postgres):
            if process is not None:
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _create_cluster(self) -> None:
        """The new cluster gets its name only when it is whole, so that an interrupted first start leaves nothing behind."""
        self.report("Preparing the database, once ...")
        new = self.folder / "postgres" / "new"
        shutil.rmtree(new, ignore_errors=True)
        password_file = self.folder / "postgres" / "password"
        password_file.write_text(self.passwords["postgres"])
        self._ensure_owned(password_file)
        initdb = [str(postgres_programs() / "initdb"), "-D", str(new), "-U", "admitone", f"--pwfile={password_file}"]
        initdb += ["-A", "scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        initdb += ["--no-instructions", *([] if self.durable else ["--no-sync", "--wal-segsize=1"])]
        try:
            done = subprocess.run(
                initdb, check=False, capture_output=True, text=True, cwd=self.folder / "postgres", **as_account(self.account, None)
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EngineError(f"PostgreSQL's initdb can't be run: {error}.") from error
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line or "FATAL" in line]
            raise EngineError(f"PostgreSQL's data can't be prepared in {new}: {' '.join(errors) or f'it ended with {done.returncode}'}")
        new.rename(self.folder / "postgres" / "data")

    def _spawn(self, arguments: list[str], name: str, death_signal: int) -> subprocess.Popen[bytes]:
        """Start an engine, with its output in its log file."""
        with self._log_file(name) as log_file:
            try:
                return subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log_file,
                    stderr=log_file,
                    cwd=self.folder / name,
                    start_new_session=True,
                    **as_account(self.account, death_signal),
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise EngineError(f"{arguments[0]} can't be started: {error}.") from error

    def _log_file(self, name: str) -> IO[bytes]:
        file = self.folder / "log" / f"{name}.log"
        if file.exists() and file.stat().st_size > 10_000_000:
            file.replace(file.with_suffix(".log.1"))
        return file.open("ab")

    def _ensure_owned(self, path: Path) -> None:
        """Create the folder if it is missing, and give it (or the file) to the engines' account."""
        if not path.exists():
            path.mkdir(mode=0o700)
        if self.account is None:
            return
        uid, gid = (0, 0) if self.account.namespace else (self.account.uid, self.account.gid)
        if path.stat().st_uid != uid:
            for inner in (path, *path.rglob("*")):
                os.chown(inner, uid, gid, follow_symlinks=False)

    def _wait_for_leftovers(self) -> None:
        """A run that was killed takes its engines along, but PostgreSQL may need a moment to write everything down."""
        pid_files = (self.folder / "postgres" / "data" / "postmaster.pid", self.folder / "nats" / "nats.pid")
        begun = time.monotonic()
        while left := [pid for pid in map(self._engine_of, pid_files) if pid is not None]:
            waited = time.monotonic() - begun
            if waited > LEFTOVER_SECONDS:
                raise EngineError(f"An engine of an earlier run still uses {self.folder} (process {left[0]}); stop it first.")
            if sys.platform != "linux" or waited > LEFTOVER_SECONDS / 2:  # Nothing but us ends it there; here, it may be frozen.
                for pid in left:
                    os.kill(pid, signal.SIGINT)
                    os.kill(pid, signal.SIGCONT)
            time.sleep(0.05)

    def _engine_of(self, pid_file: Path) -> int | None:
        """The process that a pid file names, if it is alive and works in this very folder: the file may be a copy, or old."""
        try:
            pid = int(pid_file.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        command_line = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
        return pid if str(self.folder) in command_line else None

    def _check(self, process: subprocess.Popen[bytes] | None, name: str, log_name: str) -> None:
        if process is not None and process.poll() is not None:
            lines = (self.folder / "log" / f"{log_name}.log").read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise EngineError(f"{name} did not start: {lines[-1][:300]} (see {self.folder}/log/{log_name}.log)")


@contextlib.asynccontextmanager
async def with_engines(settings: Settings, report: Callable[[str], None]) -> AsyncIterator[Settings]:
    """The settings, with embedded engines and keys for whatever they don't name."""
    engines = None
    folder = settings.data.resolve()
    try:
        if settings.database_url is None or settings.nats_url is None:
            engines = Engines(folder, report)
            engines.start()
            await engines.ready()
            settings = replace(
                settings,
                database_url=settings.database_url or engines.database_url,
                nats_url=settings.nats_url or engines.nats_url,
                own_nats_urls=settings.own_nats_urls or _own_nats_urls(settings, engines),
            )
        settings = with_marketplace(with_keys(settings, folder), folder)
        write_secret(
            folder / "run.json",
            json.dumps(
                {
                    "pid": os.getpid(),
                    "database_url": settings.database_url,
                    "nats_url": settings.nats_url,
                    "services_url": settings.services_url,
                    "takes_cards": settings.stripe_secret_key is not None,
                }
            ),
        )
        if engines is None:
            yield settings
            return
        async with asyncio.TaskGroup() as watch:
            watching = watch.create_task(engines.keep_running())
            try:
                yield settings
            finally:
                watching.cancel()
    finally:
        (folder / "run.json").unlink(missing_ok=True)
        if engines is not None:
            engines.stop()


def _own_nats_urls(settings: Settings, engines: Engines) -> Mapping[str, str]:
    return {} if settings.nats_url else {service: engines.nats_url_of(service) for service in USERS}


def _quoted(path: Path) -> str:
    """As nats-server reads it, which has no \\u escapes."""
    return json.dumps(str(path), ensure_ascii=False)
