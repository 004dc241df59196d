"""Prints what the home page costs: the server's time for it with 20 tickets and with 100,000, and what a first visit has to load.

A benchmark, not a test; `make figures` runs it. Two marketplaces are asked in turn, so that a busy moment hits both alike.
"""

import asyncio
import re
import statistics
import time
from html import unescape

import httpx
from limits import head, line
from market import Market, market

FEW, MANY = 20, 100_000
ROUNDS = 100
MAX_TIMES = 3
MAX_KB = 60
PATHS = {
    "the home page": "/",
    "cheapest first": "/?sort=cheapest",
    "a search for a common word": "/?q=front+row",
    "a search for a rare word": "/?q=joshua",
    "a search for nothing that is there": "/?q=zzzz",
}
ASSET = re.compile(r'<(?:script|link|img)\b[^>]*?\b(?:src|href)="([^"]+)"')
IN_STYLE = re.compile(r"url\(\s*[\"']?([^\"')]+)")
FONTS = (".woff2",)


async def main() -> None:
    async with market() as few, market() as many:
        await few.list_many(FEW)
        await many.list_many(MANY)
        await times(few, many)
        async with many.client() as client:
            await first_visit(client)


async def times(few: Market, many: Market) -> None:
    """As the one who asks sees it, on loopback and over a connection that is open already."""
    async with few.client() as of_few, many.client() as of_many:
        paths = {what: (path, path) for what, path in PATHS.items()}
        after = await second_page(of_many)
        # Twenty tickets have no second page: their first one does as much.
        paths["the second page"] = ("/", after)
        paths["the hundredth page"] = ("/", await later_page(of_many, after, 98))
        head(f"the server's time for a page, {MANY:,} tickets to {FEW}, median of {ROUNDS}")
        for what, (path_of_few, path_of_many) in paths.items():
            taken: tuple[list[float], list[float]] = ([], [])
            for _ in range(ROUNDS):
                for client, path, seconds in ((of_few, path_of_few, taken[0]), (of_many, path_of_many, taken[1])):
                    begun = time.perf_counter()
                    (await client.get(path)).raise_for_status()
                    seconds.append(time.perf_counter() - begun)
            one, other = (statistics.median(seconds) * 1000 for seconds in taken)
            line(f"{what}: {one:.1f} ms and {other:.1f} ms", other / one, MAX_TIMES if what == "the home page" else None, "times", 2)


async def second_page(client: httpx.AsyncClient) -> str:
    found = re.search(r'rel="next" href="([^"]+)"', (await client.get("/")).text)
    assert found
    return unescape(found[1])


async def later_page(client: httpx.AsyncClient, path: str, further: int) -> str:
    for _ in range(further):
        found = re.search(r'rel="next" href="([^"]+)"', (await client.get(path)).text)
        assert found
        path = unescape(found[1])
    return path


async def first_visit(client: httpx.AsyncClient) -> None:
    """All that a browser with an empty cache asks for, with the answers' headers. The event stream comes on top, some 300 bytes."""
    page = await client.get("/", headers={"Accept-Encoding": "gzip, deflate, br, zstd"})
    sizes = {"/": weight(page)}
    names = dict.fromkeys(unescape(name) for name in ASSET.findall(page.text))
    for name in list(names):
        if name.partition("?")[0].endswith(".css"):
            style = await client.get(name)
            names |= dict.fromkeys(str(style.url.join(unescape(found)).raw_path, "ascii") for found in IN_STYLE.findall(style.text))
    for name in names:
        if name.startswith("/static/"):
            answer = await client.get(name, headers={"Accept-Encoding": "gzip, deflate, br, zstd"})
            answer.raise_for_status()
            sizes[name.partition("?")[0]] = weight(answer)
    head("a first visit of the home page, over the wire")
    for name, size in sizes.items():
        line(f"  {name}", size, None, "bytes")
    fonts = sum(size for name, size in sizes.items() if name.endswith(FONTS))
    line("all of it, fonts aside", (sum(sizes.values()) - fonts) / 1000, MAX_KB, "KB", 1)
    line("fonts", fonts / 1000, None, "KB", 1)


def weight(answer: httpx.Response) -> int:
    """In bytes, as they came: packed where they were."""
    return answer.num_bytes_downloaded + sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)


if __name__ == "__main__":
    asyncio.run(main())
