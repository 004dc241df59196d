"""What a seller is told that they get is what the ledger will say that they are owed."""

from uuid import uuid4

from conftest import Rehearse
from support.facts import BOB, order_reserved
from web.test_order_page import House

from admitone import payments
from admitone.payments import commands
from admitone.web.wording import fee_in_words, sellers_share, shares

PRICES = (50, 51, 99, 100, 1999, 2000, 3333, 12_345, 99_999_999)
FEES = (0, 1, 25, 250, 333, 5000, 9999, 10_000)


async def test_the_sellers_share_is_what_payments_leaves_of_the_price(rehearse: Rehearse) -> None:
    async with rehearse(payments.service) as it:
        for price in PRICES:
            for fee in FEES:
                order = order_reserved(order_id=uuid4(), price_cents=price, fee_basis_points=fee)
                await it.hears(order)
                charge = await it.does(commands.begin_charge, order.order_id, BOB, "tok_visa", it.now)
                assert sellers_share(price, fee) == charge.amount_cents - charge.fee_cents, (price, fee)


def test_the_fee_is_said_as_people_say_it() -> None:
    assert fee_in_words(0) == "The buyer pays your price, and you get all of it: we take no fee."
    assert [fee_in_words(fee).partition("fee is ")[2].partition(" of")[0] for fee in (250, 1000, 5, 10_000)] == [
        "2.5%",
        "10%",
        "0.05%",
        "100%",
    ]


def test_who_pays_and_gets_what_is_said_of_a_price_and_of_nothing_else() -> None:
    assert shares(" 1999.99 ", 250, "USD") == "The buyer pays $1,999.99, you get $1,949.99."
    assert [shares(price, 250, "USD") for price in ("", "0.49", "12,50", "much", "1e3", "1000000", "-5", "5.001")] == [""] * 8


async def test_who_sells_reads_the_fee_before_the_price_is_set_without_scripts_too() -> None:
    page = await House(fee=250).page("/sell")
    assert "Our fee is 2.5% of it; the rest is yours." in page
    assert 'data-fee="250"' in page
    house = House()
    assert "we take no fee" in await house.page("/sell")
    answer = await house.browser.post("/sell", data={"title": "", "price": "62.50"})
    assert "The buyer pays $62.50, you get $62.50." in house.says(answer)
