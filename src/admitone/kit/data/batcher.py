"""Calls that wait at the same time share one transaction."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

import asyncpg

from admitone.kit.data.db import TRANSIENT, Database, Tx

Call = TypeVar("Call")
Answer = TypeVar("Answer")

MAX_BATCH = 64
MAX_IN_FLIGHT = 2
"""While two transactions are under way, the next batch gathers."""
IN_EACH_OTHERS_WAY = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)
"""Errors that may concern one call of a batch only, unlike those of a database that is unavailable."""


class Batcher(Generic[Call, Answer]):
    """Runs `act` for all calls that wait, at most 64 in a transaction and of those with equal `key` only one.

    A call that waits alone is run at once. `act` returns an answer per call, in their order; an exception among them is that call's own.
    When `act` raises, its transaction is rolled back and each call is run by itself, unless the database is unavailable:
    then all calls of the batch fail at once.
    """

    def __init__(
        self,
        db: Database,
        act: Callable[[Tx, Sequence[Call]], Awaitable[Sequence[Answer | Exception]]],
        key: Callable[[Call], Hashable],
    ) -> None:
        self._db = db
        self._act = act
        self._key = key
        self._waiting: deque[tuple[Call, asyncio.Future[Answer]]] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    async def run(self, call: Call) -> Answer:
        """The call's answer. Raises what `act` has for it, and what the database raises."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, future))
        if len(self._workers) < MAX_IN_FLIGHT:
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        return await future

    async def _work(self) -> None:
        while batch := self._next_batch():
            await self._run(batch)

    def _next_batch(self) -> list[tuple[Call, "asyncio.Future[Answer]"]]:
        """The calls that have waited longest and are still wanted; one whose key is among them goes on waiting."""
        batch: list[tuple[Call, asyncio.Future[Answer]]] = []
        keys: set[Hashable] = set()
        later = []
        while self._waiting and len(batch) < MAX_BATCH:
            call, future = self._waiting.popleft()
            if future.done():
                continue
            if (key := self._key(call)) in keys:
                later.append((call, future))
            else:
                keys.add(key)
                batch.append((call, future))
        self._waiting.extendleft(reversed(later))
        return batch

    async def _run(self, batch: Sequence[tuple[Call, "asyncio.Future[Answer]"]]) -> None:
        try:
            async with self._db.transaction() as tx:
                answers = await self._act(tx, [call for call, _ in batch])
        except BaseException as error:
            is_away = isinstance(error, TRANSIENT) and not isinstance(error, IN_EACH_OTHERS_WAY)
            if len(batch) > 1 and isinstance(error, Exception) and not is_away:
                for one in batch:
                    await self._run([one])
                return
            for _, future in batch:
                settle(future, error)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                settle(future, answer)


def settle(future: "asyncio.Future[Answer]", answer: Answer | BaseException) -> None:
    """End a future with an answer or with an error."""
    if future.done():  # Whoever asked has gone.
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
