"""docs/screenshots/*.png anew, which the README shows: the main pages with the tickets of `admitone demo`.

`make screenshots` runs it: a marketplace in a folder that is thrown away, with engines and a port of its own.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import httpx
from browser.chromium import program
from browser.visitor import BUY, CARD
from playwright.async_api import Browser, Page, async_playwright

from admitone.ops.demo.people import email_of, password_of
from admitone.runtime.programs import free_port

TARGET = Path(__file__).parents[2] / "docs" / "screenshots"
SIZES = {"wide": (1280, 860), "phone": (390, 844)}
Scheme = Literal["light", "dark"]
PICTURES: tuple[tuple[str, str, Scheme], ...] = (
    ("list", "wide", "light"),
    ("list", "phone", "dark"),
    ("taken", "phone", "light"),
    ("order", "phone", "light"),
    ("sell", "phone", "dark"),
)
READY_WITHIN_SECONDS = 120


def main() -> None:
    if program() is None:
        sys.exit("There is no browser here to take pictures with: install chromium.")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # The engines may run as another user.
        port = free_port()
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("ADMITONE_", "STRIPE_", "DATABASE_", "NATS_"))
        }
        environment |= {"ADMITONE_DATA": f"{folder}/data", "ADMITONE_PORT": str(port)}
        marketplace = subprocess.Popen([sys.executable, "-m", "admitone.cli", "up"], env=environment, stderr=subprocess.DEVNULL)
        try:
            wait_for(f"http://localhost:{port}/readyz", marketplace)
            subprocess.run([sys.executable, "-m", "admitone.cli", "demo", "--tickets", "120"], env=environment, check=True)
            asyncio.run(take(f"http://localhost:{port}"))
        finally:
            marketplace.terminate()
            marketplace.wait()


def wait_for(url: str, marketplace: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while marketplace.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    sys.exit("The marketplace did not start.")


async def take(url: str) -> None:
    TARGET.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program())
        order, ticket = await something_to_pay(browser, url)
        paths = {"list": "/", "order": order, "taken": ticket, "sell": "/sell"}
        for name, size, scheme in PICTURES:
            width, height = SIZES[size]
            context = await browser.new_context(base_url=url, color_scheme=scheme, viewport={"width": width, "height": height})
            page = await context.new_page()
            if name not in ("list", "taken"):
                await sign_in(page)
            await page.goto(paths[name])
            await page.evaluate("document.fonts.ready")
            picture = TARGET / f"{name}-{size}-{scheme}.png"
            await page.screenshot(path=picture)
            print(picture)
            await context.close()
        await browser.close()


async def sign_in(page: Page) -> None:
    await page.goto("/signin")
    await page.get_by_label("E-mail").fill(email_of("Zawadi"))
    await page.get_by_label("Password").fill(password_of("Zawadi"))
    await page.get_by_role("main").get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/")


async def something_to_pay(browser: Browser, url: str) -> tuple[str, str]:
    """The paths of an order of Zawadi's that is to be paid, and of its ticket."""
    context = await browser.new_context(base_url=url)
    page = await context.new_page()
    await sign_in(page)
    await page.get_by_role("main").get_by_role("list").get_by_role("link").nth(2).click()
    await page.get_by_role("button", name=BUY).wait_for()
    ticket = str(page.url).removeprefix(url)
    await page.get_by_role("button", name=BUY).click()
    await page.get_by_label(CARD).wait_for()
    order = str(page.url).removeprefix(url)
    await context.close()
    return order, ticket


if __name__ == "__main__":
    main()
