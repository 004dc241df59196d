"""An open page, as far as it listens: what its event stream says, one message after the other."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape

import httpx
from web.browser import Browser

HEAR_WITHIN_SECONDS = 10


@dataclass
class Heard:
    event: str
    at: str
    data: str

    @property
    def text(self) -> str:
        return " ".join(unescape(self.data).split())


class Watcher:
    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def hears(self, text: str = "") -> Heard:
        """The next message with this text, but for the beats. Changes within a tenth of a second may be told as one."""
        async with asyncio.timeout(HEAR_WITHIN_SECONDS):
            while (heard := await self._next()).event == "beat" or text not in heard.data:
                pass
            return heard

    async def beat(self) -> Heard:
        """The next message, which has to be a beat: there was nothing else to be told."""
        async with asyncio.timeout(HEAR_WITHIN_SECONDS):
            heard = await self._next()
        assert heard.event == "beat", heard
        return heard

    async def hears_of(self, ticket: str) -> Heard:
        """The next message about that ticket: others may be sold meanwhile, as all tests share one marketplace."""
        while ticket.rpartition("/")[2] not in (heard := await self.hears()).data:
            pass
        return heard

    async def ends(self) -> None:
        async with asyncio.timeout(HEAR_WITHIN_SECONDS):
            async for _ in self._lines:
                pass

    async def _next(self) -> Heard:
        lines: list[str] = []
        async for line in self._lines:
            if line:
                lines.append(line)
            elif lines:
                found = [line.partition(": ") for line in lines]
                event, at = (next(value for name, _, value in found if name == wanted) for wanted in ("event", "id"))
                return Heard(event, at, "\n".join(value for name, _, value in found if name == "data"))
        raise EOFError("the stream has ended")


@asynccontextmanager
async def watching(browser: Browser, path: str, since: str | None = None) -> AsyncIterator[Watcher]:
    """What the page at this path hears once it is open, from where it was made, or from another place."""
    await browser.open(path)
    stream, made_at = stream_of(browser.page)
    async with browser.client.stream(
        "GET", stream, params=httpx.URL(stream).params.set("since", made_at if since is None else since)
    ) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield Watcher(answer)


def stream_of(page: httpx.Response) -> tuple[str, str]:
    """Where a page listens, and from which place on."""
    found = re.search(r'<div id="live"[^>]*>', page.text)
    assert found, page.text
    attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', found[0]))
    return unescape(attributes["data-stream"]), attributes["data-since"]
