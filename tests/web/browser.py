"""A browser without JavaScript: it knows links, forms and cookies, and follows where it is sent."""

import html
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from uuid import uuid4

import httpx

PASSWORD = "correct horse"


class Browser:
    """One visitor. `page` is the last answer; forms are filled in by their fields' names and sent as they are."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.page = httpx.Response(200)
        self.email = f"visitor-{uuid4().hex[:10]}@example.com"

    @property
    def text(self) -> str:
        """The page as it reads, markup and all, with its entities resolved."""
        return html.unescape(self.page.text)

    @property
    def path(self) -> str:
        return self.page.url.raw_path.decode()

    async def open(self, path: str) -> httpx.Response:
        self.page = await self.client.get(path)
        return self.page

    async def send(self, action: str, /, **filled_in: str) -> httpx.Response:
        """Send the page's form with this action (the end of it is enough), its hidden fields included."""
        form = next(form for form in _forms(self.page) if form[0].endswith(action))
        self.page = await self.client.post(form[0], data={**form[1], **filled_in})
        return self.page

    async def sign_up(self) -> None:
        await self.open("/signup")
        assert (await self.send("/signup", email=self.email, password=PASSWORD)).status_code == 200
        assert self.email in self.text

    async def sell(self, title: str, price: str, note: str = "") -> str:
        """The path of the new ticket's page."""
        await self.open("/sell")
        assert (await self.send("/sell", title=title, price=price, note=note)).status_code == 200, self.text
        return self.path

    async def buy(self, ticket: str) -> str:
        """The path of the order's page, once it can be paid."""
        await self.open(ticket)
        await self.send("/orders")
        order = self.path
        deadline = time.monotonic() + 20
        while "/payment" not in self.text:
            assert time.monotonic() < deadline, self.text
            await self.open(order)
        return order


@asynccontextmanager
async def visitor(url: str) -> AsyncIterator[Browser]:
    """Somebody who is not signed in."""
    async with httpx.AsyncClient(base_url=url, follow_redirects=True, timeout=20, verify=False) as client:
        yield Browser(client)


@asynccontextmanager
async def signed_up(url: str) -> AsyncIterator[Browser]:
    async with visitor(url) as browser:
        await browser.sign_up()
        yield browser


def _forms(page: httpx.Response) -> list[tuple[str, dict[str, str]]]:
    reader = _FormReader()
    reader.feed(page.text)
    return reader.forms


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.textarea: str | None = None

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "form":
            self.forms.append((found["action"], {}))
        elif tag == "input" and self.forms:
            self.forms[-1][1][found["name"]] = found.get("value", "")
        elif tag == "textarea":
            self.textarea = found["name"]
            self.forms[-1][1][self.textarea] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self.textarea is not None:
            text = self.forms[-1][1][self.textarea].removeprefix("\n")
            self.forms[-1][1][self.textarea] = text.replace("\n", "\r\n")  # As browsers send it.
            self.textarea = None

    def handle_data(self, data: str) -> None:
        if self.textarea is not None:
            self.forms[-1][1][self.textarea] += data
