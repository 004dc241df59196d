"""Nothing that anybody sends does harm: each answer is a problem that says what is wrong, and nothing is changed."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from support.forgeries import forgeries
from support.house import House, Json, Person

from admitone.auth.tokens import read_key
from admitone.config import TEST_PROCESSOR, own_database_url

TABLES = {
    "auth": ("users", "sessions", "failed_signins"),
    "tickets": ("tickets", "notes", "outbox", "idempotency"),
    "orders": ("orders", "outbox", "idempotency"),
    "payments": ("charges", "outbox", "idempotency"),
    TEST_PROCESSOR: ("intents",),
}


Databases = dict[str, "asyncpg.Connection[asyncpg.Record]"]


class Scene:
    """Ann with a ticket, Bob with an order of another, and all routes that take a body."""

    def __init__(self, house: House, ann: Person, bob: Person, ticket: Json, order: Json) -> None:
        self.house = house
        self.databases: Databases = {}
        self.ann = ann
        self.bob = bob
        self.ticket = ticket
        self.order = order
        good_ticket = {"title": "Front row", "price": 12.5}
        self.good: dict[str, tuple[str, str, Person, Json]] = {
            "signup": ("POST", "/api/users/signup", bob, {"email": "x@example.com", "password": "12345678"}),
            "signin": ("POST", "/api/users/signin", bob, {"email": "x@example.com", "password": "12345678"}),
            "list": ("POST", "/api/tickets", ann, good_ticket),
            "edit": ("PUT", f"/api/tickets/{ticket['id']}", ann, good_ticket),
            "note": ("PUT", f"/api/tickets/{ticket['id']}/note", ann, {"note": "Ask for Ann."}),
            "order": ("POST", "/api/orders", bob, {"ticketId": ticket["id"], "price": 49.9}),
            "pay": ("POST", "/api/payments", bob, {"orderId": order["id"], "token": "tok_visa"}),
        }

    async def sends(self, route: str, content: bytes, **headers: str) -> httpx.Response:
        method, path, person, _ = self.good[route]
        return await person.client.request(method, path, content=content, headers={"Content-Type": "application/json", **headers})

    def body(self, route: str, **changes: Any) -> bytes:
        """The route's good body, changed; a field that is `...` is left out."""
        body = {name: value for name, value in (self.good[route][3] | changes).items() if value is not ...}
        return json.dumps(body).encode()

    async def rows(self) -> dict[str, int]:
        """How many rows there are, and the versions of what could have been changed."""
        found: dict[str, int] = {}
        for service, tables in TABLES.items():
            counts = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in tables)
            row = await self.databases[service].fetchrow(f"SELECT {counts}")
            assert row is not None
            found |= {f"{service}.{table}": count for table, count in row.items()}
        return found | {"versions": await self.databases["tickets"].fetchval("SELECT sum(version) FROM tickets")}


@pytest.fixture(scope="module")
async def stage(house: House) -> AsyncIterator[Scene]:
    ann, bob = await house.people("ann", "bob")
    ticket, another = await ann.lists(f"Row {uuid4()}", 49.90), await ann.lists(f"Row {uuid4()}", 49.90)
    order = await bob.sees_order(await bob.buys(another), "awaiting:payment")
    await house.at_rest()
    scene = Scene(house, ann, bob, ticket, order)
    async with contextlib.AsyncExitStack() as stack:
        for service in TABLES:
            connection = await asyncpg.connect(own_database_url(house.engines.database_url, service))
            stack.push_async_callback(connection.close)
            scene.databases[service] = connection
        yield scene


@pytest.fixture
async def scene(stage: Scene) -> AsyncIterator[Scene]:
    """After each test everything is as it was before."""
    before = await stage.rows()
    yield stage
    assert await stage.rows() == before


