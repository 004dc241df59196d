"""What only reads, or is refused: the list of tickets over HTTP, pages, and orders of a ticket that somebody holds."""

import asyncpg
from bench.book import cost_of
from bench.client import Connection, Request
from bench.people import list_tickets
from bench.run import Run

LISTED = 100
LATECOMERS = 200


async def prepare_list(run: Run) -> None:
    """Enough tickets for a full list."""
    await list_tickets(run.stage, 2 * LISTED)


async def list_of_tickets(run: Run) -> None:
    """The newest hundred, against hello-world. First the table is cleaned up, as the server does by itself within a minute."""
    await _clean_up(run)
    request = Request.of("GET", f"/api/tickets?limit={LISTED}")
    async with Connection(run.stage.url) as client:
        assert len((await client.ask(request)).json) == LISTED
    with run.stage.meter.measure() as used:
        load = await run.load([request], 200, again=True)
    cost = cost_of(used, load.answers, run.idle_cores)
    run.book.add("list", load.rate / run.hello, used, cost)
    run.book.add("list_rate", load.rate, used, cost)


async def pages(run: Run) -> None:
    """The home page, and the page of a ticket that is for sale, of somebody who is not signed in."""
    await _clean_up(run)
    [ticket] = await list_tickets(run.stage, 1)
    for key, path in (("home_cpu", "/"), ("ticket_cpu", f"/tickets/{ticket}")):
        with run.stage.meter.measure() as used:
            load = await run.load([Request.of("GET", path)], 200, again=True)
        cost = cost_of(used, load.answers, run.idle_cores)
        run.book.add(key, sum(cost.values()), used, cost)


async def refused_orders(run: Run) -> None:
    """Many want a ticket that somebody holds already."""
    tickets = await list_tickets(run.stage, 1)
    async with Connection(run.stage.url) as client:
        assert (await client.ask(run.people.orders(tickets)[0])).status == 201
    await run.watch.until_quiet()
    wanted = [Request.of("POST", "/api/orders", cookie=run.people.session(), body={"ticketId": str(tickets[0])}) for _ in range(LATECOMERS)]
    with run.stage.meter.measure() as used:
        load = await run.load(wanted, 409, again=True)
    cost = cost_of(used, load.answers, run.idle_cores)
    run.book.add("refused_cpu", sum(cost.values()), used, cost)


async def _clean_up(run: Run) -> None:
    connection = await asyncpg.connect(run.stage.database_url("tickets"))
    await connection.execute("VACUUM (ANALYZE) tickets")
    await connection.close()
