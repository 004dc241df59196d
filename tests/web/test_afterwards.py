"""My orders and my listings: how each of them stands, in words, and what there is to do."""

from typing import Any

import pytest
from support.house import House as RealHouse
from web.browser import signed_up
from web.sessions import ANN
from web.test_order_page import PAGE, SOLD, House
from web.test_pages import shows

# Litestar announces its version 3 for every route of an app that is made in this process.
pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

TICKET = f"/tickets/{SOLD['id']}"


@pytest.mark.parametrize(
    ("status", "fields", "sentence", "next_step"),
    [
        ("created", {}, "We are making sure that the ticket is held for you.", PAGE),
        ("awaiting:payment", {}, 'data-until="1893499400000" data-now="1893499200000"', PAGE),
        ("awaiting:payment", {}, "3 minutes</time>.", PAGE),
        ("awaiting:payment", {"seconds_left": 0}, "The time to pay is over.", PAGE),
        ("complete", {}, "your payment is being confirmed.", f'{PAGE}#note" aria-label="Read what the seller wrote for you: Front row'),
        ("complete", {"paid": True}, "You paid $12.50.", f'{PAGE}#note" aria-label="Read what the seller wrote for you: Front row'),
        ("complete", {"uncollected": True}, "we will be in touch.", PAGE),
        ("cancelled", {"reason": "expired"}, "The time to pay was over. Nothing was charged.", TICKET),
        ("cancelled", {"reason": "withdrawn"}, "The seller withdrew the ticket", PAGE),
        ("refunded", {"paid": True}, "You got $12.50 back.", PAGE),
        ("refunded", {"uncollected": True}, "You were not charged", PAGE),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value and len(value) < 60 else "",
)
async def test_every_order_says_how_it_stands_and_leads_on(status: str, fields: dict[str, Any], sentence: str, next_step: str) -> None:
    page = await House(status, **fields).page("/orders")
    assert sentence in page
    assert f'href="{next_step}' in page
    assert 'data-stream="/live/orders"' in page


@pytest.mark.parametrize(
    ("changes", "fee", "sentence", "editable"),
    [
        ({"status": "available"}, 0, "Withdraw …", True),
        ({"status": "locked", "lockedUntil": "2030-01-01T12:12:34Z"}, 0, 'data-until="1893499954000" data-now="1893499200000"', False),
        ({"status": "locked", "lockedUntil": "2030-01-01T12:12:34Z"}, 0, "Somebody is paying for it, so it can’t be changed now.", False),
        ({"status": "sold"}, 0, "Your ticket is sold, and the whole $12.50 is yours.", False),
        ({"status": "sold"}, 250, "Your ticket is sold for $12.50: $12.19 of it is yours, the rest is our fee.", False),
        ({"status": "withdrawn"}, 0, "You have taken it off the market.", False),
    ],
    ids=["for sale", "until when", "why", "sold", "sold at a fee", "withdrawn"],
)
async def test_every_listing_says_how_it_stands_and_what_may_be_done(
    changes: dict[str, Any], fee: int, sentence: str, editable: bool
) -> None:
    house = House(fee=fee)
    house.ticket = SOLD | {"userId": ANN} | changes
    page = await house.page("/listings")
    assert sentence in page
    assert (f'href="{TICKET}/edit"' in page) is editable
    assert (f'action="{TICKET}/withdrawal"' in page) is editable


async def test_a_ticket_that_is_held_has_no_form_to_edit_it_but_a_sentence(house: RealHouse) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        ticket = await ann.sell("Row A", "10")
        await bob.buy(ticket)
        await shows(ann, ticket, "Somebody is paying for your ticket")
        await ann.open(f"{ticket}/edit")
        assert ann.path == ticket
        assert 'name="price"' not in ann.text
        assert "so it can’t be changed. If they don’t pay, it is for sale again in at most" in ann.text


async def test_what_was_withdrawn_from_the_list_is_withdrawn(house: RealHouse) -> None:
    async with signed_up(house.url) as ann:
        tickets = [await ann.sell(f"Row {letter}", "10") for letter in "AB"]
        await ann.open("/listings")
        await ann.send(f"{tickets[0]}/withdrawal")
        assert ann.path == "/listings"
        assert f'action="{tickets[0]}/withdrawal"' not in ann.text
        assert f'action="{tickets[1]}/withdrawal"' in ann.text


async def test_a_long_list_of_orders_goes_on_on_another_page() -> None:
    house = House("cancelled", reason="expired")
    assert 'rel="next"' not in await house.page("/orders")
    house.more = {"Link": '</api/orders?cursor=abc%3D>; rel="next"'}
    assert 'rel="next" href="/orders?cursor=abc%3D"' in await house.page("/orders")
    await house.page("/orders?cursor=abc%3D")
    assert house.asked[-1] == "GET /api/orders?cursor=abc%3D"
