"""The list of services, and how a list of them becomes one running process."""

import asyncio
import contextlib
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import uvicorn

from admitone import auth, expiration, orders, payments, tickets, web
from admitone.apidocs.pages import Docs
from admitone.kit.delivery.bus import Bus
from admitone.config import Settings, WrongSettings
from admitone.kit.delivery.consumer import Consumer
from admitone.kit.data.db import Database, connected
from admitone.kit.observe.exposition import CONTENT_TYPE, Board
from admitone.kit.observe.gauges import of_service
from admitone.kit.http.form import as_uuid
from admitone.kit.observe.log import going_back_to, log
from admitone.kit.observe.metrics import REQUESTS, STREAMS
from admitone.kit.data.migrations import migrate_at
from admitone.kit.http.problem import NotFound
from admitone.kit.delivery.relay import Relay
from admitone.kit.service import Service
from admitone.kit.http.session import Verifier
from admitone.kit.http.app import litestar_app

SERVICES: tuple[Service, ...] = (
    auth.service,
    tickets.service,
    orders.service,
    expiration.service,
    payments.service,
    web.service,
)
DOCS = Docs(SERVICES)
CORRELATION_HEADER = b"x-correlation-id"
STOP_WITHIN_SECONDS = 2
LONGEST_PATH = 1000
"""Longer ones lead nowhere. Each app keeps the last thousand paths that it was asked for, whatever they were."""


class Dispatcher:
    """Gives each request to the service whose prefix its path has. Nothing is stripped, just as with an ingress."""

    def __init__(self) -> None:
        self.apps: list[tuple[str, str, Any]] = []
        self.checks: dict[str, Callable[[], Any]] = {}
        self.board = Board()

    def add(self, service: Service, app: Any) -> None:
        if service.routes:
            self.apps.append((service.prefix, service.name, app))
            self.apps.sort(key=lambda entry: -len(entry[0]))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        status, seconds = 0, 0.0
        name, app = self._find(scope["path"])
        scope = {**scope, "headers": [header for header in scope["headers"] if header[0] != b"host"]}  # Of no use here, and not always one.
        if scope["method"] == "HEAD":  # The same as GET; the server leaves the body away by itself.
            scope["method"] = "GET"

        async def watched_send(message: Any) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status = message["status"]
                seconds = time.perf_counter() - started  # Not to the end: an event stream has none.
            await send(message)

        request = correlation_of(scope)
        try:
            with going_back_to(request):
                await app(scope, receive, with_correlation(watched_send, request))
        finally:
            REQUESTS.labels(name, scope["method"], status).observe(seconds)

    def _find(self, path: str) -> tuple[str, Any]:
        match path:
            case "/healthz":
                return "process", self._healthz
            case "/readyz":
                return "process", self._readyz
            case "/metrics":
                return "process", self._metrics
        if page := DOCS.at(path):
            return "process", page
        if len(path) > LONGEST_PATH:
            return "process", self._nothing_here
        for prefix, name, app in self.apps:
            if is_under(prefix, path):
                return name, app
        return "process", self._nothing_here

    async def _healthz(self, _scope: Any, _receive: Any, send: Any) -> None:
        await respond(send, 200, {"healthy": True})

    async def _readyz(self, _scope: Any, _receive: Any, send: Any) -> None:
        found = dict(zip(self.checks, await asyncio.gather(*(check() for check in self.checks.values())), strict=True))
        ready = all(service["ready"] for service in found.values())
        await respond(send, 200 if ready else 503, {"ready": ready, "services": found})

    async def _metrics(self, _scope: Any, _receive: Any, send: Any) -> None:
        await respond(send, 200, await self.board.text(), CONTENT_TYPE)

    async def _nothing_here(self, _scope: Any, _receive: Any, send: Any) -> None:
        await respond(send, 404, NotFound().document(), "application/problem+json")


def correlation_of(scope: Any) -> UUID:
    """The id that a request brings along; a new one where there is none, or none that can be used."""
    return as_uuid(dict(scope["headers"]).get(CORRELATION_HEADER, b"").decode("latin-1")) or uuid4()


def with_correlation(send: Any, request: UUID) -> Any:
    """`send`, with the request's id in the header of the answer, unless it has one."""

    async def send_with_id(message: Any) -> None:
        if message["type"] == "http.response.start" and not any(name == CORRELATION_HEADER for name, _ in message["headers"]):
            message = {**message, "headers": [*message["headers"], (CORRELATION_HEADER, str(request).encode())]}
        await send(message)

    return send_with_id


