"""A day at the market: mostly people who look, some who buy, sell, pay, cancel or sign in."""

import asyncio
import contextlib
import random
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from bench.arrivals import open_loop, pool
from bench.book import cost_of
from bench.client import Answer, Connection, Request
from bench.load import CONNECTIONS
from bench.operations.signin import sign_in_request
from bench.people import list_tickets
from bench.run import Run
from bench.stage import BenchError

SHARES = {"browse": 55, "show": 20, "order": 10, "own orders": 5, "list or edit": 4, "pay": 3, "cancel": 2, "sign in": 1}
EXPECTED = {
    "browse": {200},
    "show": {200},
    "order": {201, 409},
    "own orders": {200},
    "list or edit": {200, 201, 409},
    "pay": {201, 202, 404, 409},
    "cancel": {204, 409},
    "sign in": {200},
}
"""409: somebody was faster, or it is not payable yet. 404 to a payment: payments has not heard of the order, after waiting a second."""
HOT_SHARE = 0.2
"""Of the orders, those that want the one ticket that everybody wants."""
VISIT_REQUESTS = 20
"""After so many requests, somebody new comes."""
TICKETS_PER_SECOND = 100
PAGES = 1000
"""Open pages of tickets, with their live updates, beside the open loop."""


@dataclass
class Visit:
    """What somebody has done so far."""

    session: str
    orders: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    requests: int = 0


class Market:
    """What there is to want, and who is there."""

    def __init__(self, run: Run, tickets: list[UUID]) -> None:
        self.run = run
        self.hot, *self.fresh = tickets
        self.random = random.Random(1)
        self.visits: list[Visit] = []

    async def ask(self, connection: Connection) -> None:
        """One request of somebody. Raises BenchError for an answer that can't be."""
        what = self.random.choices(list(SHARES), list(SHARES.values()))[0]
        visit = self.visits.pop() if self.visits else Visit(self.run.people.session())
        if what in ("pay", "cancel") and not visit.orders:
            what = "own orders"  # Where there is nothing to pay or cancel, one looks what there is.
        answer = await connection.ask(self._request(what, visit))
        if answer.status not in EXPECTED[what]:
            raise BenchError(f"{what} was answered with {answer.status}: {answer.body.decode()[:300]}")
        self._remember(what, visit, answer)
        if visit.requests < VISIT_REQUESTS:
            self.visits.insert(0, visit)

    def _request(self, what: str, visit: Visit) -> Request:
        session, some_ticket = visit.session, self.random.choice(self.fresh[:50] or [self.hot])
        match what:
            case "browse":
                return Request.of("GET", "/api/tickets", cookie=session)
            case "show":
                return Request.of("GET", f"/api/tickets/{some_ticket}", cookie=session)
            case "order":
                hot = self.random.random() < HOT_SHARE or not self.fresh
                return Request.of(
                    "POST", "/api/orders", cookie=session, body={"ticketId": str(self.hot if hot else self.fresh.pop())}, key=str(uuid4())
                )
            case "list or edit" if visit.listed:
                return Request.of("PUT", f"/api/tickets/{visit.listed[0]}", cookie=session, body={"title": "Row 1, seat 1", "price": 39.5})
            case "list or edit":
                return Request.of("POST", "/api/tickets", cookie=session, body={"title": "Row 1, seat 1", "price": 49.9})
            case "pay":
                return Request.of("POST", "/api/payments", cookie=session, body={"orderId": visit.orders.pop(), "token": "tok_visa"})
            case "cancel":
                return Request.of("DELETE", f"/api/orders/{visit.orders.pop()}", cookie=session)
            case "sign in":
                return sign_in_request(self.random.choice(self.run.emails))
            case _:
                return Request.of("GET", "/api/orders", cookie=session)

    def _remember(self, what: str, visit: Visit, answer: Answer) -> None:
        visit.requests += 1
        if answer.status == 201 and what in ("order", "list or edit"):
            (visit.orders if what == "order" else visit.listed).append(answer.json["id"])


@contextlib.asynccontextmanager
async def open_pages(url: str, tickets: Sequence[UUID]) -> AsyncIterator[None]:
    """The live pages of tickets, of so many visitors. What they are told is read and thrown away."""
    address = urlsplit(url)

    async def look(number: int) -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(Request.of("GET", f"/live/tickets/{tickets[number % len(tickets)]}").raw)
        try:
            await reader.readuntil(b"event: beat")
            opened.release()
            while await reader.read(65536):
                pass
        finally:
            writer.close()

    opened = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as visitors:
        looking = [visitors.create_task(look(number)) for number in range(PAGES)]
        for _ in looking:
            await opened.acquire()
        try:
            yield
        finally:
            for visitor in looking:
                visitor.cancel()


async def mix(run: Run) -> None:
    """As fast as the answers come; then at half that rate, whether they come or not."""
    seconds = run.options.seconds
    market = Market(run, await list_tickets(run.stage, int(TICKETS_PER_SECOND * seconds)))
    asked, begun = 0, time.perf_counter()

    async def one_after_the_other() -> None:
        nonlocal asked
        async with Connection(run.stage.url) as connection:
            while time.perf_counter() - begun < seconds:
                await market.ask(connection)
                asked += 1

    with run.stage.meter.measure() as used:
        async with asyncio.TaskGroup() as everybody:
            for _ in range(CONNECTIONS):
                everybody.create_task(one_after_the_other())
        rate = asked / (time.perf_counter() - begun)
        await run.watch.until_quiet()
    cost = cost_of(used, asked, run.idle_cores)
    run.book.add("mix_rate", rate, used, cost)
    run.book.add("mix_cpu", sum(cost.values()), used, cost)

    market = Market(run, await list_tickets(run.stage, int(TICKETS_PER_SECOND * seconds)))
    async with pool(run.stage.url) as connections, open_pages(run.stage.url, market.fresh[:PAGES]):

        async def ask(_position: int) -> None:
            async with connections.connection() as connection:
                await market.ask(connection)

        with run.stage.meter.measure() as used:
            answers = await open_loop(int(seconds * rate / 2), rate / 2, ask)
    latencies = [latency for latency, _ in answers]
    cost = cost_of(used, len(answers), run.idle_cores)
    run.book.add("mix_p99", statistics.quantiles(latencies, n=100)[98] * 1000, used, cost)
