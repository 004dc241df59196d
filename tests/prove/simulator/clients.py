"""What people do: they sell, buy, pay, cancel, ask again, click twice. Each is a call of the real route, without HTTP around it."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import msgspec
from litestar import Response
from prove.simulator.processor import CONFIRMED, DECLINED
from prove.simulator.wires import Crash
from support.optional import filled_in

from admitone.auth.commands import sign_up
from admitone.events import OrderEvent, OrderReserved
from admitone.kit.data.db import TRANSIENT
from admitone.kit.http.problem import Problem
from admitone.kit.http.session import User
from admitone.kit.observe.log import correlation_scope
from admitone.orders import routes as orders
from admitone.orders.refusals import RefusalCounter
from admitone.payments import routes as payments
from admitone.payments.commands import ask_for_refund
from admitone.tickets import routes as tickets

if TYPE_CHECKING:
    from prove.simulator.world import Process, World

PEOPLE = ("ann", "bob", "eve", "dan")
PRICES = (4990, 5990, 6990)
FORMS = {
    tickets.list_ticket: ("POST", "/api/tickets"),
    tickets.edit_ticket: ("PUT", "/api/tickets/{ticketId}"),
    orders.create_order: ("POST", "/api/orders"),
    payments.pay: ("POST", "/api/payments"),
}


@dataclass(eq=False)
class Request:
    """Something somebody asks of a service; it may be asked again, with the same key."""

    service: str
    label: str
    run: Callable[["Process"], Coroutine[Any, Any, Any]]
    key: str | None = None
    pays: bool = False
    """Then a call to the processor goes on beside it, when it has had its answer."""
    about: tuple[UUID, ...] = ()
    body: dict[str, Any] = field(default_factory=dict)
    correlations: list[UUID] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)


class Clients:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.users: list[User] = []
        self.asked: list[Request] = []
        self.unclear: list[Request] = []
        """What had no answer, or none that says whether it was done: it is asked again."""
        self._keys = 0
        self._optional = Random(f"{world.seed}: optional fields")
        self.declines = world.dice.choice((1.0, 3.0, 40.0))
        """How many of ten cards and a few are declined, in this history."""

    # Who there is

    def sign_ups(self) -> list[Request]:
        return [Request("auth", f"{name} signs up", lambda process, name=name: self._sign_up(process, name)) for name in PEOPLE]  # type: ignore[misc]

    async def _sign_up(self, process: "Process", name: str) -> None:
        async with process.db.transaction() as tx:
            session = await sign_up(tx, f"{name}@example.com", "not a hash", tx.now)
        self.users.append(User(id=session.user_id, email=session.email, session_id=session.session_id, expires=0.0))
        self.world.names[session.user_id] = name

    # What they do

    def draw(self) -> Request | None:
        """Somebody's next request, or None when there is nothing that anybody could do."""
        dice, book = self.world.dice, self.world.book
        if self.unclear and dice.random() < 0.6:
            return self.unclear.pop(0)
        if self.asked and dice.random() < 0.1:
            return dice.choice(self.asked[-6:])  # Once more: the answer was lost, or they are impatient.
        if not book.tickets or (len(book.tickets) < 3 and dice.random() < 0.15):
            return self.sell()
        open_orders = book.find(lambda order: order.status in ("created", "awaiting:payment"))
        payable, free = self.payable(), self.free()
        weights = {
            self.buy: 6.0 if free else 0.5,
            self.crowd: 1.5 if free else 0.2,
            self.edit: 1.3,
            self.withdraw: 0.2,
            self.pay: 12.0 if payable else 0.7 if open_orders else 0.1,
            self.cancel: 0.5 if open_orders else 0.1,
            self.extend: 1.0 if payable else 0.1,
            self.refund: 3.0 if book.find(lambda order: order.status == "complete") else 0.0,
            self.confirm: 3.0 if self._unconfirmed() else 0.0,
        }
        return dice.choices(list(weights), list(weights.values()))[0]()

    def sell(self) -> Request:
        seller, price = self._someone(), self.world.dice.choice(PRICES)
        body = {"title": "Front row", "price": price / 100}
        return self._route("tickets", tickets.list_ticket, f"{self._name(seller)} sells", seller, body)

    def buy(self, ticket_id: UUID | None = None, buyer: User | None = None) -> Request:
        dice, book = self.world.dice, self.world.book
        free = self.free()
        ticket_id = ticket_id or dice.choice(free if free and dice.random() < 0.85 else list(book.tickets))
        buyer, body = buyer or self._someone(), {"ticketId": str(ticket_id)}
        if dice.random() < 0.6:  # The price that the page showed, maybe a while ago.
            body |= {"price": dice.choice(book.tickets[ticket_id][-2:]).price_cents / 100}  # type: ignore[dict-item]
        return self._route("orders", orders.create_order, f"{self._name(buyer)} buys {self._name_of(ticket_id)}", buyer, body)

    def crowd(self) -> Request:
        """Several buyers at the same moment: they share a transaction, and some of them want the same ticket."""
        dice = self.world.dice
        wanted = dice.choice(self.free() or list(self.world.book.tickets))
        buyers = dice.sample(self.users, min(len(self.users), dice.choice((2, 3))))
        wishes = [self.buy(wanted if dice.random() < 0.7 else None, buyer) for buyer in buyers]

        async def run(process: "Process") -> None:
            ends = await asyncio.gather(*(wish.run(process) for wish in wishes), return_exceptions=True)
            for end in ends:
                if isinstance(end, BaseException):
                    raise end

        about = tuple({one for wish in wishes for one in wish.about})
        return Request("orders", f"{len(wishes)} buyers at once", run, None, False, about, {})

    def pay(self) -> Request | None:
        found = self._an_order(0.95, payable=True)
        if found is None:
            return None
        return self.pay_for(self.world.book.orders[found[0]][-1])

    def pay_for(self, order: OrderEvent, token: str | None = None) -> Request:
        dice, order_id, buyer = self.world.dice, order.order_id, self._user(order.user_id)
        token = token or dice.choices(("tok_visa", DECLINED, CONFIRMED), (6.0, self.declines, 1.0))[0]
        label = f"{self._name(buyer)} pays {self._name_of(order_id)} with {token}"
        return self._route("payments", payments.pay, label, buyer, {"orderId": str(order_id), "token": token}, processor=True)

    def cancel(self) -> Request | None:
        found = self._an_order(0.9)
        if found is None:
            return None
        order_id, buyer = found
        label = f"{self._name(buyer)} cancels {self._name_of(order_id)}"
        return self._route("orders", orders.cancel_order, label, buyer, order_id=order_id)

    async def cancel_newest(self, process: "Process") -> None:
        """Whoever has bought last thinks better of it at once."""
        order = [history[-1] for history in self.world.book.orders.values()][-1:]
        if order and order[0].status == "created":
            arguments = {"db": process.db, "user": self._user(order[0].user_id), "order_id": order[0].order_id}
            await self._answer(orders.cancel_order, arguments)

    def extend(self) -> Request | None:
        found = self._an_order(0.95)
        if found is None:
            return None
        order_id, buyer = found
        label = f"{self._name(buyer)} extends {self._name_of(order_id)}"
        return self._route("orders", orders.extend_order, label, buyer, {}, order_id=order_id)

    def edit(self, ticket_id: UUID | None = None) -> Request:
        dice, book = self.world.dice, self.world.book
        ticket_id = ticket_id or dice.choice(list(book.tickets))
        ticket = book.tickets[ticket_id][-1]
        body = {"title": dice.choice(("Front row", "Front row", "Last row")), "price": dice.choice(PRICES) / 100}
        label = f"the seller edits {self._name_of(ticket_id)} to {body['title']} at {body['price']}"
        return self._route("tickets", tickets.edit_ticket, label, self._user(ticket.seller_id), body, ticket_id=ticket_id)

    def withdraw(self, ticket_id: UUID | None = None) -> Request:
        ticket_id = ticket_id or self.world.dice.choice(list(self.world.book.tickets))
        seller = self._user(self.world.book.tickets[ticket_id][-1].seller_id)
        label = f"the seller withdraws {self._name_of(ticket_id)}"
        return self._route("tickets", tickets.withdraw_ticket, label, seller, ticket_id=ticket_id)

    def refund(self) -> Request | None:
        """An operator at the command line."""
        complete = self.world.book.find(lambda order: order.status == "complete")
        if not complete:
            return None
        order_id, relist = self.world.dice.choice(complete).order_id, self.world.dice.random() < 0.7

        async def run(process: "Process") -> None:
            async with process.db.transaction() as tx:
                await ask_for_refund(tx, order_id, "the show is off", relist, tx.now)

        label = f"an operator refunds {self._name_of(order_id)}{' and relists it' if relist else ''}"
        return Request("payments", label, lambda process: self._quietly(run(process)))

    def confirm(self) -> Request:
        """On the bank's page: no service of ours hears of it but by a notice, or by looking."""
        intent = self.world.dice.choice(self._unconfirmed())
        approve = self.world.dice.random() < 0.7

        async def run(_process: "Process") -> None:
            if intent.state == "needs_confirmation":
                self.world.processor.confirm(intent, approve)
                self.world.saw("a payment was confirmed at the bank")

        return Request("payments", f"a buyer {'confirms' if approve else 'refuses'} at the bank", run)

    def notice(self) -> Request:
        """The processor tells us of a payment."""
        request = cast("Any", SimpleNamespace(body=self._nothing, headers={}))
        route = cast("Any", payments.receive_webhook)
        return Request(
            "payments",
            "the processor sends a notice",
            lambda process: self._quietly(route.fn(request, process.db, self.world.processor)),
        )

    def rivals(self) -> list[Request]:
        """Requests that get in each other's way: over one ticket, or by one buyer, or for one order."""
        dice, book = self.world.dice, self.world.book
        tickets = [ticket_id for ticket_id in book.tickets]
        open_orders = book.find(lambda order: order.status in ("created", "awaiting:payment"))
        match dice.choice((0, 0, 0, 0, 1, 1, 1, 2, 3, 3, 4, 4, 4, 5)):
            case 0 if tickets:
                ticket_id = dice.choice(tickets)
                return [self.buy(ticket_id), self.buy(ticket_id)]
            case 1 if tickets:
                ticket_id = dice.choice(tickets)
                return [self.edit(ticket_id), dice.choice((self.edit, self.withdraw))(ticket_id)]
            case 2 if open_orders:
                return [request for request in (self.cancel(), dice.choice((self.extend, self.cancel))()) if request is not None]
            case 4 if len(free := self.free()) > 1:
                buyer = self._someone()
                return [self.buy(ticket_id, buyer) for ticket_id in dice.sample(free, 2)]
            case 5:
                return [self.sell(), self.sell()]
            case 3 if self.payable():
                return [request for request in (self.pay(), self.pay()) if request is not None]
        request = self.draw()
        return [request, request] if request is not None else []

    # How they ask

    def _route(
        self,
        service: str,
        route: Any,
        label: str,
        user: User,
        body: dict[str, Any] | None = None,
        processor: bool = False,
        **path: Any,
    ) -> Request:
        takes_request = body is not None
        if body is not None and route in FORMS:
            body = filled_in(*FORMS[route], body, self._optional, leave=("price",))  # What price somebody saw, `buy` has drawn.
        key = None
        if takes_request and route is not tickets.edit_ticket and self.world.dice.random() < 0.6:
            self._keys += 1
            key = f"key {self._keys}"
        about = [*path.values(), *(UUID(body[field]) for field in ("ticketId", "orderId") if body and field in body)]
        label_with_key = label + (f" ({key})" if key else "")
        request = Request(service, label_with_key, lambda process: run(process), key, processor, tuple(about), body or {})

        async def run(process: "Process") -> None:
            arguments: dict[str, Any] = {"db": process.db, "user": user, **path}
            if takes_request:
                arguments["request"] = self._http(route, body, key, path)
            if processor:
                arguments["processor"] = self.world.processor
            if route is tickets.list_ticket:
                arguments["settings"] = self.world.settings
            if route is orders.create_order:
                arguments |= {"orders": process.orders, "refusals": RefusalCounter()}
            correlation = self.world.uuid()
            request.correlations.append(correlation)
            known = self._has_had_its_effect(request)
            try:
                with correlation_scope(correlation):
                    status, answer = await self._answer(route, arguments)
            except Crash:
                self.unclear.append(request)
                raise
            if status == 503:
                self.unclear.append(request)
            self._answered(request, label, status, answer, known)

        self.asked.append(request)
        return request

    async def _answer(self, route: Any, arguments: dict[str, Any]) -> tuple[int, bytes]:
        try:
            answer = await route.fn(**arguments)
        except Problem as problem:
            self.world.saw(f"refused: {type(problem).__name__}")
            return problem.status, msgspec.json.encode(problem.document())
        except TRANSIENT:
            return 503, b""
        if isinstance(answer, Response):
            return answer.status_code or 200, msgspec.json.encode(answer.content)
        return 200, b""

    def _answered(self, request: Request, label: str, status: int, answer: bytes, known: bool) -> None:
        self.world.tell("a client", f"{label} -> {status}", *request.about)
        if status >= 500 and status != 503:
            self.world.broken("error", f"{label}: {status}")
        if request.key is None or status == 503:
            return
        if known and 400 <= status < 500 and status != 402:
            self.world.broken("I12", f"{label}: it had its effect, and asked again with the same key it is refused with {status}")
        if status in (200, 201):
            if request.answers and request.answers[0] != (status, answer) and request.service != "payments":
                self.world.broken("I12", f"{label}: the same key got another answer")
            elif request.answers:
                self.world.saw("the same key got the same answer")
            elif known:
                self.world.saw("an answer that was lost was given again")
            request.answers.append((status, answer))

    def _has_had_its_effect(self, request: Request) -> bool:
        return request.key is not None and any(self.world.book.effects.get(correlation) for correlation in request.correlations)

    def _http(self, route: Any, body: dict[str, Any] | None, key: str | None, path: dict[str, Any]) -> Any:
        headers = {"content-type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        data = msgspec.json.encode(body)

        async def read() -> bytes:
            return data

        url = SimpleNamespace(path=f"/{route.fn.__name__}/{'/'.join(map(str, path.values()))}")
        return SimpleNamespace(headers=headers, body=read, method="POST", url=url)

    async def _quietly(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except (Problem, *TRANSIENT) as problem:
            self.world.saw(f"refused: {type(problem).__name__}")

    async def _nothing(self) -> bytes:
        return b""

    # Looking around

    def _someone(self) -> User:
        return self.world.dice.choice(self.users)

    def _user(self, user_id: UUID) -> User:
        return next(user for user in self.users if user.id == user_id)

    def _name(self, user: User) -> str:
        return self.world.name(user.id)

    def _name_of(self, of: UUID) -> str:
        return self.world.name(of)

    def free(self) -> list[UUID]:
        """Tickets that nobody has, as far as orders knows."""
        book = self.world.book
        held = {order.ticket_id for order in book.find(book.holds)}
        return [ticket_id for ticket_id, history in book.tickets.items() if ticket_id not in held and not history[-1].withdrawn]

    def payable(self) -> list[OrderEvent]:
        """Orders that payments may charge: it has heard that they are confirmed, and no payment is under way."""
        book, world = self.world.book, self.world
        heard = {event.order_id for event in map(book.event, book.heard["payments"]) if isinstance(event, OrderReserved)}
        busy = {intent.order_id for intent in world.processor.intents.values() if intent.alive} | world.under_way()
        return book.find(lambda order: order.status == "awaiting:payment" and order.order_id in heard - busy)

    def _unconfirmed(self) -> list[Any]:
        return [intent for intent in self.world.processor.intents.values() if intent.state == "needs_confirmation"]

    def _an_order(self, open_share: float, payable: bool = False) -> tuple[UUID, User] | None:
        """One of a buyer's, mostly one that is open."""
        dice, book = self.world.dice, self.world.book
        orders = []
        if dice.random() < open_share:
            orders = self.payable() if payable else []
            orders = orders or book.find(lambda order: order.status in ("created", "awaiting:payment"))
        orders = orders or [history[-1] for history in book.orders.values() if history]
        if not orders:
            return None
        order = dice.choice(orders)
        return order.order_id, self._user(order.user_id)
