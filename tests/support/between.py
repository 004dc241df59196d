"""Stands between a service and its engine, and cuts, delays or falsifies what they say."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

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

    def hangs_up(self) -> None:
        """All connections are cut, as by a network that fails for a moment."""
        for writer in self.services:
            writer.transport.abort()

    def says_goodbye(self) -> None:
        self.services[-1].write(b"E" + struct.pack("!i", len(LAST_WORDS) + 4) + LAST_WORDS)


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
