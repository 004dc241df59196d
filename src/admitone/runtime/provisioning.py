"""Makes the databases and roles of services on a PostgreSQL server."""

import contextlib
from collections.abc import Sequence
from urllib.parse import urlsplit

import asyncpg

from admitone.config import own_database_url
from admitone.kit.data.migrations import LOCK


async def create_databases(administrator_url: str, services: Sequence[str]) -> None:
    """One database and one role per service, where they are missing; nobody else may connect to it.

    Raises what asyncpg raises, for instance when the administrator may not create roles.
    """
    connection = await asyncpg.connect(administrator_url, timeout=5)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        for service in services:
            password = urlsplit(own_database_url(administrator_url, service)).password
            known = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", service)
            verb = "ALTER" if known else "CREATE"
            await connection.execute(f"{verb} ROLE {service} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{password}'")
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", service):
                await connection.execute(f"CREATE DATABASE {service} OWNER {service} ENCODING 'UTF8' TEMPLATE template0")
            await connection.execute(f"REVOKE ALL ON DATABASE {service} FROM PUBLIC")
        for database in ("postgres", "template1"):
            with contextlib.suppress(asyncpg.InsufficientPrivilegeError, asyncpg.InvalidCatalogNameError):  # Where it is somebody else's.
                await connection.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    finally:
        await connection.close()
