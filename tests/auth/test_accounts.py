"""Signing up and in, and how many tries there are."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from uuid import uuid4

import pytest
from argon2 import PasswordHasher
from conftest import Rehearse
from support.databases import own_database
from support.house import eventually

from admitone import auth
from admitone.auth import commands, repository
from admitone.auth.model import EmailTaken, Session, SessionOver, TooManyTries
from admitone.auth.passwords import HASHER, hash_password, is_outdated, is_right, is_weak
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
        session, begun = await signs_up(it, "ann@example.com"), it.now
        for days in (13, 26):
            assert await it.does(commands.refresh, session.session_id, begun + timedelta(days=days))
        assert await it.does(commands.refresh, session.session_id, begun + timedelta(days=30, seconds=-1))
        with pytest.raises(SessionOver):
            await it.does(commands.refresh, session.session_id, begun + timedelta(days=30))


async def test_a_session_that_nobody_uses_for_fourteen_days_has_ended(rehearse: Rehearse) -> None:
    async with rehearse(auth.service) as it:
        session = await signs_up(it, "ann@example.com")
        it.now += timedelta(days=14)
        assert await it.does(commands.live_sessions, session.user_id, it.now) == []
        with pytest.raises(SessionOver):
            await it.does(commands.refresh, session.session_id, it.now)


async def test_signing_in_ends_the_session_that_the_browser_brought(rehearse: Rehearse) -> None:
    async with rehearse(auth.service) as it:
        brought = await signs_up(it, "ann@example.com")
        user = await it.does(commands.begin_sign_in, "ann@example.com", it.now)
        assert user is not None
        elsewhere = await it.does(commands.sign_in, user, it.now, "a telephone")
        new = await it.does(commands.sign_in, user, it.now, "a laptop", brought.session_id)
        found = await it.does(commands.live_sessions, user.user_id, it.now)
        assert {one.session_id: one.browser for one in found} == {elsewhere.session_id: "a telephone", new.session_id: "a laptop"}


async def test_a_new_password_ends_all_other_sessions(rehearse: Rehearse) -> None:
    async with rehearse(auth.service) as it:
        here = await signs_up(it, "ann@example.com")
        bob = await signs_up(it, "bob@example.com")
        user = await it.does(commands.begin_password_change, here.user_id, it.now)
        there = await it.does(commands.sign_in, user, it.now)
        await it.does(commands.change_password, user, here.session_id, "another hash", it.now)
        assert await it.does(commands.refresh, here.session_id, it.now)
        assert await it.does(commands.refresh, bob.session_id, it.now)
        with pytest.raises(SessionOver):
            await it.does(commands.refresh, there.session_id, it.now)
        assert await it.rows("SELECT password_hash FROM users ORDER BY email") == [
            {"password_hash": "another hash"},
            {"password_hash": "hash"},
        ]
        assert await it.rows("SELECT 1 FROM failed_signins") == []


async def test_a_stolen_session_is_no_way_to_guess_the_password(rehearse: Rehearse) -> None:
    async with rehearse(auth.service) as it:
        session = await signs_up(it, "ann@example.com")
        for _ in range(10):
            await it.does(commands.begin_password_change, session.user_id, it.now)
        with pytest.raises(TooManyTries):
            await it.does(commands.begin_password_change, session.user_id, it.now)


@pytest.mark.parametrize(
    "password",
    [
        *("password", "12345678", "qwertyui", "aaaaaaaa", "abababab", "        ", "Admitone", "Admit One", "admitone2026"),
        *("Ann.Smith1", "ann.smith@example.com", "AnnSmithExample"),
    ],
)
def test_a_password_that_is_easily_guessed_is_weak(password: str) -> None:
    assert is_weak(password, "Ann.Smith@example.com")


@pytest.mark.parametrize("password", ["correct horse", "tr0ub4dor&3x", "пароль от кассы", "ann loves trains", "例えば長い言葉だ"])
def test_a_password_that_is_not_is_taken(password: str) -> None:
    assert not is_weak(password, "ann.smith@example.com")


async def test_the_same_word_is_the_same_password_however_it_was_typed() -> None:
    composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"
    assert await is_right(decomposed, await hash_password(composed))
    assert await is_right(composed, await hash_password(decomposed))
    assert await is_right(decomposed, HASHER.hash(decomposed)), "as version 0.2 has hashed it"


def test_hashes_of_weaker_parameters_are_outdated() -> None:
    assert is_outdated(PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash("correct horse"))
    assert not is_outdated(HASHER.hash("correct horse"))


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
