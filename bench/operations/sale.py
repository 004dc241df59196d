"""The whole sale: ordered, paid with a test card, complete, and everybody has heard of it."""

import asyncio
import time
from uuid import UUID

import asyncpg
from bench.book import cost_of
from bench.client import Connection, Request
from bench.people import list_tickets
from bench.run import Run
from bench.stage import BenchError

BUYERS = 16
"""At once; each buys one ticket after the other."""
EXPECTED_SALES_PER_SECOND = 60
GIVE_UP_SECONDS = 60


async def sale(run: Run) -> None:
    expected = max(EXPECTED_SALES_PER_SECOND, run.expected_rate)
    tickets = await list_tickets(run.stage, int(expected * run.options.seconds))
    sold, begun = list[UUID](), time.perf_counter()

    async def buy_and_pay() -> None:
        async with Connection(run.stage.url) as connection:
            while tickets and time.perf_counter() - begun < run.options.seconds:
                sold.append(await _sell(run, connection, tickets.pop()))

    before = await count_complete(run)
    with run.stage.meter.measure() as used:
        async with asyncio.TaskGroup() as buyers:
            for _ in range(BUYERS):
                buyers.create_task(buy_and_pay())
        await run.watch.until_quiet()
        while await count_complete(run) < before + len(sold):
            if time.perf_counter() - begun > GIVE_UP_SECONDS:
                raise BenchError(f"Not all of {len(sold)} sales were complete within {GIVE_UP_SECONDS} s.")
            await asyncio.sleep(0.1)
        await run.watch.until_quiet()
    cost = cost_of(used, len(sold), run.idle_cores)
    run.book.add("sale_rate", len(sold) / used.seconds, used, cost)
    run.book.add("sale_cpu", sum(cost.values()), used, cost)


async def _sell(run: Run, connection: Connection, ticket: UUID) -> UUID:
    """Order and pay. While payments has not heard that it may be paid, it is asked again, as a person would."""
    session = run.people.session()
    answer = await connection.ask(Request.of("POST", "/api/orders", cookie=session, body={"ticketId": str(ticket)}))
    if answer.status != 201:
        raise BenchError(f"An order was answered with {answer.status}.")
    pay = Request.of("POST", "/api/payments", cookie=session, body={"orderId": answer.json["id"], "token": "tok_visa"})
    while (answer := await connection.ask(pay)).status in (404, 409):
        if answer.json["title"] not in ("Not payable yet", "Not found", "Order not found"):
            break
    if answer.status not in (201, 202):
        raise BenchError(f"A payment was answered with {answer.status}: {answer.body.decode()}")
    return ticket


async def count_complete(run: Run) -> int:
    """Sales whose money was taken."""
    connection = await asyncpg.connect(run.stage.database_url("orders"))
    count: int = await connection.fetchval("SELECT count(*) FROM orders WHERE status = 'complete' AND charge_id IS NOT NULL")
    await connection.close()
    return count
