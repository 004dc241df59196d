"""Migrations: each once, however many processes start; a file that was applied is never edited."""

import asyncio
import re
from importlib.resources import files
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from support.databases import empty_database

from admitone.config import SERVICES_WITH_A_DATABASE, own_database_url
from admitone.kit.data.migrations import DataTooOld, MigrationEdited, migrate_at
from admitone.runtime.engines import Engines
from admitone.runtime.provisioning import create_databases


async def test_many_processes_that_start_at_once_apply_each_migration_once(engines: Engines) -> None:
    async with empty_database(engines) as url:
        applied = await asyncio.gather(*(migrate_at(url, "orders") for _ in range(4)))
        assert sorted(applied, key=len)[:3] == [[], [], []]
        everything = max(applied, key=len)
        assert everything[0].startswith("kit.data/")
        assert everything[-1].startswith("orders/")
        assert await migrate_at(url, "orders") == []
        connection = await asyncpg.connect(url)
        assert [row["name"] for row in await connection.fetch("SELECT name FROM migrations ORDER BY applied_at, name")] == everything
        await connection.close()


async def test_a_file_that_was_edited_after_it_was_applied_is_refused(engines: Engines) -> None:
    async with empty_database(engines) as url:
        name = (await migrate_at(url, "orders"))[-1]
        connection = await asyncpg.connect(url)
        await connection.execute("UPDATE migrations SET checksum = md5('what it was before') WHERE name = $1", name)
        await connection.close()
        with pytest.raises(MigrationEdited, match=name):
            await migrate_at(url, "orders")
        with pytest.raises(MigrationEdited):  # And the lock was given back.
            await asyncio.wait_for(migrate_at(url, "orders"), 5)


async def test_a_migration_that_fails_leaves_nothing_behind(engines: Engines) -> None:
    async with empty_database(engines) as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE orders (in_the_way integer)")
        with pytest.raises(asyncpg.DuplicateTableError):
            await migrate_at(url, "orders")
        assert await connection.fetchval("SELECT to_regclass('ticket_copies')") is None
        await connection.execute("DROP TABLE orders")
        assert all(name.startswith("orders/") for name in await migrate_at(url, "orders"))
        await connection.close()


async def test_databases_are_made_once_and_a_role_gets_only_into_its_own(engines: Engines) -> None:
    await create_databases(engines.database_url, ["orders", "tickets"])
    own = own_database_url(engines.database_url, "orders")
    connection = await asyncpg.connect(own)
    assert await connection.fetchval("SELECT current_user") == "orders"
    await connection.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(urlunsplit(urlsplit(own)._replace(path="/tickets")))


BREAKS_OLDER_PROCESSES = re.compile(
    r"\b(DROP (?!INDEX|CONSTRAINT|FUNCTION|TRIGGER|DEFAULT|NOT NULL)|RENAME|SET NOT NULL|SET DATA TYPE|ALTER \w+ TYPE"
    r"|ADD (?!CHECK|CONSTRAINT)[^,;]* NOT NULL(?![^,;]* DEFAULT))"
)


def test_migrations_after_the_first_only_add_columns_that_have_a_default() -> None:
    found = []
    for package in ("kit.data", *SERVICES_WITH_A_DATABASE):
        for file in (files(f"admitone.{package}") / "migrations").iterdir():
            if not file.name.startswith("0001_") and BREAKS_OLDER_PROCESSES.search(re.sub(r"--.*", "", file.read_text())):
                found.append(f"{package}/{file.name}")
    assert found == []


@pytest.mark.parametrize(
    ("sql", "breaks"),
    [
        ("ALTER TABLE tickets ADD venue text", False),
        ("ALTER TABLE tickets ADD hue text NOT NULL DEFAULT 'red', ADD venue text NOT NULL DEFAULT ''", False),
        ("ALTER TABLE tickets ADD venue text NOT NULL, ADD hue text DEFAULT 'red'", True),
        ("ALTER TABLE tickets DROP title", True),
        ("ALTER TABLE tickets DROP COLUMN title", True),
        ("ALTER TABLE tickets RENAME title TO name", True),
        ("ALTER TABLE tickets ALTER version TYPE bigint", True),
        ("DROP TABLE tickets", True),
        ("DROP INDEX tickets_by_ngram", False),
    ],
)
def test_a_migration_that_would_break_older_processes_is_recognized(sql: str, breaks: bool) -> None:
    assert bool(BREAKS_OLDER_PROCESSES.search(sql)) is breaks


async def test_a_database_of_version_0_1_is_refused_in_one_sentence(engines: Engines) -> None:
    async with empty_database(engines) as url:
        connection = await asyncpg.connect(url)
        await connection.execute(
            """
            CREATE TABLE migrations (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
            INSERT INTO migrations (name, checksum) VALUES ('kit/0001_delivery.sql', '')
            """
        )
        with pytest.raises(DataTooOld, match=r"made by version 0\.1.*set ADMITONE_DATA to a new folder"):
            await migrate_at(url, "orders")
        assert await connection.fetchval("SELECT to_regclass('orders')") is None
        await connection.close()
