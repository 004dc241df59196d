"""Readers who ask for the same thing at the same moment share one read."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class SharedReads(Generic[Answer]):
    """Nobody is given the answer of a read that began before they asked: those who come while one is under way share the next."""

    def __init__(self) -> None:
        self._next: dict[Hashable, asyncio.Future[Answer]] = {}
        self._workers: dict[Hashable, asyncio.Task[None]] = {}

    async def read(self, key: Hashable, run: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `run` returns, or raises; called once for all who wait with this key."""
        future = self._next.get(key)
        if future is None:
            future = self._next[key] = asyncio.get_running_loop().create_future()
            if key not in self._workers:
                self._workers[key] = asyncio.create_task(self._work(key, run))
        return await asyncio.shield(future)

    async def _work(self, key: Hashable, run: Callable[[], Awaitable[Answer]]) -> None:
        try:
            while (future := self._next.pop(key, None)) is not None:
                try:
                    future.set_result(await run())
                except Exception as error:
                    future.set_exception(error)
                    future.exception()  # Somebody may be waiting, or nobody any more.
        finally:
            del self._workers[key]
            if (waiting := self._next.pop(key, None)) is not None:
                waiting.cancel()
