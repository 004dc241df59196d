"""An order's page changes under the eyes of its buyer, and never under their hands."""

import re

from browser.conftest import Visit
from browser.visitor import CARD, DECLINED_CARD, GOOD_CARD, PAY, YOURS, Visitor, order_path
from playwright.async_api import expect
from support.house import House

STILL_HERE = "window.stillHere = true"


async def never_reloaded(visitor: Visitor) -> bool:
    return bool(await visitor.page.evaluate("window.stillHere === true"))


async def test_whatever_happens_elsewhere_a_card_that_is_being_typed_stays(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 20))
    visitor = await visit(bob)
    await visitor.opens(order_path(order))
    await visitor.page.evaluate(STILL_HERE)
    card = visitor.page.get_by_label(CARD)
    await card.press_sequentially(GOOD_CARD[:9])
    await bob.extends(order)
    await visitor.sees(re.compile("five minutes more, which is given once"))
    await expect(visitor.page.get_by_role("timer")).to_contain_text(re.compile("1[89]:"))
    await visitor.sees_no("I need more time")
    await bob.pays(order, "tok_chargeDeclined")
    await visitor.sees("2 more tries")
    await expect(card).to_be_focused()
    await visitor.page.keyboard.type(GOOD_CARD[9:])
    await expect(card).to_have_value(GOOD_CARD)
    assert await never_reloaded(visitor)
    await visitor.clicks(PAY)
    await visitor.sees(YOURS)


async def test_a_second_window_sees_the_payment_and_the_list_of_orders_too(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 20))
    window, the_list = await visit(bob), await visit(bob)
    await window.opens(order_path(order))
    await the_list.opens("/orders")
    await the_list.sees(re.compile("to pay", re.IGNORECASE))
    for visitor in (window, the_list):
        await visitor.page.evaluate(STILL_HERE)
    await bob.pays(order)
    await window.sees("Paid. The ticket is yours.")
    await expect(window.page.get_by_label(CARD)).to_have_count(0)
    await the_list.sees("Paid")
    assert await never_reloaded(window)
    assert await never_reloaded(the_list)


async def test_more_time_by_a_click_and_a_card_that_is_declined_after_it(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 20))
    visitor = await visit(bob)
    await visitor.opens(order_path(order))
    await visitor.clicks("I need more time")
    await visitor.sees(re.compile("five minutes more, which is given once"))
    await visitor.pays(DECLINED_CARD)
    await visitor.sees("2 more tries")
    await visitor.sees(re.compile("five minutes more, which is given once"))
