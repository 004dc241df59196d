"""What people send us is read strictly, and everything that is wrong with it is said at once."""

import json
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from msgspec import Meta, Struct

from admitone.kit.http.amount import Price, major
from admitone.kit.http.form import read_json, read_values
from admitone.kit.http.problem import BadInput
from admitone.tickets.model import Title


class Form(Struct, rename="camel"):
    ticket_id: UUID
    title: Title
    price: Price
    seen_price: Price | None = None
    colour: Literal["red", "blue"] = "red"


class Asking(Struct):
    price: Price


class Search(Struct):
    limit: Annotated[int, Meta(ge=1, le=100, description="must be a whole number from 1 to 100")] = 20
    min: Price | None = None


def said_wrong(body: bytes | str, form: Any = Form) -> dict[str | None, str]:
    """Field -> what is wrong with it."""
    with pytest.raises(BadInput) as refused:
        read_json(body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body, form)
    assert all(set(error) <= {"message", "field"} and error["message"] for error in refused.value.errors)
    return {error.get("field"): error["message"] for error in refused.value.errors}


def test_a_good_form_is_read() -> None:
    ticket_id = uuid4()
    form = read_json(json.dumps({"ticketId": str(ticket_id), "title": "🎫 row", "price": 12.5, "seenPrice": None}).encode(), Form)
    assert form == Form(ticket_id=ticket_id, title="🎫 row", price=Price(1250))


def test_every_wrong_missing_and_unknown_field_is_named_at_once() -> None:
    wrong = said_wrong('{"ticketId": "no id", "title": " ", "seenPrice": "x", "colour": "green", "admin": true, "ticket_id": 1}')
    assert set(wrong) == {"ticketId", "title", "price", "seenPrice", "colour", "admin", "ticket_id"}
    assert wrong["price"] == "The price is required."
    assert wrong["ticketId"] == "The ticket id must be an id."
    assert wrong["colour"] == "The colour must be one of red, blue."
    assert (wrong["admin"], wrong["ticket_id"]) == ("admin is not known here.", "ticket_id is not known here.")
    assert "0.50 to 999999.99" in wrong["seenPrice"]


BAD_PRICES = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "1e-400",
    "1e999999999999999999999",
    "1e-999999999",
    "-0",
    "-0.0",
    "0",
    "0.001",
    "0.49",
    "0.499999999999999999999999999999999999999",
    "12.500000000000000000000000000000000000001",
    "999999.990000000000000000000000000000000001",
    "-12.5",
    "12.345",
    "1000000",
    "999999.995",
    "true",
    "false",
    "null",
    "[]",
    "[12]",
    "{}",
    '""',
    '" "',
    '"12,50"',
    '"12.345"',
    '" 12"',
    '"12 "',
    '"+12"',
    '"1_2"',
    '"1e2"',
    '"0x10"',
    '"NaN"',
    '"12.5\\u0000"',
    '"\\u0661\\u0662"',
    "9" * 5000,
    f'"{"9" * 5000}"',
]


@pytest.mark.parametrize("price", BAD_PRICES, ids=lambda price: price[:24])
def test_no_such_price(price: str) -> None:
    assert set(said_wrong(f'{{"price": {price}}}', Asking)) == {"price"}


@pytest.mark.parametrize(
    ("price", "cents"),
    [
        ("0.5", 50),
        ("0.50", 50),
        ('"12.50"', 1250),
        ('"12"', 1200),
        ("999999.99", 99_999_999),
        ("1e2", 10_000),
        ("1.25E1", 1250),
        ("12.500", 1250),
        ("12.50000000000000000000000000000000000000000000", 1250),
        ("19.99", 1999),
        ("0.57", 57),
        ("1.1", 110),
    ],
)
def test_a_price_is_exact_to_the_cent(price: str, cents: int) -> None:
    assert read_json(f'{{"price": {price}}}'.encode(), Asking) == Asking(Price(cents))


