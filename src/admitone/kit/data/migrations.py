"""Numbered SQL files, each applied once, in one transaction, under a lock: any number of processes may start at once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import urlsplit

import asyncpg

from admitone.config import own_database_url
from admitone.kit.data.connection import Connection

LOCK = 0x41444D4954  # "ADMIT"


@dataclass(frozen=True)
class Standing:
    """How the migrations in a database differ from those in this code: names of files."""

    missing: tuple[str, ...]
    edited: tuple[str, ...]
    unknown: tuple[str, ...]
    """Applied there, and not in this code: a newer version of it was here."""


class MigrationEdited(Exception):
    """A migration was changed after it had been applied. Add a new file instead."""


async def migrate(connection: Connection, service: str, packages: Sequence[str] = ()) -> list[str]:
    """Apply what is missing of the kit's migrations and this service's, or of these packages'; returns the names of those applied now."""
    applied_now = []
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
    try:
        await connection.execute(
            """
            CREATE TABLE IF NOT EXISTS migrations (
                name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
            """
        )
        applied = {row["name"]: row["checksum"] for row in await connection.fetch("SELECT * FROM migrations")}
        for name, sql in [file for package in packages or ("kit", service) for file in _files(package)]:
            checksum = _checksum(sql)
            if name not in applied:
                async with connection.transaction():
                    await connection.execute(sql)
                    await connection.execute("INSERT INTO migrations (name, checksum) VALUES ($1, $2)", name, checksum)
                applied_now.append(name)
            elif applied[name] != checksum:
                raise MigrationEdited(
                    f"{name} was changed after it had been applied to the database of {service}: put it back and add a new file"
                )
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", LOCK)
    return applied_now


async def standing(connection: Connection, service: str) -> Standing:
    """How the database of a service stands. Changes nothing."""
    applied: dict[str, str] = {}
    if await connection.fetchval("SELECT to_regclass('migrations') IS NOT NULL"):
        applied = {row["name"]: row["checksum"] for row in await connection.fetch("SELECT * FROM migrations")}
    ours = {name: _checksum(sql) for package in ("kit", service) for name, sql in _files(package)}
    return Standing(
        missing=tuple(name for name in ours if name not in applied),
        edited=tuple(name for name in ours if applied.get(name, ours[name]) != ours[name]),
        unknown=tuple(name for name in applied if name not in ours),
    )


async def migrate_at(url: str, service: str, packages: Sequence[str] = ()) -> list[str]:
    """The same, on a connection of its own."""
    connection = await asyncpg.connect(url, timeout=5, server_settings={"application_name": f"{service} migrate"})
    try:
        return await migrate(connection, service, packages)
    finally:
        await connection.close()


def _checksum(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()


def _files(package: str) -> list[tuple[str, str]]:
    folder = files(f"admitone.{package}") / "migrations"
    if not folder.is_dir():
        return []
    return sorted((f"{package}/{file.name}", file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql"))


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
    finally:
        await connection.close()
