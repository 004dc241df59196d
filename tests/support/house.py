"""The whole marketplace as its users see it: real processes, real engines, driven over HTTP.

ann, bob = await house.people("ann", "bob")
ticket = await ann.lists("Front row", 49.90)
order = await bob.buys(ticket)
await bob.pays(order)
assert (await bob.order(order))["status"] == "complete"
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import httpx
import msgspec
import nats
from support import processes

from admitone.auth.tokens import make_key, public_key
from admitone.config import owner_database_url
from admitone.kit.data.connection import prepare_connection
from admitone.kit.event import CATALOGUE, LISTENERS, Event, Message, subject
from admitone.runtime.engines import Engines
from admitone.runtime.programs import free_port
from admitone.services import SERVICES

Json = dict[str, Any]
Found = TypeVar("Found")
NAMES = tuple(service.name for service in SERVICES)


class House:
    """Engines of its own, and the services in one process or in six. Everything ends with the block."""

    def __init__(self, folder: Path, prepared: Path) -> None:
        copy_data(prepared, folder)
        self.engines = Engines(folder, lambda line: None, durable=False)
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes: dict[str, ForkServerProcess] = {}
        self.ports: dict[str, int] = {}
        self.settings: dict[str, str] = {}
        self.databases: dict[str, asyncpg.Pool[asyncpg.Record]] = {}

    async def __aenter__(self) -> "House":
        self.engines.start()
        await self.engines.ready()
        key = self.folder / "key.pem"
        make_key(key)
        self.settings = {
            "DATABASE_URL": self.engines.database_url,
            "NATS_URL": self.engines.nats_url,
            "ADMITONE_MARKETPLACE": "house",
            **{f"ADMITONE_{name.upper()}_NATS_URL": self.engines.nats_url_of(name) for name in NAMES},
            "ADMITONE_SIGNING_KEY_FILE": str(key),
            "ADMITONE_PUBLIC_KEYS": public_key(key),
            "ADMITONE_PUBLIC_URL": f"http://localhost:{self.port}",
            "ADMITONE_SERVICES_URL": self.url,
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in list(self.processes):
            self.kill(name)
        self.thaw_bus()
        self.thaw_database()
        for database in self.databases.values():
            database.terminate()
        self.engines.stop()

    async def start(self, **settings: str) -> None:
        """All services in one process."""
        self._begin("all", ["serve"], self.port, settings)
        await self.ready()

    async def start_six(self, **settings: str) -> None:
        """Each service in a process of its own, behind a gateway."""
        self.ports = {name: free_port() for name in NAMES}
        urls = {f"ADMITONE_{name.upper()}_URL": f"http://127.0.0.1:{port}" for name, port in self.ports.items()}
        for name in NAMES:
            self.begin_one(name, **settings)
        self._begin("gateway", ["gateway"], self.port, {**settings, **urls})
        await self.ready()

    def begin_one(self, name: str, **settings: str) -> None:
        """The process with just this service."""
        self._begin(name, ["serve", name], self.ports[name], settings)

    def _begin(self, name: str, arguments: list[str], port: int, settings: dict[str, str]) -> None:
        environment = {**os.environ, **self.settings, "ADMITONE_PORT": str(port), **settings}
        self.processes[name] = processes.begin(arguments, environment, self.folder / f"{name}.out")

    def admitone(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """A command, run with this house's settings."""
        return processes.run(list(arguments), {**os.environ, **self.settings, **settings})

    def log(self, name: str = "all") -> str:
        """What a process has written so far."""
        return (self.folder / f"{name}.out").read_text(errors="replace")

    def kill(self, name: str = "all") -> None:
        """kill -9, as a power cut would."""
        process = self.processes.pop(name)
        process.kill()
        process.join()

    def freeze_bus(self) -> None:
        """The stream hears nothing and says nothing, but its connections stay open."""
        assert self.engines.nats is not None
        self.engines.nats.send_signal(signal.SIGSTOP)

    def thaw_bus(self) -> None:
        assert self.engines.nats is not None
        self.engines.nats.send_signal(signal.SIGCONT)

    def freeze_database(self) -> None:
        """PostgreSQL with all its processes: connections stay open, nothing is answered."""
        for pid in self._database_processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw_database(self) -> None:
        for pid in self._database_processes():
            with contextlib.suppress(ProcessLookupError):  # A connection's process may end while we look.
                os.kill(pid, signal.SIGCONT)

    def _database_processes(self) -> list[int]:
        assert self.engines.postgres is not None
        server = self.engines.postgres.pid
        listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.split()
        return [server, *(int(pid) for pid, parent in zip(listed[::2], listed[1::2], strict=True) if parent == str(server))]

    def kill_bus(self) -> None:
        assert self.engines.nats is not None
        self.engines.nats.kill()
        self.engines.nats.wait()

    def start_bus(self) -> None:
        self.engines.start_nats()

    async def publish(self, event: Event, event_id: UUID | None = None, correlation_id: UUID | None = None) -> UUID:
        """Put an event into the stream by hand, as the network might: late, twice, in any order."""
        event_id = event_id or uuid4()
        message = Message(
            event_id=event_id,
            event=type(event).__name__,
            time=datetime.now(UTC),
            correlation_id=correlation_id or uuid4(),
            causation_id=None,
            data=msgspec.to_builtins(event),
        )
        await self.publish_bytes(subject(type(event)), msgspec.json.encode(message))
        return event_id

    async def publish_bytes(self, to: str, data: bytes) -> None:
        """Put anything at all into the stream."""
        client = await nats.connect(self.engines.nats_url)
        await client.jetstream().publish(to, data, headers={"Nats-Msg-Id": str(uuid4())})
        await client.close()

    async def ready(self) -> None:
        """Wait until everything answers; a process that has ended fails the test with what it said."""

        async with httpx.AsyncClient(verify=False) as client:  # It speaks no TLS: reading the certificates would take longer.

            async def answers() -> bool:
                for name, process in self.processes.items():
                    assert process.exitcode is None, self.log(name)
                with contextlib.suppress(httpx.HTTPError):
                    return (await client.get(f"{self.url}/readyz")).status_code == 200
                return False

            await eventually(answers, seconds=60)

    async def people(self, *names: str) -> "list[Person]":
        """Signed-up people, in that order."""
        return [await Person.signed_up(self.url, name) for name in names]

    async def rows(self, service: str, sql: str, *args: Any) -> list[Json]:
        """What a service's database holds."""
        if service not in self.databases:
            url = owner_database_url(self.engines.database_url, service)
            self.databases[service] = asyncpg.create_pool(url, min_size=0, max_size=4, init=prepare_connection)
        return [dict(row) for row in await (await self.databases[service]).fetch(sql, *args)]

    async def at_rest(self, seconds: float = 20) -> None:
        """Wait until everything said has been published, and everything published has been heard by all who listen."""
        owners = [service.name for service in SERVICES if service.has_database]

        async def quiet() -> bool:
            said: dict[Any, str] = {}
            for owner in owners:
                for row in await self.rows(owner, "SELECT event_id, event, published_at FROM outbox"):
                    if row["published_at"] is None:
                        return False
                    said[row["event_id"]] = row["event"]
            for listener in owners:
                heard = {
                    row["event_id"] for row in await self.rows(listener, "SELECT event_id FROM inbox UNION SELECT event_id FROM parked")
                }
                if any(listener in LISTENERS[CATALOGUE[name]] and event_id not in heard for event_id, name in said.items()):
                    return False
            return True

        await eventually(quiet, seconds=seconds)


