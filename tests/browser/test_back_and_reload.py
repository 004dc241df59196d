"""Back, forward and reload at each step of a sale: each page says what is so now, and nothing happens twice."""

import re

from browser.conftest import Visit
from browser.visitor import BUY, CARD, DECLINED_CARD, PAY, TAKEN, YOURS, order_path, ticket_path
from playwright.async_api import expect
from support.house import House, Person


async def test_back_and_reload_while_a_ticket_is_listed(house: House, visit: Visit) -> None:
    [ann] = await house.people("ann")
    visitor = await visit(ann)
    await visitor.opens("/")
    ticket = await visitor.sells("Row A", "10")
    await visitor.page.reload()
    await visitor.sees("Row A")
    await visitor.page.go_back()
    await expect(visitor.page.get_by_label("Title")).to_be_visible()
    await visitor.page.reload()
    await expect(visitor.page.get_by_label("Title")).to_be_visible()
    await visitor.page.go_forward()
    assert visitor.path == ticket
    await visitor.sees("Row A")
    assert len((await ann.ask("GET", "/api/tickets/mine")).json()) == 1


async def test_back_and_reload_while_a_ticket_is_bought_and_paid_for(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    ticket = await ann.lists("Row B", 10)
    visitor = await visit(bob)
    await visitor.opens(ticket_path(ticket))
    await visitor.page.reload()
    order = await visitor.buys()

    # It is held: reloading shows it, going back does not buy it again.
    await visitor.page.reload()
    await expect(visitor.page.get_by_label(CARD)).to_be_visible()
    await visitor.page.go_back()
    await visitor.sees("Row B")
    if await visitor.control(BUY).is_visible():  # The page as the browser had kept it: a second click leads to the same order.
        await visitor.clicks(BUY)
        await visitor.page.wait_for_url(re.compile("/orders/"))
        assert visitor.path == order
    else:
        await visitor.page.go_forward()
        assert visitor.path == order

    # A card that is declined.
    await visitor.pays(DECLINED_CARD)
    await visitor.sees(re.compile("declined"))
    await visitor.page.reload()
    await visitor.sees(re.compile("declined"))
    await visitor.page.go_back()
    await visitor.opens(order)
    await visitor.sees(re.compile("2 more tries"))

    # It is paid: going back does not pay again.
    await visitor.pays()
    await visitor.sees(YOURS)
    await visitor.page.reload()
    await visitor.sees(YOURS)
    await visitor.page.go_back()
    if await visitor.control(PAY).is_visible():
        await visitor.page.get_by_label(CARD).fill("4242 4242 4242 4242")
        await visitor.clicks(PAY)
    await visitor.opens(order)
    await visitor.sees(YOURS)

    await house.at_rest()
    assert await statuses(bob) == ["complete"]
    charges = await house.rows("payments", "SELECT status FROM charges WHERE order_id = $1 ORDER BY attempt", order.rpartition("/")[2])
    assert [charge["status"] for charge in charges] == ["failed", "completed"]


async def test_back_and_reload_when_a_ticket_is_given_back(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Row C", 10))
    visitor = await visit(bob)
    await visitor.opens(order_path(order))
    await visitor.clicks(re.compile("^Cancel"))
    await visitor.sees(re.compile("cancelled"))
    await visitor.page.reload()
    await visitor.sees(re.compile("cancelled"))
    await visitor.page.go_back()
    if await visitor.control(re.compile("^Cancel")).is_visible():
        await visitor.clicks(re.compile("^Cancel"))
    await visitor.opens(order_path(order))
    await visitor.sees(re.compile("cancelled"))
    assert await statuses(bob) == ["cancelled"]


async def test_reload_and_back_after_losing_a_race(house: House, visit: Visit) -> None:
    [ann, bob, cat] = await house.people("ann", "bob", "cat")
    ticket = await ann.lists("Row D", 10)
    visitor = await visit(bob)
    await visitor.scripts(False)
    await visitor.opens(ticket_path(ticket))
    await visitor.sees_control(BUY)
    await cat.buys(ticket)
    await visitor.clicks(BUY)
    await visitor.sees(TAKEN)
    await visitor.page.reload()
    await visitor.sees(TAKEN)
    await visitor.opens(visitor.path)  # As when the address is entered once more.
    await expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
    await visitor.page.go_back()
    assert await statuses(bob) == []


async def test_reload_after_a_form_that_was_wrong(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Row E", 10))
    visitor = await visit(bob)
    await visitor.opens(order_path(order))
    await visitor.pays("4111 1111 1111 1111")
    await expect(visitor.page.get_by_label(CARD)).to_have_attribute("aria-invalid", "true")
    await visitor.page.reload()
    await expect(visitor.page.get_by_label(CARD)).to_be_visible()
    await visitor.pays()
    await visitor.sees(YOURS)


async def statuses(person: Person) -> list[str]:
    return [order["status"] for order in (await person.ask("GET", "/api/orders")).json()]
