"""How a list of services becomes one running process."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from admitone.config import Settings, WrongSettings
from admitone.kit.data.connection import single_connection
from admitone.kit.data.db import Database, connected
from admitone.kit.data.migrations import migrate_at, status
from admitone.kit.data.rights import check_marketplace
from admitone.kit.delivery.bus import Bus
from admitone.kit.delivery.consumer import Consumer
from admitone.kit.delivery.relay import Relay
from admitone.kit.http.app import litestar_app
from admitone.kit.http.direct import DirectRoutes
from admitone.kit.http.session import Verifier
from admitone.kit.observe.gauges import service_gauges
from admitone.kit.observe.log import log
from admitone.kit.service import Service, wanted
from admitone.runtime.dispatcher import Dispatcher

DATABASE_WITHIN_SECONDS = 60.0
"""So long a start waits for a database that is not there yet: in a cluster, all begins at once."""
END_WITHIN_SECONDS = 10.0
CLOCKS_APART_SECONDS = 10.0


@contextlib.asynccontextmanager
async def running(services: Sequence[Service], settings: Settings) -> AsyncIterator[Dispatcher]:
    """Migrate, connect and run these services. When a background task of theirs fails, the block ends with its error."""
    dispatcher = Dispatcher(settings.trusted_proxies, settings.allowed_origins, internal_apart=settings.internal_port is not None)
    if not settings.public_keys:
        raise WrongSettings("there are no keys to check sessions with: set ADMITONE_PUBLIC_KEYS (`admitone keygen` prints one).")
    if {"payments", "web"} <= {service.name for service in services}:
        if settings.stripe_secret_key and not settings.stripe_publishable_key:
            raise WrongSettings("STRIPE_PUBLISHABLE_KEY is missing: with STRIPE_SECRET_KEY, the pages need it to take cards.")
        if settings.stripe_publishable_key and not settings.stripe_secret_key:
            raise WrongSettings(
                "STRIPE_SECRET_KEY is missing: what the pages make of a card with STRIPE_PUBLISHABLE_KEY, nobody could charge."
            )
    marketplace = settings.required_marketplace
    verifier = Verifier(settings.public_keys)
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as loops:
        workers, connections = list[asyncio.Task[None]](), list[asyncio.Task[None]]()

        def begin(work: Coroutine[Any, Any, None]) -> None:
            workers.append(loops.create_task(work))

        for service in services:
            db: Database | None = None
            if service.has_database:
                url = settings.database_url_of(service.name)
                await until_reachable(url, service.name)
                if settings.migrates:
                    await migrate_service(settings, service.name)
                await check_database(url, service.name, marketplace)
                db = await stack.enter_async_context(connected(service.name, url))
            provided = {name: await _entered(stack, make(settings, db)) for name, make in service.provides.items()}
            if db is not None:
                bus = Bus(service.name, settings.nats_url_of(service.name), settings.stream_replicas, marketplace)
                connections.append(loops.create_task(_exchange_events(service, db, bus, url, begin)))
                dispatcher.checks[service.name] = _check_of(db, bus, verifier.key_ids)
                gauges = partial(service_gauges, service.name, url, service.gauges, bus, service.handlers is not None)
                dispatcher.exposition.add(service.name, service.gauges, gauges)
            else:
                dispatcher.checks[service.name] = partial(_answers, verifier.key_ids)
            for job in service.jobs:
                begin(job(db, settings, **wanted(job, provided)))
            for_routes = {"settings": settings, "db": db, **provided}
            origins = settings.origins | (settings.allowed_origins if service.has_database else frozenset())  # Not the pages' forms.
            app = litestar_app(service, for_routes, verifier, secure=settings.secure, origins=origins)
            dispatcher.add(service, DirectRoutes(app))
        try:
            yield dispatcher
        finally:
            await end(workers, connections)


async def until_reachable(url: str, service: str) -> None:
    """Wait for a server that does not answer yet, up to a minute. Raises what asyncpg raises: then, or for anything but its absence."""
    deadline, told = time.monotonic() + DATABASE_WITHIN_SECONDS, False
    while True:
        try:
            await (await asyncpg.connect(url, timeout=5)).close()
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError) as error:
            if time.monotonic() > deadline:
                raise
            if not told:
                log.warning(
                    "database_awaited",
                    message=f"{service} waits for its database, up to {DATABASE_WITHIN_SECONDS:g} s",
                    service=service,
                    error=repr(error),
                )
                told = True
            await asyncio.sleep(0.5)
        else:
            return


async def migrate_service(settings: Settings, service: str) -> list[str]:
    """Bring one service's database up to date, as the role that owns it. Raises WrongSettings, and what `migrate_at` raises."""
    url = settings.owner_database_url_of(service)
    try:
        return await migrate_at(url, service, marketplace=settings.required_marketplace)
    except asyncpg.InvalidAuthorizationSpecificationError:
        raise WrongSettings(
            f"The database of {service} can't be entered as {urlsplit(url).username}, the role that owns its tables: "
            "run `admitone migrate --create` of this version first; it makes what is missing."
        ) from None


