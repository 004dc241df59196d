"""Signing in, against what the password's hash alone allows."""

import asyncio
import time

from bench.book import cost_of
from bench.client import Connection, Request
from bench.run import Run
from bench.stage import BenchError

from admitone.auth.passwords import HASHER, is_right

PEOPLE = 64
"""More than there are connections: the tries of one account are counted one after the other."""
PASSWORD = "correct horse"
AT_ONCE = 4


async def prepare_signin(run: Run) -> None:
    """Accounts that can be signed in to."""
    run.emails = [f"bench-{time.time_ns()}-{number}@example.com" for number in range(PEOPLE)]
    async with Connection(run.stage.url) as connection:
        for email in run.emails:
            answer = await connection.ask(Request.of("POST", "/api/users/signup", body={"email": email, "password": PASSWORD}))
            if answer.status != 201:
                raise BenchError(f"Signing up was answered with {answer.status}.")


async def sign_in(run: Run) -> None:
    """The hash is measured before and after: it is all processor, so what others do meanwhile counts most here."""
    requests = [sign_in_request(email) for email in run.emails]
    before = await _hashes_per_second(run.options.seconds / 4)
    with run.stage.meter.measure() as used:
        load = await run.load(requests, 200, again=True)
    alone = (before + await _hashes_per_second(run.options.seconds / 4)) / 2
    run.book.add("signin", load.rate / alone, used, cost_of(used, load.answers, run.idle_cores))


def sign_in_request(email: str) -> Request:
    return Request.of("POST", "/api/users/signin", body={"email": email, "password": PASSWORD})


async def _hashes_per_second(seconds: float) -> float:
    """By the function of auth that checks a password, which has its own limit of how many at once."""
    known, checked, begun = HASHER.hash(PASSWORD), 0, time.perf_counter()

    async def check() -> None:
        nonlocal checked
        while time.perf_counter() - begun < seconds:
            await is_right(PASSWORD, known)
            checked += 1

    await asyncio.gather(*(check() for _ in range(AT_ONCE)))
    return checked / (time.perf_counter() - begun)
