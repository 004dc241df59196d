"""Opens what runs, for the tools that look into several services: their databases, and the event bus."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from urllib.parse import parse_qs, urlsplit

import asyncpg
from nats.aio.client import Client

from admitone.apidocs.markdown import listeners
from admitone.config import SERVICES_WITH_A_DATABASE, Settings, WrongSettings
from admitone.kit.data.connection import prepare_connection, single_connection
from admitone.kit.data.db import Database, connected
from admitone.kit.delivery.bus import BUS_ERRORS, known_cause
from admitone.kit.delivery.connection import connect
from admitone.kit.event import CATALOGUE

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
DATABASE_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, WrongSettings)
OLDER_VERSION = "it is of an older version, and `admitone migrate` brings it up to date"


class BusUnreachable(Exception):
    """There is no event bus where the settings say. `reason` is why, as a part of a sentence."""

    def __init__(self, url: str, error: Exception) -> None:
        self.reason = describe_error(error)
        super().__init__(f"The event bus at {server_of(url)} can't be reached: {self.reason}.")


def has_own_engines(settings: Settings) -> bool:
    """Whether the system runs on the engines of the data folder: the settings name no database."""
    return settings.database_url is None and not settings.own_database_urls


def open_database(settings: Settings, service: str) -> contextlib.AbstractAsyncContextManager[Database]:
    """One service's database, to change something in it. Raises WrongSettings, and what asyncpg raises."""
    return connected(service, settings.database_url_of(service))


@contextlib.asynccontextmanager
async def open_connection(
    settings: Settings, database: str, tool: str, **server_settings: str
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to one database, to read it. Raises WrongSettings, and what asyncpg raises."""
    url = settings.database_url_of(database)
    async with single_connection(url, f"{database} {tool}", CONNECT_SECONDS, **server_settings) as connection:
        await prepare_connection(connection)
        yield connection


class Databases:
    """The databases of some services, each opened when it is first asked. One that gives no answer is done without."""

    def __init__(self, settings: Settings, stack: contextlib.AsyncExitStack, services: Sequence[str]) -> None:
        self.services = services
        self.unreachable: dict[str, str] = {}
        """Which can't be asked, and why. They are not asked again, until they are taken out of here."""
        self._settings = settings
        self._stack = stack
        self._connections: dict[str, asyncpg.Connection[asyncpg.Record]] = {}
        self._writable: dict[str, Database] = {}

    async def rows(self, service: str, sql: str, *values: object) -> list["asyncpg.Record"]:
        """What one service's database answers; nothing where it is unreachable."""
        if service in self.unreachable:
            return []
        try:
            if service not in self._connections:
                self._connections[service] = await self._stack.enter_async_context(open_connection(self._settings, service, "tools"))
            return await self._connections[service].fetch(sql, *values, timeout=ANSWER_SECONDS)
        except DATABASE_ERRORS as error:
            self.unreachable[service] = describe_error(error)
            if connection := self._connections.pop(service, None):
                connection.terminate()
            return []

    async def rows_of_all(self, sql: str, *values: object) -> list[tuple[str, "asyncpg.Record"]]:
        """What each service's database answers, asked all at once."""
        answers = await asyncio.gather(*(self.rows(service, sql, *values) for service in self.services))
        return [(service, row) for service, rows in zip(self.services, answers, strict=True) for row in rows]

    async def writable(self, service: str) -> Database:
        """One of them, to change something in it. Raises what asyncpg raises."""
        if service not in self._writable:
            self._writable[service] = await self._stack.enter_async_context(open_database(self._settings, service))
        return self._writable[service]

    def unreachable_sentence(self) -> str:
        """Which can't be asked, and why; empty when all can be."""
        if not self.unreachable:
            return ""
        named = [f"{service} ({reason})" for service, reason in self.unreachable.items()]
        return f"The database of {', '.join(named)} can't be asked: what it knows is missing here."


@contextlib.asynccontextmanager
async def open_databases(settings: Settings, services: Sequence[str] = SERVICES_WITH_A_DATABASE) -> AsyncIterator[Databases]:
    """The databases of these services for as long as the block runs."""
    async with contextlib.AsyncExitStack() as stack:
        yield Databases(settings, stack, services)


@contextlib.asynccontextmanager
async def connect_to_bus(url: str, tool: str, say: Callable[[str], None] | None = None) -> AsyncIterator[Client]:
    """A connection to NATS. With `say` a lost connection comes back by itself, and is told of; without, it is an error.

    Raises BusUnreachable when there is no bus at the start.
    """
    connected = False
    last_error: Exception | None = None

    async def keep_error(error: Exception) -> None:
        nonlocal last_error
        last_error = error

    async def on_disconnect() -> None:
        if say is not None and connected and not client.is_closed:
            say("The event bus is away; what happens meanwhile is shown when it is back.")

    async def on_reconnect() -> None:
        if say is not None:
            say("The event bus is back.")

    client = Client()
    try:
        try:
            await connect(
                client,
                url,
                name=f"admitone {tool}",
                connect_timeout=int(CONNECT_SECONDS),
                allow_reconnect=False,  # The first time, no is an answer.
                max_reconnect_attempts=1,
                reconnect_time_wait=0.25,
                ping_interval=2 if say is not None else 120,
                max_outstanding_pings=2,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                error_cb=keep_error,
            )
        except BUS_ERRORS as error:
            raise BusUnreachable(url, last_error or error) from error
        if say is not None:
            client.options["allow_reconnect"] = True
            client.options["max_reconnect_attempts"] = -1
        connected = True
        yield client
    finally:
        connected = False
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.close(), 1)


def recording_services(event: str) -> Sequence[str]:
    """The services that listen to an event and record that they have handled it. Those without a database record nothing."""
    kind = CATALOGUE.get(event)  # A newer version, since taken back, may have published another.
    return [name for name in listeners(kind) if name in SERVICES_WITH_A_DATABASE] if kind is not None else ()


def server_of(url: str) -> str:
    """Host and port of an engine, or several with commas in between, without name and password."""
    hosts = [re.split(r"[/?]", part.rpartition("://")[2].rpartition("@")[2])[0] for part in url.partition("?")[0].split(",")]
    return ",".join(hosts) if any(hosts) else parse_qs(urlsplit(url).query).get("host", [""])[0]


def describe_error(error: BaseException) -> str:
    """An error as a part of a sentence."""
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, asyncpg.UndefinedTableError):
        return OLDER_VERSION
    if cause := known_cause(error):
        return cause
    if isinstance(error, OSError):
        return (error.strerror or str(error) or type(error).__name__).lower()
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
