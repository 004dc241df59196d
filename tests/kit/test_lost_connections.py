"""A connection that the engine has ended: just now, or before it had really begun."""

import asyncio

import asyncpg
import pytest
from support.between import Between

from admitone.cli.common import sentences_for_errors
from admitone.config import own_database_url
from admitone.kit.data.db import COMMAND_SECONDS, TRANSIENT, connected
from admitone.kit.delivery.bus import Bus, BusClosed
from admitone.kit.http.app import as_problem
from admitone.kit.http.problem import TryAgain
from admitone.runtime.engines import Engines


async def test_a_connection_that_was_just_closed_counts_as_transient(engines: Engines) -> None:
    between = Between(own_database_url(engines.database_url, "auth"))
    async with between.listening() as url, connected("auth", url) as db:
        between.says_goodbye()
        for _ in range(10):
            await asyncio.sleep(0)  # The loop reads what was said, while nobody asks anything; the connection stays open.
        with pytest.raises(TRANSIENT) as failed:
            async with db.transaction():
                pass
        assert isinstance(as_problem(failed.value), TryAgain)
        async with db.transaction() as tx:
            assert await tx.value("SELECT 1") == 1


async def test_a_committed_transaction_succeeds_when_its_connection_can_not_be_given_back(engines: Engines) -> None:
    between = Between(own_database_url(engines.database_url, "auth"))
    async with between.listening() as url, connected("auth", url) as db:
        between.drops_goodbyes = True
        committed = db.committed.next()
        async with db.transaction() as tx:
            assert await tx.value("SELECT 1") == 1
            await db.pool.expire_connections()  # So it is to be closed when it is given back.
        assert committed.is_set()
        between.drops_goodbyes = False
        async with db.reading() as tx:
            assert await tx.value("SELECT 1") == 1


async def test_a_connection_is_given_back_without_asking_the_server_anything(engines: Engines) -> None:
    between = Between(own_database_url(engines.database_url, "auth"))
    async with between.listening() as url, connected("auth", url) as db:
        async with db.reading():
            asked = between.asked
        assert between.asked == asked


async def test_a_transaction_left_open_is_rolled_back_when_its_connection_is_given_back(engines: Engines) -> None:
    async with connected("auth", own_database_url(engines.database_url, "auth")) as db:
        async with db.reading() as tx:
            await tx.run("BEGIN")
            left = await tx.value("SELECT pg_backend_pid()")
        async with db.reading() as tx:
            assert await tx.value("SELECT pg_backend_pid()") == left
            await tx.run("VACUUM users")  # Refused inside a transaction.


async def test_a_server_that_hangs_is_not_asked_to_roll_back(engines: Engines) -> None:
    between = Between(own_database_url(engines.database_url, "auth"))
    async with between.listening() as url, connected("auth", url) as db:

        async def asks_in_vain() -> None:
            async with db.transaction() as tx:
                between.silent = True
                await tx.connection.fetchval("SELECT 1", timeout=0.05)

        async with asyncio.timeout(COMMAND_SECONDS - 1):  # Waiting for the rollback would take longer.
            with pytest.raises(TRANSIENT):
                await asks_in_vain()
        between.silent = False
        async with db.reading() as tx:
            assert await tx.value("SELECT 1") == 1


async def test_a_bus_that_hangs_up_while_one_introduces_oneself_is_asked_again(engines: Engines) -> None:
    between = Between(engines.nats_url, hangs_up_on_the_first=True)
    async with between.listening() as url, Bus("web", url).connected() as bus:
        await bus.stream_created()
        assert len(between.services) == 2


async def test_a_bus_that_knows_another_password_is_not_asked_for_ever(engines: Engines) -> None:
    with pytest.raises(BusClosed, match="are the credentials right"):
        async with Bus("web", engines.nats_url.replace("admitone:", "admitone:another-")).connected():
            pass


def test_a_command_whose_connection_has_just_been_ended_says_so_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"), sentences_for_errors():
        raise asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress")
    assert capsys.readouterr().err.startswith("admitone: An engine can't be used: ")
