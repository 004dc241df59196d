"""One order at a time on a system that is at rest: how long the answer takes, and how long until the order may be paid."""

import asyncio
import statistics
import time

from bench.book import cost_of
from bench.client import BlockingConnection, Request
from bench.people import list_tickets
from bench.run import Run
from bench.stage import BenchError

ORDERS, QUICK_ORDERS = 100, 40
REST_SECONDS = 0.05
"""Between two orders, until nothing of the first is under way."""
LOOK_SECONDS = 0.002
GIVE_UP_SECONDS = 10


async def alone(run: Run) -> None:
    """Each buyer has looked at the ticket before, so the session is known. The client does nothing else while it waits."""
    seconds, tickets = list[float](), await list_tickets(run.stage, _orders(run))
    with run.stage.meter.measure() as used, BlockingConnection(run.stage.url) as connection:
        for ticket in tickets:
            session = run.people.session()
            connection.ask(Request.of("GET", "/api/users/currentuser", cookie=session))
            await asyncio.sleep(REST_SECONDS)
            request = Request.of("POST", "/api/orders", cookie=session, body={"ticketId": str(ticket)})
            begun = time.perf_counter()
            status, _ = connection.ask(request)
            seconds.append(time.perf_counter() - begun)
            if status != 201:
                raise BenchError(f"An order was answered with {status}.")
    hundredths = statistics.quantiles(seconds, n=100)
    cost = cost_of(used, len(tickets), run.idle_cores)
    run.book.add("alone_p50", hundredths[49] * 1000, used, cost)
    run.book.add("alone_p99", hundredths[98] * 1000, used, cost)


async def payable(run: Run) -> None:
    """From the click until the order is `awaiting:payment`, looked at again and again."""
    seconds, tickets = list[float](), await list_tickets(run.stage, _orders(run))
    with run.stage.meter.measure() as used, BlockingConnection(run.stage.url) as connection:
        for ticket in tickets:
            session = run.people.session()
            connection.ask(Request.of("GET", "/api/users/currentuser", cookie=session))
            await asyncio.sleep(REST_SECONDS)
            begun = time.perf_counter()
            _, order = connection.ask(Request.of("POST", "/api/orders", cookie=session, body={"ticketId": str(ticket)}))
            look = Request.of("GET", f"/api/orders/{order['id']}", cookie=session)
            while order["status"] != "awaiting:payment":
                if time.perf_counter() - begun > GIVE_UP_SECONDS:
                    raise BenchError(f"An order was not payable within {GIVE_UP_SECONDS} s.")
                time.sleep(LOOK_SECONDS)
                _, order = connection.ask(look)
            seconds.append(time.perf_counter() - begun)
    run.book.add("payable_p50", statistics.median(seconds) * 1000, used, cost_of(used, len(tickets), run.idle_cores))


def _orders(run: Run) -> int:
    return QUICK_ORDERS if run.options.quick else ORDERS
