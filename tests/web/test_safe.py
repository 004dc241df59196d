"""What holds for every address of the pages, those included that will be added."""

import asyncio
import html
import re
from collections.abc import Iterator
from typing import cast

import httpx
import pytest
from litestar.routes import HTTPRoute
from support.house import House as RealHouse
from web.browser import signed_up
from web.sessions import ANN
from web.test_order_page import ORDER, PAGE, SOLD, House
from web.watcher import watching

# Litestar announces its version 3 for every route of an app that is made in this process.
pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

IDS = {"order_id": str(ORDER), "ticket_id": str(SOLD["id"]), "file_path": "style.css", "name": "look.css", "session_id": ANN}
TICKET = f"/tickets/{SOLD['id']}"
FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:8001"},
    {"Origin": "http://localhost:8000.evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": ""},
    {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "cross-site"},
]


def addresses(house: House, method: str) -> Iterator[str]:
    """Every one that takes that method."""
    for route in house.app.routes:
        if method in cast("HTTPRoute", route).methods:
            yield re.sub(r"{(\w+)}", lambda found: IDS[found[1]], route.path_format)


async def test_every_form_refuses_to_be_sent_by_another_site_before_anything_is_asked() -> None:
    house = House()
    forms = [*addresses(house, "POST")]
    assert {"/sell", "/signin", "/signout", "/orders", f"{PAGE}/payment", f"{PAGE}/extension"} <= set(forms)
    for address in forms:
        for headers in FOREIGN:
            answer = await house.browser.post(address, data={"card": "tok_visa"}, headers=headers)
            assert (answer.status_code, house.asked) == (403, []), (address, headers)
            assert "This request comes from another site." in answer.text


async def test_every_form_may_be_sent_from_our_own_pages_and_by_what_is_no_browser() -> None:
    house = House()
    for address in addresses(house, "POST"):
        for headers in ({}, {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
            answer = await house.browser.post(address, headers=headers)
            assert answer.status_code != 403 or "another site" not in answer.text, (address, headers)


async def test_nothing_is_changed_by_a_method_that_is_not_a_forms() -> None:
    for route in House().app.routes:
        assert cast("HTTPRoute", route).methods <= {"GET", "HEAD", "OPTIONS", "POST"}, route.path


async def test_every_page_is_kept_by_nobody_framed_by_nobody_and_runs_no_script_but_ours() -> None:
    house = House()
    for address in addresses(house, "GET"):
        if address.startswith("/live/"):
            continue  # Its stream has no end; see below.
        answer = await house.browser.get(address)
        assert answer.headers["x-content-type-options"] == "nosniff", address
        if address.startswith("/static/"):
            continue
        assert answer.headers["cache-control"] == "no-store", address
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'", address
        assert policy["frame-ancestors"] == "'none'", address
        assert (policy["base-uri"], policy["form-action"]) == ("'none'", "'self'"), address
        assert "unsafe" not in answer.headers["content-security-policy"], address


async def test_a_stream_is_kept_by_nobody_and_is_nothing_but_a_stream(house: RealHouse) -> None:
    async with signed_up(house.url) as ann:
        ticket = await ann.sell("Row A", "10")
        for path in ("/", ticket, "/listings", "/orders"):
            async with watching(ann, path) as it:
                assert it.answer.headers["cache-control"] == "no-store"
                assert it.answer.headers["x-content-type-options"] == "nosniff"
                assert "frame-ancestors 'none'" in it.answer.headers["content-security-policy"]


SCRIPT = "<script>alert(1)</script>'\"><img src=x onerror=alert(1)>{{7*7}}"
ARABIC = "مقعد في الصف الأول " * 12


@pytest.mark.parametrize("text", [SCRIPT, ARABIC[:200]], ids=["a script", "Arabic"])
async def test_whatever_strangers_write_is_text_on_every_page(text: str) -> None:
    house = House()
    house.order["ticket"]["title"] = text
    house.ticket = SOLD | {"title": text, "userId": ANN}
    house.note = httpx.Response(200, json={"note": text})
    house.history = httpx.Response(200, json=[{"at": "2030-01-01T12:00:00Z", "event": "OrderCreated", "text": text}])
    shown = set()
    for of_order, of_ticket in (
        ("awaiting:payment", "available"),
        ("complete", "locked"),
        ("cancelled", "sold"),
        ("refunded", "withdrawn"),
    ):
        house.order["status"] = of_order
        house.ticket["status"] = of_ticket
        for address in addresses(house, "GET"):
            if address.startswith(("/live/", "/static/")):
                continue
            answer = await house.browser.get(address, params={"q": text, "next": text})
            assert answer.status_code < 500, address
            assert not re.search("<script>|<img|{{49}}", answer.text), address
            shown |= {address} if text.strip() in html.unescape(answer.text) else set()
    assert shown == {"/", "/orders", "/listings", PAGE, TICKET, f"{TICKET}/edit"}


async def test_two_tabs_that_pay_at_once_charge_once(house: RealHouse) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        order = await bob.buy(await ann.sell("Row B", "10"))
        tabs = [await bob.client.get(order) for _ in range(4)]
        keys = [re.findall(r'name="key" value="([^"]+)"', tab.text)[0] for tab in tabs]
        assert len(set(keys)) == 4
        pays = [bob.client.post(f"{order}/payment", data={"card": "tok_visa", "key": key}) for key in [*keys, keys[0]]]
        answers = await asyncio.gather(*pays)
        assert {answer.status_code for answer in answers} <= {200, 409}
        charges = await house.rows("payments", "SELECT status FROM charges WHERE order_id = $1", order.rpartition("/")[2])
        assert len(charges) == 1
