"""Makes the databases and roles of services on a PostgreSQL server."""

import contextlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from admitone.config import Settings, WrongSettings, own_database_url, owner_database_url, owner_of
from admitone.kit.data.connection import Connection, single_connection
from admitone.kit.data.migrations import LOCK
from admitone.kit.data.rights import check_marketplace, grant, let_enter


def passwords_of(settings: Settings, services: Sequence[str]) -> dict[str, str]:
    """The passwords of these services' roles, by role, as far as they have addresses of their own.

    Raises WrongSettings where a service has an address for the role that serves, and none for the one that owns the tables.
    """
    passwords = dict[str, str]()
    for service in services:
        own, owner = settings.own_database_urls.get(service), settings.owner_database_urls.get(service)
        if own and not owner and service != owner_of(service):
            name = f"ADMITONE_{service.upper()}"
            raise WrongSettings(
                f"{name}_OWNER_DATABASE_URL is missing beside {name}_DATABASE_URL: {owner_of(service)} is to own the tables."
            )
        passwords |= {role: _password(url) for role, url in ((owner_of(service), owner), (service, own)) if url}
    return passwords


def _password(url: str) -> str:
    return unquote(urlsplit(url).password or "")


async def create_databases(
    administrator_url: str,
    services: Sequence[str],
    marketplace: str | None = None,
    passwords: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """A database for each service, a role that owns it and one that serves, where they are missing; nobody else may connect to it.

    A role's password is the one in `passwords`; otherwise it follows from the administrator's. Raises ForeignMarketplace, before anything
    of that service is changed, and what asyncpg raises, for instance when the administrator may not create roles.
    """
    connection = await asyncpg.connect(administrator_url, timeout=5)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        for service in services:
            database = urlunsplit(urlsplit(administrator_url)._replace(path=f"/{service}"))
            there = await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", service)
            if there and marketplace is not None:
                async with single_connection(database, "check", 5) as inside:
                    await check_marketplace(inside, service, marketplace)
            owner = owner_of(service)
            for role, derived in {owner: owner_database_url, service: own_database_url}.items():
                await _ensure_role(connection, role, passwords.get(role) or _password(derived(administrator_url, service)))
            if not there:
                await connection.execute(f"CREATE DATABASE {service} OWNER {owner} ENCODING 'UTF8' TEMPLATE template0")
            elif await _owner_of_database(connection, service) == service != owner:
                async with single_connection(database, "new owner", 5) as inside:
                    await _take_over(inside, service, owner)
            await let_enter(connection, service, service)
        for name in ("postgres", "template1"):
            with contextlib.suppress(asyncpg.InsufficientPrivilegeError, asyncpg.InvalidCatalogNameError):  # Where it is somebody else's.
                await connection.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    finally:
        await connection.close()


async def _ensure_role(connection: Connection, role: str, password: str) -> None:
    known = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role)
    quoted = await connection.fetchval("SELECT quote_literal($1)", password)
    await connection.execute(f"{'ALTER' if known else 'CREATE'} ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {quoted}")


async def _owner_of_database(connection: Connection, database: str) -> str:
    return str(await connection.fetchval("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1", database))


async def _take_over(inside: Connection, service: str, owner: str) -> None:
    """A database that version 0.2 made, whose role owned its tables. That version may go on beside this one: it finds what it needs."""
    async with inside.transaction():
        await inside.execute(f"REASSIGN OWNED BY {service} TO {owner}")
        await inside.execute(f"GRANT CREATE ON SCHEMA public TO {service}")  # For its CREATE TABLE IF NOT EXISTS, at its start.
        await grant(inside, service)
