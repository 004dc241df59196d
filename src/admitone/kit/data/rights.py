"""Whose database it is, and what the role that serves may do there."""

from admitone.kit.data.connection import Connection
from admitone.kit.marketplace import ForeignMarketplace


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


async def close_to_others(connection: Connection) -> None:
    """Let only the owner of the database enter, and whom it lets. Nothing happens where we are not the owner."""
    database = await connection.fetchval(
        "SELECT quote_ident(datname) FROM pg_database WHERE datname = current_database() AND pg_get_userbyid(datdba) = current_user"
    )
    if database is not None:
        await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")


async def grant(connection: Connection, role: str) -> None:
    """Let the role that serves enter, and read and change rows. Nothing happens where it is the owner, or is not there."""
    if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1 AND rolname <> current_user", role):
        return
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(
        f"""
        GRANT CONNECT ON DATABASE {database} TO {role};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
        GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
        """
    )
    for table in ("migrations", "marketplace"):
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table):
            await connection.execute(f"REVOKE INSERT, UPDATE, DELETE ON {table} FROM {role}")
