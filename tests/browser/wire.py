"""A wire between a browser and the server that can be cut, and can go dead without a word.

async with wire(house) as it:
    await visitor.opens(f"{it.url}/")
    it.cut()
    it.mend()
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from support.house import House


class Wire:
    """Only for looking: what is sent from a page at this address has another origin than the server's."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.url = ""
        self.is_cut = False
        self.halves: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.close()
            return
        house_reader, house_writer = await asyncio.open_connection("127.0.0.1", self.house.port)
        for source, target in ((reader, house_writer), (house_reader, writer)):
            self.halves[asyncio.create_task(_carry(source, target))] = target

    def cut(self) -> None:
        """All connections end, and no other begins."""
        self.is_cut = True
        for target in self.halves.values():
            target.close()

    def mend(self) -> None:
        self.is_cut = False

    def go_dead(self) -> None:
        """Nothing comes through any more, and nobody is told. New connections are as good as ever."""
        for half in self.halves:
            half.cancel()


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.close()
    except ConnectionError:
        target.close()


@asynccontextmanager
async def wire(house: House) -> AsyncIterator[Wire]:
    it = Wire(house)
    server = await asyncio.start_server(it.join, "127.0.0.1")
    it.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield it
    server.close()
    it.cut()
    it.go_dead()
