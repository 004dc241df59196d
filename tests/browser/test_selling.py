"""The form that sells, while it is being filled in."""

import re

from browser.conftest import Visit
from playwright.async_api import expect
from support.house import House

from admitone.web.wording import shares

PRICES = ("0.5", "0.50", "1", "19.99", "33.33", "123.45", "1999.99", "999999.99", "0.49", "12,50", "much", "1000000")
FEES = (0, 1, 250, 333, 9999)


async def test_who_types_a_price_reads_what_they_get_and_it_is_what_the_server_says(house: House, visit: Visit) -> None:
    [ann] = await house.people("ann")
    visitor = await visit(ann)
    await visitor.opens("/sell")
    said = visitor.main.get_by_role("status").and_(visitor.page.locator("output"))
    price = visitor.page.get_by_label(re.compile("^Price"))
    await price.fill("62.50")
    await expect(said).to_have_text("The buyer pays $62.50, you get $62.50.")
    for fee in FEES:
        await said.evaluate("(output, fee) => { output.dataset.fee = fee }", fee)
        for amount in PRICES:
            await price.fill(amount)
            assert await said.text_content() == shares(amount, fee, "USD"), (amount, fee)


async def test_a_list_that_changes_closes_nothing_that_was_opened_in_it(house: House, visit: Visit) -> None:
    ann, bob = await house.people("ann", "bob")
    kept, sold = await ann.lists("Front row", 20), await ann.lists("Back row", 10)
    visitor = await visit(ann)
    await visitor.opens("/listings")
    await visitor.page.get_by_label("Withdraw … Front row").click()
    await bob.buys(sold)
    await visitor.sees("Somebody is paying for it, so it can’t be changed now.")
    await visitor.clicks("Yes, withdraw it")
    await visitor.sees("You have taken it off the market.")
    await ann.sees_ticket(kept, "withdrawn")
