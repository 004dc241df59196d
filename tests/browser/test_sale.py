"""A sale, as people make it: by clicks, by keys, without scripts."""

import asyncio
import contextlib
import re
from uuid import uuid4

import pytest
from browser.conftest import Visit
from browser.visitor import BUY, CARD, DECLINED_CARD, GOOD_CARD, PAY, TAKEN, YOURS, Visitor, ticket_path
from playwright.async_api import TimeoutError as TookTooLong
from playwright.async_api import expect
from support.house import House


@pytest.mark.parametrize("scripts", [True, False], ids=["with-scripts", "without-scripts"])
async def test_two_strangers_make_a_sale(visit: Visit, scripts: bool) -> None:
    ann, bob = await visit(java_script_enabled=scripts), await visit(java_script_enabled=scripts)
    title = f"Tosca, standing room {uuid4().hex[:8]}"

    await ann.opens("/")
    await ann.signs_up(f"{uuid4().hex}@example.com")
    ticket = await ann.sells(title, "15.50")
    await ann.sees(title)

    await bob.opens("/")
    await bob.signs_up(f"{uuid4().hex}@example.com")
    await bob.page.get_by_role("searchbox").fill(title)
    await bob.page.keyboard.press("Enter")
    await bob.clicks(title)
    await bob.sees("$15.50")
    order = await bob.buys()
    await ann.opens(ticket)
    await ann.sees(re.compile("paying for"))

    await bob.pays(DECLINED_CARD)
    await bob.sees(re.compile("declined"))
    assert bob.path == order
    await bob.pays()
    await bob.sees(YOURS)

    await bob.clicks("My orders")
    await bob.sees(title)
    await bob.sees("Paid")
    await ann.clicks("My listings")
    await ann.sees("Sold")
    await ann.clicks("Sign out")
    await ann.sees_control("Sign in")


async def test_a_stranger_who_wants_to_buy_signs_in_and_is_back_at_the_ticket(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    ticket = await ann.lists("Front row", 20)
    visitor = await visit()
    await visitor.opens(ticket_path(ticket))
    await visitor.clicks(BUY)
    await visitor.fills_in(e_mail=bob.email, password="correct horse")
    await visitor.main.get_by_role("button", name="Sign in").click()
    await visitor.sees("Front row")
    assert visitor.path == ticket_path(ticket)
    await visitor.buys()


@pytest.mark.parametrize("scripts", [True, False], ids=["with-scripts", "without-scripts"])
async def test_of_two_who_click_at_once_one_pays_and_the_other_is_told(house: House, visit: Visit, scripts: bool) -> None:
    ann, *others = await house.people("ann", "bob", "cat")
    ticket = await ann.lists("The last one", 40)
    rivals = [await visit(other, java_script_enabled=scripts) for other in others]
    for rival in rivals:
        await rival.opens(ticket_path(ticket))
        await rival.sees_control(BUY)
    await asyncio.gather(*map(grabs, rivals))
    [winner] = [rival for rival in rivals if rival.path.startswith("/orders/")]
    [loser] = [rival for rival in rivals if rival is not winner]

    await loser.sees(re.compile("somebody", re.IGNORECASE))
    if not scripts:
        await expect(loser.page.get_by_role("alert")).to_contain_text(TAKEN)
    await loser.sees_no(BUY)
    await loser.page.reload()
    await loser.sees(re.compile("somebody", re.IGNORECASE))
    await winner.pays()
    await winner.sees(YOURS)
    await loser.opens(ticket_path(ticket))
    await loser.sees_no(BUY)


async def grabs(visitor: Visitor) -> None:
    """Clicks Buy, and waits for what comes of it. A page that is told in time may take the button away from under the pointer."""
    with contextlib.suppress(TookTooLong):
        await visitor.control(BUY).click(timeout=2000)
    outcome = visitor.page.get_by_label(CARD).or_(visitor.page.get_by_text("somebody"))
    await expect(outcome.first).to_be_visible()


async def test_a_ticket_is_bought_with_the_keyboard_alone(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    title = f"Keys only {uuid4().hex[:8]}"
    await ann.lists(title, 20)
    visitor = await visit(bob)
    keyboard = visitor.page.keyboard
    await visitor.opens("/")
    await keyboard.press("Tab")
    await expect(visitor.page.get_by_role("link", name=re.compile("^Skip"))).to_be_focused()
    await keyboard.press("Enter")
    await visitor.tabs_to(visitor.page.get_by_role("searchbox"))
    await keyboard.type(title)
    await keyboard.press("Enter")
    await visitor.page.wait_for_url(re.compile("q="))
    await visitor.tabs_to(visitor.page.get_by_role("link", name=title))
    await keyboard.press("Enter")
    await visitor.page.wait_for_url(re.compile("/tickets/"))
    await visitor.tabs_to(visitor.page.get_by_role("button", name=BUY))
    await keyboard.press("Enter")
    await visitor.page.wait_for_url(re.compile("/orders/"))
    await expect(visitor.page.get_by_label(CARD)).to_be_visible()
    await visitor.tabs_to(visitor.page.get_by_label(CARD))
    await keyboard.type(GOOD_CARD)
    await visitor.tabs_to(visitor.page.get_by_role("button", name=PAY))
    await keyboard.press("Enter")
    await visitor.sees(YOURS)