async def check_database(url: str, service: str, marketplace: str) -> None:
    """Raises WrongSettings unless the database has all migrations of this code, ForeignMarketplace where it is another's.

    What a newer version has added does no harm, but is said; so is a clock that is far from this machine's.
    """
    async with single_connection(url, f"{service} check", 5) as connection:
        await check_marketplace(connection, service, marketplace)
        found = await status(connection, service)
        apart = time.time() - await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    if found.missing or found.edited:
        raise WrongSettings(
            f"The database of {service} lacks {', '.join(found.missing + found.edited)}: run `admitone migrate {service}` of this version "
            "first, or set ADMITONE_MIGRATE=1."
        )
    if found.unknown:
        log.warning(
            "database_newer",
            message=f"a newer version was at the database of {service}: it has {', '.join(found.unknown)}; this version goes on without",
            service=service,
        )
    if abs(apart) > CLOCKS_APART_SECONDS:
        where = "ahead of" if apart > 0 else "behind"
        log.warning(
            "clocks_apart",
            message=f"this machine's clock is {abs(apart):.0f} s {where} that of the database of {service}: sessions may end too early "
            "or too late; set the clocks",
            service=service,
        )


async def end(workers: Sequence["asyncio.Task[None]"], connections: Sequence["asyncio.Task[None]"] = ()) -> None:
    """Cancel the workers, again and again until all have ended, and then what they were connected by.

    asyncio.wait_for of Python 3.11, by which nats-py waits everywhere, forgets a cancellation that comes together with the answer.
    """
    deadline = time.monotonic() + END_WITHIN_SECONDS
    while waiting := [task for task in workers if not task.done()] or [task for task in connections if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=0.5)
        if time.monotonic() > deadline:
            log.error("stop_forced", message=f"background tasks have not ended within {END_WITHIN_SECONDS:g} s; the process ends now")
            os._exit(1)


async def _entered(stack: contextlib.AsyncExitStack, made: Any) -> Any:
    """Enter an async context manager for as long as the service runs; return anything else as it is."""
    return await stack.enter_async_context(made) if isinstance(made, contextlib.AbstractAsyncContextManager) else made


async def _exchange_events(
    service: Service, db: Database, bus: Bus, database_url: str, begin: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    """Publish and consume the service's events, as soon as the bus is connected; and stay connected."""
    async with bus.connected():
        begin(Relay(db, bus, database_url).run())
        if service.handlers is not None:
            begin(Consumer(service.handlers, db, bus).run())
        await asyncio.Event().wait()


async def _answers(key_ids: list[str]) -> dict[str, Any]:
    """The readiness of a service without a database: it is ready as soon as it answers."""
    return {"ready": True, "keys": key_ids}


def _check_of(db: Database, bus: Bus, key_ids: list[str]) -> Callable[[], Any]:
    async def check() -> dict[str, Any]:
        database = "ready" if await db.answers(1) else "away"
        # A bus that is away makes nothing unready: orders are taken all the same, and their events are sent later.
        return {"ready": database == "ready", "database": database, "bus": bus.state, "keys": key_ids}

    return check
