"""What a seller leaves for the buyer: where it is written, and on whose pages it is."""

import html

from support.house import House
from web.browser import Browser, signed_up, visitor
from web.test_pages import shows

NOTE = "\nCode at the door: <b>7431</b>\n\nSee https://example.com/map?a=1&b=2, or javascript:alert(1)"


def note_in_its_field(browser: Browser) -> str:
    return html.unescape(browser.page.text.partition("<textarea")[2].partition(">\n")[2].partition("</textarea>")[0])


async def test_a_note_is_written_kept_changed_and_read_by_the_buyer_alone(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob, signed_up(house.url) as eve, visitor(house.url) as stranger:
        ticket = await ann.sell("Row A", "10", note="First words")
        await ann.open(f"{ticket}/edit")
        assert note_in_its_field(ann) == "First words"
        await ann.send("/edit", title="Row A", price="10", note=NOTE.replace("\n", "\r\n"))
        await ann.open(f"{ticket}/edit")
        await ann.send("/edit", title="Row A, again", price="10")
        await ann.open(f"{ticket}/edit")
        assert note_in_its_field(ann) == NOTE.strip()

        order = await bob.buy(ticket)
        for browser in (bob, eve, stranger):
            for path in (ticket, "/", order):
                assert "7431" not in (await browser.open(path)).text
        await bob.open(order)
        await bob.send("/payment", card="tok_visa")
        await shows(bob, order, "Code at the door")
        assert "Code at the door: &lt;b&gt;7431&lt;/b&gt;\n\nSee <a href=" in bob.page.text
        link = '<a href="https://example.com/map?a=1&amp;b=2" rel="noopener noreferrer nofollow">https://example.com/map?a=1&amp;b=2</a>,'
        assert link in bob.page.text
        assert 'href="javascript' not in bob.page.text
        for browser in (eve, stranger):
            for path in (ticket, "/", order):
                assert "7431" not in (await browser.open(path)).text
        assert "7431" not in (await bob.open(ticket)).text


async def test_a_buyer_without_a_note_is_told_so_and_a_seller_may_write_it_after_the_sale(house: House) -> None:
    async with signed_up(house.url) as ann, signed_up(house.url) as bob:
        ticket = await ann.sell("Row B", "10")
        order = await bob.buy(ticket)
        await shows(ann, ticket, "Save the note")  # While it is being paid for, too.
        await bob.send("/payment", card="tok_visa")
        await shows(bob, order, "The seller has not written anything yet.")
        await shows(ann, ticket, "Your ticket is sold")
        await ann.send("/note", note="Meet me at the fountain.")
        assert ann.path == f"{ticket}?note=saved"
        assert "Your note is saved." in ann.text
        assert note_in_its_field(ann) == "Meet me at the fountain."
        await bob.open(order)
        assert "Meet me at the fountain." in bob.text
        assert (await bob.client.post(f"{ticket}/note", data={"note": "Mine"})).status_code == 403
        answer = await ann.send("/note", note="x" * 2001)
        assert answer.status_code == 400
        assert "The note must have at most 2000 characters." in ann.text
        assert note_in_its_field(ann) == "x" * 2001
        await ann.open(f"{ticket}/note")
        assert ann.path == ticket
        assert note_in_its_field(ann) == "Meet me at the fountain."


async def test_a_note_that_is_too_long_is_named_and_nothing_typed_is_lost(house: House) -> None:
    async with signed_up(house.url) as ann:
        ticket = await ann.sell("Row C", "10")
        note = "\r\n".join(["y" * 99] * 20)  # 1999 characters: a line end counts once.
        for path, action in (("/sell", "/sell"), (f"{ticket}/edit", "/edit")):
            await ann.open(path)
            assert (await ann.send(action, title=" ", price="much", note=f"{note}zz")).status_code == 400
            for field in ("title", "price", "note"):
                assert f'id="{field}-error"' in ann.text
            assert note_in_its_field(ann).endswith("yzz")
            assert 'value="much"' in ann.text
            assert (await ann.send(action, title="Row C", price="11", note=f"{note}z")).status_code == 200, ann.text
            assert "$11.00" in ann.text
