"""Cross-origin requests of the front ends that are allowed: https://fetch.spec.whatwg.org/#http-cors-protocol"""

from collections.abc import Container
from typing import Any

from admitone.kit.http.asgi import respond

METHODS = "GET, POST, PUT, DELETE"
MAY_SEND = "content-type, idempotency-key, x-correlation-id"
MAY_READ = "link, retry-after, x-correlation-id"
DAY_SECONDS = 24 * 3600


def origin_of(scope: Any, allowed: Container[str]) -> str:
    """The origin of a request to the API, if it is one that is allowed; otherwise nothing."""
    if not scope["path"].startswith("/api/"):
        return ""
    origin = _header(scope, b"origin")
    return origin if origin in allowed else ""


def is_preflight(scope: Any) -> bool:
    """Whether a browser asks beforehand if it may send a request."""
    return scope["method"] == "OPTIONS" and bool(_header(scope, b"access-control-request-method"))


async def preflight(_scope: Any, _receive: Any, send: Any) -> None:
    """The answer to that; `headers` are added to it as to every other."""
    may = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": MAY_SEND, "Access-Control-Max-Age": str(DAY_SECONDS)}
    await respond(send, 204, b"", headers=may)


def headers(origin: str) -> list[tuple[bytes, bytes]]:
    """What lets a browser give an answer to a page of that origin, cookies and all."""
    return [
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", MAY_READ.encode()),
        (b"vary", b"origin"),
    ]


def _header(scope: Any, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")
