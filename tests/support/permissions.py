"""Who may do what: every route there is, asked by everybody there is."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx
from support.answers import compare
from support.forgeries import expired, forgeries
from support.house import House, Json, Person

from admitone.apidocs.openapi import operations
from admitone.auth.tokens import read_key
from admitone.services import SERVICES

SIGN_IN = "to sign in"
"""A page that is for somebody who is signed in: 303 to /signin."""
AT_ONCE = 6
NOTE = "Your code at the door: 7431-9020"
CARD = "4242424242424242"

Answer = int | str
Question = tuple[str, str, str | None, Answer]
"""Route, who asks, with which cookie, and what is to be answered."""
Row = tuple[Answer, Answer, Answer, Answer]


def everybody(answer: int) -> Row:
    return answer, answer, answer, answer


def signed_in(answer: int) -> Row:
    return 401, answer, answer, answer


def signed_in_at_a_page(answer: int) -> Row:
    return SIGN_IN, answer, answer, answer


ALLOWED: dict[str, Row] = {
    # What anybody may see. Ann's ticket is locked by Bob's order, which waits for the bank's confirmation of his payment.
    # route: (nobody who is signed in, a stranger, the seller Ann, the buyer Bob)
    "GET /api/users/currentuser": everybody(200),
    "GET /api/users/jwks.json": everybody(200),
    "GET /api/tickets": everybody(200),
    "GET /api/tickets/{ticketId}": everybody(200),
    "GET /": everybody(200),
    "GET /tickets/{ticketId}": everybody(200),
    "GET /api/orders/proof": everybody(404),  # Nobody has published one.
    "GET /proof": everybody(200),
    "GET /live/listings": everybody(200),
    "GET /live/orders": everybody(200),  # A stream says to ask again, and to nobody but the buyer; so does the next.
    "GET /live/orders/{orderId}": everybody(200),
    "GET /live/tickets": everybody(200),
    "GET /live/tickets/{ticketId}": everybody(200),
    "GET /static/{name}": everybody(200),
    "GET /signin": (200, 303, 303, 303),
    "GET /signup": (200, 303, 303, 303),
    "GET /tickets/{ticketId}/withdrawal": everybody(303),  # Back to the page of the ticket; so are the next four.
    "GET /tickets/{ticketId}/note": everybody(303),
    "GET /orders/{orderId}/extension": everybody(303),
    "GET /orders/{orderId}/payment": everybody(303),
    "GET /orders/{orderId}/cancellation": everybody(303),
    "GET /account/password": everybody(303),  # To the account; so are the next two.
    "GET /account/sessions/end": everybody(303),
    "GET /account/sessions/{sessionId}/end": everybody(303),
    # One's own.
    "GET /api/users/sessions": signed_in(200),
    "GET /account": signed_in_at_a_page(200),
    "POST /api/users/password": signed_in(400),  # That is not their password.
    "POST /account/password": signed_in_at_a_page(400),
    "GET /api/tickets/mine": signed_in(200),
    "GET /api/orders": signed_in(200),
    "GET /listings": signed_in_at_a_page(200),
    "GET /orders": signed_in_at_a_page(200),
    "GET /sell": signed_in_at_a_page(200),
    # The seller's, and locked while somebody pays.
    "PUT /api/tickets/{ticketId}": (401, 403, 409, 403),
    "DELETE /api/tickets/{ticketId}": (401, 403, 409, 403),
    "PUT /api/tickets/{ticketId}/note": (401, 403, 200, 403),
    "GET /api/tickets/{ticketId}/note": (401, 404, 200, 404),  # The buyer's, too, once it is paid.
    "GET /tickets/{ticketId}/edit": (SIGN_IN, 403, 303, 403),
    "POST /tickets/{ticketId}/edit": (SIGN_IN, 403, 409, 403),
    "POST /tickets/{ticketId}/withdrawal": (SIGN_IN, 403, 409, 403),
    "POST /tickets/{ticketId}/note": (SIGN_IN, 403, 303, 403),
    # The buyer's: for anybody else there is no such order.
    "GET /api/orders/{orderId}": (401, 404, 404, 200),
    "GET /api/orders/{orderId}/history": (401, 404, 404, 200),
    "GET /api/payments": (401, 404, 404, 200),
    "GET /orders/{orderId}": (SIGN_IN, 404, 404, 200),
    "POST /api/orders/{orderId}/extension": (401, 404, 404, 200),
    "POST /api/payments": (401, 404, 404, 409),  # There is a payment under way.
    "POST /orders/{orderId}/payment": (SIGN_IN, 404, 404, 303),
    "POST /orders/{orderId}/extension": (SIGN_IN, 404, 404, 303),  # They have had it; a second time changes nothing.
    # What is taken already is refused to everybody.
    "POST /api/orders": signed_in(409),
    "POST /orders": signed_in_at_a_page(409),
    "POST /api/users/signup": everybody(409),
    "POST /signup": everybody(409),
    # The processor's, who signs what it says.
    "POST /api/payments/webhook": everybody(400),
    # For who knows the address, which nobody is told but the buyer.
    "GET /api/payments/{chargeId}/return": everybody(303),
    "GET /api/payments/test-bank/{intentId}": everybody(200),
    # What has an effect comes last, and in this order.
    "POST /api/tickets": signed_in(201),
    "POST /sell": signed_in_at_a_page(303),
    "POST /api/payments/test-bank/{intentId}/refusal": everybody(303),
    "POST /api/payments/test-bank/{intentId}/approval": everybody(303),
    "POST /orders/{orderId}/cancellation": (SIGN_IN, 404, 404, 303),
    "DELETE /api/orders/{orderId}": (401, 404, 404, 204),
    "POST /api/users/refresh": (401, 200, 200, 200),
    "DELETE /api/users/sessions/{sessionId}": signed_in(204),  # It is nobody's.
    "POST /account/sessions/{sessionId}/end": signed_in_at_a_page(303),
    "POST /api/users/signin": everybody(200),  # The session that one brought along ends.
    "POST /signin": everybody(303),
    "POST /account/sessions/end": signed_in_at_a_page(303),
    "DELETE /api/users/sessions": signed_in(204),
    "POST /signout": everybody(303),
    "POST /api/users/signout": everybody(200),
}
ENDED = "Bob, with a token that has ended"
FOR_ANYBODY = ("/signin", "/refusal", "/approval")
"""They have their effect whoever asks."""
ROUTES = {f"{operation.method} {operation.path}" for service in SERVICES for operation in operations(service)}


@dataclass
class Scene:
    house: House
    client: httpx.AsyncClient
    ann: Person
    bob: Person
    eve: Person
    ticket: Json
    order: Json
    charge_id: str
    intent_id: str

    def request(self, route: str, cookie: str | None) -> httpx.Request:
        """As good a request as there can be, by whoever has that cookie."""
        method, _, path = route.partition(" ")
        ids = {"ticketId": self.ticket["id"], "orderId": self.order["id"], "chargeId": self.charge_id, "intentId": self.intent_id}
        ids["sessionId"] = str(uuid4())
        path = re.sub(r"\{(\w+)\}", lambda found: {**ids, "name": "style.css"}[found[1]], path)
        if route == "GET /api/payments":
            path += "?orderId=" + self.order["id"]
        headers = {} if cookie is None else {"Cookie": f"session={cookie}"}
        body = self.body(method, path)
        if not path.startswith("/api/") and method == "POST":
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            return self.client.build_request(method, path, headers=headers | form, content=urlencode(body or {}))
        return self.client.build_request(method, path, headers=headers, json=body)

    def body(self, method: str, path: str) -> Any:
        ticket = {"title": "A seat of one's own", "price": "12.50"}
        match method, path.removeprefix("/api").removeprefix("/users"):
            case "POST", "/password" | "/account/password":
                return {"currentPassword": "not their password", "password": "battery staple"}
            case "POST", "/signup" | "/signin":
                return {"email": self.eve.email, "password": "correct horse"}
            case ("POST", "/tickets" | "/sell"):
                return ticket
            case "PUT", changed:
                return {"note": NOTE} if changed.endswith("/note") else ticket
            case "POST", changed if changed.endswith("/edit"):
                return ticket | {"note": NOTE}
            case "POST", changed if changed.endswith("/note"):
                return {"note": NOTE}
            case "POST", "/orders":
                return {"ticketId": self.ticket["id"]} if path.startswith("/api") else {"ticket": self.ticket["id"], "price": "20.00"}
            case "POST", "/payments":
                return {"orderId": self.order["id"], "token": "tok_visa"}
            case "POST", paid if paid.endswith("/payment"):
                return {"card": CARD}
        return None

    async def asks(self, route: str, cookie: str | None) -> tuple[Answer, str]:
        """The status, and all that the answer says. Of a stream, its first words."""
        request = self.request(route, cookie)
        if "/live/" in route:
            async with httpx.AsyncHTTPTransport() as wire:
                stream = await wire.handle_async_request(request)
                assert isinstance(stream.stream, httpx.AsyncByteStream)
                first = [chunk async for chunk in _first(stream.stream)]
                return stream.status_code, b"".join(first).decode()
        answer = await self.client.send(request)
        compare(answer)
        leads_to_sign_in = answer.status_code == 303 and answer.headers["location"].startswith("/signin")
        return SIGN_IN if leads_to_sign_in else answer.status_code, f"{answer.headers}\n{answer.text}"

    async def rows(self) -> dict[str, list[Json]]:
        """All that these three have."""
        people = [UUID(person.id) for person in (self.ann, self.bob, self.eve)]
        order, ticket = UUID(self.order["id"]), UUID(self.ticket["id"])
        wanted = (
            ("auth", "SELECT * FROM users WHERE user_id = ANY($1) ORDER BY user_id", people),
            ("auth", "SELECT session_id, user_id, expires_at, ended_at FROM sessions WHERE user_id = ANY($1) ORDER BY session_id", people),
            ("tickets", "SELECT * FROM tickets WHERE seller_id = ANY($1) ORDER BY ticket_id", people),
            ("tickets", "SELECT * FROM notes WHERE ticket_id = $1", ticket),
            ("orders", "SELECT * FROM orders WHERE user_id = ANY($1) ORDER BY order_id", people),
            (
                "payments",
                "SELECT charge_id, status, failure, stripe_refund_id FROM charges WHERE order_id = $1 ORDER BY charge_id",
                order,
            ),
        )
        return {sql: await self.house.rows(service, sql, value) for service, sql, value in wanted}


async def _first(stream: httpx.AsyncByteStream) -> AsyncIterator[bytes]:
    async for chunk in stream:
        yield chunk
        break


async def scene_of(house: House) -> Scene:
    ann, bob, eve = await house.people("ann", "bob", "eve")
    ticket = (await ann.ask("POST", "/api/tickets", {"title": "Front row", "price": 20, "note": NOTE})).json()
    order = await bob.buys(ticket)
    assert (await bob.extends(order)).status_code == 200
    assert (await bob.pays(order, "tok_threeDSecure2Required")).status_code == 202
    await ann.sees_ticket(ticket, "locked")
    await house.at_rest()
    [charge] = await house.rows("payments", "SELECT charge_id, stripe_id FROM charges WHERE order_id = $1", UUID(order["id"]))
    nobodys_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # Or what one is given would be sent by another.
    client = httpx.AsyncClient(base_url=house.url, timeout=30, verify=False, cookies=nobodys_cookies)
    return Scene(house, client, ann, bob, eve, ticket, order, str(charge["charge_id"]), charge["stripe_id"])


def questions(scene: Scene, forgeries_each: int | None) -> tuple[list[Question], list[Question]]:
    """Those that are to change nothing, and those that may. Each route is asked with so many of the forgeries, in turn; or with all."""
    key = read_key(Path(scene.house.settings["ADMITONE_SIGNING_KEY_FILE"]))
    bobs = scene.bob.client.cookies["session"]
    people = {"nobody": None, **{person.email: person.client.cookies["session"] for person in (scene.eve, scene.ann, scene.bob)}}
    false, ended = forgeries(bobs, key, victim=scene.ann.id), expired(bobs, key)
    in_turn = cycle(false.items())
    harmless: list[Question] = []
    effective: list[Question] = []
    for route, row in ALLOWED.items():
        for (who, cookie), expected in zip(people.items(), row, strict=True):
            changes_nothing = is_harmless(route, expected) or (who == "nobody" and not route.endswith(FOR_ANYBODY))
            (harmless if changes_nothing else effective).append((route, who, cookie, expected))
        if not route.endswith(FOR_ANYBODY):
            harmless += [(route, f"a token: {what}", cookie, row[0]) for what, cookie in islice(in_turn, forgeries_each or len(false))]
        # Of a token that has ended the API knows nothing; the pages, and who asks for a new one, look at the session behind it.
        expected = row[3 if "/api/" not in route or route.endswith("/refresh") else 0]
        if is_harmless(route, expected) or route.endswith("/refresh"):
            harmless.append((route, ENDED, ended, expected))
    return harmless, effective


def is_harmless(route: str, expected: Answer) -> bool:
    return route.startswith("GET ") or expected == SIGN_IN or int(expected) >= 400


async def found_wrong(house: House, forgeries_each: int | None = None) -> tuple[int, list[str]]:
    """How many requests were made, and a sentence for each that was not answered as the table says, or had an effect it must not have."""
    scene = await scene_of(house)
    wrong: list[str] = []
    few_at_once = asyncio.Semaphore(AT_ONCE)

    async def tries(route: str, who: str, cookie: str | None, expected: Answer) -> None:
        async with few_at_once:
            answer, text = await scene.asks(route, cookie)
        if answer != expected:
            wrong.append(f"{route} answers {answer} to {who}, not {expected}")
        bobs = who in (scene.bob.email, ENDED)
        if not bobs and (scene.bob.email in text or scene.bob.id in text):
            wrong.append(f"{route} shows {who} who Bob is")
        if who != scene.ann.email and NOTE in text:
            wrong.append(f"{route} shows {who} Ann's note")

    harmless, effective = questions(scene, forgeries_each)
    before = await scene.rows()
    async with scene.client:
        await asyncio.gather(*(tries(*question) for question in harmless))
        after = await scene.rows()
        wrong += [f"this has changed: {sql}\n{before[sql]}\n{after[sql]}" for sql in before if before[sql] != after[sql]]
        for question in effective:
            await tries(*question)
    return len(harmless) + len(effective), wrong
