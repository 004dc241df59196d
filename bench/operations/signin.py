"""Signing in, against what the password's hash alone allows."""

import asyncio
import json
import sys
import time

from bench.book import cost_of
from bench.client import Connection, Request
from bench.hashes import PASSWORD
from bench.run import Run
from bench.stage import ROOT, BenchError

PEOPLE = 64
"""More than there are connections: the tries of one account are counted one after the other."""


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
    before, hash_cpu = await _hashes_alone(run)
    with run.stage.meter.measure() as used:
        load = await run.load(requests, 200, again=True)
    after, _ = await _hashes_alone(run)
    cost = cost_of(used, load.answers, run.idle_cores)
    run.book.add("signin", load.rate * 2 / (before + after), used, cost)
    run.book.add("signin_cpu", sum(cost.values()), used, cost)
    run.book.add("hash_cpu", hash_cpu, used)


def sign_in_request(email: str) -> Request:
    return Request.of("POST", "/api/users/signin", body={"email": email, "password": PASSWORD})


async def _hashes_alone(run: Run) -> tuple[float, float]:
    """Per second, and CPU milliseconds of each, in a process of its own.

    And in a session of its own, as the services are: the kernel shares the processors by session.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.hashes", str(run.options.seconds / 4)),
        cwd=ROOT,
        env=run.stage.environment,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    rate, cpu = json.loads((await process.communicate())[0])
    return rate, cpu
