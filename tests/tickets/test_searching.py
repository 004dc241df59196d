"""Which tickets a visitor finds, and in which order."""

import asyncio
import random
from datetime import timedelta
from itertools import product

import asyncpg
import msgspec
import pytest
from conftest import Rehearse
from support.facts import ANN, BOB, A, order_created

from admitone import tickets
from admitone.config import owner_database_url
from admitone.kit.http.amount import Price
from admitone.kit.http.paging import cursor_of
from admitone.kit.http.problem import BadInput
from admitone.kit.testing import Rehearsal, rehearsal
from admitone.runtime.engines import Engines
from admitone.tickets import commands, repository
from admitone.tickets.model import Search, Sort, Ticket


async def lists(it: Rehearsal, *titles_and_prices: tuple[str, int]) -> list[Ticket]:
    """Ann's tickets, a second apart."""
    listed = []
    for title, price in titles_and_prices:
        it.now += timedelta(seconds=1)
        listed.append(await it.does(commands.list_ticket, ANN, title, price, "USD", it.now))
    return listed


async def found(it: Rehearsal, wanted: Search) -> list[str]:
    return [ticket.title for ticket in await repository.search(it.tx, wanted)]


async def pages(it: Rehearsal, wanted: Search) -> list[Ticket]:
    """All of them, one page after the other."""
    paged: list[Ticket] = []
    while True:
        page = await repository.search(it.tx, wanted)
        paged += page[: wanted.limit]
        if len(page) <= wanted.limit:
            return paged
        last = page[wanted.limit - 1]
        cursor = cursor_of(last.created_at if wanted.sort == "newest" else last.price_cents, last.ticket_id)
        wanted = msgspec.structs.replace(wanted, cursor=cursor)


async def test_the_newest_come_first_unless_the_cheapest_are_wanted(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        await lists(it, ("dear", 900), ("cheap", 100), ("middle", 500))
        assert await found(it, Search()) == ["middle", "cheap", "dear"]
        assert await found(it, Search(sort="cheapest")) == ["cheap", "middle", "dear"]


async def test_only_what_is_available_is_found(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        locked, withdrawn, _free = await lists(it, ("locked", 900), ("withdrawn", 100), ("free", 500))
        await it.hears(order_created(ticket_id=locked.ticket_id, title="locked", price_cents=900))
        await it.does(commands.withdraw_ticket, withdrawn.ticket_id, ANN)
        assert await found(it, Search()) == ["free"]
        assert [ticket.status for ticket in await repository.list_by_seller(it.tx, ANN, 10, None)] == ["available", "withdrawn", "locked"]
        assert await repository.list_by_seller(it.tx, BOB, 10, None) == []
        assert (await repository.list_by_seller(it.tx, ANN, 10, None))[2].order_id == A


async def test_both_ends_of_a_price_range_belong_to_it(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        await lists(it, ("one", 100), ("two", 200), ("three", 300))
        assert await found(it, Search(min=Price(100), max=Price(200))) == ["two", "one"]
        assert await found(it, Search(min=Price(201))) == ["three"]


@pytest.mark.parametrize(
    ("q", "titles"),
    [
        ("ROW", ["Back row", "Front Row"]),
        ("100%", ["100% fun"]),
        ("%", ["100% fun"]),
        ("_", ["a_b"]),
        ("\\", ["c\\d"]),
        (" back ", ["Back row"]),
        ("'; DROP TABLE tickets; --", []),
    ],
)
async def test_a_search_is_for_just_these_letters(rehearse: Rehearse, q: str, titles: list[str]) -> None:
    async with rehearse(tickets.service) as it:
        await lists(it, ("c\\d", 100), ("a_b", 100), ("100% fun", 100), ("Front Row", 100), ("Back row", 100))
        assert await found(it, Search(q=q)) == titles


@pytest.mark.parametrize("sort", ["newest", "cheapest"])
@pytest.mark.parametrize("scan_limit", [0, 2, 1000])
async def test_a_search_finds_what_there_is_however_it_goes_about_it(
    rehearse: Rehearse, monkeypatch: pytest.MonkeyPatch, scan_limit: int, sort: Sort
) -> None:
    """By a scan, by the index, or by a short scan first: the same as looking at every ticket."""
    monkeypatch.setattr(repository, "SCAN_LIMIT", scan_limit)
    chance = random.Random(1)
    words = ["U2", "Front Row", "ÉTÉ", "東京ドーム", "a", "AA", "%_\\", "🎫🎫", "  ", "ΟΔΟΣ", "Straße"]
    async with rehearse(tickets.service) as it:
        await lists(it, *((f"{' '.join(chance.choices(words, k=3))}!", chance.randrange(100, 110)) for _ in range(30)))
        brute = """
            SELECT title FROM tickets WHERE strpos(lower(title), lower($1)) > 0 AND price_cents BETWEEN $2 AND $3 ORDER BY
            """ + ("created_at DESC, ticket_id DESC" if sort == "newest" else "price_cents, ticket_id")
        searches = [*words, "", "u", "row a", "t r", "京ド", "è", "é", "ß", "!", "zz"]
        for q, (low, high) in product(searches, [(100, 110), (103, 105), (200, 300)]):
            expected = [row["title"] for row in await it.rows(brute, q.strip(), low, high)]
            prices = {} if high == 110 else {"min": Price(low), "max": Price(high)}
            wanted = Search(q=q, sort=sort, limit=100, min=prices.get("min"), max=prices.get("max"))
            assert await found(it, wanted) == expected, wanted
            assert [ticket.title for ticket in await pages(it, msgspec.structs.replace(wanted, limit=4))] == expected, wanted


async def test_what_is_rare_is_found_by_an_index(engines: Engines) -> None:
    """The index is for just the expression that the search asks for, or it would never be used."""
    asked: list[asyncpg.connection.LoggedQuery] = []
    async with rehearsal(tickets.service, owner_database_url(engines.database_url, "tickets")) as it:  # Only the owner may analyze it.
        await lists(it, ("U2", 100), *[("Front row", 100)] * 500)
        await it.rows("ANALYZE tickets")
        with it.tx.connection.query_logger(asked.append):
            assert await found(it, Search(q="u2")) == ["U2"]
            await asyncio.sleep(0)  # The logger's turn.
        (search,) = [query for query in asked if "ngrams" in query.query]
        plan = await it.rows(f"EXPLAIN {search.query}", *search.args)
        assert "tickets_by_ngram" in str(plan)


@pytest.mark.parametrize("sort", ["newest", "cheapest"])
async def test_pages_follow_each_other_without_gap_or_repetition(rehearse: Rehearse, sort: Sort) -> None:
    async with rehearse(tickets.service) as it:
        for _ in range(7):  # All at the same time and price: the id decides.
            await it.does(commands.list_ticket, ANN, "same", 100, "USD", it.now)
        everything = [ticket.ticket_id for ticket in await repository.search(it.tx, Search(sort=sort))]
        assert [ticket.ticket_id for ticket in await pages(it, Search(sort=sort, limit=3))] == everything
        assert len(everything) == 7


async def test_a_cursor_of_the_other_sort_is_refused(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        (ticket,) = await lists(it, ("one", 100))
        with pytest.raises(BadInput):
            await found(it, Search(sort="cheapest", cursor=cursor_of(ticket.created_at, ticket.ticket_id)))
        with pytest.raises(BadInput):
            await found(it, Search(cursor=cursor_of(ticket.price_cents, ticket.ticket_id)))
