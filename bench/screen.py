"""Prints how soon a change is on the screen of another browser: from the answer to the seller until the other's page shows it.

A benchmark, not a test; `make figures` runs it. It needs chromium and Playwright (`make browser` installs the latter), and says so
where they are missing.
"""

import asyncio
import shutil
import statistics
import time
from typing import Any

from limits import head, line
from market import market

CHANGES = 50
MAX_SECONDS = 1
WAIT_SECONDS = 10
WHEN_SEEN = """text => new Promise(resolve => {
    const seen = () => document.getElementById("live").textContent.includes(text);
    const look = () => seen() && (observer.disconnect(), resolve(Date.now()));
    const observer = new MutationObserver(look);
    observer.observe(document.getElementById("live").parentNode, {subtree: true, childList: true, characterData: true});
    look();
})"""
"""When this text is in the page, in milliseconds since 1970: on one machine that is our clock, too."""


async def main() -> None:
    try:
        from playwright.async_api import async_playwright  # noqa: PLC0415
    except ImportError:
        print("\nfrom a change to another browser's screen: not measured, Playwright is missing (`make browser` installs it)")
        return
    chromium = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
    if chromium is None:
        print("\nfrom a change to another browser's screen: not measured, install chromium")
        return
    async with market() as it, it.client("seller") as seller, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium)
        answer = await seller.post("/api/tickets", json={"title": "Seen by others", "price": 10})
        path = f"/api/tickets/{answer.raise_for_status().json()['id']}"
        head(f"from a change to another browser's screen, {CHANGES} changes")
        for what, address in (("an open ticket", path.removeprefix("/api")), ("an open list", "/?sort=cheapest")):
            page = await browser.new_page()
            await page.goto(it.url + address)
            seconds = [await seconds_to_screen(seller, path, page, number) for number in range(CHANGES)]
            line(f"{what}, median", statistics.median(seconds), None, "s", 3)
            line(f"{what}, p95", statistics.quantiles(seconds, n=20)[-1], MAX_SECONDS, "s", 3)
            await page.close()
        await browser.close()


async def seconds_to_screen(seller: Any, path: str, page: Any, number: int) -> float:
    """Less than nothing, if it was there before the seller heard of it."""
    price = 20 + number + time.time_ns() % 90 / 100
    seeing = asyncio.create_task(page.evaluate(WHEN_SEEN, f"${price:.2f}"))
    await page.evaluate("1")  # By then the page looks for it.
    answer = await seller.put(path, json={"title": "Seen by others", "price": f"{price:.2f}"})
    answered = time.time()
    answer.raise_for_status()
    return float(await asyncio.wait_for(seeing, WAIT_SECONDS)) / 1000 - answered


if __name__ == "__main__":
    asyncio.run(main())
