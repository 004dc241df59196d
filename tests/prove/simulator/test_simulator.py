"""The simulator itself: what it plays, tells and plants. That it repeats itself and catches every bug, make prove shows."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from random import Random

import pytest
from prove.simulator import rest
from prove.simulator.__main__ import PAGE, RECORDED, main, page, past_seeds
from prove.simulator.bugs import BUGS, BY_NAME, Bug, Edit, Stale, edited, planted
from prove.simulator.ground import Ground, ground_at
from prove.simulator.history import play
from prove.simulator.telling import shortest, story
from support.databases import empty_database
from support.optional import filled_in

from admitone.config import SERVICES_WITH_A_DATABASE
from admitone.kit.data.migrations import migrate_at
from admitone.runtime.engines import Engines


@pytest.fixture(scope="module")
async def ground(engines: Engines) -> AsyncIterator[Ground]:
    """Databases that belong to the simulation alone."""
    async with contextlib.AsyncExitStack() as stack:
        urls = {}
        for name in SERVICES_WITH_A_DATABASE:
            urls[name] = await stack.enter_async_context(empty_database(engines))
            await migrate_at(urls[name], name)
        yield await stack.enter_async_context(ground_at(urls))


@pytest.mark.parametrize("seed", [*past_seeds(), 100])
async def test_no_history_breaks_a_rule(ground: Ground, seed: int) -> None:
    assert (await play(ground, seed)).violations == []


async def test_a_failure_is_told_as_short_as_it_can_be(ground: Ground) -> None:
    seed = json.loads(RECORDED.read_text())["edit-while-locked"]["seed"]
    async with planted(BY_NAME["edit-while-locked"], ground):
        found = await shortest(ground, seed)
    assert found is not None
    assert (await play(ground, seed, found.steps)).violations == []  # Nothing is planted any more.
    first, *_, last = story(found).splitlines()
    assert first == f"seed {seed}, cut off after {found.steps} steps: I6: {found.violations[0].sentence}"
    assert "!             I6: T" in last
    assert "was edited while" in last


async def test_a_note_that_is_lost_breaks_a_rule(ground: Ground) -> None:
    lost = Bug("note-lost", "Nobody writes the note down.", (Edit("admitone.tickets.commands:list_ticket", "if note:", "if False:"),))
    async with planted(lost, ground):
        found = (await play(ground, 105)).violations
    assert {violation.rule for violation in found} == {"note"}


def test_optional_fields_are_filled_in_by_chance() -> None:
    body, dice = {"title": "Front row", "price": 49.9}, Random(1)
    bodies = [filled_in("POST", "/api/tickets", body, dice) for _ in range(50)]
    assert all(one | body == one and one.keys() - body <= {"note"} for one in bodies)
    assert len({one.get("note") for one in bodies}) > 2
    assert all("price" not in filled_in("POST", "/api/orders", {}, dice, leave=("price",)) for _ in range(50))


def test_a_violation_names_only_the_columns_that_differ() -> None:
    then, now = {"id": 1, "title": "Front row", "version": 4}, {"id": 1, "title": "Front row", "version": 6}
    assert rest._first_difference([then], [now]) == "{'id': 1, 'version': 4} became {'id': 1, 'version': 6}"


@pytest.mark.parametrize("name", BY_NAME)
def test_a_bug_finds_the_text_that_it_replaces(name: str) -> None:
    with edited(BY_NAME[name]):
        pass


def test_a_bug_whose_text_is_gone_says_so() -> None:
    gone = Bug("gone", "It replaces what is not there.", (Edit("admitone.orders.repository:cancel", "no such text", ""),))
    with pytest.raises(Stale, match="has 0 times and not once: no such text"), edited(gone):
        pass


def test_every_bug_was_caught_and_the_page_says_so() -> None:
    assert list(json.loads(RECORDED.read_text())) == [bug.name for bug in BUGS], "run make plant"
    assert PAGE.read_text() == page(), "run make plant"


def test_who_asks_for_an_unknown_bug_is_told_which_there_are(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["simulator", "--bug", "?"])
    assert main() == 1
    told = capsys.readouterr().err
    assert told.startswith("There is no planted bug named '?'. There are:\n")
    assert all(f"  {bug.name} " in told and bug.sentence in told for bug in BUGS)