@pytest.mark.parametrize("cents", [50, 57, 110, 1250, 1999, 99_999_999])
def test_a_price_that_was_shown_can_be_sent_back(cents: int) -> None:
    assert read_json(json.dumps({"price": major(cents)}).encode(), Asking).price == cents


@pytest.mark.parametrize("title", ["", " ", "\t\n", "\u00a0\u3000", "x" * 201, 5, 1.5, True, None, [], {}, ["a"], "a\0b", "\ud800"])
def test_no_such_title(title: object) -> None:
    body = json.dumps({"ticketId": str(uuid4()), "title": title, "price": 1})
    assert set(said_wrong(body)) == {"title"}


@pytest.mark.parametrize("title", ["x", "x" * 200, "🎫" * 200, " padded ", "<script>alert(1)</script>", "Ω\u202e", "a\nb"])
def test_a_title_is_kept_as_it_was_written(title: str) -> None:
    body = json.dumps({"ticketId": str(uuid4()), "title": title, "price": 1}).encode()
    assert read_json(body, Form).title == title


@pytest.mark.parametrize(
    "ticket_id",
    [
        "",
        "1",
        "x" * 36,
        5,
        None,
        True,
        [],
        {},
        "7f0c1c9e-5a54-4c39-8d53-0c7b2c1d3e4",
        "7f0c1c9e-5a54-4c39-8d53-0c7b2c1d3e4f0",
        "\ud800",
        "a\0",
    ],
)
def test_no_such_id(ticket_id: object) -> None:
    body = json.dumps({"ticketId": ticket_id, "title": "x", "price": 1})
    assert said_wrong(body) == {"ticketId": "The ticket id must be an id."} or set(said_wrong(body)) == {"ticketId"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"nonsense",
        b'{"price": }',
        b'{"price": 1,}',
        b"{'price': 1}",
        b'{"price": 01}',
        b'\xff\xfe{"price": 1}',
        b'{"price": "\xff"}',
        b'{"price": 1} {}',
        b"\0",
        b"[" * 30_000,
        b'{"price":' * 10_000,
        b"[]",
        b'"price"',
        b"null",
        b"1",
        b"true",
        b"NaN",
    ],
    ids=lambda body: repr(body[:16]),
)
def test_what_is_no_json_object_is_refused_as_a_whole(body: bytes) -> None:
    assert set(said_wrong(body, Asking)) == {None}


def test_a_field_that_is_given_twice_is_named() -> None:
    assert said_wrong('{"price": 1, "price": 2}', Asking) == {"price": "price is given twice."}
    assert said_wrong('{"price": 1, "\\ud800": 1, "\\ud800": 2}', Asking) == {"?": "? is given twice."}


def test_an_unknown_field_with_an_impossible_name_can_still_be_named() -> None:
    wrong = said_wrong('{"price": 1, "\\ud800": 1, "a\\u0000": 2}', Asking)
    json.dumps(list(wrong)).encode()
    assert len(wrong) == 2
    assert all(message.endswith(" is not known here.") for message in wrong.values())


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "", "x", "9" * 50, "\0"])
def test_no_such_limit_in_a_query(limit: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_values({"limit": limit}, Search, strict=False)
    assert [error["field"] for error in refused.value.errors] == ["limit"]


def test_numbers_of_a_query_come_as_text() -> None:
    assert read_values({"limit": "7", "min": "12.50"}, Search, strict=False) == Search(limit=7, min=Price(1250))


class Edit(Struct):
    version: Annotated[int, Meta(ge=1, le=2**31 - 1, description="must be a version")] | None = None


@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999", "1e-999999999", "1.5", "0", "2147483648", '"1"', "true", "NaN", "1e400"])
def test_no_such_whole_number(number: str) -> None:
    assert said_wrong(f'{{"version": {number}}}', Edit) == {"version": "The version must be a version."}


@pytest.mark.parametrize("number", ["1", "1.0", "1e0", "10e-1"])
def test_a_whole_number_is_one_however_it_is_written(number: str) -> None:
    assert read_json(f'{{"version": {number}}}'.encode(), Edit) == Edit(version=1)
