"""A real browser, and a house that all of its visitors share. `make browser` runs what is here; `make test` does not."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from browser.chromium import program
from browser.visitor import Visitor
from playwright.async_api import Browser, async_playwright, expect
from support.house import House, Person

Visit = Callable[..., Awaitable[Visitor]]
FAILED = pytest.StashKey[bool]()
PATIENCE_MS = 15_000
"""The machine may be busy: the time only ends a failure."""
expect.set_options(timeout=PATIENCE_MS)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Without a browser there is nothing to run. In CI that is a failure."""
    if program() is None:
        pytest.exit("browser tests: skipped, install chromium", returncode=1 if os.environ.get("CI") else 0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program())
        yield browser
        await browser.close()


@pytest.fixture
async def visit(chromium: Browser, house: House, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Visit]:
    """await visit(): a stranger at a browser; await visit(bob): a Person, signed in. Keywords are those of Playwright's new_context."""
    visitors: list[Visitor] = []

    async def begin(who: Person | None = None, **options: Any) -> Visitor:
        context = await chromium.new_context(base_url=house.url, **options)
        context.set_default_timeout(PATIENCE_MS)
        if who is not None:
            await context.add_cookies(
                [{"name": cookie.name, "value": cookie.value or "", "url": house.url} for cookie in who.client.cookies.jar]
            )
        visitor = Visitor(context, await context.new_page())
        visitors.append(visitor)
        return visitor

    yield begin
    for number, visitor in enumerate(visitors, 1):
        if request.node.stash.get(FAILED, False):
            picture = tmp_path / f"visitor-{number}.png"
            await visitor.page.screenshot(path=picture, full_page=True)
            print(f"visitor {number} is at {visitor.path}: {picture}")
        await visitor.context.close()
    assert [complaint for visitor in visitors for complaint in visitor.amiss] == []
