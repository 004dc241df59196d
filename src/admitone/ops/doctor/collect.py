"""What the databases, the stream and the services say of themselves. Whatever does not answer is noted, and hinders nothing else."""

import asyncio
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import ConsumerInfo, StreamInfo

from admitone.config import Settings, WrongSettings
from admitone.kit.data.migrations import MigrationStatus
from admitone.kit.data.migrations import status as migration_status
from admitone.kit.delivery.bus import STREAM
from admitone.kit.observe.gauges import DATABASE_GAUGES, GaugeValues, read, read_only_tx
from admitone.kit.service import Service
from admitone.ops.reach import BusUnreachable, connect_to_bus, describe_error, server_of
from admitone.payments import ledger
from admitone.services import SERVICES

DATABASE_SECONDS = 3.0
"""A person waits: longer than a scrape may take, so that a busy database is not called away."""
BUS_SECONDS = 3.0
READY_SECONDS = 4.0
"""The gateway gives each service two seconds."""
LOOK_AGAIN_SECONDS = 0.5
"""A consumer that has just taken all it asked for has not asked again yet, for a moment."""


@dataclass
class Database:
    """One service's database."""

    server: str
    """Host and port."""
    error: str | None = None
    """Why it can't be asked."""
    version: str = ""
    migrations: MigrationStatus | None = None
    gauges: GaugeValues = field(default_factory=dict)
    unlike: int | None = None
    """For payments: how many charges the ledger has booked other than they stand."""


@dataclass
class Bus:
    """One NATS server, as the services that use it have it."""

    server: str
    services: list[str]
    error: str | None = None
    version: str = ""
    storage_bytes: int = 0
    stream: StreamInfo | None = None
    consumers: dict[str, ConsumerInfo] = field(default_factory=dict)
    """Of the services that hear anything; one that is missing is not there."""


@dataclass
class Ready:
    """What a service, or a process or gateway on behalf of it, says at /readyz."""

    url: str
    error: str | None = None
    ready: bool | None = None
    """None when the one who answers knows nothing of this service."""
    bus: str = "ready"
    key_ids: frozenset[str] | None = None
    """The keys whose sessions it accepts; None when the one who answers does not say."""


@dataclass
class Found:
    """Everything, by service where it is about one."""

    databases: dict[str, Database]
    buses: list[Bus]
    ready: dict[str, Ready]
    free_bytes: int | None
    """On the disk of the data folder, where it is on this machine."""


async def gather(settings: Settings, local: bool) -> Found:
    """`local`: whether the engines' data lies in the data folder here."""
    services = [service for service in SERVICES if service.has_database and _is_named(settings, service)]
    databases, buses, ready = await asyncio.gather(_databases(settings, services), _buses(settings, services), _all_ready(settings))
    return Found(databases, buses, ready, shutil.disk_usage(settings.data).free if local else None)


def _is_named(settings: Settings, service: Service) -> bool:
    """Where a pod's settings name some services' databases only, the others are none of its business."""
    return settings.database_url is not None or service.name in settings.own_database_urls


async def _databases(settings: Settings, services: Iterable[Service]) -> dict[str, Database]:
    found = await asyncio.gather(*(_database(settings, service) for service in services))
    return {service.name: database for service, database in zip(services, found, strict=True)}


async def _database(settings: Settings, service: Service) -> Database:
    url = settings.database_url_of(service.name)
    found = Database(server_of(url))
    try:
        async with read_only_tx(service.name, url, DATABASE_SECONDS) as tx:
            found.version = str(await tx.value("SHOW server_version")).partition(" ")[0]
            found.migrations = await migration_status(tx.connection, service.name)
            found.gauges = await read(tx, (*DATABASE_GAUGES, *service.gauges))
            if service.name == "payments" and "unsettled_charges" in found.gauges:
                found.unlike = len(await ledger.unlike_charges(tx))
    except Exception as error:
        found.error = describe_error(error)
    return found


