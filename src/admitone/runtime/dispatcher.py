"""Routes each request of a process to a service, or answers for the process itself: health, readiness, metrics, docs."""

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from admitone.apidocs.pages import Docs
from admitone.config import LOOPBACK
from admitone.kit.http import cors
from admitone.kit.http.asgi import correlation_of, is_under, respond, with_correlation
from admitone.kit.http.client_address import Network, address_of
from admitone.kit.http.problem import NotFound
from admitone.kit.observe.exposition import CONTENT_TYPE, Exposition
from admitone.kit.observe.log import client_address, correlation_scope
from admitone.kit.observe.metrics import REQUESTS
from admitone.kit.service import Service
from admitone.services import SERVICES

DOCS = Docs(SERVICES)
MAX_PATH_LENGTH = 1000
"""Longer paths get a 404. Litestar caches the last thousand paths of each app, whatever they are."""


@functools.cache
def _requests(service: str, method: str, status: int) -> Any:
    """The histogram of these requests: to look it up by its labels costs more than to observe."""
    return REQUESTS.labels(service, method, status)


class Dispatcher:
    """Routes each request to the service with its path's prefix. The prefix is not stripped, as with an ingress."""

    def __init__(
        self, trusted_proxies: Sequence[Network] = LOOPBACK, allowed_origins: frozenset[str] = frozenset(), internal_apart: bool = False
    ) -> None:
        """`allowed_origins`: of other front ends, which may call the API from a browser.

        `internal_apart`: /metrics and the details of /readyz are answered by `internal` alone, at a port of its own.
        """
        self.trusted_proxies = tuple(trusted_proxies)
        self.internal_apart = internal_apart
        self.allowed_origins = allowed_origins
        self.apps: list[tuple[str, str, Any]] = []
        self.checks: dict[str, Callable[[], Any]] = {}
        self.exposition = Exposition()

    def add(self, service: Service, app: Any) -> None:
        if service.routes:
            self.apps.append((service.prefix, service.name, app))
            self.apps.sort(key=lambda entry: -len(entry[0]))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        status, seconds = 0, 0.0
        request = correlation_of(scope)
        name, app = self._find(scope["path"])
        scope = {**scope, "headers": [header for header in scope["headers"] if header[0] != b"host"]}  # Of no use here, and not always one.
        if scope["method"] == "HEAD":  # The same as GET; the server leaves the body away by itself.
            scope["method"] = "GET"

        def timed_send(message: Any) -> Any:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status = message["status"]
                seconds = time.perf_counter() - started  # Not to the end: an event stream has none.
                message = with_correlation(message, request)
                if origin:
                    message = {**message, "headers": [*message["headers"], *cors.headers(origin)]}
            return send(message)

        origin = cors.origin_of(scope, self.allowed_origins) if self.allowed_origins else ""
        if origin and cors.is_preflight(scope):
            app = cors.preflight
        client_address.set(address_of(scope, self.trusted_proxies))
        try:
            with correlation_scope(request):
                await app(scope, receive, timed_send)
        finally:
            _requests(name, scope["method"], status).observe(seconds)

    def _find(self, path: str) -> tuple[str, Any]:
        match path:
            case "/healthz":
                return "process", self._healthz
            case "/readyz":
                return "process", self._is_ready if self.internal_apart else self._readyz
            case "/metrics":
                return "process", self._nothing_here if self.internal_apart else self._metrics
        if page := DOCS.at(path):
            return "process", page
        if len(path) > MAX_PATH_LENGTH:
            return "process", self._nothing_here
        for prefix, name, app in self.apps:
            if is_under(prefix, path):
                return name, app
        return "process", self._nothing_here

    async def _healthz(self, _scope: Any, _receive: Any, send: Any) -> None:
        await respond(send, 200, {"healthy": True})

    async def internal(self, scope: Any, receive: Any, send: Any) -> None:
        """What is nobody's business outside: an app for a port of its own."""
        if scope["type"] == "http":
            own = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}
            await own.get(scope["path"], self._nothing_here)(scope, receive, send)

    async def _is_ready(self, _scope: Any, _receive: Any, send: Any) -> None:
        found = await asyncio.gather(*(check() for check in self.checks.values()))
        ready = all(service["ready"] for service in found)
        await respond(send, 200 if ready else 503, {"ready": ready})

    async def _readyz(self, _scope: Any, _receive: Any, send: Any) -> None:
        found = dict(zip(self.checks, await asyncio.gather(*(check() for check in self.checks.values())), strict=True))
        ready = all(service["ready"] for service in found.values())
        await respond(send, 200 if ready else 503, {"ready": ready, "services": found})

    async def _metrics(self, _scope: Any, _receive: Any, send: Any) -> None:
        await respond(send, 200, await self.exposition.text(), CONTENT_TYPE)

    async def _nothing_here(self, _scope: Any, _receive: Any, send: Any) -> None:
        await respond(send, 404, NotFound().document(), "application/problem+json")
