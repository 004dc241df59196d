"""Numbered SQL files, each applied once, in one transaction, under a lock: any number of processes may start at once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

from admitone.kit.data.connection import Connection
from admitone.kit.data.rights import check_marketplace, claim, grant

LOCK = 0x41444D4954  # "ADMIT"
KIT = "kit.data"
"""The package with the tables that every service has."""


@dataclass(frozen=True)
class MigrationStatus:
    """How the migrations in a database differ from those in this code: names of files."""

    missing: tuple[str, ...]
    edited: tuple[str, ...]
    unknown: tuple[str, ...]
    """Applied there, and not in this code: a newer version of it was here."""


class MigrationEdited(Exception):
    """A migration was changed after it had been applied. Add a new file instead."""


class DataTooOld(Exception):
    """The database was made by version 0.1, whose migrations were replaced by one schema per service."""


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
        if any(name.startswith("kit/") for name in applied):
            raise DataTooOld(
                f"The database of {service} was made by version 0.1, and this version can't update it: "
                "set ADMITONE_DATA to a new folder, or DATABASE_URL to a new server."
            )
        for name, sql in [file for package in packages or (KIT, service) for file in _files(package)]:
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


async def status(connection: Connection, service: str) -> MigrationStatus:
    """Compare a service's database with the migrations of this code. Changes nothing."""
    applied: dict[str, str] = {}
    if await connection.fetchval("SELECT to_regclass('migrations') IS NOT NULL"):
        applied = {row["name"]: row["checksum"] for row in await connection.fetch("SELECT * FROM migrations")}
    ours = {name: _checksum(sql) for package in (KIT, service) for name, sql in _files(package)}
    return MigrationStatus(
        missing=tuple(name for name in ours if name not in applied),
        edited=tuple(name for name in ours if applied.get(name, ours[name]) != ours[name]),
        unknown=tuple(name for name in applied if name not in ours),
    )


async def migrate_at(url: str, service: str, packages: Sequence[str] = (), marketplace: str | None = None) -> list[str]:
    """Migrate the database at this address, claim it for the marketplace, and give the role of the service's name its rights there.

    Raises ForeignMarketplace, before anything is changed, and what `migrate` raises.
    """
    connection = await asyncpg.connect(url, timeout=5, server_settings={"application_name": f"{service} migrate"})
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)  # Until the connection is closed.
        if marketplace is not None:
            await check_marketplace(connection, service, marketplace)
        applied = await migrate(connection, service, packages)
        if marketplace is not None:
            await claim(connection, service, marketplace)
        await grant(connection, service)
        return applied
    finally:
        await connection.close()


def _checksum(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()


def _files(package: str) -> list[tuple[str, str]]:
    folder = files(f"admitone.{package}") / "migrations"
    if not folder.is_dir():
        return []
    return sorted((f"{package}/{file.name}", file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql"))
