"""A story while it happens: the databases are looked at again and again, as only they know when something was handled."""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID

import click
import msgspec

from admitone.ops.journey.queries import story_of
from admitone.ops.journey.render import Table
from admitone.ops.journey.status import order_statuses, over
from admitone.ops.journey.story import Step, Story, Subject
from admitone.ops.reach import Databases

LOOK_EVERY_SECONDS = 0.25
WAIT_FOR_LISTENERS_SECONDS = 1.0
"""How long an event's row waits for all its listeners, so that most are shown in one piece; what comes later gets a row of its own."""

Say = Callable[[str], None]


async def follow(databases: Databases, about: Subject, say: Say, complain: Say, width: int, as_json: bool) -> None:
    """Tell what is new until it is over. With `as_json` each line is an event, said again when something new is known of it."""
    shown: set[UUID] = set()
    known: dict[UUID, set[str]] = {}
    first_seen: dict[UUID, float] = {}
    table: Table | None = None
    problem, was_over = "", False
    expected: list[str] = []
    while True:
        databases.unreachable.clear()
        story = await story_of(databases, about)
        if databases.unreachable_sentence() != problem:
            problem = databases.unreachable_sentence()
            complain(problem or "All databases answer again.")
        if table is None and story.steps:
            table = Table(story, width)
            if not as_json:
                _say_all(say, table.head())
        for step in story.steps:
            assert table is not None
            new = {*step.heard, *step.parked, *step.dropped} - known.get(step.event_id, set())
            if step.event_id not in shown:
                seen = first_seen.setdefault(step.event_id, time.monotonic())
                if _under_way(step) and time.monotonic() - seen < WAIT_FOR_LISTENERS_SECONDS:
                    break  # And what follows from it waits with it.
                shown.add(step.event_id)
                _say_all(say, [_json(step)] if as_json else table.row(step))
            elif new:
                _say_all(say, [_json(step)] if as_json else table.news(step, sorted(new)))
            known[step.event_id] = {*step.heard, *step.parked, *step.dropped}
        is_over = over(story) and len(shown) == len(story.steps)
        if table is not None and is_over and was_over:  # Twice: one look is not at one moment in all databases.
            _say_all(say, [_ended(story)] if as_json else ["", *table.ending(story)])
            return
        was_over = is_over
        if table is not None and len(shown) == len(story.steps) and not any(map(_under_way, story.steps)):
            expected, before = table.expected(story), expected
            if expected != before and not as_json:
                _say_all(say, [click.style(f"{'':>8}{line}", dim=True) for line in expected])
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def _under_way(step: Step) -> bool:
    return bool(step.missing) or step.published_at is None


def _json(step: Step) -> str:
    return msgspec.json.encode(step).decode()


def _ended(story: Story) -> str:
    return msgspec.json.encode({"orders": order_statuses(story)}).decode()


def _say_all(say: Say, lines: list[str]) -> None:
    for line in lines:
        say(line)
