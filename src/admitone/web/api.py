"""A typed client of the other services' HTTP API. The pages know the other services only by it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import msgspec

from admitone.config import Settings
from admitone.kit.data.db import Database
from admitone.kit.observe.log import client_address, correlation, log
from admitone.web.answers import Attempt, HistoryLine, Item, Order, Page, Proof, Session, Ticket

PAGE_SIZE = 24
SERVICE_OF = {"users": "auth", "tickets": "tickets", "orders": "orders", "payments": "payments"}
"""Whose the paths below /api/ are."""
ANSWER_WITHIN_SECONDS = 12
"""Longer than the five seconds that payments waits for an outcome."""
NOTHING_BEGUN = ("processor-away",)
"""Refusals with a 503 that say for certain that nothing was done; any other 503 may have had its effect."""


class Away(Exception):
    """Another service does not answer."""


class Refused(Exception):
    """A refusal of the API, with its reason."""

    def __init__(self, status: int, kind: str, detail: str, errors: list[dict[str, str]]) -> None:
        super().__init__(f"{status} {kind}: {detail}")
        self.status = status
        self.kind = kind
        """The last word of the problem's type, such as `ticket-taken`."""
        self.detail = detail
        self.errors = errors


class _Note(msgspec.Struct):
    note: str


class _Error(msgspec.Struct):
    message: str
    field: str | None = None


class _Problem(msgspec.Struct, rename="camel"):
    type: str = ""
    detail: str = ""
    errors: list[_Error] = []


def client_of(settings: Settings, _db: Database | None) -> httpx.AsyncClient:
    """One client for all visitors. It keeps no cookies, or one visitor's session would travel with another's request."""
    urls = {prefix: httpx.URL(settings.url_of(service)) for prefix, service in SERVICE_OF.items()}

    async def to_its_service(request: httpx.Request) -> None:
        url = urls[request.url.path.split("/")[2]]
        request.url = request.url.copy_with(scheme=url.scheme, host=url.host, port=url.port)
        request.headers["Host"] = url.netloc.decode()

    return httpx.AsyncClient(
        event_hooks={"request": [to_its_service]},
        base_url=settings.services_url,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        timeout=httpx.Timeout(ANSWER_WITHIN_SECONDS, connect=2),
        # An idle connection is given up before the server does so (after 75 s), so that no request meets a closed door.
        limits=httpx.Limits(max_connections=200, max_keepalive_connections=40, keepalive_expiry=2),
        trust_env=False,
    )


