"""A story while it happens: the databases are looked at again and again, as only they know when something was handled."""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID

import click
import msgspec

from admitone.ops.journey.queries import Logs, Step, Story, Subject, away_sentence, story_of
from admitone.ops.journey.render import Table
from admitone.ops.journey.status import over, standings

LOOK_EVERY_SECONDS = 0.25
WAIT_FOR_LISTENERS_SECONDS = 1.0
"""How long an event's row waits for all its listeners, so that most are told in one piece; what comes later gets a row of its own."""

Say = Callable[[str], None]


async def follow(logs: Logs, about: Subject, say: Say, complain: Say, width: int, as_json: bool) -> None:
    """Tell what is new until it is over. With `as_json` each line is an event, said again when something new is known of it."""
    told: set[UUID] = set()
    known: dict[UUID, set[str]] = {}
    first_seen: dict[UUID, float] = {}
    table: Table | None = None
    complaint, was_over = "", False
    expected: list[str] = []
    while True:
        logs.away.clear()
        story = await story_of(logs, about)
        if away_sentence(logs) != complaint:
            complaint = away_sentence(logs)
            complain(complaint or "All databases answer again.")
        if table is None and story.steps:
            table = Table(story, width)
            if not as_json:
                _say_all(say, table.head())
        for step in story.steps:
            assert table is not None
            new = {*step.heard, *step.parked, *step.dropped} - known.get(step.event_id, set())
            if step.event_id not in told:
                seen = first_seen.setdefault(step.event_id, time.monotonic())
                if _under_way(step) and time.monotonic() - seen < WAIT_FOR_LISTENERS_SECONDS:
                    break  # And what follows from it waits with it.
                told.add(step.event_id)
                _say_all(say, [_json(step)] if as_json else table.row(step))
            elif new:
                _say_all(say, [_json(step)] if as_json else table.news(step, sorted(new)))
            known[step.event_id] = {*step.heard, *step.parked, *step.dropped}
        is_over = over(story) and len(told) == len(story.steps)
        if table is not None and is_over and was_over:  # Twice: one look is not at one moment in all databases.
            _say_all(say, [_ended(story)] if as_json else ["", *table.ending(story)])
            return
        was_over = is_over
        if table is not None and len(told) == len(story.steps) and not any(map(_under_way, story.steps)):
            expected, before = table.expected(story), expected
            if expected != before and not as_json:
                _say_all(say, [click.style(f"{'':>8}{line}", dim=True) for line in expected])
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def _under_way(step: Step) -> bool:
    return bool(step.missing) or step.published_at is None


def _json(step: Step) -> str:
    return msgspec.json.encode(step).decode()


def _ended(story: Story) -> str:
    return msgspec.json.encode({"orders": standings(story)}).decode()


def _say_all(say: Say, lines: list[str]) -> None:
    for line in lines:
        say(line)
