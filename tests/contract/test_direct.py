"""The routes that are called without the framework answer as they would with it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from support.databases import OwnDatabase, own_database
from support.facts import ANN, ticket_created
from web.sessions import VERIFIER, token

from admitone import orders, tickets
from admitone.config import Settings
from admitone.kit.http.app import litestar_app
from admitone.kit.http.direct import DirectRoutes
from admitone.kit.service import Delivered
from admitone.orders.commands import copy_tickets
from admitone.runtime.engines import Engines
from admitone.tickets.commands import list_ticket

ORIGIN = "http://localhost:8000"
JSON = {"Content-Type": "application/json"}


@dataclass
class BothWays:
    """One service's app, with and without the framework around its direct routes, on the same database."""

    own: OwnDatabase
    with_framework: httpx.AsyncClient
    directly: httpx.AsyncClient

    async def answers(self, method: str, path: str, **options: Any) -> tuple[Any, Any]:
        """The whole answer of each way: status, headers, body."""
        found = []
        for client in (self.with_framework, self.directly):
            answer = await client.request(method, path, **options)
            found.append((answer.status_code, sorted(answer.headers.items()), answer.content))
        return found[0], found[1]


@contextlib.asynccontextmanager
async def both_ways(engines: Engines, service: Any) -> AsyncIterator[BothWays]:
    async with own_database(engines, service.name) as own:
        settings = Settings()
        provided = {name: make(settings, own.db) for name, make in service.provides.items()}
        app = litestar_app(service, {"settings": settings, "db": own.db, **provided}, VERIFIER, secure=False, origins=[ORIGIN])
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(cast("Any", app)), base_url=ORIGIN) as with_framework,
            httpx.AsyncClient(transport=httpx.ASGITransport(cast("Any", DirectRoutes(app))), base_url=ORIGIN) as directly,
        ):
            yield BothWays(own, with_framework, directly)


@pytest.fixture(scope="module")
async def buying(engines: Engines) -> AsyncIterator[BothWays]:
    async with both_ways(engines, orders.service) as both:
        yield both


@pytest.fixture(scope="module")
async def browsing(engines: Engines) -> AsyncIterator[BothWays]:
    async with both_ways(engines, tickets.service) as both:
        async with both.own.db.transaction() as tx:
            for number in range(30):
                await list_ticket(tx, ANN, f"Seat {number}", 1000 + number, "USD", tx.now)
        yield both


async def test_both_services_have_a_direct_route(buying: BothWays, browsing: BothWays) -> None:
    for both in (buying, browsing):
        assert cast("Any", both.directly._transport).app._routes


@pytest.mark.parametrize(
    "query",
    ["", "?limit=100", "?limit=10", "?limit=10&sort=cheapest", "?q=seat+2", "?limit=0", "?limit=x&nothing=1", "?cursor=nonsense", "?q=%00"],
)
async def test_a_search_is_answered_the_same_both_ways(browsing: BothWays, query: str) -> None:
    one, another = await browsing.answers("GET", f"/api/tickets{query}")
    assert one == another
    assert ("cache-control", "no-store") in one[1] or one[0] >= 400


@pytest.mark.parametrize("path", ["/api/tickets/", "/api/tickets//", "/api/tickets/x", "/api/tickets/mine"])
async def test_what_only_resembles_a_direct_route_is_left_to_the_framework(browsing: BothWays, path: str) -> None:
    one, another = await browsing.answers("GET", path)
    assert one == another


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        (JSON, b"{}"),
        (JSON, b"no json"),
        (JSON, b"[]"),
        (JSON, b'{"ticketId": "x"}'),
        (JSON, b'{"ticketId": "9f2f7b2e-6a4e-4c55-8e0e-5c1d1a1f3a01", "price": 49.9}'),
        (JSON, b" " * 70_000),
        ({"Content-Type": "text/plain"}, b"{}"),
        ({}, b""),
        (JSON | {"Origin": "http://elsewhere.example"}, b"{}"),
        (JSON | {"Idempotency-Key": "x" * 300}, b'{"ticketId": "9f2f7b2e-6a4e-4c55-8e0e-5c1d1a1f3a01"}'),
    ],
)
@pytest.mark.parametrize("signed_in", [True, False])
async def test_a_refused_order_is_answered_the_same_both_ways(
    buying: BothWays, signed_in: bool, headers: dict[str, str], content: bytes
) -> None:
    cookies = {"Cookie": f"session={token(600)}"} if signed_in else {}
    one, another = await buying.answers("POST", "/api/orders", headers=headers | cookies, content=content)
    assert one == another
    assert one[0] >= 400


async def test_an_order_that_is_made_has_the_same_answer_both_ways_but_for_what_is_its_own(buying: BothWays) -> None:
    found = []
    for client in (buying.with_framework, buying.directly):
        ticket = uuid4()
        async with buying.own.db.transaction() as tx:
            await copy_tickets(tx, [Delivered.now(ticket_created(ticket_id=ticket))])
        headers = JSON | {"Cookie": f"session={token(600)}", "Idempotency-Key": str(ticket)}
        for _ in range(2):
            answer = await client.post("/api/orders", headers=headers, json={"ticketId": str(ticket)})
            body = answer.json()
            assert (answer.status_code, body["ticket"]["id"], UUID(body["id"]).version) == (201, str(ticket), 4)
            found.append((sorted(answer.headers), list(body)))
    assert found[0] == found[1] == found[2] == found[3]
