"""What only reads: the list of tickets over HTTP, and pages."""

import asyncpg
from bench.book import cost_of
from bench.client import Connection, Request
from bench.people import list_tickets
from bench.run import Run

LISTED = 100


async def prepare_list(run: Run) -> None:
    """Enough tickets for a full list."""
    await list_tickets(run.stage, 2 * LISTED)


async def list_of_tickets(run: Run) -> None:
    """The newest hundred, against hello-world. First the table is cleaned up, as the server does by itself within a minute."""
    connection = await asyncpg.connect(run.stage.database_url("tickets"))
    await connection.execute("VACUUM (ANALYZE) tickets")
    await connection.close()
    request = Request.of("GET", f"/api/tickets?limit={LISTED}")
    async with Connection(run.stage.url) as connection:
        assert len((await connection.ask(request)).json) == LISTED
    with run.stage.meter.measure() as used:
        load = await run.load([request], 200, again=True)
    run.book.add("list", load.rate / run.hello, used)
    run.book.add("list_rate", load.rate, used, cost_of(used, load.answers, run.idle_cores))
