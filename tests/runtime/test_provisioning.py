"""Databases, their owners and the roles that serve; and no marketplace touches another's."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from support.house import House

from admitone.config import WrongSettings, load, own_database_url, owner_database_url
from admitone.kit.data.migrations import migrate_at
from admitone.kit.marketplace import ForeignMarketplace
from admitone.runtime.engines import Engines
from admitone.runtime.process import migrate_service
from admitone.runtime.provisioning import create_databases, passwords_of

CHANGES_THE_SCHEMA = [
    "CREATE TABLE mine (id int)",
    "CREATE TEMP TABLE mine (id int)",
    "ALTER TABLE orders ADD COLUMN mine text",
    "DROP INDEX one_holding_order_per_ticket",
    "DROP TABLE orders",
    "TRUNCATE orders",
    "CREATE SCHEMA mine",
    "UPDATE migrations SET checksum = ''",
    "DELETE FROM migrations",
    "UPDATE marketplace SET name = 'mine'",
    "SET ROLE orders_owner",
    "ALTER ROLE tickets PASSWORD 'mine'",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER DATABASE orders SET statement_timeout = 1",
]


@pytest.fixture
async def server(own_house: House) -> Engines:
    """A PostgreSQL without a database of ours."""
    administrator = await asyncpg.connect(own_house.engines.database_url)
    for database in [row["datname"] for row in await administrator.fetch("SELECT datname FROM pg_database WHERE NOT datistemplate")]:
        if database != "postgres":
            await administrator.execute(f"DROP DATABASE {database} WITH (FORCE)")
    await administrator.close()
    return own_house.engines


async def run(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@pytest.mark.parametrize("sql", CHANGES_THE_SCHEMA)
async def test_a_role_that_serves_cannot_change_its_schema(engines: Engines, sql: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(own_database_url(engines.database_url, "orders"), sql)


async def test_a_role_that_serves_changes_rows(engines: Engines) -> None:
    url = own_database_url(engines.database_url, "orders")
    for sql in ("SELECT count(*) FROM orders", "DELETE FROM inbox WHERE false", "UPDATE orders SET status = status WHERE false"):
        await run(url, sql)
    assert await run(url, "SELECT count(*) FROM migrations")


async def test_the_owner_of_one_database_gets_into_no_other(engines: Engines) -> None:
    owner = owner_database_url(engines.database_url, "orders")
    assert await run(owner, "SELECT current_user") == "orders_owner"
    for other in ("tickets", "postgres", "template1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await run(owner.removesuffix("/orders") + f"/{other}", "SELECT 1")


async def test_the_database_of_another_marketplace_is_left_as_it_is(server: Engines) -> None:
    url = server.database_url
    await create_databases(url, ["orders"], "one")
    await migrate_at(owner_database_url(url, "orders"), "orders", marketplace="one")
    with pytest.raises(ForeignMarketplace, match=r"'one'.*'two'"):
        await create_databases(url, ["orders"], "two", {"orders": "another", "orders_owner": "another"})
    assert await run(own_database_url(url, "orders"), "SELECT name FROM marketplace") == "one"  # By the password that it had.
    with pytest.raises(ForeignMarketplace, match="set ADMITONE_MARKETPLACE=one"):
        await migrate_at(owner_database_url(url, "orders"), "orders", marketplace="two")
    await create_databases(url, ["orders"], "one")


async def test_a_database_of_version_0_2_changes_hands_and_that_version_can_go_on(server: Engines) -> None:
    url = server.database_url
    own, owner = own_database_url(url, "orders"), owner_database_url(url, "orders")
    await create_databases(url, ["orders"])
    await run(url, "ALTER DATABASE orders OWNER TO orders")
    await migrate_at(own, "orders")
    await create_databases(url, ["orders"], "one")
    assert await migrate_at(owner, "orders", marketplace="one") == []
    assert await run(owner, "SELECT tableowner FROM pg_tables WHERE tablename = 'orders'") == "orders_owner"
    await run(own, "CREATE TABLE IF NOT EXISTS migrations (name text)")  # As version 0.2 begins.
    await run(own, "DELETE FROM outbox")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(own, "DROP TABLE orders")


async def test_passwords_that_are_given_are_those_of_the_roles(server: Engines, tmp_path: Path) -> None:
    place = f"127.0.0.1:{server.postgres_port}/orders"
    file = tmp_path / "database-url"
    file.write_text(f"postgresql://orders:it%27s-mine@{place}\n")
    given = {
        "DATABASE_URL": server.database_url,
        "ADMITONE_ORDERS_DATABASE_URL_FILE": str(file),
        "ADMITONE_ORDERS_OWNER_DATABASE_URL": f"postgresql://orders_owner:its-own@{place}",
        "ADMITONE_MARKETPLACE": "one",
    }
    settings = load(given)
    await create_databases(server.database_url, ["orders"], "one", passwords_of(settings, ["orders"]))
    assert (await migrate_service(settings, "orders"))[-1].startswith("orders/")
    assert await run(settings.database_url_of("orders"), "SELECT current_user") == "orders"
    del given["ADMITONE_ORDERS_OWNER_DATABASE_URL"]
    with pytest.raises(WrongSettings, match="ADMITONE_ORDERS_OWNER_DATABASE_URL"):
        passwords_of(load(given), ["orders"])


async def test_an_owner_that_is_not_there_yet_is_named(server: Engines) -> None:
    settings = load({"DATABASE_URL": server.database_url, "ADMITONE_MARKETPLACE": "one"})
    await create_databases(server.database_url, ["orders"])
    await run(server.database_url, "ALTER DATABASE orders OWNER TO orders")
    await run(server.database_url, "DROP ROLE orders_owner")
    with pytest.raises(WrongSettings, match=r"orders_owner.*migrate --create"):
        await migrate_service(settings, "orders")


async def test_five_migrations_at_once_on_an_empty_server(server: Engines, own_house: House) -> None:
    done = await asyncio.gather(*(asyncio.to_thread(own_house.admitone, "migrate", "--create") for _ in range(5)))
    assert [one.returncode for one in done] == [0] * 5, "".join(one.stderr for one in done)
    applied = [line for one in done for line in one.stdout.splitlines() if line.startswith("orders: ")]
    assert sorted(line.count("orders/0001") for line in applied) == [0, 0, 0, 0, 1]
    assert await run(own_database_url(server.database_url, "orders"), "SELECT name FROM marketplace") == "house"
