"""A connection to PostgreSQL, and the type codecs that each one needs."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import asyncpg
import msgspec

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.Connection


BY_INDEX = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "plan_cache_mode": "force_generic_plan"}
"""Settings of a session whose statements all find a few rows by an index.

The planner does not know that a table has grown a hundredfold in the last minute, nor how many rows an array parameter has. Without
these it reads whole tables to join them with a batch of ten.
"""


async def prepare_connection(connection: Connection) -> None:
    """Teach a connection to give and take JSON as plain Python values."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name,
            schema="pg_catalog",
            encoder=lambda value: msgspec.json.encode(value).decode(),
            decoder=lambda text: msgspec.json.decode(text),
        )


@contextlib.asynccontextmanager
async def single_connection(
    url: str, application_name: str, connect_seconds: float, **server_settings: str
) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A connection of no pool, for a look at a database."""
    connection = await asyncpg.connect(
        url,
        timeout=connect_seconds,
        server_settings={"application_name": application_name, "timezone": "UTC", **server_settings},
    )
    try:
        yield connection
    finally:
        connection.terminate()
