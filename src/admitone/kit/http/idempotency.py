"""The same Idempotency-Key gets the same answer, and has one effect. A key belongs to its user and route and lives 24 hours."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from litestar import Response

from admitone.kit.data.db import Tx
from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.problem import BadInput, Problem
from admitone.kit.http.session import User

LIFE = timedelta(hours=24)
HEADER = "Idempotency-Key"


class KeyReused(Problem):
    """This Idempotency-Key was used before, with another body."""

    status = 422


class Key(NamedTuple):
    """A key that a user has sent to a route, and the hash of the body that came with it."""

    user_id: UUID
    route: str
    key: str
    body_hash: bytes


class Known(msgspec.Struct, frozen=True):
    """What a used key stands for. Without a status, its answer is not known yet."""

    status: int | None
    body: Any


async def key_of(request: AnyRequest, user: User) -> Key | None:
    """The key that a request carries, if any. Raises BadInput for one that is none."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise BadInput((HEADER, f"The header {HEADER} must have 1 to 255 printable ASCII characters."))
    route = f"{request.method} {request.url.path.rstrip('/')}"
    return Key(user.id, route, key, hashlib.sha256(await request.body()).digest())


async def once(tx: Tx, key: Key | None, act: Callable[[], Awaitable[Response[Any]]]) -> Response[Any]:
    """Act and remember the answer in the same transaction; or give the answer that the key already has.

    A refusal is not remembered: it rolls the transaction back, and the key with it. Raises KeyReused.
    """
    if key is None:
        return await act()
    match (await claim(tx, [key])).get(key):
        case Known(status=status, body=body):
            return Response(body, status_code=status, media_type="application/json")
        case KeyReused() as reused:
            raise reused
    answer = await act()
    await remember(tx, [(key, answer.status_code, answer.content)])
    return answer


async def claim(tx: Tx, keys: Sequence[Key]) -> dict[Key, Known | KeyReused]:
    """Take the new ones of these keys, each of another user. Returns what the others stand for.

    Of two requests with one key at the same instant the second waits here for the first.
    """
    if not keys:
        return {}
    columns = [list(column) for column in zip(*sorted(keys), strict=True)]
    claimed = await tx.connection.fetch(
        """
        INSERT INTO idempotency AS known (user_id, route, key, body_hash, created_at)
        SELECT *, $5 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[])
        ON CONFLICT (user_id, route, key) DO UPDATE SET body_hash = excluded.body_hash, created_at = excluded.created_at,
            status = NULL, body = NULL WHERE known.created_at < $6
        RETURNING user_id
        """,
        *columns,
        tx.now,
        tx.now - LIFE,
    )
    new = {row["user_id"] for row in claimed}
    used = {key.user_id: key for key in keys if key.user_id not in new}
    if not used:
        return {}
    rows = await tx.connection.fetch(
        """
        SELECT user_id, body_hash, status, body FROM idempotency
        JOIN unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS used (user_id, route, key, asked) USING (user_id, route, key)
        """,
        *[list(column) for column in zip(*used.values(), strict=True)],
    )
    found: dict[Key, Known | KeyReused] = {key: KeyReused() for key in used.values()}
    for row in rows:
        key = used[row["user_id"]]
        if row["body_hash"] == key.body_hash:
            found[key] = Known(row["status"], row["body"])
    return found


async def remember(tx: Tx, answers: Sequence[tuple[Key, int | None, object]]) -> None:
    """Store the answers for these keys."""
    if answers:
        await tx.run(
            """
            UPDATE idempotency AS known SET status = answer.status, body = answer.body
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::json[]) AS answer (user_id, route, key, status, body)
            WHERE known.user_id = answer.user_id AND known.route = answer.route AND known.key = answer.key
            """,
            [key.user_id for key, _, _ in answers],
            [key.route for key, _, _ in answers],
            [key.key for key, _, _ in answers],
            [status for _, status, _ in answers],
            [body if isinstance(body, msgspec.Raw) else msgspec.to_builtins(body) for _, _, body in answers],
        )


async def release(tx: Tx, keys: Sequence[Key]) -> None:
    """Give up keys that were claimed in this transaction: what they came with was refused."""
    if keys:
        await tx.run(
            """
            DELETE FROM idempotency USING unnest($1::uuid[], $2::text[], $3::text[]) AS refused (user_id, route, key)
            WHERE idempotency.user_id = refused.user_id AND idempotency.route = refused.route AND idempotency.key = refused.key
            """,
            [key.user_id for key in keys],
            [key.route for key in keys],
            [key.key for key in keys],
        )
