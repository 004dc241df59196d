"""Readers who ask for the same thing at the same moment share one read."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from admitone.kit.data.batcher import settle

Answer = TypeVar("Answer")


class SharedReads(Generic[Answer]):
    """Nobody is given the answer of a read that began before they asked: those who come while one is under way share the next."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[asyncio.Future[Answer]]] = {}
        self._workers: dict[Hashable, asyncio.Task[None]] = {}

    async def read(self, key: Hashable, run: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `run` returns, or raises; called once for all who wait with this key."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if key not in self._workers:
            self._workers[key] = asyncio.create_task(self._work(key, run))
        return await future

    async def _work(self, key: Hashable, run: Callable[[], Awaitable[Answer]]) -> None:
        try:
            while waiting := self._waiting.pop(key, None):
                answer: Answer | BaseException
                try:
                    answer = await run()
                except BaseException as error:
                    answer = error
                for future in waiting:
                    settle(future, answer)
                if isinstance(answer, asyncio.CancelledError):
                    raise answer
        finally:
            del self._workers[key]
            for future in self._waiting.pop(key, ()):
                future.cancel()
