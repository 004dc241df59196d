"""Who buys and sells meanwhile: at a steady rate, whatever becomes of it. A few tickets are very hot, most are not."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from prove.chaos.history import History, Json
from prove.chaos.talk import LOST, Line
from support.optional import filled_in

HOT = 3
PEOPLE_AT_FIRST = 30
COLD_AT_FIRST = 20
MAX_UNDER_WAY = 80
MAX_OWED_SECONDS = 3.0
"""Requests that could not be made while everybody waited are made up for, but not endlessly."""
TRIES = 6
RENEW_AFTER_SECONDS = 600.0
"""A session's token lives 15 minutes."""
THROUGH_THE_GATEWAY = 0.25
DECIDED = ("note", "price")
"""Optional fields that the crowd fills in itself, because what it sends there is looked for."""
UNCLEAR_STATUSES = (500, 502, 503, 504)
PASSWORD = "correct horse"


@dataclass
class Person:
    id: str
    email: str
    cookie: str
    since: float


@dataclass
class Offer:
    """A ticket, as its seller knows it."""

    id: str
    seller: Person
    title: str
    price: float
    hot: bool


@dataclass
class Answer:
    """What was said to a request; without a status, nothing was."""

    status: int | None
    body: Json
    unclear: bool

    @property
    def done(self) -> bool:
        return self.status is not None and self.status < 300 and not self.unclear


