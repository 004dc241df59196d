"""Requests that come when they come, not when the one before was answered: an open loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from bench.client import Connection

Result = TypeVar("Result")
POOL = 64


class Pool:
    """Open connections for whoever needs one. The one that was used last is taken first."""

    def __init__(self, connections: list[Connection]) -> None:
        self._free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for connection in connections:
            self._free.put_nowait(connection)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for the block. Waits for one when all are in use: that counts as a part of the answer's time."""
        connection = await self._free.get()
        try:
            yield connection
        finally:
            self._free.put_nowait(connection)


@contextlib.asynccontextmanager
async def pool(url: str, size: int = POOL) -> AsyncIterator[Pool]:
    async with contextlib.AsyncExitStack() as stack:
        yield Pool([await stack.enter_async_context(Connection(url)) for _ in range(size)])


async def open_loop(number: int, rate: float, act: Callable[[int], Awaitable[Result]]) -> list[tuple[float, Result]]:
    """Act so many times at that rate. Of each the seconds from when it was due, and the result, in the order in which they were due."""
    loop = asyncio.get_running_loop()
    begun = loop.time()

    async def one(position: int) -> tuple[float, Result]:
        result = await act(position)
        return loop.time() - (begun + position / rate), result

    tasks = []
    async with asyncio.TaskGroup() as group:
        for position in range(number):
            await asyncio.sleep(max(0.0, begun + position / rate - loop.time()))
            tasks.append(group.create_task(one(position)))
    return [task.result() for task in tasks]
