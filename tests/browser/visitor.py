"""Somebody at a browser. What is on a page is found as people find it: by its role and its name, never by a class.

ann = (await house.people("ann"))[0]
bob = await visit("bob")
await bob.opens(ticket_path(await ann.lists("Front row", 20)))
await bob.clicks(BUY)
"""

import re
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, CDPSession, ConsoleMessage, Locator, Page, expect
from support.house import Json

BUY = re.compile(r"^Buy\b")
PAY = re.compile(r"^Pay\b")
CARD = re.compile(r"^Card")
YOURS = re.compile(r"\b(is yours|enjoy)\b", re.IGNORECASE)
TAKEN = re.compile(r"\b(taken|sold)\b.*somebody else", re.IGNORECASE | re.DOTALL)
GOOD_CARD = "4242 4242 4242 4242"
DECLINED_CARD = "4000 0000 0000 0002"
CARD_OF_A_CAUTIOUS_BANK = "4000 0000 0000 3220"
PASSWORD = "correct horse"

Name = str | re.Pattern[str]


class Visitor:
    """One person with a window of their own."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.devtools: CDPSession | None = None
        self.amiss: list[str] = []
        """What the browser has complained about: scripts that fail, what the content policy forbids."""
        page.on("pageerror", lambda error: self.amiss.append(str(error)))
        page.on("console", self._hears)

    def _hears(self, message: ConsoleMessage) -> None:
        # A page with another status than 200 is told of here, too, and may well be what a test is about.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.amiss.append(message.text)

    @property
    def path(self) -> str:
        return urlsplit(str(self.page.url)).path

    @property
    def main(self) -> Locator:
        return self.page.get_by_role("main")

    async def opens(self, path: str) -> None:
        await self.page.goto(path)

    async def clicks(self, name: Name) -> None:
        """The button or the link of that name."""
        await self.control(name).click()

    async def scripts(self, on: bool) -> None:
        """Off: a page stays as it was loaded, whatever becomes of the ticket that it shows."""
        if self.devtools is None:
            self.devtools = await self.context.new_cdp_session(self.page)
        await self.devtools.send("Emulation.setScriptExecutionDisabled", {"value": not on})

    async def fills_in(self, **values: str) -> None:
        """By how their labels begin: fills_in(e_mail="ann@example.com")."""
        for label, value in values.items():
            await self.page.get_by_label(re.compile(f"^{label.replace('_', '[- ]')}", re.IGNORECASE)).fill(value)

    def control(self, name: Name) -> Locator:
        return self.page.get_by_role("button", name=name).or_(self.page.get_by_role("link", name=name)).first

    async def sees(self, text: Name) -> None:
        """Somewhere in the middle of the page, now or soon."""
        await expect(self.main).to_contain_text(text)

    async def sees_control(self, name: Name) -> None:
        await expect(self.control(name)).to_be_visible()

    async def sees_no(self, name: Name) -> None:
        await expect(self.control(name)).to_have_count(0)

    async def signs_up(self, email: str) -> None:
        await self.clicks("Sign up")
        await self.fills_in(e_mail=email, password=PASSWORD)
        await self.page.get_by_role("main").get_by_role("button", name="Sign up").click()

    async def sells(self, title: str, price: str) -> str:
        """The path of the ticket's page."""
        await self.clicks("Sell")
        await self.fills_in(title=title, price=price)
        await self.clicks(re.compile("for sale"))
        await self.page.wait_for_url(re.compile("/tickets/"))
        return self.path

    async def buys(self) -> str:
        """The ticket whose page is open; the path of the order's page, once it can be paid."""
        await self.clicks(BUY)
        await self.page.wait_for_url(re.compile("/orders/"))
        await expect(self.page.get_by_label(CARD)).to_be_visible()
        return self.path

    async def pays(self, card: str = GOOD_CARD) -> None:
        await self.page.get_by_label(CARD).fill(card)
        await self.clicks(PAY)

    async def focused(self, wanted: Locator) -> bool:
        if await wanted.count() == 0:
            return False
        found: Any = await wanted.first.evaluate("element => element === document.activeElement")
        return bool(found)

    async def tabs_to(self, wanted: Locator) -> None:
        """By the Tab key alone, from wherever one is."""
        for _ in range(200):
            if await self.focused(wanted):
                return
            await self.page.keyboard.press("Tab")
        raise AssertionError(f"{wanted} is not to be reached with the Tab key on {self.path}")


def ticket_path(ticket: Json) -> str:
    return f"/tickets/{ticket['id']}"


def order_path(order: Json) -> str:
    return f"/orders/{order['id']}"