@dataclass
class Crowd:
    """Everybody, what they offer, and what they are told."""

    gateway: Line
    services: Mapping[str, Line]
    """By the beginning of their paths: an ingress would lead there by itself, so most requests don't trouble the gateway."""
    history: History
    chance: random.Random
    per_second: float
    requests: int = 0
    unclear: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    slow_down: asyncio.Event = field(default_factory=asyncio.Event)
    people: list[Person] = field(default_factory=list)
    hot: list[Offer] = field(default_factory=list)
    cold: list[Offer] = field(default_factory=list)
    gone: list[Offer] = field(default_factory=list)
    _sold: set[str] = field(default_factory=set)
    _numbers: int = 0

    async def gathers(self) -> None:
        """Enough people and tickets to begin with."""
        await asyncio.gather(*(self.signs_up() for _ in range(PEOPLE_AT_FIRST)))
        await asyncio.gather(*(self.lists(hot=number < HOT) for number in range(HOT + COLD_AT_FIRST)))

    async def goes_on(self) -> None:
        """Visits begin as often as the rate wants requests; until `slow_down`, and until those that have begun are over."""
        since, asked, owed = time.monotonic(), self.requests, 0.0
        under_way: set[asyncio.Task[None]] = set()
        while not self.slow_down.is_set():
            owed += (time.monotonic() - since) * self.per_second - (self.requests - asked)
            owed = min(owed, MAX_OWED_SECONDS * self.per_second)
            since, asked = time.monotonic(), self.requests
            if owed > 0 and len(under_way) < MAX_UNDER_WAY:
                task = asyncio.create_task(self.visits())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.sleep(0.02)
        await asyncio.gather(*under_way)

    async def visits(self) -> None:
        """Somebody does something."""
        what: dict[Callable[[], Awaitable[Any]], int] = {
            self.signs_up: 2,
            self.signs_in: 1,
            self.lists: 14,
            self.edits: 8,
            self.withdraws: 2,
            self.writes_note: 4,
            self.looks_around: 14,
            self.many_want_the_same: 7,
            self.buys_hot: 14,
            self.buys_cold: 30,
        }
        [visit] = self.chance.choices([*what], [*what.values()])
        await visit()

    async def signs_up(self) -> None:
        email = f"{uuid4().hex[:12]}@example.com"
        await self.tries_for(None, "sign up", "POST", "/api/users/signup", {"email": email, "password": PASSWORD})

    async def signs_in(self) -> None:
        await self.asks(None, "sign in", "POST", "/api/users/signin", {"email": self.somebody().email, "password": PASSWORD})

    async def lists(self, hot: bool = False) -> None:
        seller = self.somebody()
        self._numbers += 1
        body = {"title": f"Seat {self._numbers}", "price": self.price()}
        if self.chance.random() < 0.3:
            body["note"] = f"The code is {uuid4().hex[:6]}"
        answer = await self.tries_for(seller, "list", "POST", "/api/tickets", body, key=self.maybe_a_key())
        if answer.done:
            offer = Offer(answer.body["id"], seller, str(body["title"]), answer.body["price"], hot)
            (self.hot if hot else self.cold).append(offer)

    async def edits(self) -> None:
        offer = self.something()
        self._numbers += 1
        title = f"{offer.title.partition(',')[0]}, now {self._numbers}"
        body = {"title": title, "price": self.price()}
        answer = await self.asks(offer.seller, "edit", "PUT", f"/api/tickets/{offer.id}", body, ticket=offer.id)
        if answer.done:
            offer.title, offer.price = title, answer.body["price"]
        self.takes_off_if_gone(offer, answer)

    async def withdraws(self) -> None:
        offer = self.something()
        answer = await self.tries_for(offer.seller, "withdraw", "DELETE", f"/api/tickets/{offer.id}", ticket=offer.id)
        if answer.done:
            self.takes_off(offer)

    async def writes_note(self) -> None:
        offer = self.chance.choice(self.gone) if self.gone and self.chance.random() < 0.5 else self.something()
        body = {"note": self.chance.choice(["", f"At the door: {uuid4().hex[:6]}"])}
        await self.asks(offer.seller, "write note", "PUT", f"/api/tickets/{offer.id}/note", body, ticket=offer.id)
        await self.asks(offer.seller, "read note", "GET", f"/api/tickets/{offer.id}/note", ticket=offer.id)

    async def looks_around(self) -> None:
        who, offer = self.somebody(), self.something()
        what = self.chance.choice(["pages", "pages", "list", "ticket", "own"])
        if what == "pages":
            for path in ("/", f"/tickets/{offer.id}", "/orders"):
                await self.asks(who, "browse", "GET", path)
        elif what == "list":
            await self.asks(who, "browse", "GET", "/api/tickets?q=seat&sort=cheapest")
        elif what == "own":
            await self.asks(who, "browse", "GET", "/api/orders")
            await self.asks(who, "browse", "GET", "/api/tickets/mine")
        for _ in range(2):
            await self.asks(who, "see ticket", "GET", f"/api/tickets/{offer.id}", ticket=offer.id)

    async def many_want_the_same(self) -> None:
        offer = self.something_hot()
        await asyncio.gather(*(self.buys(self.somebody(), offer) for _ in range(self.chance.randint(4, 12))))

    async def buys_hot(self) -> None:
        await self.buys(self.somebody(), self.something_hot())

    async def buys_cold(self) -> None:
        await self.buys(self.somebody(), self.something())

    async def buys(self, buyer: Person, offer: Offer) -> None:
        body: Json = {"ticketId": offer.id}
        if self.chance.random() < 0.5:
            body["price"] = offer.price
        key = self.maybe_a_key()

        def click() -> Awaitable[Answer]:
            return self.tries_for(buyer, "buy", "POST", "/api/orders", body, key=key, ticket=offer.id)

        if self.chance.random() < 0.2:
            answers = await asyncio.gather(click(), click())
            answer = next((answer for answer in answers if answer.done), answers[0])
        else:
            answer = await click()
        self.takes_off_if_gone(offer, answer)
        if answer.done:
            await self.goes_on_with(buyer, offer, answer.body["id"])
            await self.sees(buyer, offer, answer.body["id"])

    async def goes_on_with(self, buyer: Person, offer: Offer, order: str) -> None:
        """What becomes of an order that was made."""
        plans = {"pay": 40, "pay twice": 12, "be declined": 10, "cancel": 18, "cancel while paying": 8, "more time": 8, "leave": 6}
        [plan] = self.chance.choices([*plans], [*plans.values()])
        match plan:
            case "pay":
                await self.pays(buyer, offer, order, key=self.maybe_a_key())
            case "pay twice":
                key = self.maybe_a_key()
                others = (key, "tok_visa") if self.chance.random() < 0.5 else (self.maybe_a_key(), "tok_mastercard")
                await asyncio.gather(self.pays(buyer, offer, order, "tok_visa", key), self.pays(buyer, offer, order, others[1], others[0]))
            case "be declined":
                for _ in range(self.chance.randint(1, 3)):
                    await self.pays(buyer, offer, order, "tok_chargeDeclined", self.maybe_a_key())
                if self.chance.random() < 0.5:
                    await self.pays(buyer, offer, order)
            case "cancel":
                await asyncio.sleep(self.chance.uniform(0, 2))
                await self.cancels(buyer, offer, order)
            case "cancel while paying":
                await asyncio.gather(self.pays(buyer, offer, order), self.cancels(buyer, offer, order))
            case "more time":
                path = f"/api/orders/{order}/extension"
                await self.tries_for(buyer, "extend", "POST", path, key=self.maybe_a_key(), ticket=offer.id, order=order)
                await self.sees(buyer, offer, order)
                await (self.pays if self.chance.random() < 0.6 else self.cancels)(buyer, offer, order)

    async def pays(self, buyer: Person, offer: Offer, order: str, token: str = "tok_visa", key: str | None = None) -> None:
        """With a key or without; where payments has not heard of the order yet, again a moment later."""
        body = {"orderId": order, "token": token}
        for _ in range(2 * TRIES):
            answer = await self.tries_for(buyer, "pay", "POST", "/api/payments", body, key=key, ticket=offer.id, order=order)
            if answer.status not in (404, 409) or answer.body.get("title") not in ("Not payable yet", "Order not found"):
                break
            await asyncio.sleep(0.5)
        if answer.done and answer.status == 201:
            self.takes_off(offer)

    async def cancels(self, buyer: Person, offer: Offer, order: str) -> None:
        await self.tries_for(buyer, "cancel", "DELETE", f"/api/orders/{order}", ticket=offer.id, order=order)

    async def sees(self, buyer: Person, offer: Offer, order: str) -> None:
        await self.asks(buyer, "see order", "GET", f"/api/orders/{order}", ticket=offer.id, order=order)

    async def tries_for(self, who: Person | None, do: str, method: str, path: str, body: Json | None = None, **about: Any) -> Answer:
        """As people do: what is unclear is mostly asked again, by the same key if there is one."""
        for _ in range(TRIES):
            answer = await self.asks(who, do, method, path, body, **about)
            if not answer.unclear or self.chance.random() < 0.1:
                break
            await asyncio.sleep(self.chance.uniform(0.1, 1.5))
        return answer

    async def asks(
        self,
        who: Person | None,
        do: str,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        key: str | None = None,
        ticket: str | None = None,
        order: str | None = None,
    ) -> Answer:
        """One request; some people have little patience. What is asked and answered goes into the history."""
        if who is not None and time.monotonic() > who.since + RENEW_AFTER_SECONDS and path != "/api/users/refresh":
            who.since = time.monotonic()
            await self.asks(who, "refresh", "POST", "/api/users/refresh")
        self.requests += 1
        if body is not None:  # The same each time for a key, which stands for one wish.
            body = filled_in(method, path, body, random.Random(key) if key else self.chance, leave=DECIDED)
        shown = None if body is None else {name: value for name, value in body.items() if name != "password"}
        n = self.history.asks(
            time.time(), who=who and who.id, do=do, method=method, path=path, body=shown, key=key, ticket=ticket, order=order
        )
        headers = {"Cookie": f"session={who.cookie}"} if who else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            async with asyncio.timeout(self.chance.choices([1.0, 4.0, 8.0], [10, 45, 45])[0]):
                told = await self.way_to(path).request(method, path, body, headers)
        except (TimeoutError, *LOST) as error:
            why = "timed out" if isinstance(error, TimeoutError) else "connection lost"
            self.history.is_left_alone(n, time.time(), why)
            self.answers[why] += 1
            self.unclear += 1
            return Answer(None, {}, True)
        answer = told.body
        unclear = str(told.status) if told.status in UNCLEAR_STATUSES else None
        self.history.is_told(n, time.time(), told.status, None if do == "browse" and not unclear else answer, unclear)
        self.answers[str(told.status)] += 1
        self.unclear += unclear is not None
        if do in ("sign up", "refresh") and told.status < 300:
            cookie = told.headers["set-cookie"].partition(";")[0].partition("=")[2]
            if who is None:
                assert body is not None
                self.people.append(Person(answer["id"], body["email"], cookie, time.monotonic()))
            else:
                who.cookie = cookie
        return Answer(told.status, answer if isinstance(answer, dict) else {}, unclear is not None)

    def way_to(self, path: str) -> Line:
        if self.chance.random() < THROUGH_THE_GATEWAY:
            return self.gateway
        return next((line for prefix, line in self.services.items() if path.startswith(prefix)), self.gateway)

    def takes_off_if_gone(self, offer: Offer, answer: Answer) -> None:
        if answer.status == 409 and answer.body.get("title") in ("Ticket sold", "Ticket withdrawn"):
            self.takes_off(offer)

    def takes_off(self, offer: Offer) -> None:
        """Nobody can have it any more; in the place of a hot ticket comes another one."""
        if offer.id in self._sold:
            return
        self._sold.add(offer.id)
        self.gone.append(offer)
        if offer.hot:
            self.hot.remove(offer)
            if self.cold:
                heir = self.cold.pop(self.chance.randrange(len(self.cold)))
                heir.hot = True
                self.hot.append(heir)
        else:
            with contextlib.suppress(ValueError):  # It has become hot meanwhile, and is in no list for a moment.
                self.cold.remove(offer)

    def somebody(self) -> Person:
        return self.chance.choice(self.people)

    def something(self) -> Offer:
        """Mostly one that few want, and not one of long ago."""
        return self.chance.choice(self.cold[-60:]) if self.cold and self.chance.random() < 0.85 else self.something_hot()

    def something_hot(self) -> Offer:
        return self.chance.choice(self.hot or self.cold or self.gone)

    def price(self) -> float:
        return self.chance.randrange(50, 20_000) / 100

    def maybe_a_key(self) -> str | None:
        return f"key-{uuid4().hex[:12]}" if self.chance.random() < 0.6 else None
