"""Several processes on the engines of one House, each with all services, of this source or of another."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType

import httpx
from support.house import House, Person, eventually

from admitone.runtime.programs import free_port

OURS = Path(__file__).resolve().parents[2] / "src"
READY_SECONDS = 60
STOPS_WITHIN_SECONDS = 30


@contextlib.asynccontextmanager
async def all_services(
    house: House, name: str, source: Path = OURS, *, port: int | None = None, settings: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[str]:
    """All services in one process, until SIGTERM, which has to end it in good order; its address."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, **house.settings, "ADMITONE_PORT": str(port), "ADMITONE_SERVICES_URL": url, **settings}
    with (house.folder / f"{name}.out").open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "admitone.cli", "serve"],
            env=environment | {"PYTHONPATH": str(source)},
            cwd=house.folder,
            stdout=out,
            stderr=out,
        )
    try:
        async with httpx.AsyncClient() as client:

            async def ready() -> bool:
                assert process.poll() is None, house.log(name)
                with contextlib.suppress(httpx.HTTPError):
                    return (await client.get(f"{url}/readyz")).status_code == 200
                return False

            await eventually(ready, seconds=READY_SECONDS)
        yield url
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, STOPS_WITHIN_SECONDS) == 0, house.log(name)
    finally:
        process.kill()
        process.wait()


def at(url: str, person: Person) -> Person:
    """The same person, at another process."""
    return Person(httpx.AsyncClient(base_url=url, cookies=person.client.cookies, timeout=15), person.id, person.email)