class Api:
    """What one visitor may ask of the other services. Every method raises Refused or Away."""

    def __init__(self, client: httpx.AsyncClient, cookie: str = "", browser: str = "") -> None:
        self._client = client
        self._cookie = cookie
        """The visitor's session, as the Cookie header has it."""
        self._browser = browser
        """What the visitor's browser calls itself: a new session keeps it."""

    async def sign_up(self, email: str, password: str) -> str:
        """The Set-Cookie header of the new session."""
        return _session(await self._call("POST", "/api/users/signup", {"email": email, "password": password}))

    async def sign_in(self, email: str, password: str) -> str:
        return _session(await self._call("POST", "/api/users/signin", {"email": email, "password": password}))

    async def refresh(self) -> str:
        return _session(await self._call("POST", "/api/users/refresh", {}))

    async def sign_out(self) -> str:
        return _session(await self._call("POST", "/api/users/signout", {}))

    async def change_password(self, current: str, new: str) -> None:
        await self._call("POST", "/api/users/password", {"currentPassword": current, "password": new})

    async def sessions(self) -> list[Session]:
        """Where the visitor is signed in, newest first."""
        return _read(await self._call("GET", "/api/users/sessions"), list[Session])

    async def end_session(self, session_id: UUID) -> None:
        await self._call("DELETE", f"/api/users/sessions/{session_id}")

    async def end_all_sessions(self) -> str:
        """The Set-Cookie header that takes this one away, too."""
        return _session(await self._call("DELETE", "/api/users/sessions"))

    async def search(self, wanted: Mapping[str, str]) -> Page[Ticket]:
        return _page(await self._call("GET", "/api/tickets", params={**wanted, "limit": str(PAGE_SIZE)}), Ticket)

    async def my_tickets(self, cursor: str) -> Page[Ticket]:
        answer = await self._call("GET", "/api/tickets/mine", params={"cursor": cursor})
        found = _page(answer, Ticket)
        return Page([_at(ticket, answer) for ticket in found.items], found.cursor)

    async def ticket(self, ticket_id: UUID) -> Ticket:
        answer = await self._call("GET", f"/api/tickets/{ticket_id}")
        return _at(_read(answer, Ticket), answer)

    async def list_ticket(self, title: str, price: str, key: str, note: str = "") -> Ticket:
        form = {"title": title, "price": price} | ({"note": note} if note else {})
        return _read(await self._call("POST", "/api/tickets", form, key=key), Ticket)

    async def edit_ticket(self, ticket_id: UUID, title: str, price: str, version: int | None) -> None:
        """With the version that the visitor saw, the change of a ticket that is another one by now is refused."""
        await self._call("PUT", f"/api/tickets/{ticket_id}", {"title": title, "price": price} | ({"version": version} if version else {}))

    async def withdraw(self, ticket_id: UUID) -> None:
        await self._call("DELETE", f"/api/tickets/{ticket_id}")

    async def note(self, ticket_id: UUID) -> str:
        """What the seller leaves for the buyer, empty where there is nothing. Nobody else may read it."""
        return _read(await self._call("GET", f"/api/tickets/{ticket_id}/note"), _Note).note

    async def write_note(self, ticket_id: UUID, note: str) -> None:
        await self._call("PUT", f"/api/tickets/{ticket_id}/note", {"note": note})

    async def buy(self, ticket_id: UUID, price: str, key: str) -> Order:
        return _read(await self._call("POST", "/api/orders", {"ticketId": str(ticket_id), "price": price}, key=key), Order)

    async def my_orders(self, cursor: str) -> Page[Order]:
        return _page(await self._call("GET", "/api/orders", params={"cursor": cursor}), Order)

    async def order(self, order_id: UUID) -> Order:
        return _read(await self._call("GET", f"/api/orders/{order_id}"), Order)

    async def history(self, order_id: UUID) -> list[HistoryLine]:
        """What happened to an order so far, oldest first."""
        return _read(await self._call("GET", f"/api/orders/{order_id}/history"), list[HistoryLine])

    async def extend(self, order_id: UUID) -> None:
        """More time to pay; a second time changes nothing."""
        await self._call("POST", f"/api/orders/{order_id}/extension", {})

    async def proof(self) -> Proof:
        """What the last published check has found; refused with a 404 where nothing was published yet."""
        return _read(await self._call("GET", "/api/orders/proof"), Proof)

    async def cancel(self, order_id: UUID) -> None:
        await self._call("DELETE", f"/api/orders/{order_id}")

    async def pay(self, order_id: UUID, token: str, key: str) -> None:
        """Begin a payment; `payments` returns its state."""
        await self._call("POST", "/api/payments", {"orderId": str(order_id), "token": token}, key=key)

    async def payments(self, order_id: UUID) -> list[Attempt]:
        """Every try to pay for an order, the last one last."""
        return _read(await self._call("GET", "/api/payments", params={"orderId": str(order_id)}), list[Attempt])

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, str | int] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        headers = {"X-Correlation-Id": str(correlation()), "Accept": "application/json"}
        if client := client_address.get():
            headers["X-Forwarded-For"] = client.partition("/")[0]
        if self._cookie:
            headers["Cookie"] = self._cookie
        if self._browser.isascii() and self._browser.isprintable():
            headers["User-Agent"] = self._browser
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            answer = await self._client.request(method, path, json=body, params=params, headers=headers)
        except httpx.TransportError as error:
            log.warning("service_unavailable", message="a service does not answer", path=path, error=repr(error))
            raise Away(path) from error
        if answer.is_success:
            return answer
        refused = _refusal(answer)
        if answer.status_code in (502, 503, 504) and refused.kind not in NOTHING_BEGUN:
            raise Away(path)
        raise refused


def _refusal(answer: httpx.Response) -> Refused:
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem()
    errors = [{"field": error.field or "", "message": error.message} for error in problem.errors]
    return Refused(answer.status_code, problem.type.rpartition(":")[2], problem.detail, errors)


def _read(answer: httpx.Response, wanted: type[Item]) -> Item:
    try:
        return msgspec.json.decode(answer.content, type=wanted)
    except msgspec.DecodeError as error:
        log.error("answer_unreadable", message="an answer can't be read", path=answer.url.path, error=str(error))
        raise Away(answer.url.path) from error


def _page(answer: httpx.Response, wanted: type[Item]) -> Page[Item]:
    items: list[Item] = _read(answer, list[wanted])  # type: ignore[valid-type]
    link = answer.links.get("next", {}).get("url", "")
    cursors = parse_qs(urlsplit(link).query).get("cursor", [])
    return Page(items, cursors[0] if cursors else None)


def _session(answer: httpx.Response) -> str:
    return str(answer.headers.get("set-cookie", ""))


def _at(ticket: Ticket, answer: httpx.Response) -> Ticket:
    """The ticket with the time of the answer, by the answering server's clock."""
    return ticket if ticket.server_time else msgspec.structs.replace(ticket, server_time=clock_of(answer) or datetime.now(UTC))


def clock_of(answer: httpx.Response) -> datetime | None:
    """The answering server's clock. What somebody in between has made of it may be no time of any zone."""
    try:
        date = parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):
        return None
    return date if date.tzinfo is not None else None
