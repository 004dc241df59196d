"""The pages on the whole house: forms in, redirects and sentences out, without a line of JavaScript."""

import asyncio
import html
import json
import re
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from support.house import House, eventually
from web.browser import PASSWORD, Browser, signed_up, visitor


async def shows(browser: Browser, path: str, words: str) -> None:
    """The page says this by and by, as it does to somebody who looks again."""
    for _ in range(100):
        await browser.open(path)
        if words in browser.text:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{words!r} is not in {browser.text}")


async def test_a_sale_by_forms_alone_ends_well_for_both(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        ticket = await ann.sell("Tosca, standing room", "15.50")
        assert "$15.50" in ann.text
        order = await bob.buy(ticket)
        assert "Pay $15.50" in bob.text
        assert "14 minutes left" in bob.text
        await shows(ann, ticket, "Somebody is paying for your ticket")
        assert "15 minutes" in ann.text or "16 minutes" in ann.text
        await bob.send("/payment", card="4242 4242 4242 4242")
        assert bob.path == order
        await shows(bob, order, "The ticket is yours.")
        assert "refresh" not in bob.text
        await shows(bob, "/orders", "Paid")
        await shows(ann, "/listings", "Sold")


async def test_buying_without_a_session_leads_to_sign_in_and_back_to_the_ticket(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        ticket = await ann.sell("Front row", "20")
        await bob.send("/signout")
        assert "Sign in" in bob.text
        await bob.open(ticket)
        link = f"/signin?next={ticket}"
        assert f'href="{link}"' in bob.text
        await bob.open(link)
        await bob.send("/signin", email=bob.email, password=PASSWORD)
        assert bob.path == ticket
        assert "Buy for $20.00" in bob.text


async def test_a_buyer_without_an_account_returns_from_sign_up_to_the_ticket(house: House) -> None:
    async with signed_up(house.url) as ann, visitor(house.url) as bob:
        ticket = await ann.sell("Front row", "20")
        await bob.open(ticket)
        await bob.open(f"/signin?next={ticket}")
        link = f"/signup?next={ticket}"
        assert f'href="{link}"' in bob.text
        await bob.open(link)
        await bob.send("/signup", email="no address", password=PASSWORD)
        await bob.send("/signup", email=bob.email, password=PASSWORD)  # Where to go on is kept by the form that was wrong.
        assert bob.path == ticket
        await bob.send("/orders")
        assert bob.path.startswith("/orders/")
        await shows(bob, bob.path, "Pay $20.00")


async def test_a_form_that_is_sent_without_a_session_leads_to_sign_in_and_back(house: House) -> None:
    async with signed_up(house.url) as ann, visitor(house.url) as stranger:
        ticket = await ann.sell("Front row", "20")
        stranger.page = await stranger.client.post("/orders", data={"ticket": ticket.rpartition("/")[2], "price": "20.00"})
        assert stranger.path == f"/signin?next={ticket}"
        for path in ("/sell", "/orders", "/listings", f"{ticket}/edit"):
            await stranger.open(path)
            assert stranger.path == f"/signin?next={path}"


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example"])
async def test_next_never_leads_to_another_site(house: House, elsewhere: str) -> None:
    async with visitor(house.url) as somebody:
        await somebody.open("/signup")
        answer = await somebody.client.post(
            "/signup", data={"email": somebody.email, "password": PASSWORD, "next": elsewhere}, follow_redirects=False
        )
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        answer = await somebody.client.get("/signin", params={"next": elsewhere}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_the_second_to_click_is_told_so(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob, signed_up(house.url) as cat:
        ticket = await ann.sell("The last one", "40")
        await cat.open(ticket)
        await bob.buy(ticket)
        assert (await cat.send("/orders")).status_code == 409
        assert "Just taken by somebody else" in cat.text
        assert "Buy for" not in cat.text
        await bob.send("/cancellation")
        assert "You gave this ticket back." in bob.text
        await shows(cat, ticket, "Buy for $40.00")


async def test_another_price_is_shown_before_anything_is_bought(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        ticket = await ann.sell("Row C", "10")
        await bob.open(ticket)
        await ann.open(f"{ticket}/edit")
        await ann.send("/edit", title="Row C", price="12.50")
        assert ann.path == ticket
        assert (await bob.send("/orders")).status_code == 409
        assert "The price changed while you looked" in bob.text
        assert "Buy it for $12.50" in bob.text
        assert (await bob.send("/orders")).status_code == 200
        assert bob.path.startswith("/orders/")


async def test_a_ticket_withdrawn_after_its_page_was_opened_cannot_be_bought(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        ticket = await ann.sell("Row D", "10")
        await bob.open(ticket)
        await ann.send("/withdrawal")
        assert ann.path == "/listings"
        assert "Withdrawn" in ann.text
        known = "SELECT 1 FROM ticket_copies WHERE ticket_id::text = $1 AND withdrawn"
        await eventually(lambda: house.rows("orders", known, ticket.removeprefix("/tickets/")))
        assert (await bob.send("/orders")).status_code == 409  # From the page that he opened before.
        assert "The seller has withdrawn this ticket." in bob.text


async def test_one_order_too_many_leads_to_the_orders(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        tickets = [await ann.sell(f"Seat {number}", "10") for number in range(9)]
        for ticket in tickets[:8]:
            await bob.buy(ticket)
        await bob.open(tickets[8])
        assert (await bob.send("/orders")).status_code == 409
        assert "You have 8 unpaid orders already." in bob.text
        assert 'href="/orders">Go to my orders' in bob.text


async def test_a_declined_card_may_be_tried_again_and_the_third_decline_ends_it(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        order = await bob.buy(await ann.sell("Row E", "10"))
        for tries_left in ("2 more tries", "1 more try"):
            await bob.send("/payment", card="4000000000000002")
            assert bob.path == order
            assert tries_left in bob.text
            assert "4000000000000002" not in bob.text
        await bob.send("/payment", card="4000000000000002")
        await shows(bob, order, "The card was declined three times.")
        assert "Nothing was charged." in bob.text
        assert 'name="card"' not in bob.text


async def test_who_needs_more_time_has_five_minutes_more(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        order = await bob.buy(await ann.sell("Row N", "10"))
        form = bob.page
        for _ in range(2):  # The second one as by a double click.
            bob.page = form
            assert (await bob.send("/extension")).status_code == 200
            assert bob.path == order
            assert "19 minutes left" in bob.text
            assert "I need more time" not in bob.text
        await bob.send("/payment", card="tok_visa")
        await shows(bob, order, "The ticket is yours.")
        assert (await bob.client.post(f"{order}/extension")).status_code == 409
        assert "You asked for more time" in bob.text


async def test_a_payment_confirmed_at_the_bank_is_seen_in_every_tab(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        order = await bob.buy(await ann.sell("Row K", "10"))
        second_tab = bob.page
        await bob.send("/payment", card="4000 0000 0000 3220")
        assert bob.path == order
        for _ in range(2):
            assert "Your bank asks you to confirm" in bob.text
            assert 'name="card"' not in bob.text
            await bob.open(order)
        bank = urlsplit(bob.text.partition('">Go on to your bank')[0].rpartition('href="')[2]).path
        bob.page = second_tab
        await bob.send("/payment", card="4242 4242 4242 4242")
        assert "Your bank asks you to confirm" in bob.text
        assert "Is that you?" in (await bob.open(bank)).text
        answer = await bob.client.post(f"{bank}/approval", follow_redirects=False)
        bob.page = await bob.client.get(answer.headers["location"], follow_redirects=False)
        assert bob.page.headers["location"].endswith(order)
        await shows(bob, order, "Paid. The ticket is yours.")


async def test_a_card_that_is_none_is_said_beside_its_field_and_shown_to_nobody(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        await bob.buy(await ann.sell("Row F", "10"))
        for card in ("4111111111111111", "x" * 300, " ", "\0"):
            assert (await bob.send("/payment", card=card)).status_code == 400
            assert 'id="card-error"' in bob.text
            assert "41111111" not in bob.text


async def test_a_double_click_has_one_effect(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        await ann.open("/sell")
        form = ann.page
        await ann.send("/sell", title="Only once", price="10")
        ticket = ann.path
        ann.page = form
        await ann.send("/sell", title="Only once", price="10")
        assert ann.path == ticket
        await bob.open(ticket)
        form = bob.page
        await bob.send("/orders")
        order = bob.path
        bob.page = form
        await bob.send("/orders")
        assert bob.path == order
        await shows(bob, order, "Pay $10.00")
        form = bob.page
        await bob.send("/payment", card="tok_visa")
        bob.page = form
        await bob.send("/payment", card="tok_visa")
        assert bob.path == order
        await shows(bob, order, "The ticket is yours.")


async def test_every_wrong_field_is_named_at_once_and_what_was_typed_is_kept(house: House) -> None:
    async with visitor(house.url) as somebody:
        await somebody.open("/signup?next=/sell")
        answer = await somebody.send("/signup", email="not-an-address", password="short1")
        assert answer.status_code == 400
        assert "The e-mail address must be an e-mail address" in somebody.text
        assert "The password must have 8 to 128 characters." in somebody.text
        assert 'value="not-an-address"' in somebody.text
        assert "short1" not in somebody.text
        await somebody.send("/signup", email=somebody.email, password=PASSWORD)
        assert somebody.path == "/sell"
        answer = await somebody.send("/sell", title=" ", price="12,50")
        assert answer.status_code == 400
        assert 'id="title-error"' in somebody.text
        assert 'id="price-error"' in somebody.text
        assert 'value="12,50"' in somebody.text


async def test_wrong_credentials_and_a_taken_address_are_said_kindly(house: House) -> None:
    async with signed_up(house.url) as ann, visitor(house.url) as somebody:
        await somebody.open("/signin")
        assert (await somebody.send("/signin", email=ann.email, password="wrong horse")).status_code == 400
        assert "The e-mail address or the password is wrong." in somebody.text
        await somebody.open("/signup")
        assert (await somebody.send("/signup", email=ann.email.upper(), password=PASSWORD)).status_code == 409
        assert "There is an account with this e-mail address already." in somebody.text


async def test_a_title_is_text_and_nothing_else(house: House) -> None:
    title = "<script>alert(1)</script>\"'><b>&amp;"
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        ticket = await ann.sell(title, "10")
        order = await bob.buy(ticket)
        await ann.sell(title, "10")
        for path in ("/", "/listings", ticket, f"{ann.path}/edit"):
            await ann.open(path)
            assert "<script>" not in ann.page.text
            assert title in html.unescape(ann.page.text)
        for path in ("/orders", order):
            await bob.open(path)
            assert "<script>" not in bob.page.text


async def test_only_its_seller_changes_a_ticket(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        ticket = await ann.sell("Mine", "10")
        assert (await bob.open(f"{ticket}/edit")).status_code == 403
        for verb in ("edit", "withdrawal"):
            answer = await bob.client.post(f"{ticket}/{verb}", data={"title": "Yours", "price": "1"})
            assert answer.status_code == 403
        order = await bob.buy(ticket)
        await shows(ann, ticket, "Somebody is paying")
        assert (await ann.client.post(f"{ticket}/edit", data={"title": "Dearer", "price": "99"})).status_code == 409
        assert (await ann.open(order)).status_code == 404


async def test_search_sort_and_price_lead_through_all_pages(house: House) -> None:
    async with signed_up(house.url) as ann:
        word = f"Needle{ann.email[8:18]}"
        for number in range(26):
            await ann.sell(f"{word} {number:02}", f"{100 - number}")
        await ann.open(f"/?q={word}&sort=cheapest&min=1&max=99")
        assert [f"{word} {number:02}" in ann.text for number in (25, 2, 1, 0)] == [True, True, False, False]
        next_path = html.unescape(ann.page.text.partition('rel="next" href="')[2].partition('"')[0])
        assert "sort=cheapest" in next_path
        await ann.open(next_path)
        assert f"{word} 01" in ann.text
        assert f"{word} 00" not in ann.text
        await ann.open(f"/?q={word}nothing")
        assert "Nothing like that is for sale right now" in ann.text
        assert (await ann.open("/?min=cheap&sort=best")).status_code == 400
        assert 'id="min-error"' in ann.text
        assert 'value="cheap"' in ann.text


async def test_errors_are_kind_pages_with_their_own_status(house: House) -> None:
    nowhere = "00000000-0000-4000-8000-000000000000"
    async with signed_up(house.url) as ann:
        for path in ("/nowhere", "/tickets/7", f"/tickets/{nowhere}", f"/orders/{nowhere}", "/orders/x", "/static/nothing.css"):
            answer = await ann.open(path)
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert "Traceback" not in ann.text
        for method, path in (("PUT", "/"), ("GET", "/signout"), ("DELETE", "/sell")):
            answer = await ann.client.request(method, path)
            assert answer.status_code == 405
            assert "<h1>" in answer.text


async def test_no_page_needs_more_than_scripts_of_our_own(house: House) -> None:
    async with signed_up(house.url) as ann:
        ticket = await ann.sell("Row M", "10")
        for path in ("/", "/?q=Row&sort=cheapest", ticket, "/listings", "/sell"):
            await ann.open(path)
            scripts = re.findall(r"<script[^>]*>(.*?)</script>", ann.page.text, re.DOTALL)
            assert scripts == [""] * len(scripts)
            assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|hx-on", ann.page.text)
            for address in re.findall(r'<script src="([^"]*)" defer>', ann.page.text):
                assert (await ann.client.get(address)).headers["content-type"].startswith("text/javascript")
        await ann.open("/")
        config = json.loads(re.findall(r"name=\"htmx-config\" content='(.*?)'", ann.page.text)[0])
        assert config == {"includeIndicatorCSS": False, "history": "reload", "extensions": "none"}


async def test_a_search_as_one_types_has_all_it_shows_in_one_part_of_the_page(house: House) -> None:
    async with visitor(house.url) as somebody:
        await somebody.open("/?min=cheap&q=nothing")
        part = somebody.text.partition('<div id="live"')[2]
        assert "The lowest price must be an amount" in part
        assert "data-stream" not in part
        await somebody.open(f"/?q=nothing{uuid4().hex}&max=20")
        part = somebody.text.partition('<div id="live"')[2]
        assert "Nothing like that is for sale right now" in part
        assert 'class="empty">' in part
        assert "&max=20" in part.partition("data-stream=")[2].partition(">")[0]


async def test_every_page_is_shielded(house: House) -> None:
    async with signed_up(house.url) as ann:
        for path in ("/", "/sell", "/orders", "/nowhere", "/signin"):
            answer = await ann.client.get(path, follow_redirects=False)
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store"
        answer = await ann.client.get("/static/style.css")
        assert answer.headers["cache-control"] == "public, max-age=86400"


@pytest.mark.parametrize("header", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_form_on_another_site_does_nothing(house: House, header: dict[str, str]) -> None:
    async with signed_up(house.url) as ann:
        answer = await ann.client.post("/sell", data={"title": "Forged", "price": "10"}, headers=header)
        assert answer.status_code == 403
        answer = await ann.client.post("/signout", headers=header)
        assert answer.status_code == 403
        await ann.open("/listings")
        assert "Nothing listed yet" in ann.text


@pytest.mark.parametrize(
    "body", [b"", b"title=%00&price=10", b"title=%ff%fe&price=10\xff", b"&".join([b"a=1"] * 200), b"\xff\x00=", b"{}", b"key=%0d%0a"]
)
async def test_a_malformed_form_is_never_our_fault(house: House, body: bytes) -> None:
    async with signed_up(house.url) as ann:
        for path in ("/signin", "/signup", "/sell", "/orders"):
            for kind in (b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain; charset=\xff"):
                answer = await ann.client.post(path, content=body, headers={b"content-type": kind}, follow_redirects=False)
                assert answer.status_code < 500, (path, kind, answer.text)
        for path in ("/?q=%00", "/?q=%ff", "/?cursor=x", "/orders?cursor=%00", "/signin?next=%00", "/tickets/%00", "/%ff"):
            assert (await ann.client.get(path)).status_code < 500


async def test_a_form_that_is_too_long_is_not_read(house: House) -> None:
    async with signed_up(house.url) as ann:
        answer = await ann.client.post("/sell", data={"title": "x" * 100_000})
        assert answer.status_code == 413
        assert "That is too long" in answer.text


async def test_a_body_of_an_unknown_kind_is_an_empty_form(house: House) -> None:
    async with signed_up(house.url) as ann:
        answer: httpx.Response = await ann.client.post("/sell", json={"title": "Row G", "price": 10})
        assert answer.status_code == 400
        assert 'id="title-error"' in answer.text


async def test_an_order_can_be_looked_at_and_cancelled_while_payments_are_down(own_house: House) -> None:
    await own_house.start_six(STRIPE_PUBLISHABLE_KEY="pk_live_12345678")
    async with signed_up(own_house.url) as ann, signed_up(own_house.url) as bob:
        order = await bob.buy(await ann.sell("Row L", "10"))
        own_house.kill("payments")
        assert (await bob.open(order)).status_code == 200
        assert 'id="pay-by-card"' in bob.text
        assert "Test mode" not in bob.text
        assert (await bob.send("/payment", card="ctoken_1")).status_code == 503
        await bob.open(order)
        await bob.send("/cancellation")
        assert "You gave this ticket back." in bob.text


async def test_orders_work_while_tickets_are_down_and_the_other_way_round(own_house: House) -> None:
    await own_house.start_six()
    async with signed_up(own_house.url) as ann, signed_up(own_house.url) as bob:
        ticket = await ann.sell("Row H", "10")
        order = await bob.buy(ticket)
        own_house.kill("tickets")
        answer = await bob.open("/")
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert "Back in a moment" in bob.text
        assert (await bob.open("/orders")).status_code == 200
        assert "Row H" in bob.text
        await bob.open(order)
        await bob.send("/payment", card="tok_visa")
        assert bob.path == order
        own_house.begin_one("tickets")
        await own_house.ready()
        own_house.kill("orders")
        assert (await bob.open("/orders")).status_code == 503
        assert (await bob.open("/")).status_code == 200
        assert (await bob.open(ticket)).status_code == 200
