"""What pages say and where they lead, without a server."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import httpx
import pytest

from admitone.kit.http.amount import money
from admitone.web.answers import Order, OrderedTicket, Ticket
from admitone.web.api import Refused, clock_of
from admitone.web.form import errors_by_field, key_of, safe_next
from admitone.web.wording import REASONS, at_most, browser, free_again_in, order_state, time_left, with_links

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
SOME_ID = UUID(int=7)


def order(status: str, seconds: float = 0, paid: bool = False, reason: str | None = None, uncollected: bool = False) -> Order:
    ticket = OrderedTicket(SOME_ID, "Front row", Decimal("12.50"))
    return Order(SOME_ID, status, reason, NOON + timedelta(seconds=seconds), NOON, ticket, "USD", paid, uncollected)


@pytest.mark.parametrize("path", ["/", "/tickets/1?a=b", "/sell", "/?q=caf%C3%A9&sort=newest", "/a//b"])
def test_a_path_of_our_own_is_a_place_to_go_back_to(path: str) -> None:
    assert safe_next(path) == path


ELSEWHERE = ["", "tickets", "//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example"]
UNREADABLE = ["/a\r\nX: y", "/\x00", "/\x85", " /sell", "javascript:alert(1)", "/" + "a" * 2000]


@pytest.mark.parametrize("elsewhere", [*ELSEWHERE, *UNREADABLE])
def test_anything_else_leads_to_the_front_page(elsewhere: str) -> None:
    assert safe_next(elsewhere) == "/"


def test_time_left_is_never_more_than_there_is() -> None:
    assert [time_left(seconds) for seconds in (899.9, 120, 119, 60, 59.9, 1, 0.5, -3)] == [
        "14 minutes",
        "2 minutes",
        "1 minute",
        "1 minute",
        "59 seconds",
        "1 second",
        "0 seconds",
        "0 seconds",
    ]


def test_the_longest_wait_is_never_less_than_there_is() -> None:
    assert [at_most(seconds) for seconds in (930, 61, 60, 5, -5)] == ["16 minutes", "2 minutes", "1 minute", "1 minute", "1 minute"]


def test_a_locked_ticket_says_by_the_servers_clock_when_it_is_free_again() -> None:
    ticket = Ticket(SOME_ID, "Front row", Decimal(5), "USD", SOME_ID, SOME_ID, "locked", NOON + timedelta(minutes=3), NOON)
    assert free_again_in(ticket) == "3 minutes"


def test_amounts_are_written_as_people_write_them() -> None:
    assert money(Decimal("1234.5"), "USD") == "$1,234.50"
    assert money(Decimal("0.5"), "CHF") == "0.50\u00a0CHF"


def test_every_state_of_an_order_has_words() -> None:
    assert order_state(order("created")) == "Confirming"
    assert order_state(order("awaiting:payment", 90)) == "To pay"
    assert order_state(order("awaiting:payment", -1)) == "Time is up"
    assert order_state(order("complete")) == "Confirming"
    assert order_state(order("complete", paid=True)) == "Paid"
    assert order_state(order("complete", uncollected=True)) == "Yours, not charged"
    assert order_state(order("refunded", paid=True)) == "Refunded"
    assert order_state(order("refunded", uncollected=True)) == "Undone"
    assert {order_state(order("cancelled", reason=reason)) for reason in REASONS} == {
        "Cancelled: given back",
        "Cancelled: time was up",
        "Cancelled: ticket changed",
        "Cancelled: withdrawn by the seller",
        "Cancelled: card declined",
    }


@pytest.mark.parametrize(
    ("calls_itself", "shown"),
    [
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1", "Safari on an iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "A program without a name"),
    ],
)
def test_a_browser_is_called_as_people_call_it(calls_itself: str, shown: str) -> None:
    assert browser(calls_itself) == shown


def test_errors_are_told_beside_their_field_and_the_rest_above_the_form() -> None:
    said = [("price", "The price is required."), ("", "Not today."), ("odd", "odd is not known here.")]
    errors = [{"field": field, "message": message} for field, message in said]
    found = errors_by_field(Refused(400, "bad-input", "", errors), ("title", "price"))
    assert found == {"price": "The price is required.", "": "Not today. odd is not known here."}


def test_a_key_that_is_none_is_drawn_anew() -> None:
    assert key_of({"key": "a" * 24}) == "a" * 24
    assert key_of({"key": "no\nkey"}) != "no\nkey"
    assert key_of({}) != key_of({})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script> & so", "&lt;script&gt;alert(1)&lt;/script&gt; &amp; so"),
        ("See (http://a.example/x).", "See ({http://a.example/x})."),
        ("HTTPS://A.example", "{HTTPS://A.example}"),
        ("https://a.example/?q=1&r=2\nhttps://b.example/", "{https://a.example/?q=1&amp;r=2}\n{https://b.example/}"),
        ('https://a.example/"onmouseover="x', "{https://a.example/}&#34;onmouseover=&#34;x"),
        ("https://a.example/'><b>", "{https://a.example/}&#39;&gt;&lt;b&gt;"),
        *(
            (text, text)
            for text in (
                "javascript:alert(1)",
                "ftp://a.example",
                "data:text/html,x",
                "https://",
                "http:///x",
                "http://[a",
                "xhttp://a.example",
            )
        ),
    ],
)
def test_a_strangers_text_is_escaped_and_its_web_addresses_are_links(text: str, shown: str) -> None:
    link = r'<a href="\1" rel="noopener noreferrer nofollow">\1</a>'
    assert with_links(text) == re.sub(r"\{(.*?)\}", link, shown)


def test_a_date_that_somebody_in_between_has_doubled_is_no_time() -> None:
    date = ("Date", "Tue, 01 Jan 2030 12:00:00 GMT")
    assert clock_of(httpx.Response(200, headers=[date])) == NOON
    assert clock_of(httpx.Response(200, headers=[date, date])) is None
