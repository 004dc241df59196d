"""`admitone up`, as a person uses it: it opens, it stops, it survives, and it says in a sentence what it can't do."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import reachable
from support.house import Person, eventually

from admitone.runtime.programs import free_port


class Up:
    """One data folder and port, and the process that was last started there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self, **settings: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "ADMITONE_DATA": str(self.folder), "ADMITONE_PORT": str(self.port), **settings}
        with (self.folder.parent / "up.out").open("ab") as output:
            self.process = subprocess.Popen([sys.executable, "-m", "admitone.cli", "up"], env=environment, stdout=output, stderr=output)
        return self.process

    async def start(self) -> None:
        process = self.begin()

        async def ready() -> bool:
            assert process.poll() is None, self.said()
            return "Ctrl-C" in self.said()

        await eventually(ready, seconds=60)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{self.url}/readyz")).status_code == 200

    def said(self) -> str:
        return (self.folder.parent / "up.out").read_text()

    def forget_what_was_said(self) -> None:
        (self.folder.parent / "up.out").write_text("")

    def engines(self) -> list[str]:
        """The engine processes that work in this folder."""
        listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        return [line for line in listed.splitlines() if str(self.folder) in line and ("postgres" in line or "nats" in line)]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    up = Up(reachable(tmp_path) / "data")
    yield up
    if up.process is not None:
        up.process.kill()
        up.process.wait()


async def test_it_stops_within_five_seconds_although_somebody_still_listens(up: Up) -> None:
    await up.start()
    assert up.process is not None
    assert len(up.engines()) == 2
    assert f"Admit One is open at {up.url}" in up.said()
    [ann] = [await Person.signed_up(up.url, "ann")]
    with socket.create_connection(("127.0.0.1", up.port)) as listening:
        listening.sendall(b"POST /api/tickets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        async with ann.client.stream("GET", "/live/tickets") as stream, ann.client.stream("GET", "/live/listings") as another:
            for lines in (every := [stream.aiter_lines(), another.aiter_lines()]):
                assert await anext(lines)
            up.process.send_signal(signal.SIGINT)
            for lines in every:
                async for _ in lines:  # It ends as a whole answer does; a connection that is cut off would raise.
                    pass
        assert up.process.wait(5) == 0
    assert "running task" not in up.said()  # As uvicorn would say of streams that it had to cancel.
    assert up.engines() == []
    assert not (up.folder / "run.json").exists()
    await ann.client.aclose()


async def test_after_a_kill_the_engines_are_gone_and_every_answered_write_is_there(up: Up) -> None:
    await up.start()
    assert up.process is not None
    ann, bob = await Person.signed_up(up.url, "ann"), await Person.signed_up(up.url, "bob")
    order = await bob.orders(await ann.lists("Front row", 30))
    up.process.kill()
    up.process.wait()

    async def gone() -> bool:
        return up.engines() == []

    await eventually(gone)
    up.forget_what_was_said()
    await up.start()
    await bob.sees_order(order, "awaiting:payment", seconds=20)
    assert (await bob.pays(order)).status_code == 201


async def test_what_a_person_can_mend_is_one_sentence(up: Up) -> None:
    await up.start()
    other = Up(up.folder)
    in_use = other.begin()
    assert in_use.wait(20) == 1
    assert f"The data folder {up.folder} is in use by another run" in up.said()

    up.forget_what_was_said()
    same_port = other.begin(ADMITONE_PORT=str(up.port), ADMITONE_DATA=str(up.folder.parent / "elsewhere"))
    assert same_port.wait(20) == 1
    assert up.said().startswith(f"admitone: Port {up.port} of 127.0.0.1 can't be used")
    assert len(up.said().strip().splitlines()) == 1

    up.forget_what_was_said()
    wrong = other.begin(ADMITONE_PORT="eighty", ADMITONE_SETTLE_SECONDS="-3", DATABASE_URL="mysql://me:secret@there")
    assert wrong.wait(20) == 1
    for name in ("ADMITONE_PORT", "ADMITONE_SETTLE_SECONDS", "DATABASE_URL"):
        assert name in up.said()
    assert "secret" not in up.said()


async def test_an_engine_that_will_not_start_is_one_sentence(up: Up) -> None:
    (up.folder / "postgres" / "data").mkdir(parents=True)
    (up.folder / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    failed = up.begin()
    assert failed.wait(20) == 1
    assert "admitone: PostgreSQL did not start" in up.said()
    assert "Traceback" not in up.said()
