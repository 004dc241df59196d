"""The path dispatcher as a process of its own: for services that run apart, where there is no ingress."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx

from admitone.config import Settings, WrongSettings
from admitone.kit.http.app import MAX_BODY_BYTES
from admitone.kit.http.asgi import CORRELATION_HEADER, correlation_of, is_under, respond, with_correlation
from admitone.kit.http.client_address import FORWARDED_FOR, Network, address_of
from admitone.kit.http.problem import BodyTooLarge, NotFound, Problem, TryAgain
from admitone.runtime.dispatcher import DOCS
from admitone.services import SERVICES

HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"host"}
SET_ANEW = HOP_BY_HOP | {CORRELATION_HEADER, FORWARDED_FOR}
"""What the client says of these is not handed on."""
NOT_HANDED_BACK = HOP_BY_HOP | {b"date"}
"""Our own server sets a Date header, too; two of them would be invalid."""


class Gateway:
    """Forwards each request to the service with its path's prefix, and streams the answer back."""

    def __init__(self, urls: Mapping[str, str], client: httpx.AsyncClient, trusted_proxies: Sequence[Network]) -> None:
        self.trusted_proxies = trusted_proxies
        self.urls = urls
        self.client = client
        self.prefixes = sorted(((s.prefix, s.name) for s in SERVICES if s.routes and s.name in urls), key=lambda entry: -len(entry[0]))

    async def __call__(self, scope: Any, receive: Any, plain_send: Any) -> None:
        if scope["type"] != "http":
            return
        request = correlation_of(scope)

        async def send(message: Any) -> None:
            await plain_send(with_correlation(message, request) if message["type"] == "http.response.start" else message)

        client = address_of(scope, self.trusted_proxies).partition("/")[0].encode()
        headers = [header for header in scope["headers"] if header[0].lower() not in SET_ANEW]
        scope = {**scope, "headers": [*headers, (CORRELATION_HEADER, str(request).encode()), (FORWARDED_FOR, client)]}
        path = scope["path"]
        if path == "/healthz":
            await respond(send, 200, {"healthy": True})
        elif path == "/readyz":
            await self._readyz(send)
        elif page := DOCS.at(path):
            await page(scope, receive, send)
        elif path == "/metrics" or not is_plain(scope["raw_path"]):
            await _refuse(send, NotFound())
        else:
            for prefix, name in self.prefixes:
                if is_under(prefix, path):
                    await self._forward(self.urls[name], scope, receive, send)
                    return
            await _refuse(send, NotFound())

    async def _forward(self, url: str, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                await _refuse(send, BodyTooLarge())
                return
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        request = self.client.build_request(
            scope["method"],
            url + scope["raw_path"].decode("latin-1").partition("?")[0] + query,
            headers=scope["headers"],
            content=body,
        )
        try:
            answer = await self.client.send(request, stream=True)
        except (httpx.HTTPError, AttributeError):  # uvloop's name for a connection that was gone as soon as it was there.
            await _refuse(send, TryAgain())
            return
        try:
            headers = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in NOT_HANDED_BACK]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
            await _until_disconnected(receive, _send_response(answer, send))
        finally:
            await answer.aclose()

    async def _readyz(self, send: Any) -> None:
        async def ready(url: str) -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return (await self.client.get(f"{url}/readyz", timeout=2)).status_code == 200
            return False

        found = dict(zip(self.urls, await asyncio.gather(*(ready(url) for url in self.urls.values())), strict=True))
        await respond(send, 200 if all(found.values()) else 503, {"ready": all(found.values()), "services": found})


def is_plain(raw_path: bytes) -> bool:
    """Whether a path means to the service what it means to us: one with dots in it might be another's by then."""
    segments = unquote_to_bytes(raw_path.partition(b"?")[0]).split(b"/")
    return raw_path.startswith(b"/") and not {b".", b".."} & set(segments)


@contextlib.asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway to the services' addresses. Raises WrongSettings when they are not set."""
    if not settings.service_urls:
        raise WrongSettings("the gateway needs to know where the services are: set ADMITONE_AUTH_URL, ADMITONE_TICKETS_URL and so on.")
    # An idle connection is given up before the service does so (after 75 s), so that no request meets a closed door.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=2)
    nobodys_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # Or one visitor's session would be sent on with another's.
    as_it_is = {"Accept-Encoding": "identity"}  # Unless the visitor says more: what they can't unpack is not asked for.
    async with httpx.AsyncClient(
        timeout=httpx.Timeout(30, connect=2, read=None), limits=limits, cookies=nobodys_cookies, headers=as_it_is, trust_env=False
    ) as client:
        yield Gateway(settings.service_urls, client, settings.trusted_proxies)


async def _send_response(answer: httpx.Response, send: Any) -> None:
    with contextlib.suppress(httpx.HTTPError):
        async for chunk in answer.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _until_disconnected(receive: Any, work: Coroutine[Any, Any, None]) -> None:
    """Run the work until the client disconnects: an event stream would go on for ever."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(receive())
    gone.add_done_callback(lambda _: working.cancel())
    try:
        await working
    except asyncio.CancelledError:
        if not gone.done():
            raise
    finally:
        gone.cancel()


async def _refuse(send: Any, problem: Problem) -> None:
    await respond(send, problem.status, problem.document(), "application/problem+json")
