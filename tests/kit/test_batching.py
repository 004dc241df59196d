"""Calls that wait at the same time share a transaction, and readers a read."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest
from support.databases import OwnDatabase, own_database

from admitone.kit.data.batcher import MAX_BATCH, Batcher
from admitone.kit.data.db import Tx
from admitone.kit.data.shared import SharedReads
from admitone.runtime.engines import Engines


@pytest.fixture(scope="module")
async def own(engines: Engines) -> AsyncIterator[OwnDatabase]:
    async with own_database(engines, "orders") as own:
        await own.db.pool.execute("CREATE TABLE numbers (number integer PRIMARY KEY)")
        yield own


@pytest.fixture
async def here(own: OwnDatabase) -> OwnDatabase:
    await own.db.pool.execute("TRUNCATE numbers")
    return own


class Writing:
    """Inserts numbers, and keeps the batches; `holds` keeps the first one waiting."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.holds = asyncio.Event()
        self.holds.set()

    async def __call__(self, tx: Tx, numbers: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(numbers))
        await self.holds.wait()
        await tx.run("INSERT INTO numbers SELECT * FROM unnest($1::integer[])", list(numbers))
        return [ValueError(number) if number < 0 else number * 10 for number in numbers]

    def batcher(self, own: OwnDatabase) -> Batcher[int, int]:
        return Batcher(own.db, self, key=lambda number: number % 100)


async def written(own: OwnDatabase) -> list[int]:
    return [row["number"] for row in await own.rows("SELECT number FROM numbers ORDER BY number")]


async def test_calls_at_the_same_moment_share_a_transaction(here: OwnDatabase) -> None:
    writing = Writing()
    batcher = writing.batcher(here)
    assert await asyncio.gather(*(batcher.run(number) for number in range(1, 6))) == [10, 20, 30, 40, 50]
    assert writing.batches == [[1, 2, 3, 4, 5]]


async def test_a_call_that_waits_alone_is_run_at_once(here: OwnDatabase) -> None:
    writing = Writing()
    batcher = writing.batcher(here)
    assert await batcher.run(1) == 10
    assert await batcher.run(2) == 20
    assert writing.batches == [[1], [2]]


async def test_while_two_transactions_are_under_way_the_next_batch_gathers(here: OwnDatabase) -> None:
    writing = Writing()
    writing.holds.clear()
    batcher = writing.batcher(here)
    calls = []
    for number in range(1, 8):
        calls.append(asyncio.create_task(batcher.run(number)))
        while len(writing.batches) < min(number, 2):
            await asyncio.sleep(0)
    writing.holds.set()
    assert await asyncio.gather(*calls) == [10 * number for number in range(1, 8)]
    assert writing.batches == [[1], [2], [3, 4, 5, 6, 7]]


async def test_a_batch_has_one_call_of_a_key_and_no_more_than_fit(here: OwnDatabase) -> None:
    writing = Writing()
    batcher = writing.batcher(here)
    numbers = [1, 101, 201, *range(2, 2 + MAX_BATCH)]
    await asyncio.gather(*(batcher.run(number) for number in numbers))
    assert sorted(number for batch in writing.batches for number in batch) == sorted(numbers)
    for batch in writing.batches:
        assert len(batch) <= MAX_BATCH
        assert len({number % 100 for number in batch}) == len(batch)


async def test_an_exception_among_the_answers_is_of_its_own_call(here: OwnDatabase) -> None:
    writing = Writing()
    batcher = writing.batcher(here)
    one, wrong, another = await asyncio.gather(*(batcher.run(number) for number in (1, -2, 3)), return_exceptions=True)
    assert (one, another) == (10, 30)
    assert isinstance(wrong, ValueError)
    assert await written(here) == [-2, 1, 3]


async def test_when_a_batch_fails_its_calls_are_tried_one_by_one(here: OwnDatabase) -> None:
    await here.db.pool.execute("INSERT INTO numbers VALUES (2)")
    writing = Writing()
    batcher = writing.batcher(here)
    one, there, another = await asyncio.gather(*(batcher.run(number) for number in (1, 2, 3)), return_exceptions=True)
    assert (one, another) == (10, 30)
    assert isinstance(there, asyncpg.UniqueViolationError)
    assert writing.batches == [[1, 2, 3], [1], [2], [3]]
    assert await written(here) == [1, 2, 3]


async def test_when_the_database_is_away_all_calls_of_a_batch_fail_at_once(here: OwnDatabase) -> None:
    calls: list[Sequence[int]] = []

    async def act(_tx: Tx, numbers: Sequence[int]) -> Sequence[int]:
        calls.append(numbers)
        raise ConnectionRefusedError

    batcher: Batcher[int, int] = Batcher(here.db, act, key=lambda number: number)
    ends = await asyncio.gather(*(batcher.run(number) for number in range(20)), return_exceptions=True)
    assert all(isinstance(end, ConnectionRefusedError) for end in ends)
    assert len(calls) == 1


async def test_a_call_that_nobody_waits_for_any_more_is_left_out(here: OwnDatabase) -> None:
    writing = Writing()
    batcher = writing.batcher(here)
    kept, given_up = asyncio.create_task(batcher.run(1)), asyncio.create_task(batcher.run(2))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await kept == 10
    assert writing.batches == [[1]]


async def test_readers_at_the_same_moment_share_a_read() -> None:
    reads = 0

    async def read() -> int:
        nonlocal reads
        reads += 1
        number = reads
        await asyncio.sleep(0)
        return number

    shared: SharedReads[int] = SharedReads()
    assert await asyncio.gather(*(shared.read("list", read) for _ in range(10))) == [1] * 10
    assert list(await asyncio.gather(shared.read("list", read), shared.read("another", read))) == [2, 3]


async def test_nobody_is_given_the_answer_of_a_read_that_began_before_they_asked() -> None:
    now, begun, go_on = "before", asyncio.Event(), asyncio.Event()

    async def read() -> str:
        found = now
        begun.set()
        await go_on.wait()
        return found

    shared: SharedReads[str] = SharedReads()
    early = asyncio.create_task(shared.read("list", read))
    await begun.wait()
    now = "after"
    late = [asyncio.create_task(shared.read("list", read)) for _ in range(3)]
    await asyncio.sleep(0)
    go_on.set()
    assert await early == "before"
    assert await asyncio.gather(*late) == ["after"] * 3


async def test_a_read_that_fails_fails_for_all_who_share_it_and_for_nobody_else() -> None:
    reads = 0

    async def read() -> int:
        nonlocal reads
        reads += 1
        if reads == 1:
            raise ValueError
        return reads

    shared: SharedReads[int] = SharedReads()
    ends = await asyncio.gather(*(shared.read("list", read) for _ in range(3)), return_exceptions=True)
    assert [type(end) for end in ends] == [ValueError] * 3
    assert await shared.read("list", read) == 2


async def test_a_reader_who_leaves_takes_nothing_from_the_others() -> None:
    go_on = asyncio.Event()

    async def read() -> int:
        await go_on.wait()
        return 1

    shared: SharedReads[int] = SharedReads()
    leaves, stays = asyncio.create_task(shared.read("list", read)), asyncio.create_task(shared.read("list", read))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.sleep(0)
    go_on.set()
    assert await stays == 1
