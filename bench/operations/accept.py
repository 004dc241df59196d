"""Orders: accepted by `serve orders` alone, and in `up`, where the whole chain follows them."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from bench.book import cost_of
from bench.meter import Used
from bench.people import list_tickets
from bench.run import SPARE, Run

WARM_UP_SECONDS = 2.0
SERVE_IS_QUICKER = 3
"""So many times more tickets are prepared for `serve orders` alone than `up` would need."""


async def warm_up(run: Run) -> None:
    """Orders until everything is compiled, planned and cached; it tells how many tickets a round takes."""
    seconds = min(WARM_UP_SECONDS, run.options.seconds)
    for _ in range(2):
        tickets = await list_tickets(run.stage, int(run.expected_rate * seconds * SPARE))
        load = await run.load(run.people.orders(tickets), 201, seconds=seconds)
        run.expected_rate = max(run.expected_rate, load.rate)
        await run.watch.until_quiet()


async def list_for_serve_orders(run: Run) -> list[Sequence[UUID]]:
    """Tickets to get warm, and those of all rounds: without the service of tickets, none can be listed later."""
    size = run.tickets_of_a_round * SERVE_IS_QUICKER
    tickets = await list_tickets(run.stage, size // 2 + size * run.options.rounds)
    return [tickets[: size // 2], *(tickets[size // 2 :][size * number : size * (number + 1)] for number in range(run.options.rounds))]


async def accept_by_serve_orders(run: Run, tickets: Sequence[UUID]) -> None:
    """Until its relay has sent everything; the other services hear of it later."""
    requests = run.people.orders(tickets)
    with run.stage.meter.measure() as used:
        load = await run.load(requests, 201)
        await run.watch.until_published()
    cost = cost_of(used, load.answers)
    run.book.add("accept_serve", load.rate / run.pgbench, used, cost)
    run.book.add("accept_serve_rate", load.rate, used, cost)
    run.book.add("accept_serve_cpu", sum(cost.values()), used, cost)


async def chain(run: Run) -> None:
    """Accepted in `up`, until every consumer has acknowledged everything."""
    accepted, used, orders = await _until_quiet(run, with_keys=False)
    cost = cost_of(used, orders, run.idle_cores)
    run.accepted = accepted
    run.book.add("accept_up", accepted / run.pgbench, used, cost)
    run.book.add("accept_up_rate", accepted, used, cost)
    run.book.add("chain", orders / used.seconds / run.pgbench, used, cost)
    run.book.add("chain_rate", orders / used.seconds, used, cost)
    run.book.add("order_cpu", sum(cost.values()), used, cost)


async def chain_of_six_processes(run: Run) -> None:
    """The chain once more, with a process for each service; the load goes to that of orders."""
    _, used, orders = await _until_quiet(run, with_keys=False)
    cost = cost_of(used, orders)
    run.book.add("apart", orders / used.seconds / run.pgbench, used, cost)
    run.book.add("apart_cpu", sum(cost.values()), used, cost)


async def chain_with_keys(run: Run) -> None:
    """The same, each request with an Idempotency-Key."""
    accepted, used, orders = await _until_quiet(run, with_keys=True)
    cost = cost_of(used, orders, run.idle_cores)
    run.book.add("accept_keys_rate", accepted, used, cost)
    run.book.add("order_cpu_keys", sum(cost.values()), used, cost)


async def _until_quiet(run: Run, *, with_keys: bool) -> tuple[float, Used, int]:
    """Orders accepted per second, what was used until all was quiet, and how many orders there were in the end."""
    requests = run.people.orders(await list_tickets(run.stage, run.tickets_of_a_round), with_keys=with_keys)
    before = await count_orders(run)
    with run.stage.meter.measure() as used:
        load = await run.load(requests, 201)
        await run.watch.until_quiet()
    run.expected_rate = max(run.expected_rate, load.rate)
    return load.rate, used, await count_orders(run) - before


async def count_orders(run: Run) -> int:
    """Also those whose answer came after the clock had stopped."""
    connection = await asyncpg.connect(run.stage.database_url("orders"))
    count: int = await connection.fetchval("SELECT count(*) FROM orders")
    await connection.close()
    return count
