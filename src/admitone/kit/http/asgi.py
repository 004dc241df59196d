"""ASGI helpers: correlation ids in headers, path prefixes, whole answers."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from admitone.kit.http.form import as_uuid

CORRELATION_HEADER = b"x-correlation-id"


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


async def respond(
    send: Any, status: int, body: Any, content_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> None:
    """A whole ASGI answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"content-type": content_type, "content-length": str(len(data)), **(headers or {})}
    encoded = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": data})
