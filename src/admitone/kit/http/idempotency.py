"""The same Idempotency-Key gets the same answer, and has one effect. A key belongs to its user and route and lives 24 hours."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
from litestar import Response

from admitone.kit.data.db import Tx
from admitone.kit.http.app import AnyRequest
from admitone.kit.http.problem import BadInput, Problem
from admitone.kit.http.session import User

LIFE = timedelta(hours=24)
HEADER = "Idempotency-Key"


class KeyReused(Problem):
    """This Idempotency-Key was used before, with another body."""

    status = 422


def key_of(request: AnyRequest) -> str | None:
    """The key that a request carries. Raises BadInput for one that is none."""
    key = request.headers.get(HEADER)
    if key is not None and not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise BadInput((HEADER, "must have 1 to 255 printable ASCII characters"))
    return key


class Known(msgspec.Struct, frozen=True):
    """A used key. Without a status, its answer is not known yet."""

    status: int | None
    body: Any


async def once(tx: Tx, request: AnyRequest, user: User, act: Callable[[], Awaitable[Response[Any]]]) -> Response[Any]:
    """Act and remember the answer in the same transaction; or give the answer that the key already has.

    A refusal is not remembered: it rolls the transaction back, and the key with it.
    """
    known = await claim(tx, request, user)
    if known is not None:
        return Response(known.body, status_code=known.status, media_type="application/json")
    answer = await act()
    await remember(tx, request, user, answer.status_code, answer.content)
    return answer


async def claim(tx: Tx, request: AnyRequest, user: User) -> Known | None:
    """What the request's key stands for, or None when it is new (and taken from now on) or there is none.

    Of two requests with one key at the same instant the second waits here for the first. Raises KeyReused, BadInput.
    """
    key = key_of(request)
    if key is None:
        return None
    body_hash = hashlib.sha256(await request.body()).digest()
    claimed = await tx.value(
        """
        INSERT INTO idempotency AS known (user_id, route, key, body_hash, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (user_id, route, key) DO UPDATE SET body_hash = excluded.body_hash, created_at = excluded.created_at,
            status = NULL, body = NULL WHERE known.created_at < $6
        RETURNING true
        """,
        user.id,
        _route(request),
        key,
        body_hash,
        tx.now,
        tx.now - LIFE,
    )
    if claimed:
        return None
    known = await tx.connection.fetchrow(
        "SELECT body_hash, status, body FROM idempotency WHERE user_id = $1 AND route = $2 AND key = $3",
        user.id,
        _route(request),
        key,
    )
    if known is None or known["body_hash"] != body_hash:
        raise KeyReused
    return Known(known["status"], known["body"])


async def remember(tx: Tx, request: AnyRequest, user: User, status: int | None, body: object) -> None:
    """Store the answer for the request's key."""
    key = key_of(request)
    if key is not None:
        await tx.run(
            "UPDATE idempotency SET status = $4, body = $5 WHERE user_id = $1 AND route = $2 AND key = $3",
            user.id,
            _route(request),
            key,
            status,
            msgspec.to_builtins(body),
        )


def _route(request: AnyRequest) -> str:
    return f"{request.method} {request.url.path.rstrip('/')}"
