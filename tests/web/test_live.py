"""An open page is told what happens to tickets, from the moment it was made, whatever comes in between."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest
from support.facts import ANN, BOB, TICKET, order_created, payment_created, ticket_created, ticket_updated
from support.house import House, Person, eventually
from web.browser import Browser, signed_up, visitor
from web.watcher import watching

from admitone.config import Settings
from admitone.kit.http.session import User
from admitone.runtime.gateway import gateway
from admitone.web.api import client_of
from admitone.web.changes import MAX_CHANGES, LiveChanges
from admitone.web.streams import RELOAD_SPREAD_MS, ListFilter, anonymous_page, ask_to_reload, card, event_stream, own_order, signed_in_page


@asynccontextmanager
async def ann_bob_and_a_stranger(house: House) -> AsyncIterator[tuple[Browser, Browser, Browser]]:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob, visitor(house.url) as stranger:
        yield ann, bob, stranger


async def listed(seller: Browser, title: str) -> str:
    """A ticket for $20 that open pages were told of: a page that is opened from now on hears only what follows."""
    async with watching(seller, "/listings") as it:
        ticket = await seller.sell(title, "20")
        await it.hears()
    return ticket


async def test_an_open_list_receives_every_kind_of_change(house: House) -> None:
    async with ann_bob_and_a_stranger(house) as (ann, bob, stranger), watching(stranger, "/") as it:
        ticket = await ann.sell("Live in row A", "20")
        heard = await it.hears_of(ticket)
        assert (heard.event, "Live in row A" in heard.data, "$20.00" in heard.data) == ("card", True, True)
        order = await bob.buy(ticket)
        assert (await it.hears_of(ticket)).event == "gone"
        await bob.open(order)
        await bob.send("/cancellation")
        assert (await it.hears_of(ticket)).event == "card"
        await ann.open(f"{ticket}/edit")
        await ann.send("/edit", title="Live in row A", price="18")
        assert "$18.00" in (await it.hears_of(ticket)).data
        await ann.send("/withdrawal")
        assert (await it.hears_of(ticket)).event == "gone"


async def test_an_open_search_is_told_only_what_it_looks_for(house: House) -> None:
    word = f"Haystack{uuid4().hex[:8]}"
    async with ann_bob_and_a_stranger(house) as (ann, _, stranger), watching(stranger, f"/?q={word.upper()}&min=10&max=20.50") as it:
        for title, price, event in ((word, "9.99", "gone"), (word, "10", "card"), (word, "20.50", "card"), ("Other", "15", "gone")):
            assert (await it.hears_of(await ann.sell(title, price))).event == event


async def test_whoever_looks_at_a_ticket_sees_it_locked_freed_and_sold(house: House) -> None:
    async with ann_bob_and_a_stranger(house) as (ann, bob, stranger), signed_up(house.url) as cat:
        ticket = await listed(ann, "Live, row B")
        async with watching(stranger, ticket) as stranger_sees, watching(cat, ticket) as cat_sees:
            order = await bob.buy(ticket)
            for sees in (stranger_sees, cat_sees):
                locked = await sees.hears()
                assert "Somebody is paying for it. If they don’t pay, it is free again in at most" in locked.text
                assert 'role="timer"' in locked.data
                assert "Buy for" not in locked.data
            await bob.open(order)
            await bob.send("/cancellation")
            assert 'href="/signin?next=' in (await stranger_sees.hears()).data
            assert 'name="price" value="20.00"' in (freed := await cat_sees.hears()).data
            assert "Buy for $20.00" in freed.data
            await bob.buy(ticket)
            await bob.send("/payment", card="tok_visa")
            for sees in (stranger_sees, cat_sees):
                await sees.hears("This ticket has found its way.")


async def test_a_new_price_is_in_the_form_that_is_pushed(house: House) -> None:
    async with ann_bob_and_a_stranger(house) as (ann, bob, _):
        ticket = await listed(ann, "Live, row C")
        async with watching(bob, ticket) as it:
            await ann.open(f"{ticket}/edit")
            await ann.send("/edit", title="Live, row C", price="25.50")
            heard = await it.hears()
            assert 'name="price" value="25.50"' in heard.data
            bob.page = bob.page.__class__(200, text=heard.data, request=bob.page.request)
            assert (await bob.send("/orders")).status_code == 200
            assert bob.path.startswith("/orders/")


async def test_seller_and_buyer_ask_for_what_only_they_see(house: House) -> None:
    async with ann_bob_and_a_stranger(house) as (ann, bob, _):
        ticket = await listed(ann, "Live, row D")
        async with watching(ann, ticket) as seller, watching(bob, ticket) as second_tab, watching(ann, "/listings") as listings:
            await bob.buy(ticket)
            for it in (seller, second_tab, listings):
                assert ((heard := await it.hears()).event, heard.data) == ("again", "0")
            await bob.open(ticket)
            assert "You are buying this ticket" in bob.text


async def test_a_buyers_order_and_their_list_ask_again_whenever_the_order_has_changed(house: House) -> None:
    async with ann_bob_and_a_stranger(house) as (ann, bob, _):
        first, second = [await bob.buy(await ann.sell(f"Live, row {letter}", "20")) for letter in "IJ"]
        async with watching(bob, first) as of_first, watching(bob, second) as of_second, watching(bob, "/orders") as of_all:
            for form, values in (("/extension", {}), ("/payment", {"card": "tok_chargeDeclined"}), ("/cancellation", {})):
                await bob.open(first)
                await bob.send(first + form, **values)
                for it in (of_first, of_all):
                    assert ((heard := await it.hears()).event, heard.data) == ("again", "0")
            assert "You gave this ticket back." in (await bob.open(first)).text
            await bob.open(second)
            await bob.send(second + "/payment", card="tok_visa")
            for _ in ("completed", "the money was taken"):
                for it in (of_second, of_all):  # That of the second had nothing to hear until now.
                    assert (await it.hears()).event == "again"
            await eventually(lambda: says(bob, second, "Paid. The ticket is yours."))


async def says(browser: Browser, path: str, words: str) -> bool:
    await browser.open(path)
    return words in browser.text


async def test_a_page_receives_changes_made_between_its_rendering_and_its_stream(house: House) -> None:
    async with ann_bob_and_a_stranger(house) as (ann, bob, stranger):
        ticket = await listed(ann, "Live, row E")
        async with watching(stranger, ticket) as it:
            place = (await it.beat()).at
            await bob.buy(ticket)
            heard = await it.hears()
            assert heard.event == "ticket"
        async with watching(stranger, ticket, since=place) as cut_and_back:
            assert (await cut_and_back.hears()).data == heard.data
        async with watching(stranger, ticket, since=heard.at) as nothing_missed:
            await nothing_missed.beat()
        async with watching(stranger, ticket, since="of another process\n\nevent: forged") as unknown:
            again = await unknown.hears()
            assert (again.event, again.data) == ("again", str(RELOAD_SPREAD_MS))
            assert "forged" not in again.at


async def test_nothing_personal_is_pushed(house: House) -> None:
    async with ann_bob_and_a_stranger(house) as (ann, bob, stranger), signed_up(house.url) as cat:
        seller = await Person.signed_up(house.url, "seller")
        listed = await seller.lists("Live, row F", 20)
        ticket = f"/tickets/{listed['id']}"
        async with watching(stranger, "/") as a, watching(stranger, ticket) as b, watching(cat, ticket) as c:
            order = (await bob.buy(ticket)).rpartition("/")[2]
            heard = [await it.hears_of(ticket) for it in (a, b, c)]
            await bob.open(f"/orders/{order}")
            await bob.send("/cancellation")
            heard += [await it.hears_of(ticket) for it in (a, b, c)]
            for personal in (seller.id, seller.email, order, cat.email, bob.email, ann.email, "session"):
                assert not [message for message in heard if personal in message.data]
        await seller.client.aclose()


async def test_while_the_bus_is_frozen_pages_go_on_and_afterwards_all_is_told(own_house: House) -> None:
    await own_house.start()
    async with ann_bob_and_a_stranger(own_house) as (ann, bob, stranger):
        ticket = await listed(ann, "Row G")
        async with watching(stranger, ticket) as it, watching(stranger, "/") as of_list:
            own_house.freeze_bus()
            await ann.open(f"{ticket}/edit")
            await ann.send("/edit", title="Row G", price="30")
            assert "$30.00" in (await stranger.client.get(ticket)).text
            assert "$30.00" in (await stranger.client.get("/")).text
            own_house.thaw_bus()
            assert "$30.00" in (await it.hears_of(ticket)).data
            assert "$30.00" in (await of_list.hears_of(ticket)).data
            own_house.kill_bus()
            own_house.start_bus()
            assert (await it.hears()).event == "again"  # What was published while it was away was missed.
            await bob.buy(ticket)
            await it.hears("Somebody is paying")


async def test_streams_through_the_gateway_end_with_their_reader_and_survive_a_restart(own_house: House) -> None:
    await own_house.start_six()
    async with ann_bob_and_a_stranger(own_house) as (ann, bob, stranger):
        ticket = await listed(ann, "Row H")
        async with watching(stranger, ticket), watching(bob, ticket):
            await eventually(lambda: open_streams(own_house, 2))
        await eventually(lambda: open_streams(own_house, 0))
        async with watching(stranger, ticket) as it:
            place = (await it.beat()).at
            own_house.kill("web")
            await it.ends()
        own_house.begin_one("web")
        await own_house.ready()
        async with watching(stranger, ticket, since=place) as it:
            assert (await it.hears()).event == "again"
            await bob.buy(ticket)
            assert "Somebody is paying" in (await it.hears()).data


async def open_streams(house: House, expected: int) -> bool:
    """Whether as many are open in the process that serves the pages."""
    async with httpx.AsyncClient() as client:
        metrics = (await client.get(f"http://127.0.0.1:{house.ports['web']}/metrics")).text
    return f"admitone_event_streams {expected}.0" in metrics


def live(changes: int = 0) -> LiveChanges:
    found = LiveChanges()
    found.reset()
    for number in range(changes):
        found.record(uuid4(), ticket_created(ticket_id=UUID(int=number + 1)))
    return found


async def test_a_slow_reader_is_told_the_latest_of_each_ticket_or_to_ask_again() -> None:
    lately = live()
    async with aclosing(event_stream(lately, lately.cursor, lambda change: change.rendered(card))) as slow:
        assert b"event: beat" in await anext(slow)
        for version in range(1, 10):
            lately.record(uuid4(), ticket_updated(version=version, price_cents=version * 100))
        assert b"$9.00" in await anext(slow)
        for number in range(MAX_CHANGES + 1):
            lately.record(uuid4(), ticket_created(ticket_id=UUID(int=number + 1)))
        assert b"event: again" in await anext(slow)
        lately.record(uuid4(), ticket_updated(version=10, price_cents=1000))
        assert b"$10.00" in await anext(slow)


async def test_a_reader_is_never_ahead_of_what_it_was_told() -> None:
    lately = live()
    async with aclosing(event_stream(lately, "", lambda change: None)) as reader:
        assert b"event: again" in await anext(reader)
        place = lately.cursor
        lately.record(uuid4(), ticket_created())
        assert f"id: {place}\n".encode() in await anext(reader)


async def test_a_page_that_was_made_before_anything_was_known_asks_as_soon_as_it_is() -> None:
    lately = LiveChanges()
    async with aclosing(event_stream(lately, "x\nevent: forged", lambda change: None)) as reader:
        assert (await anext(reader)).startswith(b"event: beat\nid: \ndata: ")
        lately.reset()
        assert b"event: again" in await anext(reader)


async def test_changes_of_an_order_are_pushed_to_its_buyer_only() -> None:
    lately = live()
    lately.record(uuid4(), order_created())
    lately.record(uuid4(), payment_created())
    changes = [*lately.changes]
    assert [own_order(change, user(BOB)) for change in changes] == [None, *(ask_to_reload(change.cursor) for change in changes[1:])]
    for other in (user(ANN), None):
        assert [own_order(change, other) for change in changes] == [None] * 3


def user(id: UUID) -> User:
    return User(id=id, email="somebody@example.com", session_id=id, expires=0)


def test_an_older_state_that_comes_later_is_no_change() -> None:
    lately = live()
    lately.record(uuid4(), ticket_updated(version=3, order_id=uuid4()))
    place = lately.cursor
    for version in (3, 2, 1):
        lately.record(uuid4(), ticket_updated(version=version))
    assert lately.cursor == place


def test_what_is_kept_does_not_grow() -> None:
    lately = live(changes=3 * MAX_CHANGES)
    assert len(lately.changes) == MAX_CHANGES
    assert len(lately._versions) <= MAX_CHANGES


def test_what_a_page_shows_is_rendered_once_for_all() -> None:
    lately = live(changes=1)
    change = lately.changes[-1]
    assert change.rendered(card) is change.rendered(card)
    assert change.rendered(anonymous_page) != change.rendered(signed_in_page)


@pytest.mark.parametrize(
    ("wanted", "belongs"),
    [(ListFilter(), True), (ListFilter(q=" FRONT "), True), (ListFilter(q="back"), False), (ListFilter(q="%"), False)],
    ids=["everything", "letter case", "another word", "no pattern"],
)
def test_a_search_finds_live_what_it_finds_otherwise(wanted: ListFilter, belongs: bool) -> None:
    lately = live()
    lately.record(uuid4(), ticket_created(locked_until=datetime.now(UTC)))
    ticket = lately.changes[-1].ticket
    assert ticket is not None
    assert (ticket.id, ticket.user_id) == (TICKET, ANN)
    assert wanted.matches(ticket) is belongs


def test_buyers_are_remembered_of_the_latest_orders_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admitone.web.changes.MAX_BUYERS", 3)
    live = LiveChanges()
    for _ in range(10):
        live.record(uuid4(), order_created(order_id=uuid4()))
    assert len(live._buyers) == 3


async def test_the_api_is_asked_directly_whatever_proxy_the_environment_names(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # Nobody listens there.
    async with client_of(Settings(services_url=house.url), None) as client:
        assert (await client.get("/api/tickets")).status_code == 200
    async with gateway(Settings(service_urls={"tickets": house.url})) as dispatcher:
        assert (await dispatcher.client.get(f"{house.url}/api/tickets")).status_code == 200


async def test_a_form_with_too_many_fields_is_refused(house: House) -> None:
    async with visitor(house.url) as browser:
        form = {f"field{number}": "x" for number in range(100)}
        answer = await browser.client.post("/signin", data=form)
        assert answer.status_code == 400
        assert "This form can" in answer.text