def refused(answer: httpx.Response, status: int, *fields: str | None) -> None:
    """A problem of this status about just these fields; None stands for the whole."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].partition(";")[0] == "application/problem+json", answer.text
    problem = answer.json()
    assert {"type", "title", "status", "detail", "errors"} <= set(problem)
    assert problem["status"] == status
    assert all(error["message"] and set(error) <= {"message", "field"} for error in problem["errors"])
    assert {error.get("field") for error in problem["errors"]} == set(fields or (None,)), answer.text
    assert "Traceback" not in answer.text


ROUTES = ["signup", "signin", "list", "edit", "note", "order", "pay"]
FIELDS = [
    ("signup", "email"),
    ("signup", "password"),
    ("signin", "email"),
    ("signin", "password"),
    ("list", "title"),
    ("list", "price"),
    ("list", "note"),
    ("edit", "title"),
    ("edit", "price"),
    ("note", "note"),
    ("order", "ticketId"),
    ("order", "price"),
    ("pay", "orderId"),
    ("pay", "token"),
]
OPTIONAL = {("list", "note"), ("order", "price")}


@pytest.mark.parametrize("route", ROUTES)
async def test_what_is_no_json_object(scene: Scene, route: str) -> None:
    bodies = [b"", b" ", b"{", b"nonsense", b"[]", b"null", b"1", b'"text"', b"\xff\xfe", b"\0", b'{"a":1}{"b":2}', b"{'a': 1}", b"NaN"]
    bodies += [b"[" * 60_000, b'{"a":' * 12_000, b"<xml/>", b"title=x&price=1", scene.body(route)[:-1]]
    for body in bodies:
        refused(await scene.sends(route, body), 400)


@pytest.mark.parametrize("route", ROUTES)
async def test_every_missing_field_is_named(scene: Scene, route: str) -> None:
    missing = [field for of, field in FIELDS if of == route and (of, field) not in OPTIONAL]
    refused(await scene.sends(route, b"{}"), 400, *missing)


@pytest.mark.parametrize(("route", "field"), FIELDS)
async def test_a_field_of_a_wrong_type_or_beyond_all_bounds_is_named(scene: Scene, route: str, field: str) -> None:
    wrong: list[Any] = [True, False, [], ["x"], {}, {"a": 1}, "", "a\0b", "\ud800", "x\udfff"]
    if (route, field) not in OPTIONAL:
        wrong.append(None)
    if field != "price":
        wrong += [5, 0, -1, 1.5, 10**400, "x" * 1000]
    else:
        wrong += [0, -1, 0.49, 12.345, 1_000_000, 10**400, "12,50", "x", "x" * 1000, float("nan"), float("inf")]
    if field in ("ticketId", "orderId"):
        wrong += ["x", "1", str(uuid4())[:-1], f"{{{uuid4()}}}", f"urn:uuid:{uuid4()}"]
    if field == "title":
        wrong += [" ", "\t\r\n", "\u3000", "x" * 201]
    if (route, field) == ("signup", "email"):
        wrong += [
            "ann",
            "@example.com",
            "ann@",
            "ann@example",
            "a nn@example.com",
            "ann@@example.com",
            "ann@example.com\n",
            "x" * 250 + "@a.de",
        ]
    if field == "note":  # It may be empty, and long.
        wrong = [value for value in wrong if value not in ("", "x" * 1000)] + ["x" * 2001]
    for value in wrong:
        answer = await scene.sends(route, scene.body(route, **{field: value}))
        refused(answer, 400, field)


@pytest.mark.parametrize("route", ROUTES)
async def test_unknown_fields_are_named_together_with_the_wrong_ones(scene: Scene, route: str) -> None:
    fields = [field for of, field in FIELDS if of == route]
    body = scene.body(route, **{field: [] for field in fields}, userId=str(uuid4()), serverTime=99, **{"__proto__": {}, "💥": 1})
    refused(await scene.sends(route, body), 400, *fields, "userId", "serverTime", "__proto__", "💥")


@pytest.mark.parametrize("route", ROUTES)
async def test_a_field_that_is_given_twice_is_named(scene: Scene, route: str) -> None:
    field = next(field for of, field in FIELDS if of == route)
    body = scene.body(route)
    twice = body[:-1] + b', "%s": "x"}' % field.encode()
    refused(await scene.sends(route, twice), 400, field)


@pytest.mark.parametrize("route", ROUTES)
async def test_an_unknown_field_with_an_impossible_name_does_no_harm(scene: Scene, route: str) -> None:
    answer = await scene.sends(route, scene.body(route)[:-1] + b', "\\ud800": 1}')
    refused(answer, 400, "?")


@pytest.mark.parametrize("route", ROUTES)
async def test_a_body_over_64_kb(scene: Scene, route: str) -> None:
    refused(await scene.sends(route, scene.body(route) + b" " * 64 * 1024), 413)


@pytest.mark.parametrize("route", ROUTES)
async def test_a_body_over_64_kb_that_comes_in_pieces(scene: Scene, route: str) -> None:
    method, path, person, _ = scene.good[route]

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    answer = await person.client.request(method, path, content=pieces(), headers={"Content-Type": "application/json"})
    refused(answer, 413)


@pytest.mark.parametrize("route", ROUTES)
async def test_another_content_type(scene: Scene, route: str) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", "", "application/xml"):
        refused(await scene.sends(route, scene.body(route), **{"Content-Type": kind}), 415)


@pytest.mark.parametrize("route", ROUTES)
async def test_a_request_from_another_site(scene: Scene, route: str) -> None:
    for origin in (
        "https://evil.example",
        "null",
        "",
        scene.house.url.replace("http:", "https:"),
        "http://localhost",
        "http://127.0.0.1:1",
    ):
        refused(await scene.sends(route, scene.body(route), Origin=origin), 403)


async def test_a_request_from_another_site_that_needs_no_body(scene: Scene) -> None:
    for method, path in (("DELETE", f"/api/orders/{scene.order['id']}"), ("POST", "/api/users/signout"), ("POST", "/api/users/refresh")):
        refused(await scene.bob.ask(method, path, Origin="https://evil.example"), 403)


async def test_a_forged_cookie_is_nobodys(scene: Scene) -> None:
    key = read_key(Path(scene.house.settings["ADMITONE_SIGNING_KEY_FILE"]))
    for cookie in forgeries(scene.bob.client.cookies["session"], key, victim=scene.ann.id).values():
        async with httpx.AsyncClient(base_url=scene.house.url, verify=False, headers={"Cookie": f"session={cookie}"}) as client:
            refused(await client.get("/api/orders"), 401)
            refused(await client.post("/api/tickets", json={"title": "x", "price": 1}), 401)
            refused(await client.delete(f"/api/orders/{scene.order['id']}"), 401)
            refused(await client.post("/api/users/refresh"), 401)
            assert (await client.get("/api/users/currentuser")).json() == {"currentUser": None}


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "x"},
        {"limit": "-1"},
        {"limit": "1.5"},
        {"limit": "9" * 100},
        {"sort": "dearest"},
        {"min": "x"},
        {"max": "-1"},
        {"min": "NaN"},
        {"max": "1e9"},
        {"q": "x" * 201},
        {"q": "a\0b"},
        {"unknown": "1"},
        {"cursor": "x"},
        {"cursor": "💥"},
        {"cursor": "=" * 10},
        {"cursor": "\0"},
        {"cursor": base64.urlsafe_b64encode(b"[1, 2]").decode()},
        {"cursor": base64.urlsafe_b64encode(b"[" * 5000).decode()},
        {"cursor": base64.urlsafe_b64encode(json.dumps(["0001-01-01T00:00:00+14:00", str(uuid4())]).encode()).decode()},
        {"cursor": base64.urlsafe_b64encode(json.dumps(["9999-12-31T23:59:59-14:00", str(uuid4())]).encode()).decode()},
        {"cursor": base64.urlsafe_b64encode(json.dumps([10**30, str(uuid4())]).encode()).decode(), "sort": "cheapest"},
        {"limit": "0", "sort": "x", "min": "y", "cursor": "z", "a": "b"},
    ],
)
async def test_a_query_that_cannot_be_used(scene: Scene, query: dict[str, str]) -> None:
    answer = await scene.bob.client.get("/api/tickets", params=query)
    wrong = set(query) - {"sort"} if query.get("sort") == "cheapest" else set(query)
    if len(query) > 2:  # A cursor is read only when all else is right.
        wrong -= {"cursor"}
    refused(answer, 400, *wrong)


@pytest.mark.parametrize("path", ["/api/orders", "/api/tickets/mine"])
async def test_a_page_that_cannot_be_given(scene: Scene, path: str) -> None:
    extreme = base64.urlsafe_b64encode(json.dumps(["0001-01-01T00:00:00+14:00", str(uuid4())]).encode()).decode()
    for query in ({"limit": "0"}, {"limit": "x"}, {"cursor": "x"}, {"cursor": extreme}, {"page": "1"}):
        refused(await scene.ann.client.get(path, params=query), 400, *query)


async def test_an_idempotency_key_that_is_none(scene: Scene) -> None:
    for key in ("", "x" * 256, "a\tb"):
        for route in ("list", "order", "pay"):
            refused(await scene.sends(route, scene.body(route), **{"Idempotency-Key": key}), 400, "Idempotency-Key")


async def test_a_title_may_hold_anything_that_can_be_shown(house: House) -> None:
    (ann,) = await house.people("ann")
    for title in ("🎫" * 200, "<script>alert(1)</script>", "'; DROP TABLE tickets; --", "\u202e flipped", " padded ", "{{7*7}}", "é\u0301"):
        answer = await ann.ask("POST", "/api/tickets", {"title": title, "price": 5})
        assert (answer.status_code, answer.json()["title"]) == (201, title)
        assert (await ann.ticket(answer.json()))["title"] == title


@pytest.mark.parametrize("name", ["a%00b", "x" * 300, "%F0%9F%92%A5" * 100, "%ff"])
async def test_a_file_that_can_not_be_is_not_found(house: House, name: str) -> None:
    async with httpx.AsyncClient(base_url=house.url, verify=False) as client:
        answer = await client.get(f"/static/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.parametrize("intent", ["a%00b", "%ff", "x" * 5000])
async def test_a_payment_that_can_not_be_is_not_found_at_the_bank(house: House, intent: str) -> None:
    async with httpx.AsyncClient(base_url=house.url, verify=False) as client:
        refused(await client.get(f"/api/payments/test-bank/{intent}"), 404)
        refused(await client.post(f"/api/payments/test-bank/{intent}/approval"), 404)


@pytest.mark.parametrize("host", ["localhost:99999", "[::1", "x/../y", "evil.example", "ü.example", ""])
async def test_whatever_host_is_asked_for_the_answer_is_the_same(house: House, host: str) -> None:
    async with httpx.AsyncClient(base_url=house.url, verify=False) as client:
        for path, status in (("/api/tickets", 200), ("/", 200), ("/signin", 200), ("/api/orders", 401), ("/nowhere", 404)):
            assert (await client.get(path, headers={b"Host": host.encode()})).status_code == status


async def test_a_path_beyond_all_bounds_leads_nowhere(house: House) -> None:
    async with httpx.AsyncClient(base_url=house.url, verify=False) as client:
        for path in ("/tickets/", "/static/", "/", "/api/orders/"):
            refused(await client.get(path + "x" * 1000), 404)
