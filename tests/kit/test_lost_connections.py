"""A connection that the server has ended, and that nobody has noticed yet."""

import asyncio
import struct
from urllib.parse import urlsplit

import pytest

from admitone.kit.config import own_database_url
from admitone.kit.db import TRANSIENT, connected
from admitone.kit.problem import TryAgain
from admitone.kit.web import as_problem
from admitone.local import Engines

LAST_WORDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to unexpected postmaster exit\0\0"


class Between:
    """Hands on what a service and its database say to each other, and can put words into the database's mouth."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.services: list[asyncio.StreamWriter] = []

    async def stands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_database, to_database = await asyncio.open_connection(self.host, self.port)
        self.services.append(writer)
        await asyncio.gather(_hand_on(reader, to_database), _hand_on(from_database, writer))

    def says_goodbye(self) -> None:
        self.services[-1].write(b"E" + struct.pack("!i", len(LAST_WORDS) + 4) + LAST_WORDS)


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_a_connection_that_has_just_been_ended_is_an_engine_that_is_away_and_no_error_of_ours(engines: Engines) -> None:
    url = urlsplit(own_database_url(engines.database_url, "auth"))
    assert url.hostname is not None
    assert url.port is not None
    between = Between(url.hostname, url.port)
    server = await asyncio.start_server(between.stands, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, connected("auth", url._replace(netloc=url.netloc.replace(f":{url.port}", f":{port}")).geturl()) as db:
        between.says_goodbye()
        for _ in range(10):
            await asyncio.sleep(0)  # The loop reads what was said, while nobody asks anything; the connection stays open.
        with pytest.raises(TRANSIENT) as failed:
            async with db.transaction():
                pass
        assert isinstance(as_problem(failed.value), TryAgain)
        async with db.transaction() as tx:
            assert await tx.value("SELECT 1") == 1
