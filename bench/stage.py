"""What is measured: engines on a folder of their own, and services as processes, started as `make run` starts them."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
from bench.meter import Meter

from admitone.auth.tokens import make_key, public_key
from admitone.config import own_database_url
from admitone.runtime.engines import Engines
from admitone.runtime.nats_users import USERS
from admitone.runtime.privileges import as_account
from admitone.runtime.programs import free_port

ROOT = Path(__file__).resolve().parent.parent
ORDER_WINDOW_SECONDS = 4 * 3600
"""The one setting that differs from `make run`: after 15 minutes, orders of the first rounds would end in the middle of later ones."""
READY_SECONDS = 120
STOP_SECONDS = 15


class BenchError(Exception):
    """The run can't go on; the message is a sentence for who started it."""


class Stage:
    """The folder, the engines, and the one service process that runs beside them at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        self.engines = Engines(self.data, lambda line: None)
        self.meter = Meter()
        self.url = ""
        self.key_file = self.data / "signing-key.pem"

    @property
    def environment(self) -> dict[str, str]:
        """The settings of everything that is started here; nothing of the caller's own settings gets in."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ADMITONE_", "STRIPE_"))}
        return inherited | {
            "DATABASE_URL": self.engines.database_url,
            "NATS_URL": self.engines.nats_url,
            "ADMITONE_MARKETPLACE": "bench",
            **{f"ADMITONE_{name.upper()}_NATS_URL": self.engines.nats_url_of(name) for name in USERS},
            "ADMITONE_DATA": str(self.data),
            "ADMITONE_SIGNING_KEY_FILE": str(self.key_file),
            "ADMITONE_PUBLIC_KEYS": public_key(self.key_file),
            "ADMITONE_ORDER_WINDOW_SECONDS": str(ORDER_WINDOW_SECONDS),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        }

    def database_url(self, service: str) -> str:
        return own_database_url(self.engines.database_url, service)

    @contextlib.asynccontextmanager
    async def admitone(self, *command: str) -> AsyncIterator[str]:
        """A command such as `up` or `serve orders`, as a process of its own; its address, once it is ready."""
        port = free_port()
        settings = {"ADMITONE_PORT": str(port)}
        async with self.process("python", [sys.executable, "-m", "admitone.cli", *command], settings) as process:
            self.url = f"http://127.0.0.1:{port}"
            await answering(self.url + "/readyz", process)
            yield self.url

    @contextlib.asynccontextmanager
    async def process(self, group: str, command: list[str], settings: dict[str, str]) -> AsyncIterator["subprocess.Popen[bytes]"]:
        """A process whose output goes to a file, measured under that name. It ends with the block, and with us."""
        with (self.folder / f"{group}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=self.environment | settings,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **as_account(None, signal.SIGTERM),
            )
        self.meter.roots[process.pid] = group
        try:
            yield process
        finally:
            del self.meter.roots[process.pid]
            end(process)

    async def assert_durable(self) -> None:
        """Raises BenchError when PostgreSQL would lose something in a power failure: nothing measured then would count."""
        connection = await asyncpg.connect(self.engines.database_url)
        try:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                if (found := await connection.fetchval(f"SHOW {setting}")) != "on":
                    raise BenchError(f"{setting} is {found}: this measures only what is durable.")
        finally:
            await connection.close()


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Engines that run in a new folder on a disk. All of it is gone after the block."""
    folder = Path(tempfile.mkdtemp(prefix="admitone-bench-", dir=_disk()))
    folder.chmod(0o755)  # The engines may run as another user.
    here = Stage(folder)
    try:
        make_key(here.key_file)
        here.engines.start()
        await here.engines.ready()
        assert here.engines.postgres is not None
        assert here.engines.nats is not None
        here.meter.roots |= {here.engines.postgres.pid: "postgres", here.engines.nats.pid: "nats"}
        await here.assert_durable()
        yield here
    finally:
        here.engines.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _disk() -> str:
    """A folder that is not in memory: there, being durable would cost nothing."""
    for folder in (tempfile.gettempdir(), "/var/tmp", str(ROOT)):
        shown = subprocess.run(["stat", "--file-system", "--format=%T", folder], capture_output=True, text=True, check=False)
        if shown.returncode == 0 and shown.stdout.strip() not in ("tmpfs", "ramfs"):
            return folder
    raise BenchError("No folder on a disk was found: set TMPDIR to one.")


async def answering(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until it answers with 200. Raises BenchError when the process ends instead, or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    async with httpx.AsyncClient() as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(url)).status_code == 200:
                    return
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{url} does not answer; the process ended with {process.poll()}.")
            await asyncio.sleep(0.05)


def end(process: "subprocess.Popen[bytes]") -> None:
    """As Ctrl-C ends it; and when that takes too long, for good."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
