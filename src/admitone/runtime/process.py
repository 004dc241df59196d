"""How a list of services becomes one running process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from admitone.config import Settings, WrongSettings
from admitone.kit.data.db import Database, connected
from admitone.kit.data.migrations import migrate_at
from admitone.kit.delivery.bus import Bus
from admitone.kit.delivery.consumer import Consumer
from admitone.kit.delivery.relay import Relay
from admitone.kit.http.app import litestar_app
from admitone.kit.http.direct import DirectRoutes
from admitone.kit.http.session import Verifier
from admitone.kit.observe.gauges import service_gauges
from admitone.kit.service import Service, wanted
from admitone.runtime.dispatcher import Dispatcher


@contextlib.asynccontextmanager
async def running(services: Sequence[Service], settings: Settings) -> AsyncIterator[Dispatcher]:
    """Migrate, connect and run these services. When a background task of theirs fails, the block ends with its error."""
    dispatcher = Dispatcher()
    if not settings.public_keys:
        raise WrongSettings("there are no keys to check sessions with: set ADMITONE_PUBLIC_KEYS (`admitone keygen` prints one).")
    if {"payments", "web"} <= {service.name for service in services}:
        if settings.stripe_secret_key and not settings.stripe_publishable_key:
            raise WrongSettings("STRIPE_PUBLISHABLE_KEY is missing: with STRIPE_SECRET_KEY, the pages need it to take cards.")
        if settings.stripe_publishable_key and not settings.stripe_secret_key:
            raise WrongSettings(
                "STRIPE_SECRET_KEY is missing: what the pages make of a card with STRIPE_PUBLISHABLE_KEY, nobody could charge."
            )
    verifier = Verifier(settings.public_keys)
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as loops:
        tasks = []
        for service in services:
            db: Database | None = None
            if service.has_database:
                url = settings.database_url_of(service.name)
                await migrate_at(url, service.name)
                db = await stack.enter_async_context(connected(service.name, url))
            provided = {name: await _entered(stack, make(settings, db)) for name, make in service.provides.items()}
            if db is not None:
                bus = Bus(service.name, settings.nats_url_of(service.name))
                tasks.append(loops.create_task(_exchange_events(service, db, bus, url)))
                dispatcher.checks[service.name] = _check_of(db, bus)
                gauges = partial(service_gauges, service.name, url, service.gauges, bus, service.handlers is not None)
                dispatcher.exposition.add(service.name, service.gauges, gauges)
            else:
                dispatcher.checks[service.name] = _answers
            tasks += [loops.create_task(job(db, settings, **wanted(job, provided))) for job in service.jobs]
            for_routes = {"settings": settings, "db": db, **provided}
            app = litestar_app(service, for_routes, verifier, secure=settings.secure, origins=settings.origins)
            dispatcher.add(service, DirectRoutes(app))
        try:
            yield dispatcher
        finally:
            for task in tasks:
                task.cancel()


async def _entered(stack: contextlib.AsyncExitStack, made: Any) -> Any:
    """Enter an async context manager for as long as the service runs; return anything else as it is."""
    return await stack.enter_async_context(made) if isinstance(made, contextlib.AbstractAsyncContextManager) else made


async def _exchange_events(service: Service, db: Database, bus: Bus, database_url: str) -> None:
    """Publish and consume the service's events for as long as it runs."""
    async with bus.connected(), asyncio.TaskGroup() as loops:
        loops.create_task(Relay(db, bus, database_url).run())
        if service.handlers is not None:
            loops.create_task(Consumer(service.handlers, db, bus).run())


async def _answers() -> dict[str, Any]:
    """The readiness of a service without a database: it is ready as soon as it answers."""
    return {"ready": True}


def _check_of(db: Database, bus: Bus) -> Callable[[], Any]:
    async def check() -> dict[str, Any]:
        database = "ready" if await db.answers(1) else "away"
        # A bus that is away makes nothing unready: orders are taken all the same, and their events are sent later.
        return {"ready": database == "ready", "database": database, "bus": bus.state}

    return check
