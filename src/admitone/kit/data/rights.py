"""Whose database it is, and what the role that serves may do there."""

import asyncio

import asyncpg

from admitone.kit.data.connection import Connection
from admitone.kit.marketplace import ForeignMarketplace

TRIES = 20


async def check_marketplace(connection: Connection, database: str, marketplace: str) -> None:
    """Raises ForeignMarketplace where the database has another's name. One that has none yet is anybody's."""
    if await connection.fetchval("SELECT to_regclass('marketplace') IS NOT NULL"):
        found = await connection.fetchval("SELECT name FROM marketplace")
        if found not in (None, marketplace):
            raise ForeignMarketplace(f"The database {database}", found, marketplace)


async def claim(connection: Connection, database: str, marketplace: str) -> None:
    """Write the name into a database that has none. Raises ForeignMarketplace where it has another's."""
    await connection.execute("INSERT INTO marketplace (name) VALUES ($1) ON CONFLICT DO NOTHING", marketplace)
    await check_marketplace(connection, database, marketplace)


async def let_enter(connection: Connection, database: str, role: str) -> None:
    """Let this role connect to the database, and nobody else but its owner. For whoever may change its rights: the owner, a superuser."""
    sql = f"REVOKE ALL ON DATABASE {database} FROM PUBLIC; GRANT CONNECT ON DATABASE {database} TO {role}"
    for left in reversed(range(TRIES)):
        try:
            await connection.execute(sql)
            return
        except asyncpg.InternalServerError:  # "tuple concurrently updated": somebody else does the same; PostgreSQL makes nobody wait.
            if not left:
                raise
            await asyncio.sleep(0.05)


async def grant(connection: Connection, role: str) -> None:
    """Let the role that serves enter, and read and change rows; with what it owns it may do everything. Only under the migrations' lock."""
    if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
        return  # Where tests have no roles.
    owned = "SELECT quote_ident(datname) FROM pg_database WHERE datname = current_database() AND pg_get_userbyid(datdba) = current_user"
    if database := await connection.fetchval(owned):
        await let_enter(connection, database, role)
    if await connection.fetchval("SELECT current_user") == role:
        return
    await connection.execute(
        f"""
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
        GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
        """
    )
    for table in ("migrations", "marketplace"):
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table):
            await connection.execute(f"REVOKE INSERT, UPDATE, DELETE ON {table} FROM {role}")