def is_under(prefix: str, path: str) -> bool:
    """Whether a path belongs to a service. The pages have every path but the API's."""
    if prefix == "/":
        return path != "/api" and not path.startswith("/api/")
    return path == prefix or path.startswith(prefix + "/")


async def respond(send: Any, status: int, body: Any, content_type: str = "application/json") -> None:
    """A whole ASGI answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


def named(names: Sequence[str]) -> list[Service]:
    """The services of these names, all of them for no names. Raises WrongSettings for a name that is none."""
    known = {service.name: service for service in SERVICES}
    for name in names:
        if name not in known:
            raise WrongSettings(f"there is no service named {name!r}; there are {', '.join(known)}.")
    return [known[name] for name in names] or list(SERVICES)


@contextlib.asynccontextmanager
async def running(services: Sequence[Service], settings: Settings) -> AsyncIterator[Dispatcher]:
    """These services, migrated, connected and at work. When a loop of theirs dies, the block is ended with its error."""
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
            provided = {name: await _begun(stack, make(settings, db)) for name, make in service.provides.items()}
            if db is not None:
                bus = Bus(service.name, settings.nats_url_of(service.name))
                tasks.append(loops.create_task(_exchange_events(service, db, bus, url)))
                dispatcher.checks[service.name] = _check_of(db, bus)
                figures = partial(of_service, service.name, url, service.figures, bus, service.handlers is not None)
                dispatcher.board.add(service.name, service.figures, figures)
            else:
                dispatcher.checks[service.name] = _answers
            tasks += [loops.create_task(job(db, settings, **provided)) for job in service.jobs]
            dispatcher.add(service, litestar_app(service, settings, verifier, db, provided))
        try:
            yield dispatcher
        finally:
            for task in tasks:
                task.cancel()


async def _begun(stack: contextlib.AsyncExitStack, made: Any) -> Any:
    """What has a life of its own begins it here, and ends it with the stack."""
    return await stack.enter_async_context(made) if isinstance(made, contextlib.AbstractAsyncContextManager) else made


async def _exchange_events(service: Service, db: Database, bus: Bus, database_url: str) -> None:
    """Say what this service has to say, and hear what it wants to hear, for as long as it runs."""
    async with bus.connected(), asyncio.TaskGroup() as loops:
        loops.create_task(Relay(db, bus, database_url).run())
        if service.handlers is not None:
            loops.create_task(Consumer(service.handlers, db, bus).run())


async def _answers() -> dict[str, Any]:
    """A service that lacks nothing is ready as soon as it answers."""
    return {"ready": True}


def _check_of(db: Database, bus: Bus) -> Callable[[], Any]:
    async def check() -> dict[str, Any]:
        database = "ready" if await db.answers(1) else "away"
        # A bus that is away makes nothing unready: orders are taken all the same, and their events are sent later.
        return {"ready": database == "ready", "database": database, "bus": bus.state}

    return check


class _Server(uvicorn.Server):
    """Signals are ours: uvicorn would raise them again once it has stopped."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


class _WithStreams:
    """An app whose event streams end when we are to stop: they have no end of their own."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.open: set[asyncio.Task[Any]] = set()
        self.ending = False
        STREAMS.set_function(lambda: len(self.open))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        assert task is not None

        async def send_noting_streams(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.start" and dict(message["headers"]).get(b"content-type", b"").startswith(
                b"text/event-stream"
            ):
                self.open.add(task)
                if self.ending:
                    task.cancel()

        try:
            await self.app(scope, receive, send_noting_streams)
        except asyncio.CancelledError:
            if not self.ending:
                raise
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.open.discard(task)

    def end(self) -> None:
        self.ending = True
        for task in self.open:
            task.cancel()


async def serve(app: Any, listening: socket.socket, on_ready: Callable[[], None]) -> None:
    """Answer requests until SIGINT or SIGTERM, or until cancelled; then finish what is under way, but no longer than two seconds."""
    streams = _WithStreams(app)
    server = _Server(
        uvicorn.Config(
            streams,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_WITHIN_SECONDS,
        )
    )

    def stop() -> None:
        if server.should_exit:
            server.force_exit = True
        server.should_exit = True
        streams.end()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)

    async def announce() -> None:
        while not server.started:
            await asyncio.sleep(0.005)
        on_ready()

    announcing = asyncio.create_task(announce())
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:  # A loop of ours has died. What requests need is there still, and is taken away after this.
        stop()
        await serving
        raise
    finally:
        announcing.cancel()
        log.info("stopped")
