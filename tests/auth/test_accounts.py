"""Signing up and in, and how many tries there are."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from uuid import uuid4

import pytest
from conftest import Rehearse
from support.databases import own_database
from support.house import eventually

from admitone import auth
from admitone.auth import commands, repository
from admitone.auth.model import EmailTaken, Session, SessionOver, TooManyTries
from admitone.auth.passwords import hash_password, is_right
from admitone.events import UserCreated
from admitone.kit.data.db import Tx
from admitone.kit.testing import NOON, Rehearsal
from admitone.runtime.engines import Engines

QUARTER = timedelta(minutes=15)


async def signs_up(it: Rehearsal, email: str) -> Session:
    return await it.does(commands.sign_up, email, "hash", it.now)


async def tries(it: Rehearsal, email: str) -> bool:
    """Whether the try was let through to the password, and the account exists."""
    return await it.does(commands.begin_sign_in, email, it.now) is not None


async def test_somebody_signs_up_and_is_signed_in(rehearse: Rehearse) -> None:
    async with rehearse(auth.service) as it:
        session = await signs_up(it, "Ann@example.com")
        assert await it.said() == [UserCreated(user_id=session.user_id, email="Ann@example.com", version=1)]
        assert (await it.does(commands.refresh, session.session_id, it.now)).email == "Ann@example.com"


@pytest.mark.parametrize("spelled", ["ann@example.com", "ANN@EXAMPLE.COM", "aNn@Example.Com"])
async def test_an_address_has_one_account_however_it_is_spelled(rehearse: Rehearse, spelled: str) -> None:
    async with rehearse(auth.service) as it:
        await signs_up(it, "Ann@example.com")
        await it.said()
        with pytest.raises(EmailTaken):
            await signs_up(it, spelled)
        assert await it.said() == []
        assert await tries(it, spelled)


async def test_after_ten_failures_an_account_rests_for_a_quarter_of_an_hour(rehearse: Rehearse) -> None:
    async with rehearse(auth.service) as it:
        await signs_up(it, "ann@example.com")
        for _ in range(10):
            assert await tries(it, "ann@example.com")
            it.now += timedelta(seconds=1)
        with pytest.raises(TooManyTries):
            await tries(it, "ANN@example.com")
        assert not await tries(it, "bob@example.com"), "another account is not held up"
        it.now += QUARTER
        assert await tries(it, "ann@example.com")


async def test_an_account_that_is_not_there_rests_as_well(rehearse: Rehearse) -> None:
    async with rehearse(auth.service) as it:
        for _ in range(10):
            assert not await tries(it, "nobody@example.com")
        with pytest.raises(TooManyTries):
            await tries(it, "nobody@example.com")


async def test_the_right_password_forgets_the_failures(rehearse: Rehearse) -> None:
    async with rehearse(auth.service) as it:
        await signs_up(it, "ann@example.com")
        for _ in range(3):
            for _ in range(9):
                await tries(it, "ann@example.com")
            user = await it.does(commands.begin_sign_in, "Ann@Example.com", it.now)
            assert user is not None
            await it.does(commands.sign_in, user, it.now)
        assert await it.rows("SELECT 1 FROM failed_signins") == []


async def test_a_session_lives_thirty_days(rehearse: Rehearse) -> None:
    async with rehearse(auth.service) as it:
        session = await signs_up(it, "ann@example.com")
        assert await it.does(commands.refresh, session.session_id, it.now + timedelta(days=30, seconds=-1))
        with pytest.raises(SessionOver):
            await it.does(commands.refresh, session.session_id, it.now + timedelta(days=30))


async def test_signing_out_ends_this_session_and_no_other(rehearse: Rehearse) -> None:
    async with rehearse(auth.service) as it:
        here = await signs_up(it, "ann@example.com")
        user = await it.does(commands.begin_sign_in, "ann@example.com", it.now)
        assert user is not None
        there = await it.does(commands.sign_in, user, it.now)
        for _ in range(2):
            await it.does(commands.sign_out, here.session_id, it.now)
        with pytest.raises(SessionOver):
            await it.does(commands.refresh, here.session_id, it.now)
        assert await it.does(commands.refresh, there.session_id, it.now) == there


async def test_a_session_that_never_was_is_over(rehearse: Rehearse) -> None:
    async with rehearse(auth.service) as it:
        with pytest.raises(SessionOver):
            await it.does(commands.refresh, uuid4(), it.now)
        await it.does(commands.sign_out, uuid4(), it.now)


async def test_a_password_is_kept_as_a_hash_that_only_it_opens() -> None:
    kept = await hash_password(" correct horse ")
    assert kept.startswith("$argon2id$")
    assert "correct" not in kept
    assert await is_right(" correct horse ", kept)
    assert not await is_right("correct horse", kept)
    assert not await is_right(" correct horse ", None)


async def test_a_try_waits_for_another_of_the_same_account_and_counts_it(engines: Engines) -> None:
    async with own_database(engines, "auth") as own, own.db.pool.acquire() as first, own.db.pool.acquire() as second:
        limits = ("ann@example.com", NOON, NOON - timedelta(minutes=15), 1)
        async with first.transaction():
            assert await repository.count_try(Tx(first, "auth", NOON), *limits)
            async with second.transaction():
                trying = asyncio.create_task(repository.count_try(Tx(second, "auth", NOON), *limits))
                waiting = "SELECT true FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
                await eventually(lambda: _either(trying, first.fetchval(waiting, second.get_server_pid())))
                assert not trying.done()
                await first.execute("COMMIT; BEGIN")
                assert not await trying


async def _either(task: asyncio.Task[bool], waiting: Awaitable[bool | None]) -> bool:
    return bool(await waiting) or task.done()