class Person:
    """Somebody with a browser's worth of cookies. What is refused raises httpx.HTTPStatusError; `ask` never raises."""

    def __init__(self, client: httpx.AsyncClient, id: str, email: str) -> None:
        self.client = client
        self.id = id
        self.email = email

    @classmethod
    async def signed_up(cls, url: str, name: str) -> "Person":
        return await cls.signs_up(httpx.AsyncClient(base_url=url, timeout=15, verify=False), name)

    @classmethod
    async def signs_up(cls, client: httpx.AsyncClient, name: str) -> "Person":
        """With a browser that is there already."""
        answer = await client.post(
            "/api/users/signup", json={"email": f"{name}-{uuid4().hex[:8]}@example.com", "password": "correct horse"}
        )
        assert answer.status_code == 201, answer.text
        return cls(client, **answer.json())

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.client.request(method, path, json=body, headers=headers)

    async def lists(self, title: str, price: float) -> Json:
        return _good(await self.ask("POST", "/api/tickets", {"title": title, "price": price}))

    async def edits(self, ticket: Json, title: str, price: float) -> httpx.Response:
        return await self.ask("PUT", f"/api/tickets/{ticket['id']}", {"title": title, "price": price})

    async def orders(self, ticket: Json) -> Json:
        """Clicks Buy; the tickets service may not have heard of it yet."""
        return _good(await self.tries_to_buy(ticket))

    async def buys(self, ticket: Json) -> Json:
        """Clicks Buy, and sees that the order may be paid."""
        return await self.sees_order(await self.orders(ticket), "awaiting:payment")

    async def tries_to_buy(self, ticket: Json) -> httpx.Response:
        return await self.ask("POST", "/api/orders", {"ticketId": ticket["id"]})

    async def pays(self, order: Json, token: str = "tok_visa") -> httpx.Response:
        """Where payments has not heard yet that it may be paid, after waiting a second for that, it is asked again."""
        deadline = time.monotonic() + 15
        while True:
            answer = await self.ask("POST", "/api/payments", {"orderId": order["id"], "token": token})
            if answer.status_code != 409 or answer.json()["title"] != "Not payable yet" or time.monotonic() > deadline:
                return answer

    async def cancels(self, order: Json) -> httpx.Response:
        return await self.ask("DELETE", f"/api/orders/{order['id']}")

    async def extends(self, order: Json) -> httpx.Response:
        """Asks for more time."""
        return await self.ask("POST", f"/api/orders/{order['id']}/extension")

    async def order(self, order: Json) -> Json:
        return _good(await self.ask("GET", f"/api/orders/{order['id']}"))

    async def ticket(self, ticket: Json) -> Json:
        return _good(await self.ask("GET", f"/api/tickets/{ticket['id']}"))

    async def sees_order(self, order: Json, status: str, seconds: float = 10) -> Json:
        """The order, as soon as it has that status."""
        return await eventually(lambda: _when(self.order(order), status), seconds)

    async def sees_ticket(self, ticket: Json, status: str, seconds: float = 10) -> Json:
        """The ticket, as soon as it has that status."""
        return await eventually(lambda: _when(self.ticket(ticket), status), seconds)


def copy_data(prepared: Path, folder: Path) -> None:
    """The data of engines that are stopped, for engines of one's own."""
    subprocess.run(["cp", "-Rp", prepared / "postgres", prepared / "passwords.json", folder], check=True)  # Twice as quick as shutil.


async def eventually(look: Callable[[], Awaitable[Found]], seconds: float = 10) -> Found:
    """What `look` finds, as soon as it finds something true. It is asked again and again; the time only ends a failure."""
    deadline = time.monotonic() + seconds
    while True:
        found = await look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not true within {seconds} s; the last look found {found!r}"
        await asyncio.sleep(0.02)


async def _when(looking: Awaitable[Json], status: str) -> Json:
    found = await looking
    return found if found["status"] == status else {}


def _good(answer: httpx.Response) -> Json:
    answer.raise_for_status()
    body: Json = answer.json()
    return body
