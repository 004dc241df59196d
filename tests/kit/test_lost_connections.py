"""A connection that the engine has ended: just now, or before it had really begun."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from admitone.cli.common import sentences_for_errors
from admitone.config import own_database_url
from admitone.kit.data.db import COMMAND_SECONDS, TRANSIENT, connected
from admitone.kit.delivery.bus import Bus, BusClosed
from admitone.kit.http.app import as_problem
from admitone.kit.http.problem import TryAgain
from admitone.runtime.engines import Engines

GOODBYE = b"X\0\0\0\4"
LAST_WORDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to unexpected postmaster exit\0\0"


class Between:
    """Hands on what a service and its engine say to each other, and can put words into the engine's mouth."""

    def __init__(self, url: str, hangs_up_on_the_first: bool = False) -> None:
        self.url = urlsplit(url)
        self.hangs_up_on_the_first = hangs_up_on_the_first
        self.services: list[asyncio.StreamWriter] = []
        self.asked = 0
        """How often a service has said something."""
        self.silent = False
        """The engine hears nothing more, and all connections stay open."""
        self.drops_goodbyes = False

    async def stands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.hangs_up_on_the_first and not self.services:
            self.services.append(writer)
            writer.write(b'INFO {"max_payload": 1048576}\r\n')
            await reader.read(1)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()  # With what was said unread, as when somebody is killed.
            return
        from_engine, to_engine = await asyncio.open_connection(self.url.hostname, self.url.port)
        self.services.append(writer)
        await asyncio.gather(self._hand_on_questions(reader, to_engine), _hand_on(from_engine, writer))

    async def _hand_on_questions(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.asked += 1
            if not self.silent and not (self.drops_goodbyes and data == GOODBYE):
                writer.write(data)
        writer.close()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """The address at which it stands in for the engine."""
        async with await asyncio.start_server(self.stands, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            yield self.url._replace(netloc=self.url.netloc.replace(f":{self.url.port}", f":{port}")).geturl()

    def says_goodbye(self) -> None:
        self.services[-1].write(b"E" + struct.pack("!i", len(LAST_WORDS) + 4) + LAST_WORDS)


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


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
