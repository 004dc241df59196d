"""A marketplace for a benchmark: `admitone up` on a folder and a port of its own, and as many tickets as one likes."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from search import fill

from admitone.config import own_database_url
from admitone.runtime.programs import free_port

COMMAND = [sys.executable, "-m", "admitone.cli", "up"]


@dataclass
class Market:
    url: str
    pid: int
    folder: Path

    @contextlib.asynccontextmanager
    async def client(self, name: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """Somebody who is signed up by that name; a stranger without one."""
        async with httpx.AsyncClient(base_url=self.url, timeout=10) as client:
            if name:
                await post(client, "/api/users/signup", {"email": f"{name}-{time.time()}@example.com", "password": "correct horse"})
            yield client

    async def list_many(self, number: int) -> None:
        """So many tickets for sale, as if they had been listed long ago."""
        administrator = json.loads((self.folder / "run.json").read_text())["database_url"]
        connection = await asyncpg.connect(own_database_url(administrator, "tickets"))
        await fill(connection, number)
        await connection.close()

    @property
    def memory_mb(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


@contextlib.asynccontextmanager
async def market() -> AsyncIterator[Market]:
    with tempfile.TemporaryDirectory(prefix="admitone-") as folder:
        Path(folder).chmod(0o755)  # The engines may run as another user.
        port = free_port()
        process = begin({**os.environ, "ADMITONE_DATA": f"{folder}/data", "ADMITONE_PORT": str(port)})
        try:
            await ready(port)
            yield Market(f"http://localhost:{port}", process.pid, Path(folder) / "data")
        finally:
            stop(process)


def begin(environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(COMMAND, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def ready(port: int) -> None:
    async with httpx.AsyncClient() as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"http://localhost:{port}/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.02)


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)
    process.wait(10)


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found
