"""ASGI helpers: correlation ids in headers, path prefixes, whole answers."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from admitone.kit.http.form import as_uuid

CORRELATION_HEADER = b"x-correlation-id"


def correlation_of(scope: Any) -> UUID:
    """The id that a request brings along; a new one where there is none, or none that can be used."""
    given = next((value for name, value in scope["headers"] if name == CORRELATION_HEADER), b"")
    return as_uuid(given.decode("latin-1")) or uuid4()


def with_correlation(start: Any, request: UUID) -> Any:
    """The beginning of an answer, with the request's id in a header, unless it has one."""
    if any(name == CORRELATION_HEADER for name, _ in start["headers"]):
        return start
    return {**start, "headers": [*start["headers"], (CORRELATION_HEADER, str(request).encode())]}


def is_under(prefix: str, path: str) -> bool:
    """Whether a path belongs to a service. The pages have every path but the API's."""
    if prefix == "/":
        return path != "/api" and not path.startswith("/api/")
    return path == prefix or path.startswith(prefix + "/")


async def respond(
    send: Any, status: int, body: Any, content_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> None:
    """A whole ASGI answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"content-type": content_type, "content-length": str(len(data)), **(headers or {})}
    encoded = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": data})
