"""What is wrong with the surroundings is said in one sentence, in the log or by the doctor, and nothing is lost."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import nats
from support.house import House, eventually

from admitone.auth.tokens import make_key, public_key
from admitone.kit.delivery.bus import STREAM, known_cause
from admitone.kit.http.app import as_problem
from admitone.kit.http.problem import TryAgain
from admitone.runtime.programs import free_port, nats_program


async def says(house: House, sentence: str, name: str = "all") -> None:
    await eventually(lambda: asyncio.sleep(0, (house.folder / f"{name}.out").exists() and sentence in house.log(name)), seconds=20)


@contextlib.asynccontextmanager
async def nats_server(folder: Path, settings: str) -> AsyncIterator[str]:
    """With these settings of its own, and nobody to sign in as."""
    port = free_port()
    file = folder / "nats.conf"
    file.write_text(f'listen: "127.0.0.1:{port}"\n{settings}')
    process = subprocess.Popen([nats_program(), "-c", str(file)], stderr=subprocess.DEVNULL)
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def through(house: House, url: str) -> dict[str, str]:
    return {name: url for name in house.settings if name.endswith("NATS_URL")}


async def test_a_nats_without_jetstream_is_named_and_events_wait(own_house: House, tmp_path: Path) -> None:
    async with nats_server(tmp_path, "") as url:
        await own_house.start(**through(own_house, url))
        (ann,) = await own_house.people("ann")
        assert (await ann.client.post("/api/tickets", json={"title": "Front row", "price": 30})).status_code == 201
        await says(own_house, "the event bus has no JetStream")
        doctor = await asyncio.to_thread(own_house.admitone, "doctor", **through(own_house, url))
        assert "JetStream" in doctor.stdout
    own_house.kill()
    await own_house.start()  # With the bus that it should have been: nothing is lost.
    await own_house.at_rest(seconds=30)
    assert await own_house.rows("orders", "SELECT title FROM ticket_copies") == [{"title": "Front row"}]


async def test_a_full_volume_of_nats_is_named_and_events_wait(own_house: House, tmp_path: Path) -> None:
    limits = f'jetstream {{ store_dir: "{tmp_path}/store", max_file_store: 16KB, max_memory_store: 1MB }}'
    async with nats_server(tmp_path, limits) as url:
        await own_house.start(**through(own_house, url))
        (ann,) = await own_house.people("ann")
        for number in range(60):
            await ann.client.post("/api/tickets", json={"title": f"Row {number} {'x' * 150}", "price": 30})
        await says(own_house, "the event bus can't store any more")
    own_house.kill()
    await own_house.start()
    await own_house.at_rest(seconds=30)
    assert await own_house.rows("orders", "SELECT count(*) FROM ticket_copies") == [{"count": 60}]


async def test_a_signing_key_that_nobody_would_accept_ends_auth(own_house: House, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    make_key(other)
    done = await asyncio.to_thread(own_house.admitone, "serve", "auth", ADMITONE_SIGNING_KEY_FILE=str(other))
    assert done.returncode == 1
    assert "ADMITONE_PUBLIC_KEYS lacks the public half of" in done.stderr
    assert "Traceback" not in done.stderr
    both = f"{own_house.settings['ADMITONE_PUBLIC_KEYS']},{public_key(other)}"  # As while a key is exchanged for another.
    own_house.ports["auth"] = free_port()
    own_house.begin_one("auth", ADMITONE_SIGNING_KEY_FILE=str(other), ADMITONE_PUBLIC_KEYS=both)
    await says(own_house, "auth: listening at", "auth")


async def test_the_doctor_finds_a_service_with_other_keys(own_house: House, tmp_path: Path) -> None:
    await own_house.start_six()
    own_house.kill("orders")
    make_key(tmp_path / "other.pem")
    own_house.begin_one("orders", ADMITONE_PUBLIC_KEYS=public_key(tmp_path / "other.pem"))
    await says(own_house, "orders: listening at", "orders")
    urls = {f"ADMITONE_{name.upper()}_URL": f"http://127.0.0.1:{port}" for name, port in own_house.ports.items()}

    async def found() -> bool:
        done = await asyncio.to_thread(own_house.admitone, "doctor", "--json", **urls)
        lines = [line for line in json.loads(done.stdout)["lines"] if line["check"] == "keys"]
        return [(line["service"], line["state"]) for line in lines] == [("orders", "bad")]

    await eventually(found, seconds=20)


async def test_a_database_of_a_newer_version_is_named(own_house: House) -> None:
    await own_house.rows("orders", "INSERT INTO migrations (name, checksum) VALUES ('orders/9999_of_tomorrow.sql', 'x')")
    await own_house.start()
    await says(own_house, "a newer version was at the database of orders: it has orders/9999_of_tomorrow.sql")


async def test_a_page_over_plain_http_says_that_nothing_is_encrypted(own_house: House) -> None:
    url = "http://ticketing.example"
    await own_house.start(ADMITONE_PUBLIC_URL=url, ADMITONE_ALLOW_HTTP="1")
    (ann,) = await own_house.people("ann")
    assert "Not encrypted" in (await ann.client.get("/")).text
    again = await ann.client.post("/api/users/signin", json={"email": ann.email, "password": "correct horse"}, headers={"Origin": url})
    assert "Secure" not in again.headers.get("set-cookie", "")
    own_house.kill()
    await own_house.start()
    assert "Not encrypted" not in (await ann.client.get("/")).text


async def test_the_stream_of_this_marketplace_carries_its_name(house: House) -> None:
    client = await nats.connect(house.engines.nats_url)
    metadata = (await client.jetstream().stream_info(STREAM)).config.metadata or {}
    await client.close()
    assert metadata["marketplace"] == "house"


def test_a_full_volume_of_the_database_is_named_to_whoever_asks() -> None:
    full = asyncpg.DiskFullError("could not extend file")
    assert isinstance(as_problem(full), TryAgain)
    assert known_cause(full) == "the database can't store any more: its volume is full"
    assert known_cause(TimeoutError()) is None
