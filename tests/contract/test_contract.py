"""The HTTP contract, route by route, as a stranger sees it."""

import asyncio
import contextlib
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from support.house import House, Json, Person, eventually

from admitone.auth.tokens import Signer, read_key
from admitone.config import TEST_PROCESSOR

TICKET_FIELDS = {"id", "title", "price", "currency", "userId", "orderId", "status", "lockedUntil", "version"}
ORDER_FIELDS = {"id", "status", "reason", "userId", "expiresAt", "extended", "serverTime", "version", "ticket"}

NOBODYS = "7f0c1c9e-5a54-4c39-8d53-0c7b2c1d3e4f"
"""An id that nothing has."""


def title() -> str:
    """A title that no other test has."""
    return f"Row {uuid4().hex[:12]}"


def refused(answer: httpx.Response, status: int, *fields: str | None) -> Json:
    """The problem, which is whole and of this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].partition(";")[0] == "application/problem+json"
    problem: Json = answer.json()
    assert {"type", "title", "status", "detail", "errors"} <= set(problem)
    assert problem["status"] == status
    assert problem["errors"]
    assert all(error["message"] and set(error) <= {"message", "field"} for error in problem["errors"])
    if fields:
        assert {error.get("field") for error in problem["errors"]} == set(fields)
    return problem


def stranger(house: House) -> httpx.AsyncClient:
    """Somebody who has never been here."""
    return httpx.AsyncClient(base_url=house.url, timeout=15, verify=False)


async def listed(person: Person, price: float = 49.90) -> Json:
    return await person.lists(title(), price)


async def reserved(buyer: Person, ticket: Json) -> Json:
    return await buyer.sees_order(await buyer.buys(ticket), "awaiting:payment")


# Users


async def test_signing_up_answers_with_the_user_and_a_session(house: House) -> None:
    async with stranger(house) as client:
        email = f"Ann-{uuid4().hex[:8]}@Example.com"
        answer = await client.post("/api/users/signup", json={"email": email, "password": " 8 chars "})
        assert answer.status_code == 201
        assert set(answer.json()) == {"id", "email"}
        assert answer.json()["email"] == email
        UUID(answer.json()["id"])
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Path=/" in cookie
        assert (await client.get("/api/users/currentuser")).json() == {"currentUser": answer.json()}


async def test_an_address_is_taken_however_it_is_spelled(house: House) -> None:
    (ann,) = await house.people("ann")
    async with stranger(house) as client:
        answer = await client.post("/api/users/signup", json={"email": ann.email.upper(), "password": "correct horse"})
        refused(answer, 409, "email")
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("password", "status"),
    [
        ("1x3y5z7", 400),
        ("1x3y5z7w", 201),
        ("xyz " * 32, 201),
        ("xyz " * 32 + "x", 400),
        ("üöäüöäüö", 201),
        ("password", 400),
        ("x" * 20, 400),
    ],
)
async def test_a_password_has_8_to_128_characters(house: House, password: str, status: int) -> None:
    async with stranger(house) as client:
        answer = await client.post("/api/users/signup", json={"email": f"{uuid4().hex}@example.com", "password": password})
        assert answer.status_code == status
        if status == 400:
            refused(answer, 400, "password")


async def test_signing_in_takes_the_address_in_any_spelling_and_the_password_as_it_is(house: House) -> None:
    (ann,) = await house.people("ann")
    async with stranger(house) as client:
        answer = await client.post("/api/users/signin", json={"email": ann.email.upper(), "password": "correct horse"})
        assert (answer.status_code, answer.json()) == (200, {"id": ann.id, "email": ann.email})
        assert (await client.get("/api/tickets/mine")).status_code == 200
        for password in (" correct horse", "correct horse ", "Correct horse"):
            refused(await client.post("/api/users/signin", json={"email": ann.email, "password": password}), 400)


async def test_an_unknown_user_and_a_wrong_password_look_the_same(house: House) -> None:
    (ann,) = await house.people("ann")
    async with stranger(house) as client:
        wrong = await client.post("/api/users/signin", json={"email": ann.email, "password": "not it at all"})
        unknown = await client.post("/api/users/signin", json={"email": f"{uuid4().hex}@example.com", "password": "not it at all"})
    assert refused(wrong, 400) == refused(unknown, 400)


async def test_after_ten_failures_even_the_right_password_has_to_wait(house: House) -> None:
    (ann,) = await house.people("ann")
    async with stranger(house) as client:
        for number in range(10):
            refused(await client.post("/api/users/signin", json={"email": ann.email, "password": f"wrong {number}"}), 400)
        answer = await client.post("/api/users/signin", json={"email": ann.email.upper(), "password": "correct horse"})
        refused(answer, 429)
        assert int(answer.headers["retry-after"]) > 0
    assert (await ann.ask("GET", "/api/tickets/mine")).status_code == 200, "who is signed in already stays so"


async def test_a_live_session_is_renewed_and_an_ended_one_is_not(house: House) -> None:
    (ann,) = await house.people("ann")
    before = ann.client.cookies["session"]
    answer = await ann.ask("POST", "/api/users/refresh")
    assert (answer.status_code, answer.json()) == (200, {})
    after = ann.client.cookies["session"]
    assert after.count(".") == 2
    answer = await ann.ask("POST", "/api/users/signout")
    assert (answer.status_code, answer.json()) == (200, {})
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await ann.ask("GET", "/api/users/currentuser")).json() == {"currentUser": None}
    for kept in {before, after}:
        async with stranger(house) as thief:
            thief.cookies.set("session", kept)
            refused(await thief.post("/api/users/refresh"), 401)


async def test_sessions_are_listed_and_ended_one_or_all(house: House) -> None:
    (ann, bob) = await house.people("ann", "bob")
    known = {"email": ann.email, "password": "correct horse"}
    telephone, laptop = stranger(house), stranger(house)
    for client, name in ((telephone, "Telephone/1.0"), (laptop, "Laptop/2.0")):
        assert (await client.post("/api/users/signin", json=known, headers={"User-Agent": name})).status_code == 200
    sessions = (await ann.client.get("/api/users/sessions")).json()
    assert [(one["browser"], one["current"]) for one in sessions[:2]] == [("Laptop/2.0", False), ("Telephone/1.0", False)]
    assert [one["current"] for one in sessions] == [False, False, True]
    path = f"/api/users/sessions/{sessions[0]['id']}"
    assert (await bob.client.delete(path)).status_code == 204  # It is not bob's: nothing happens.
    assert len((await ann.client.get("/api/users/sessions")).json()) == 3
    for _ in range(2):
        assert (await ann.client.delete(path)).status_code == 204
    refused(await laptop.post("/api/users/refresh"), 401)
    assert (await telephone.post("/api/users/refresh")).status_code == 200
    assert (await telephone.delete("/api/users/sessions")).status_code == 204
    assert telephone.cookies.get("session") is None
    refused(await ann.client.post("/api/users/refresh"), 401)
    assert (await bob.client.post("/api/users/refresh")).status_code == 200


async def test_a_password_is_changed_with_the_current_one(house: House) -> None:
    (ann,) = await house.people("ann")
    path, new = "/api/users/password", "battery staple"
    for form, field in (
        ({"currentPassword": "wrong horse", "password": new}, "currentPassword"),
        ({"currentPassword": "correct horse", "password": "password"}, "password"),
        ({"currentPassword": "correct horse", "password": "short"}, "password"),
        ({"password": new}, "currentPassword"),
    ):
        refused(await ann.client.post(path, json=form), 400, field)
    assert (await ann.client.post(path, json={"currentPassword": "correct horse", "password": new})).status_code == 200
    client = stranger(house)
    refused(await client.post("/api/users/signin", json={"email": ann.email, "password": "correct horse"}), 400)
    assert (await client.post("/api/users/signin", json={"email": ann.email, "password": new})).status_code == 200


async def test_whoever_asks_who_they_are_stays_signed_in(house: House) -> None:
    """Also a client that never asks for a refresh: the token has ended, its session lives."""
    (ann,) = await house.people("ann")
    signer = Signer(read_key(Path(house.settings["ADMITONE_SIGNING_KEY_FILE"])))
    (session,) = (await ann.client.get("/api/users/sessions")).json()
    with monkeypatched_time(-3600):
        ended = signer.token(UUID(ann.id), ann.email, UUID(session["id"]))
    client = stranger(house)
    client.cookies.set("session", ended)
    refused(await client.get("/api/orders"), 401)
    answer = await client.get("/api/users/currentuser")
    assert answer.json()["currentUser"]["email"] == ann.email
    assert "session=" in answer.headers["set-cookie"]
    client.cookies.clear()
    client.cookies.set("session", answer.cookies["session"])
    assert (await client.get("/api/orders")).status_code == 200
    await ann.client.post("/api/users/signout")
    client.cookies.clear()
    client.cookies.set("session", ended)
    answer = await client.get("/api/users/currentuser")
    assert (answer.json(), "set-cookie" in answer.headers) == ({"currentUser": None}, False)


@contextlib.contextmanager
def monkeypatched_time(seconds: float) -> Iterator[None]:
    """For the tokens that are signed within the block."""
    real = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + seconds)
        yield


async def test_the_keys_of_sessions_are_public(house: House) -> None:
    keys = (await stranger(house).get("/api/users/jwks.json")).json()["keys"]
    (ann,) = await house.people("ann")
    token = ann.client.cookies["session"]
    (key,) = [jwt.PyJWK(key) for key in keys if key["kid"] == jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=["EdDSA"], issuer="admitone")["email"] == ann.email


async def test_nobody_is_signed_in_who_has_not_signed_in(house: House) -> None:
    async with stranger(house) as client:
        assert (await client.get("/api/users/currentuser")).json() == {"currentUser": None}
        refused(await client.post("/api/users/refresh"), 401)
        assert (await client.post("/api/users/signout")).status_code == 200


NEED_A_USER: list[tuple[str, str, Any]] = [
    ("GET", "/api/tickets/mine", None),
    ("POST", "/api/tickets", {"title": "x", "price": 1}),
    ("PUT", f"/api/tickets/{NOBODYS}", {"title": "x", "price": 1}),
    ("DELETE", f"/api/tickets/{NOBODYS}", None),
    ("GET", f"/api/tickets/{NOBODYS}/note", None),
    ("PUT", f"/api/tickets/{NOBODYS}/note", {"note": "x"}),
    ("POST", "/api/orders", {"ticketId": NOBODYS}),
    ("GET", "/api/orders", None),
    ("GET", f"/api/orders/{NOBODYS}", None),
    ("GET", f"/api/orders/{NOBODYS}/history", None),
    ("DELETE", f"/api/orders/{NOBODYS}", None),
    ("POST", f"/api/orders/{NOBODYS}/extension", None),
    ("POST", "/api/payments", {"orderId": NOBODYS, "token": "tok_visa"}),
]


@pytest.mark.parametrize(("method", "path", "body"), NEED_A_USER)
async def test_only_who_has_signed_in_may_do_this(house: House, method: str, path: str, body: Any) -> None:
    async with stranger(house) as client:
        refused(await client.request(method, path, json=body), 401)


# Tickets


async def test_a_listed_ticket_is_shown_whole_to_everybody(house: House) -> None:
    (ann,) = await house.people("ann")
    name = title()
    answer = await ann.ask("POST", "/api/tickets", {"title": name, "price": "12.50"})
    assert answer.status_code == 201
    ticket = answer.json()
    assert set(ticket) == TICKET_FIELDS
    UUID(ticket["id"])
    expected = {"title": name, "price": 12.5, "currency": "USD", "userId": ann.id, "orderId": None, "status": "available"}
    assert {**ticket, **expected} == ticket
    assert (ticket["version"], ticket["lockedUntil"]) == (1, None)
    async with stranger(house) as client:
        answer = await client.get(f"/api/tickets/{ticket['id']}")
        assert (answer.status_code, answer.json()) == (200, ticket)


@pytest.mark.parametrize("ticket_id", [NOBODYS, "1", "x", "mine2", "%00", "..%2F", "💥", "0" * 36, "0" * 10_000])
async def test_a_ticket_that_is_not_there_is_not_found(house: House, ticket_id: str) -> None:
    (ann,) = await house.people("ann")
    path = f"/api/tickets/{ticket_id}"
    refused(await ann.ask("GET", path), 404)
    refused(await ann.ask("PUT", path, {"title": "x", "price": 1}), 404)
    refused(await ann.ask("DELETE", path), 404)
    refused(await ann.ask("PUT", f"{path}/note", {"note": "x"}), 404)


async def test_only_its_seller_edits_a_ticket(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    ticket = await listed(ann)
    refused(await bob.edits(ticket, "Mine", 1), 403)
    refused(await bob.ask("DELETE", f"/api/tickets/{ticket['id']}"), 403)
    assert await bob.ticket(ticket) == ticket
    answer = await ann.edits(ticket, "🎫 Balcony", 0.50)
    assert answer.status_code == 200
    assert answer.json() == ticket | {"title": "🎫 Balcony", "price": 0.5, "version": 2}


async def test_a_change_to_what_has_changed_meanwhile_is_refused(house: House) -> None:
    (ann,) = await house.people("ann")
    ticket = await listed(ann)
    path, changed = f"/api/tickets/{ticket['id']}", {"title": "Second row", "price": 40}
    answer = await ann.client.put(path, json={**changed, "version": ticket["version"]})
    assert (answer.status_code, answer.json()["version"]) == (200, ticket["version"] + 1)
    refused(await ann.client.put(path, json={"title": "Third row", "price": 1, "version": ticket["version"]}), 409, "version")
    assert (await ann.client.get(path)).json()["title"] == "Second row"
    assert (await ann.client.put(path, json={"title": "Third row", "price": 50})).status_code == 200  # Without, the last one wins.
    for version in (0, -1, "1", 1.5, 2**31, True):
        refused(await ann.client.put(path, json={**changed, "version": version}), 400, "version")


async def test_a_note_is_its_sellers_until_somebody_has_paid(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    ticket = (await ann.ask("POST", "/api/tickets", {"title": title(), "price": 5, "note": "🎫\n" * 1000})).json()
    assert set(ticket) == TICKET_FIELDS
    path = f"/api/tickets/{ticket['id']}/note"
    assert (await ann.ask("GET", path)).json() == {"note": "🎫\n" * 1000}
    refused(await bob.ask("PUT", path, {"note": "x"}), 403)
    refused(await ann.ask("PUT", path, {"note": "x" * 2001}), 400, "note")
    order, nobodys = await bob.buys(ticket), f"/api/tickets/{NOBODYS}/note"
    unpaid, unknown = await asyncio.gather(bob.ask("GET", path), bob.ask("GET", nobodys))
    assert refused(unpaid, 404) == refused(unknown, 404)
    await bob.pays(order)
    answer = await bob.ask("GET", path)
    assert (answer.status_code, answer.json()) == (200, {"note": "🎫\n" * 1000})


async def test_a_withdrawn_ticket_is_there_for_its_seller_alone(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    ticket = await listed(ann)
    path = f"/api/tickets/{ticket['id']}"
    answer = await ann.ask("DELETE", path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await ann.ask("DELETE", path)).status_code == 204
    assert (await ann.ticket(ticket))["status"] == "withdrawn"
    refused(await ann.edits(ticket, "Again", 1), 409)
    refused(await bob.ask("GET", path), 404)
    refused(await bob.edits(ticket, "Mine", 1), 404)
    async with stranger(house) as client:
        refused(await client.get(path), 404)
    assert [found["id"] for found in (await ann.ask("GET", "/api/tickets/mine")).json()] == [ticket["id"]]

    async def is_known() -> bool:  # Orders hears of it a moment later.
        return "withdrawn" in (await bob.tries_to_buy(ticket)).json().get("type", "")

    await eventually(is_known)
    refused(await bob.tries_to_buy(ticket), 409)


async def test_a_locked_ticket_says_until_when_and_cannot_be_changed(house: House) -> None:
    ann, bob, eve = await house.people("ann", "bob", "eve")
    ticket = await listed(ann)
    order = await bob.buys(ticket)
    locked = await eve.sees_ticket(ticket, "locked")
    assert locked["orderId"] == order["id"]
    assert datetime.fromisoformat(locked["lockedUntil"]) > datetime.fromisoformat(order["expiresAt"])
    refused(await ann.edits(ticket, "Dearer", 100), 409)
    refused(await ann.ask("DELETE", f"/api/tickets/{ticket['id']}"), 409)
    refused(await eve.tries_to_buy(ticket), 409)


async def found(client: httpx.AsyncClient, **query: Any) -> list[Json]:
    answer = await client.get("/api/tickets", params=query)
    assert answer.status_code == 200, answer.text
    tickets: list[Json] = answer.json()
    return tickets


async def test_tickets_are_searched_sorted_and_filtered_by_price(house: House) -> None:
    (ann,) = await house.people("ann")
    word = uuid4().hex
    for suffix, price in (("a", 30), ("b", 10), ("c", 20)):
        await ann.lists(f"{word} {suffix}", price)
    async with stranger(house) as client:
        assert [ticket["price"] for ticket in await found(client, q=word)] == [20, 10, 30]
        assert [ticket["price"] for ticket in await found(client, q=word.upper(), sort="newest")] == [20, 10, 30]
        assert [ticket["price"] for ticket in await found(client, q=word, sort="cheapest")] == [10, 20, 30]
        assert [ticket["price"] for ticket in await found(client, q=word, sort="cheapest", min="10.01", max=30)] == [20, 30]
        assert [ticket["price"] for ticket in await found(client, q=word, min=40)] == []
        assert all(set(ticket) == TICKET_FIELDS for ticket in await found(client))


@pytest.mark.parametrize("sort", ["newest", "cheapest"])
async def test_pages_are_linked_and_hold_everything_once(house: House, sort: str) -> None:
    (ann,) = await house.people("ann")
    word = uuid4().hex
    everything = {(await ann.lists(f"{word} & {number}", 5 + number % 2))["id"] for number in range(5)}
    async with stranger(house) as client:
        pages = [await client.get("/api/tickets", params={"q": f"{word} &", "sort": sort, "limit": 2})]
        while "next" in pages[-1].links:
            query = parse_qs(urlsplit(pages[-1].links["next"]["url"]).query)
            assert (query["q"], query["limit"]) == ([f"{word} &"], ["2"])
            pages.append(await client.get(pages[-1].links["next"]["url"]))
    assert [len(page.json()) for page in pages] == [2, 2, 1]
    ids = [ticket["id"] for page in pages for ticket in page.json()]
    assert set(ids) == everything
    assert len(ids) == 5


async def test_what_is_not_for_sale_is_not_listed_but_is_still_mine(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    word = uuid4().hex
    free, locked, withdrawn, sold = [await ann.lists(f"{word} {number}", 5) for number in range(4)]
    await bob.buys(locked)
    await ann.ask("DELETE", f"/api/tickets/{withdrawn['id']}")
    await bob.pays(await reserved(bob, sold))
    await ann.sees_ticket(locked, "locked")
    await ann.sees_ticket(sold, "sold")
    assert [ticket["id"] for ticket in await found(ann.client, q=word)] == [free["id"]]
    mine = (await ann.ask("GET", "/api/tickets/mine")).json()
    assert [ticket["status"] for ticket in mine] == ["sold", "withdrawn", "locked", "available"]
    first = await ann.client.get("/api/tickets/mine", params={"limit": 3})
    rest = await ann.client.get(first.links["next"]["url"])
    assert first.json() + rest.json() == mine
    assert (await bob.ask("GET", "/api/tickets/mine")).json() == []


# Orders


async def test_an_order_is_answered_whole(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    ticket = await listed(ann)
    answer = await bob.ask("POST", "/api/orders", {"ticketId": ticket["id"], "price": ticket["price"]})
    assert answer.status_code == 201
    order = answer.json()
    assert set(order) >= ORDER_FIELDS
    assert (order["status"], order["reason"], order["userId"], order["version"]) == ("created", None, bob.id, 1)
    assert order["ticket"] == {"id": ticket["id"], "title": ticket["title"], "price": ticket["price"]}
    left = datetime.fromisoformat(order["expiresAt"]) - datetime.fromisoformat(order["serverTime"])
    assert left.total_seconds() == 900
    again = await bob.sees_order(order, "awaiting:payment")
    assert again["version"] == 2
    assert {name: again[name] for name in ("id", "expiresAt", "ticket")} == {name: order[name] for name in ("id", "expiresAt", "ticket")}


async def test_another_price_than_the_one_that_was_seen_is_refused_and_named(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    ticket = await listed(ann)
    answer = await bob.ask("POST", "/api/orders", {"ticketId": ticket["id"], "price": 5})
    assert "49.90" in refused(answer, 409, "price")["detail"]
    assert (await bob.ask("GET", "/api/orders")).json() == []


async def test_a_price_that_has_just_been_changed_is_waited_for(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    ticket = await listed(ann)
    await ann.edits(ticket, ticket["title"], 60)
    answer = await bob.ask("POST", "/api/orders", {"ticketId": ticket["id"], "price": 60})
    assert answer.status_code == 201


async def test_a_ticket_nobody_has_listed_cannot_be_ordered(house: House) -> None:
    (bob,) = await house.people("bob")
    refused(await bob.ask("POST", "/api/orders", {"ticketId": str(uuid4())}), 404)


async def test_an_order_that_is_cancelled_frees_the_ticket_and_may_be_cancelled_again(house: House) -> None:
    ann, bob, eve = await house.people("ann", "bob", "eve")
    ticket = await listed(ann)
    order = await bob.buys(ticket)
    for _ in range(2):
        answer = await bob.cancels(order)
        assert (answer.status_code, answer.content) == (204, b"")
    cancelled = await bob.order(order)
    assert (cancelled["status"], cancelled["reason"]) == ("cancelled", "by_buyer")
    assert (await eve.tries_to_buy(ticket)).status_code == 201


@pytest.mark.parametrize("order_id", [NOBODYS, "1", "%00", "💥"])
async def test_an_order_that_is_not_there_is_not_found(house: House, order_id: str) -> None:
    (bob,) = await house.people("bob")
    refused(await bob.ask("GET", f"/api/orders/{order_id}"), 404)
    refused(await bob.ask("GET", f"/api/orders/{order_id}/history"), 404)
    refused(await bob.ask("DELETE", f"/api/orders/{order_id}"), 404)
    refused(await bob.ask("POST", f"/api/orders/{order_id}/extension"), 404)


async def test_anothers_order_is_not_found(house: House) -> None:
    ann, bob, eve = await house.people("ann", "bob", "eve")
    order = await reserved(bob, await listed(ann))
    refused(await eve.ask("GET", f"/api/orders/{order['id']}"), 404)
    refused(await eve.cancels(order), 404)
    refused(await eve.extends(order), 404)
    refused(await eve.pays(order), 404)
    refused(await ann.ask("GET", f"/api/orders/{order['id']}"), 404)
    refused(await eve.ask("GET", f"/api/orders/{order['id']}/history"), 404)
    assert (await eve.ask("GET", "/api/orders")).json() == []
    assert (await bob.order(order))["status"] == "awaiting:payment"


async def test_a_buyer_has_five_minutes_more_once_even_before_the_order_is_confirmed(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    ticket = await listed(ann)
    order = (await bob.tries_to_buy(ticket)).json()
    answers = [await bob.extends(order) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    first, again = (answer.json() for answer in answers)
    more = datetime.fromisoformat(first["expiresAt"]) - datetime.fromisoformat(order["expiresAt"])
    assert (first["extended"], first["version"], more.total_seconds()) == (True, 3, 300)
    assert again | {"serverTime": None} == first | {"serverTime": None}
    assert (await bob.order(order))["expiresAt"] == first["expiresAt"]
    await bob.cancels(order)
    assert refused(await bob.extends(order), 409)["title"] == "Order ended"


async def test_orders_are_paged_newest_first(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    made = [(await bob.buys(await listed(ann)))["id"] for _ in range(3)]
    first = await bob.client.get("/api/orders", params={"limit": 2})
    rest = await bob.client.get(first.links["next"]["url"])
    assert "next" not in rest.links
    assert [order["id"] for order in first.json() + rest.json()] == made[::-1]


async def test_ones_orders_are_listed_by_status(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    cancelled, paid, active = [await reserved(bob, await listed(ann)) for _ in range(3)]
    assert (await bob.cancels(cancelled)).status_code == 204
    await bob.pays(paid)
    await bob.sees_order(paid, "complete")

    async def ids(status: str) -> list[str]:
        return [order["id"] for order in (await bob.client.get("/api/orders", params={"status": status})).json()]

    assert await ids("active") == [active["id"]]
    assert await ids("complete") == [paid["id"]]
    assert await ids("cancelled") == [cancelled["id"]]
    assert await ids("created") + await ids("awaiting:payment") == [active["id"]]
    assert len((await bob.client.get("/api/orders")).json()) == 3
    page = await bob.client.get("/api/orders", params={"status": "active", "limit": "1"})
    assert "link" not in page.headers
    refused(await bob.client.get("/api/orders", params={"status": "open"}), 400, "status")


async def test_a_buyer_holds_eight_unpaid_orders_and_no_more(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    tickets = [await listed(ann) for _ in range(9)]
    for ticket in tickets[:8]:
        await bob.buys(ticket)
    assert "8" in refused(await bob.tries_to_buy(tickets[8]), 409)["detail"]


# Payments


async def test_a_paid_order_is_complete_and_stays_so(house: House) -> None:
    ann, bob, eve = await house.people("ann", "bob", "eve")
    ticket = await listed(ann)
    order = await reserved(bob, ticket)
    answer = await bob.pays(order)
    assert answer.status_code == 201
    assert set(answer.json()) == {"id", "orderId", "status", "stripeId"}
    assert (await bob.order(order))["status"] == "complete"
    refused(await bob.pays(order), 409)
    refused(await bob.cancels(order), 409)
    refused(await eve.tries_to_buy(ticket), 409)
    await ann.sees_ticket(ticket, "sold")
    refused(await ann.edits(ticket, "x", 1), 409)


async def test_an_order_that_was_just_made_may_be_paid_at_once(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    assert (await bob.pays(await bob.buys(await listed(ann)))).status_code == 201


async def test_the_third_declined_card_ends_the_order(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await reserved(bob, await listed(ann))
    for left in ("2 more tries", "1 more try", "is cancelled"):
        problem = refused(await bob.pays(order, "tok_chargeDeclined"), 402)
        assert left in problem["detail"]
    assert (await bob.sees_order(order, "cancelled"))["reason"] == "payment_failed"
    refused(await bob.pays(order), 409)


async def test_a_declined_card_may_be_followed_by_a_good_one(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await reserved(bob, await listed(ann))
    refused(await bob.pays(order, "4000 0000 0000 9995"), 402)
    assert (await bob.pays(order, "4242424242424242")).status_code == 201


async def test_a_cancelled_order_is_not_paid(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await reserved(bob, await listed(ann))
    await bob.cancels(order)
    refused(await bob.pays(order), 409)

    async def nothing_is_held() -> bool:  # The cancellation may have been on its way: then the approval is given back.
        held = "SELECT 1 FROM intents WHERE status <> 'voided' AND idempotency_key LIKE $1"
        open_still = "SELECT 1 FROM charges WHERE status <> 'failed' AND order_id = $1"
        rows = await house.rows(TEST_PROCESSOR, held, f"{order['id']}%"), await house.rows("payments", open_still, UUID(order["id"]))
        return rows == ([], [])

    await eventually(nothing_is_held)


@pytest.mark.parametrize("token", ["4111111111111111", "tok_unknown", "5500 0000 0000 0004", "' OR 1=1"])
async def test_what_is_no_test_card_is_refused_and_not_kept(house: House, token: str) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await reserved(bob, await listed(ann))
    answer = await bob.pays(order, token)
    refused(answer, 400, "token")
    assert token not in answer.text
    assert await house.rows("payments", "SELECT 1 FROM charges WHERE order_id = $1", UUID(order["id"])) == []


async def test_an_order_that_never_was_cannot_be_paid(house: House) -> None:
    (bob,) = await house.people("bob")
    refused(await bob.pays({"id": str(uuid4())}), 404)


# Everything else


@pytest.mark.parametrize(
    "path", ["/api/nothing", "/api/users/nobody", "/api/ticketsandmore", "/api/orders/x/y", "/api/payments/1", "/api/tickets/a/b/c"]
)
async def test_anything_else_is_not_found_as_a_problem(house: House, path: str) -> None:
    (ann,) = await house.people("ann")
    refused(await ann.ask("GET", path), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/users/signup"),
        ("DELETE", "/api/users/currentuser"),
        ("PUT", "/api/tickets"),
        ("POST", f"/api/tickets/{NOBODYS}"),
        ("PATCH", f"/api/orders/{NOBODYS}"),
        ("PUT", "/api/orders"),
        ("GET", f"/api/orders/{NOBODYS}/extension"),
        ("PUT", "/api/payments"),
        ("DELETE", "/api/payments"),
    ],
)
async def test_a_wrong_method_is_refused_and_the_right_ones_are_named(house: House, method: str, path: str) -> None:
    (ann,) = await house.people("ann")
    answer = await ann.ask(method, path)
    refused(answer, 405)
    allowed = set(re.findall(r"[A-Z]+", answer.headers["allow"]))
    assert allowed
    assert method not in allowed


async def test_a_message_can_be_read_without_its_field(house: House) -> None:
    (ann,) = await house.people("ann")
    said = refused(await ann.client.post("/api/orders", json={"ticketId": 1, "colour": "red"}), 400, "ticketId", "colour")
    assert [error["message"] for error in said["errors"]] == ["The ticket id must be an id.", "colour is not known here."]
    assert said["detail"] == "The ticket id must be an id. colour is not known here."
    said = refused(await ann.client.post("/api/users/signup", json={}), 400, "email", "password")
    assert [error["message"] for error in said["errors"]] == ["The e-mail address is required.", "The password is required."]


async def test_every_answer_can_be_traced_and_a_trace_may_be_brought_along(house: House) -> None:
    (ann,) = await house.people("ann")
    UUID((await ann.ask("GET", "/api/tickets")).headers["x-correlation-id"])
    mine = str(uuid4())
    answer = await ann.ask("POST", "/api/tickets", {"title": title(), "price": 1}, **{"X-Correlation-Id": mine})
    assert answer.headers["x-correlation-id"] == mine
    said = await house.rows("tickets", "SELECT correlation_id FROM outbox WHERE data ->> 'ticket_id' = $1", answer.json()["id"])
    assert said == [{"correlation_id": UUID(mine)}]


async def test_the_process_says_that_it_lives_and_is_ready(house: House) -> None:
    async with stranger(house) as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).json()["ready"] is True
        assert "python_info" in (await client.get("/metrics")).text


@pytest.mark.parametrize("path", ["/api/users/currentuser", "/api/tickets", "/api/tickets/mine", "/api/orders"])
async def test_no_cache_keeps_an_answer_of_the_api(house: House, path: str) -> None:
    (ann,) = await house.people("ann")
    assert (await ann.ask("GET", path)).headers["cache-control"] == "no-store"


# Other front ends

FRONT_END = "https://app.tickets.example"


async def test_another_front_end_that_is_named_may_call_the_api(own_house: House) -> None:
    await own_house.start(ADMITONE_ALLOWED_ORIGINS=f"{FRONT_END}, https://other.example")
    (ann,) = await own_house.people("ann")
    asks = {"Origin": FRONT_END, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = await ann.client.options("/api/tickets", headers=asks)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == FRONT_END
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "idempotency-key" in preflight.headers["access-control-allow-headers"]
    for method, path, body in (("POST", "/api/tickets", {"title": "Front row", "price": 30}), ("GET", "/api/tickets", None)):
        answer = await ann.client.request(method, path, json=body, headers={"Origin": FRONT_END})
        assert answer.is_success
        assert answer.headers["access-control-allow-origin"] == FRONT_END
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "origin" in answer.headers["vary"].lower()
    wrong = await ann.client.post("/api/tickets", json={}, headers={"Origin": FRONT_END})
    assert wrong.headers["access-control-allow-origin"] == FRONT_END  # So that the front end can read what is wrong.
    page = await ann.client.post("/sell", data={"title": "Front row", "price": "30"}, headers={"Origin": FRONT_END})
    assert page.status_code == 403  # The pages' forms are the pages' own.


async def test_a_front_end_that_is_not_named_is_refused_with_the_name_of_the_setting(own_house: House) -> None:
    await own_house.start()
    (ann,) = await own_house.people("ann")
    answer = await ann.client.post("/api/tickets", json={"title": "Front row", "price": 30}, headers={"Origin": FRONT_END})
    assert "ADMITONE_ALLOWED_ORIGINS" in refused(answer, 403)["detail"]
    assert "access-control-allow-origin" not in answer.headers
    assert f"{FRONT_END} is none of our origins: see ADMITONE_ALLOWED_ORIGINS" in own_house.log()
    asks = {"Origin": FRONT_END, "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in (await ann.client.options("/api/tickets", headers=asks)).headers
