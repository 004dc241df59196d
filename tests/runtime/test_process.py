"""A process waits for an engine that is not there yet, and always ends."""

import asyncio

import asyncpg
import pytest
from support.between import Between
from support.databases import own_database

from admitone.config import WrongSettings, own_database_url
from admitone.runtime.engines import Engines
from admitone.runtime.process import check_database, end, until_reachable
from admitone.runtime.programs import free_port


async def test_a_start_waits_for_its_database(engines: Engines) -> None:
    port, url = free_port(), own_database_url(engines.database_url, "orders")
    between = Between(url)
    waiting = asyncio.create_task(until_reachable(url.replace(f":{engines.postgres_port}/", f":{port}/"), "orders"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    async with await asyncio.start_server(between.stands, "127.0.0.1", port):
        await waiting


async def test_a_start_does_not_wait_for_a_password_to_become_right(engines: Engines) -> None:
    url = own_database_url(engines.database_url, "orders").replace("orders:", "orders:another-")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await until_reachable(url, "orders")


async def test_a_database_that_never_comes_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admitone.runtime.process.DATABASE_WITHIN_SECONDS", -1.0)
    with pytest.raises(OSError, match="Connect"):
        await until_reachable(f"postgresql://a:b@127.0.0.1:{free_port()}/orders", "orders")


async def test_a_task_that_forgets_a_cancellation_is_cancelled_again() -> None:
    cancelled, began = 0, asyncio.Event()

    async def forgets_once() -> None:
        nonlocal cancelled
        while True:
            try:
                began.set()
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled += 1
                if cancelled > 1:
                    raise

    task = asyncio.create_task(forgets_once())
    await began.wait()
    await end([task])
    assert task.cancelled()
    assert cancelled == 2


async def test_a_service_that_may_not_migrate_says_what_its_database_lacks(engines: Engines) -> None:
    async with own_database(engines, "orders") as own:
        await check_database(own.url, "orders", "house")
        await own.db.pool.execute("INSERT INTO migrations (name, checksum) VALUES ('orders/9999_of_tomorrow.sql', 'x')")
        await check_database(own.url, "orders", "house")
        await own.db.pool.execute("DELETE FROM migrations WHERE name LIKE 'orders/0002%'")
        with pytest.raises(WrongSettings, match=r"orders lacks orders/0002.*admitone migrate orders"):
            await check_database(own.url, "orders", "house")