async def _buses(settings: Settings, services: Iterable[Service]) -> list[Bus]:
    """One for each server. NATS_URL is the administrator's; without it, each service's own user is asked what it may know."""
    by_url: dict[str, list[Service]] = {}
    for service in services:
        try:
            by_url.setdefault(settings.nats_url or settings.nats_url_of(service.name), []).append(service)
        except WrongSettings:
            by_url.setdefault("", []).append(service)
    return list(await asyncio.gather(*(_bus(url, using) for url, using in by_url.items())))


async def _bus(url: str, using: list[Service]) -> Bus:
    found = Bus(server_of(url), [service.name for service in using])
    if not url:
        found.error = "nothing says where it is: set NATS_URL"
        return found
    try:
        async with asyncio.timeout(BUS_SECONDS):
            async with connect_to_bus(url, "doctor") as client:
                await _ask_bus(client, using, found)
    except BusUnreachable as error:
        found.error = error.reason
    except Exception as error:
        found.error = describe_error(error)
    return found


async def _ask_bus(client: Client, using: list[Service], found: Bus) -> None:
    version = client.connected_server_version
    found.version = f"{version.major}.{version.minor}.{version.patch}"
    stream = client.jetstream(timeout=BUS_SECONDS)
    found.storage_bytes = (await stream.account_info()).storage
    try:
        found.stream = await stream.stream_info(STREAM)
    except nats.js.errors.NotFoundError:
        return
    for service in using:
        if service.handlers is not None:
            try:
                consumer = await stream.consumer_info(STREAM, service.name)
                if not consumer.num_waiting:
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)
                    consumer = await stream.consumer_info(STREAM, service.name)
                found.consumers[service.name] = consumer
            except nats.js.errors.NotFoundError:
                pass


async def _all_ready(settings: Settings) -> dict[str, Ready]:
    """Each service, also one without a database, is asked at its own address where one is set, otherwise where all of them are."""
    named = [service.name for service in SERVICES if _is_named(settings, service)]
    urls = {service: _internal(settings, settings.url_of(service)) for service in named}
    async with httpx.AsyncClient(timeout=READY_SECONDS, trust_env=False) as client:
        asked = sorted(set(urls.values()))
        answers = dict(zip(asked, await asyncio.gather(*(_ready(client, url) for url in asked)), strict=True))
    return {service: _ready_of(service, url, answers[url]) for service, url in urls.items()}


def _internal(settings: Settings, url: str) -> str:
    """Where the same process tells what is nobody's business outside."""
    if settings.internal_port is None:
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{(parts.netloc.removesuffix(f':{parts.port}') if parts.port else parts.netloc)}:{settings.internal_port}"


async def _ready(client: httpx.AsyncClient, url: str) -> Mapping[str, Any] | str:
    """What is said there of each service, or why nothing is."""
    try:
        whole = (await client.get(f"{url}/readyz")).json()
        if isinstance(whole, Mapping) and whole.keys() == {"ready"}:
            return "it has a port of its own for the details: set ADMITONE_INTERNAL_PORT"
        said = whole["services"]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _describe_http_error(error)
    except (ValueError, KeyError, TypeError):
        said = None
    return said if isinstance(said, Mapping) else "what answers there is not Admit One"


def _ready_of(service: str, url: str, said: Mapping[str, Any] | str) -> Ready:
    if isinstance(said, str):
        return Ready(url, error=said)
    match said.get(service):
        case bool(ready):  # A gateway.
            return Ready(url, ready=ready)
        case {"ready": ready, **more}:
            keys = more.get("keys")
            key_ids = frozenset(map(str, keys)) if isinstance(keys, list) else None
            return Ready(url, ready=bool(ready), bus=str(more.get("bus", "ready")), key_ids=key_ids)
    return Ready(url)


def _describe_http_error(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer"
    return "no connection" if isinstance(error, httpx.ConnectError) else describe_error(error)
