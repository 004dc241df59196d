"""The OpenAPI documents and the pages that show them, as a browser gets them."""

import re

import httpx
import pytest
from support.answers import DOCUMENTS
from support.house import House, Json, eventually

from admitone.runtime.gateway import Gateway


@pytest.mark.parametrize("service", DOCUMENTS)
async def test_a_document_is_served_as_the_code_has_it(house: House, service: str) -> None:
    async with httpx.AsyncClient(base_url=house.url) as client:
        answer = await client.get(f"/docs/{service}/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == DOCUMENTS[service]


@pytest.mark.parametrize("service", DOCUMENTS)
async def test_all_that_a_page_needs_comes_from_the_same_place_and_nothing_runs_but_files(house: House, service: str) -> None:
    async with httpx.AsyncClient(base_url=house.url) as client:
        page = await client.get(f"/docs/{service}")
        assert page.status_code == 200
        assert f'<a href="/docs/{service}/openapi.json">' in page.text  # All that is needed without JavaScript.
        parts = re.findall(r'(?:src|href|data-url)="(?!data:|#)([^"]+)"', page.text)
        assert len(parts) >= 9
        for part in parts:
            assert part.startswith("/"), part
            assert (await client.get(part)).status_code == 200, part
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert all(re.fullmatch(r' src="[^"]+" defer', attributes) for attributes in re.findall(r"<script([^>]*)>", page.text))


async def test_the_pages_are_only_looked_at(house: House) -> None:
    async with httpx.AsyncClient(base_url=house.url) as client:
        assert (await client.head("/docs/orders")).status_code == 200
        answer = await client.post("/docs/orders")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
        for nothing in ("/docs/web", "/docs/orders/", "/docs/static/../render.py", "/docs/static/%2e%2e/render.py"):
            assert (await client.get(nothing)).status_code == 404


async def test_the_gateway_shows_them_too() -> None:
    async with httpx.AsyncClient() as nobody:
        transport = httpx.ASGITransport(Gateway({}, nobody, ()))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            assert (await client.get("/docs/orders")).status_code == 200
            assert (await client.get("/docs/orders/openapi.json")).json() == DOCUMENTS["orders"]
            assert (await client.get("/docs/nothing")).status_code == 404


async def test_the_detour_by_the_bank_is_as_documented(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 30))
    asked = await bob.pays(order, "tok_threeDSecure2Required")
    assert asked.status_code == 202
    page = asked.json()["redirectUrl"]
    assert (await bob.ask("GET", page)).status_code == 200
    leads_back = await bob.ask("POST", f"{page}/approval")
    assert leads_back.status_code == (await bob.ask("GET", page)).status_code == 303
    leads_on = await bob.ask("GET", leads_back.headers["location"])
    assert leads_on.headers["location"] == f"/orders/{order['id']}"

    async def is_taken() -> Json:
        (attempt,) = (await bob.ask("GET", f"/api/payments?orderId={order['id']}")).json()
        return {"attempt": attempt} if attempt["status"] == "completed" else {}

    await eventually(is_taken)


async def test_what_is_said_without_a_signature_is_refused_as_documented(house: House) -> None:
    async with httpx.AsyncClient(base_url=house.url) as client:
        answer = await client.post("/api/payments/webhook", json={})
        assert answer.status_code == 400
        assert (await client.get("/api/payments/test-bank/nothing")).status_code == 404
