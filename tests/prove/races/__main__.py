"""Races inside the database: many connections at once, nothing simulated, on engines of its own. `make races` runs it."""

import asyncio
import contextlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import structlog
from prove.races.edits import edits
from prove.races.hot_ticket import hot_ticket
from prove.races.open_orders import open_orders
from prove.races.outcome import Outcome, Say
from prove.races.relays import relays
from prove.races.timers import timers
from support.databases import own_database

from admitone.runtime.engines import Engines


async def _hot_ticket(engines: Engines, say: Say) -> Outcome:
    async with own_database(engines, "orders") as orders:
        return await hot_ticket(orders, say)


async def _edits(engines: Engines, say: Say) -> Outcome:
    async with own_database(engines, "tickets") as tickets, own_database(engines, "orders") as orders:
        return await edits(tickets, orders, say)


async def _open_orders(engines: Engines, say: Say) -> Outcome:
    async with own_database(engines, "orders") as orders:
        return await open_orders(orders, say)


async def _relays(engines: Engines, say: Say) -> Outcome:
    async with own_database(engines, "orders") as orders:
        return await relays(orders, engines.nats_url, say)


async def _timers(engines: Engines, say: Say) -> Outcome:
    async with own_database(engines, "expiration") as expiration:
        return await timers(expiration, say)


RACES: dict[str, tuple[int, Callable[[Engines, Say], Awaitable[Outcome]]]] = {
    "500 buyers for one ticket": (50, _hot_ticket),
    "an edit and a lock": (2000, _edits),
    "one user and the limit of open orders": (200, _open_orders),
    "three relays and slow transactions": (30_000, _relays),
    "two expirers": (20_000, _timers),
}
"""How many rounds or rows each has, and how it is run."""


async def run() -> int:
    """All of them, one after the other. Returns how many were lost."""
    table, lost = [], 0
    async with _engines() as engines:
        for number, (name, (rounds, race)) in enumerate(RACES.items(), 1):
            started = time.monotonic()
            try:
                outcome = await race(engines, _progress(f"{number}/{len(RACES)} {name}", rounds))
            except Exception as error:  # The others are run all the same.
                outcome = Outcome(wrong=[f"it could not be run to its end: {error!r}"])
            if sys.stderr.isatty():
                print("\r\033[K", end="", file=sys.stderr)
            counted = ", ".join(f"{count} {what}" for what, count in outcome.counted.items())
            table.append(f"{'FAILED' if outcome.wrong else 'ok':<7}{name:<40}{time.monotonic() - started:6.1f} s  {rounds:>6}  {counted}")
            table += [f"         {sentence}" for sentence in outcome.wrong[:10]]
            lost += bool(outcome.wrong)
    print("\n".join(table))
    print(f"{len(RACES)} races, {lost} lost")
    return lost


@contextlib.asynccontextmanager
async def _engines() -> AsyncIterator[Engines]:
    memory = Path("/dev/shm")
    room = memory.is_dir() and shutil.disk_usage(memory).free > 2 * 2**30
    with tempfile.TemporaryDirectory(prefix="admitone-races-", dir=memory if room else None) as folder:
        Path(folder).chmod(0o755)  # As root, the engines run as the user nobody.
        engines = Engines(Path(folder), lambda line: None, durable=False)
        try:
            engines.start()
            await engines.ready()
            yield engines
        finally:
            engines.stop()


def _progress(name: str, rounds: int) -> Say:
    """A line that is drawn again and again; where nobody looks, one per race."""
    drawn = 0.0
    if not sys.stderr.isatty():
        print(f"{name} ...", file=sys.stderr, flush=True)

    def say(done: int) -> None:
        nonlocal drawn
        if sys.stderr.isatty() and time.monotonic() - drawn > 0.1:
            drawn = time.monotonic()
            print(f"\r[{'#' * min(30, 30 * done // rounds):<30}] {name}", end="", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    os.environ.pop("DATABASE_URL", None)
    sys.exit(asyncio.run(run()) > 0)
