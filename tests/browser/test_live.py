"""What happens to a ticket is seen in every open window at once; a page that lost its connection, or its time, catches up by itself."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from browser.conftest import Visit
from browser.visitor import BUY, Visitor, order_path, ticket_path
from browser.wire import wire
from playwright.async_api import Locator, Route, expect
from support.house import House, Json

from admitone.web.api import PAGE_SIZE

PAYING = "Somebody is paying for it"
A_QUARTER_OF_AN_HOUR = re.compile(r"1[45]:\d\d")
WINDOW = {"ADMITONE_ORDER_WINDOW_SECONDS": "6", "ADMITONE_SETTLE_SECONDS": "1"}


async def test_an_open_list_shows_a_new_ticket_a_lock_an_unlock_a_new_price_and_a_sale(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    word = uuid4().hex[:8]
    visitor = await visit()
    await visitor.opens(f"/?q={word}")
    await stays_open(visitor)
    nothing = visitor.page.locator(".empty")
    await expect(nothing).to_be_visible()

    ticket = await ann.lists(f"Row A {word}", 20)
    await expect(card(visitor, ticket)).to_contain_text("$20.00")
    await expect(nothing).to_be_hidden()
    order = await bob.buys(ticket)
    await expect(card(visitor, ticket)).to_have_count(0)
    await expect(nothing).to_be_visible()
    await bob.cancels(order)
    await expect(card(visitor, ticket)).to_be_visible()
    await ann.edits(ticket, f"Row A {word}", 18.50)
    await expect(card(visitor, ticket)).to_contain_text("$18.50")
    another = await ann.lists(f"Row B {word}", 30)
    await expect(cards(visitor)).to_contain_text([f"Row B {word}", f"Row A {word}"])
    await bob.pays(await bob.buys(another))
    await expect(cards(visitor)).to_contain_text([f"Row A {word}"])
    await was_never_loaded_again(visitor)


async def test_a_new_price_moves_a_card_to_where_it_belongs(house: House, visit: Visit) -> None:
    [ann] = await house.people("ann")
    word = uuid4().hex[:8]
    cheap, middle, dear = [await ann.lists(f"{name} {word}", price) for name, price in (("Cheap", 10), ("Middle", 20), ("Dear", 30))]
    await ann.sees_ticket(dear, "available")
    visitor = await visit()
    await visitor.opens(f"/?sort=cheapest&q={word}")
    await stays_open(visitor)
    await expect(cards(visitor)).to_contain_text(["Cheap", "Middle", "Dear"])
    await ann.edits(cheap, f"Cheap {word}", 25)
    await expect(cards(visitor)).to_contain_text(["Middle", "Cheap", "Dear"])
    await ann.edits(dear, f"Dear {word}", 1)
    await expect(cards(visitor)).to_contain_text(["Dear", "Middle", "Cheap"])
    await ann.edits(middle, f"Middle {word}", 99.50)
    await expect(cards(visitor)).to_contain_text(["Dear", "Cheap", "$99.50"])
    await ann.lists(f"Between {word}", 5)
    await expect(cards(visitor)).to_contain_text(["Dear", "Between", "Cheap", "Middle"])
    await was_never_loaded_again(visitor)


async def test_an_open_page_says_when_a_ticket_is_free_again_and_offers_it(house: House, visit: Visit) -> None:
    [ann, bob, cat] = await house.people("ann", "bob", "cat")
    ticket = await ann.lists("Front row", 20)
    visitor = await visit(cat)
    await visitor.page.clock.install(time=datetime.now(UTC) + timedelta(hours=5))  # Theirs is wrong; ours counts.
    await visitor.opens(ticket_path(ticket))
    await stays_open(visitor)
    await visitor.sees_control(BUY)
    order = await bob.buys(ticket)
    await visitor.sees(PAYING)
    await visitor.sees("free again in at most")
    await visitor.sees_no(BUY)
    timer = visitor.page.get_by_role("timer")
    await expect(timer).to_contain_text(A_QUARTER_OF_AN_HOUR)
    left = await timer.inner_text()
    await expect(timer).not_to_have_text(left)  # It runs.
    await bob.cancels(order)
    await visitor.sees_control(BUY)
    await was_never_loaded_again(visitor)
    await visitor.buys()


async def test_a_ticket_that_is_sold_says_so_in_every_window(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    ticket = await ann.lists("Front row", 20)
    stranger, seller, second_window_of_the_buyer = await visit(), await visit(ann), await visit(bob)
    for visitor in (stranger, seller, second_window_of_the_buyer):
        await visitor.opens(ticket_path(ticket))
        await stays_open(visitor)
    order = await bob.buys(ticket)
    await stranger.sees(PAYING)
    await seller.sees("Somebody is paying for your ticket")
    await second_window_of_the_buyer.sees("You are buying this ticket")
    await bob.pays(order)
    for visitor in (stranger, seller, second_window_of_the_buyer):
        await visitor.sees("Sold")
        await visitor.sees_no(BUY)
        await was_never_loaded_again(visitor)


async def test_a_price_that_changes_under_the_pointer_is_told_and_can_be_paid(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    ticket = await ann.lists("Front row", 20)
    visitor = await visit(bob)
    await visitor.opens(ticket_path(ticket))
    await stays_open(visitor)
    await expect(visitor.control(BUY)).to_contain_text("$20.00")
    await ann.edits(ticket, "Front row", 35)
    await expect(visitor.page.locator("[data-new-price]")).to_be_visible()
    await expect(visitor.page.locator("[data-new-price]")).to_contain_text("$35.00")
    await expect(visitor.control(BUY)).to_contain_text("$35.00")
    await expect(visitor.page.locator("#said")).to_contain_text("$35.00")
    await was_never_loaded_again(visitor)
    await visitor.buys()
    await visitor.sees("Pay $35.00")


async def test_a_page_that_was_cut_off_catches_up(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    word = uuid4().hex[:8]
    ticket = await ann.lists(f"Front row {word}", 20)
    async with wire(house) as it:
        at_the_ticket, at_the_list = await visit(), await visit()
        await at_the_ticket.opens(it.url + ticket_path(ticket))
        await at_the_list.opens(f"{it.url}/?q={word}")
        for visitor in (at_the_ticket, at_the_list):
            await stays_open(visitor)
        await ann.edits(ticket, f"Front row {word}", 21)
        await at_the_ticket.sees("$21.00")
        await expect(card(at_the_list, ticket)).to_contain_text("$21.00")
        it.cut()
        await bob.buys(ticket)
        another = await ann.lists(f"Second row {word}", 15)
        await ann.sees_ticket(ticket, "locked")
        await at_the_ticket.sees_control(BUY)
        await expect(card(at_the_list, another)).to_have_count(0)
        it.mend()
        await at_the_ticket.sees(PAYING)
        await expect(cards(at_the_list)).to_contain_text([f"Second row {word}"])
        for visitor in (at_the_ticket, at_the_list):
            await was_never_loaded_again(visitor)


async def test_more_windows_than_a_browser_has_connections_wait_for_none_of_them(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    ticket = await ann.lists("Front row", 20)
    visitor = await visit()
    windows = [visitor, *[Visitor(visitor.context, await visitor.context.new_page()) for _ in range(7)]]
    for window in windows:
        await window.opens(ticket_path(ticket))
        await window.sees_control(BUY)
        await stays_open(window)
    await bob.buys(ticket)
    for window in windows:
        await window.sees(PAYING)
        await was_never_loaded_again(window)
        assert window.amiss == []


async def test_an_answer_that_was_long_under_way_hides_nothing_that_was_heard_meanwhile(house: House, visit: Visit) -> None:
    [ann] = await house.people("ann")
    word = uuid4().hex[:8]
    visitor = await visit()
    await visitor.opens(f"/?q={word}")
    async with held_back(visitor, f"/?q={word}") as answer:
        await visitor.page.evaluate("document.dispatchEvent(new Event('time-is-up'))")  # One of the moments in which a page asks.
        await answer.is_there.wait()
        ticket = await ann.lists(f"Front row {word}", 20)
        await expect(card(visitor, ticket)).to_be_visible()
        await visitor.page.locator("#live").evaluate("element => element.classList.add('older')")
        answer.may_go_on.set()
        await expect(visitor.page.locator("#live.older")).to_have_count(0)
        await expect(card(visitor, ticket)).to_be_visible()


async def test_of_two_answers_the_later_one_counts(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    ticket = await ann.lists("Front row", 20)
    seller = await visit(ann)
    await seller.opens(ticket_path(ticket))
    async with held_back(seller, ticket_path(ticket)) as answer:
        order = await bob.buys(ticket)
        await answer.is_there.wait()
        await bob.cancels(order)
        await ann.sees_ticket(ticket, "available")
        await ann.edits(ticket, "Front row", 30)
        await seller.sees("$30.00")
        answer.may_go_on.set()
        await answer.is_read.wait()
        await seller.page.evaluate("new Promise(requestAnimationFrame)")
        assert "$30.00" in await seller.main.inner_text()


async def test_a_page_of_a_list_from_which_all_are_taken_shows_what_comes_next(house: House, visit: Visit) -> None:
    [ann] = await house.people("ann")
    word = uuid4().hex[:8]
    tickets = [await ann.lists(f"Row {number} {word}", 20) for number in range(PAGE_SIZE + 1)]
    await ann.sees_ticket(tickets[-1], "available")
    visitor = await visit()
    await visitor.opens(f"/?q={word}")
    await expect(cards(visitor)).to_have_count(PAGE_SIZE)
    await stays_open(visitor)
    for ticket in tickets[1:]:
        await ann.ask("DELETE", f"/api/tickets/{ticket['id']}")
    await expect(card(visitor, tickets[0])).to_be_visible()
    await expect(visitor.page.locator(".empty")).to_be_hidden()
    await was_never_loaded_again(visitor)


async def test_a_list_that_is_asked_for_anew_leaves_the_keyboard_where_it_was(house: House, visit: Visit) -> None:
    [ann] = await house.people("ann")
    word = uuid4().hex[:8]
    first, second = [await ann.lists(f"Row {letter} {word}", 20) for letter in "AB"]
    await ann.sees_ticket(second, "available")
    visitor = await visit()
    await visitor.opens(f"/?q={word}")
    link = card(visitor, first).get_by_role("link")
    await link.focus()
    await visitor.page.locator("#live").evaluate("element => element.classList.add('older')")
    await visitor.page.evaluate("document.dispatchEvent(new Event('time-is-up'))")
    await expect(visitor.page.locator("#live.older")).to_have_count(0)
    await expect(link).to_be_focused()


async def test_a_laptop_that_slept_learns_what_time_it_is(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 20))
    visitor = await visit(bob)
    await visitor.page.clock.install()

    async def as_it_was_ten_minutes_ago(route: Route) -> None:
        """Its clock stood still since then: so much is left, it believes."""
        answer = await route.fetch()
        page = re.sub(r'(?<=data-now=")\d+', lambda now: str(int(now[0]) - 600_000), await answer.text())
        await route.fulfill(response=answer, body=page)

    await visitor.page.route(house.url + order_path(order), as_it_was_ten_minutes_ago)
    await visitor.page.route("**/live/**", lambda route: route.abort())  # Or its stream would tell it at once.
    await visitor.opens(order_path(order))
    timer = visitor.page.get_by_role("timer")
    await expect(timer).to_contain_text(re.compile(r"2[45]:\d\d"))
    await visitor.page.clock.set_system_time(datetime.now(UTC) + timedelta(minutes=10))
    await expect(timer).to_contain_text(A_QUARTER_OF_AN_HOUR)


async def test_a_connection_that_is_dead_without_a_word_is_given_up(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    ticket = await ann.lists("Front row", 20)
    async with wire(house) as it:
        visitor, witness = await visit(), await visit()
        await visitor.page.clock.install()
        await visitor.opens(it.url + ticket_path(ticket))
        await witness.opens(ticket_path(ticket))
        await stays_open(visitor)
        await ann.edits(ticket, "Front row", 21)
        await visitor.sees("$21.00")
        it.go_dead()
        await bob.buys(ticket)
        await witness.sees(PAYING)
        await visitor.sees_control(BUY)
        await visitor.page.clock.fast_forward("00:41")  # Longer than the server is ever silent.
        for _ in range(6):  # The browser may try each of its old connections before it makes a new one: ten seconds each.
            with contextlib.suppress(AssertionError):
                await expect(visitor.main).to_contain_text(PAYING, timeout=1000)
                break
            await visitor.page.clock.fast_forward("00:11")
        await visitor.sees(PAYING)
        await was_never_loaded_again(visitor)


@pytest.fixture
async def hurried(house: House) -> AsyncIterator[House]:
    """The same house with little time to pay: its process is another one then, and another one again afterwards."""
    house.kill()
    await house.start(**WINDOW)
    yield house
    house.kill()
    await house.start()


async def test_when_time_is_up_open_pages_say_so_and_the_next_one_can_buy(hurried: House, visit: Visit) -> None:
    [ann, bob, cat] = await hurried.people("ann", "bob", "cat")
    ticket = await ann.lists("Front row", 20)
    at_the_order, at_the_ticket = await visit(bob), await visit(cat)
    order = await bob.buys(ticket)
    await at_the_order.opens(order_path(order))
    await at_the_order.sees("Pay $20.00")
    await at_the_ticket.opens(ticket_path(ticket))
    await stays_open(at_the_ticket)
    await at_the_ticket.sees(PAYING)
    await at_the_order.sees(re.compile("cancelled", re.IGNORECASE))
    await at_the_order.sees("Nothing was charged")
    await at_the_ticket.sees_control(BUY)
    await was_never_loaded_again(at_the_ticket)
    await at_the_ticket.buys()


async def test_pages_that_are_open_while_the_server_is_restarted_catch_up(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    word = uuid4().hex[:8]
    ticket = await ann.lists(f"Front row {word}", 20)
    async with wire(house) as it:
        at_the_ticket, at_the_list = await visit(), await visit()
        await at_the_ticket.opens(it.url + ticket_path(ticket))
        await at_the_list.opens(f"{it.url}/?q={word}")
        for visitor in (at_the_ticket, at_the_list):
            await stays_open(visitor)
        it.cut()
        house.kill()
        await house.start()
        await bob.buys(ticket)
        await ann.sees_ticket(ticket, "locked")
        it.mend()  # What came before is known to no process any more: the pages have to ask.
        await at_the_ticket.sees(PAYING)
        await expect(card(at_the_list, ticket)).to_have_count(0)
        for visitor in (at_the_ticket, at_the_list):
            await was_never_loaded_again(visitor)


async def test_five_two_and_one_minute_are_said_aloud_and_at_the_end_the_server_decides(house: House, visit: Visit) -> None:
    [ann, bob] = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 20))
    buyer, other = await visit(bob), await visit()
    for visitor, path, words in ((buyer, order_path(order), "left to pay"), (other, ticket_path(order["ticket"]), "Free again")):
        await visitor.page.clock.install()
        await visitor.opens(path)
        said = visitor.page.locator("#said")
        await expect(said).to_have_role("status")
        await expect(visitor.page.get_by_role("timer")).to_contain_text(A_QUARTER_OF_AN_HOUR)
        await expect(said).to_be_empty()
        for minutes, expected in ((10.5, "5 minutes"), (3, "2 minutes"), (1, "1 minute")):
            await visitor.page.clock.fast_forward(int(minutes * 60_000))
            await expect(said).to_contain_text(expected)
            await expect(said).to_contain_text(words)
        await visitor.page.clock.fast_forward(2 * 60_000)
    # By their own clocks it is over. The server was asked, and says that it is not.
    await buyer.sees("Pay $20.00")
    await expect(buyer.page.get_by_role("timer")).to_contain_text(A_QUARTER_OF_AN_HOUR)
    await other.sees(PAYING)
    assert (await bob.order(order))["status"] == "awaiting:payment"


class HeldBack:
    """The next answer at an address: it is as old as the question, and arrives when it may."""

    def __init__(self) -> None:
        self.is_there, self.may_go_on, self.is_read = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold(self, route: Route) -> None:
        if self.is_there.is_set():
            await route.continue_()
            return
        answer = await route.fetch()
        self.is_there.set()
        await self.may_go_on.wait()
        await route.fulfill(response=answer)
        self.is_read.set()


@contextlib.asynccontextmanager
async def held_back(visitor: Visitor, path: str) -> AsyncIterator[HeldBack]:
    answer = HeldBack()
    url = str(visitor.page.url).partition("/tickets")[0].partition("/?")[0] + path
    await visitor.page.route(url, answer.hold)
    yield answer
    await visitor.page.unroute(url)


def cards(visitor: Visitor) -> Locator:
    return visitor.page.locator("ul.tickets > li")


def card(visitor: Visitor, ticket: Json) -> Locator:
    return visitor.page.locator(f"li#ticket-{ticket['id']}")


async def stays_open(visitor: Visitor) -> None:
    """From here on the page may change, but is not loaded again."""
    await visitor.page.evaluate("window.stillTheSame = true")


async def was_never_loaded_again(visitor: Visitor) -> None:
    assert await visitor.page.evaluate("window.stillTheSame") is True
