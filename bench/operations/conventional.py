"""The third yardstick: orders accepted by an ordinary implementation of the same paths (bench/conventional), on the same PostgreSQL."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
from bench.arrivals import pool
from bench.client import Request
from bench.run import Run
from bench.stage import ROOT, Stage, answering

from admitone.runtime.programs import free_port

DATABASE = "conventional"
LISTING_CONNECTIONS = 16
FOLDER = ROOT / "bench"


@contextlib.asynccontextmanager
async def conventional(stage: Stage, python: Path) -> AsyncIterator[str]:
    """It, run by the Python of its own environment, in a database of its own; its address."""
    administrator = await asyncpg.connect(stage.engines.database_url)
    await administrator.execute(f"CREATE DATABASE {DATABASE}")
    await administrator.close()
    port = free_port()
    settings = {"DATABASE_URL": stage.engines.database_url.rpartition("/")[0] + f"/{DATABASE}", "PYTHONPATH": str(FOLDER)}
    command = [str(python.absolute()), "-m", "conventional", "--port", str(port)]
    async with stage.process("conventional", command, settings) as process:
        url = f"http://127.0.0.1:{port}"
        await answering(f"{url}/api/tickets", process)
        yield url


async def accept_by_conventional(run: Run) -> None:
    """The same load as ours in this round, which has to come before.

    It takes an order and tells nobody, so it is compared to `serve orders` first of all: both by what pgbench did in the same round.
    """
    url = run.conventional_url
    requests = run.people.orders(await _list_tickets(run, url))
    with run.stage.meter.measure() as used:
        load = await run.load(requests, 201, url=url)
    cost = {group: used.cpu[group] * 1000 / load.answers for group in ("conventional", "postgres")}
    run.book.add("conventional_rate", load.rate, used, cost)
    if "accept_serve" in run.book.entries:
        run.book.add("conventional", run.book.median("accept_serve") / (load.rate / run.pgbench), used, cost)
    if run.accepted:
        run.book.add("conventional_up", run.accepted / load.rate, used, cost)


async def _list_tickets(run: Run, url: str) -> list[UUID]:
    """By HTTP: its tables are its own business."""
    listing = Request.of("POST", "/api/tickets", cookie=run.people.session(), body={"title": "Row 1, seat 1", "price": 49.9})
    async with pool(url, LISTING_CONNECTIONS) as connections:

        async def list_one() -> UUID:
            async with connections.connection() as connection:
                return UUID((await connection.ask(listing)).json["id"])

        return await asyncio.gather(*(list_one() for _ in range(run.tickets_of_a_round)))
