"""A story as lines for a terminal: a column for each service, so that one sees who says what, and who hears it when."""

from collections.abc import Sequence
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any
from uuid import UUID

import click
import msgspec

from admitone.config import SERVICES_WITH_A_DATABASE
from admitone.kit.event import words
from admitone.kit.observe.log import printable
from admitone.ops.format import amount, exact_clock, in_short, moment, short_id
from admitone.ops.journey.status import OrderStatus, missing, order_statuses, over
from admitone.ops.journey.story import Handling, Listed, Step, Story, User
from admitone.ops.reach import recording_services

MIN_WIDTH, ROOMY, WITH_TIME = 80, 100, 120
"""Columns of a terminal: what is fitted into at least, and from when on there are gaps, and the time of day."""
LANE = 7
SHORT = {"expiration": "expir."}
SLOW_MILLISECONDS = 1000
LEGEND = (
    "says: who published it. 12 ms: heard, that long after it was said. +12 ms: since",
    "the line above. <3: because of 3. ~3: later, for the same request as 3.",
)


def format_story(story: Story, width: int) -> list[str]:
    """The whole story."""
    table = Table(story, width)
    rows = [line for step in story.steps for line in table.row(step)]
    return [*table.head(), *rows, "", *table.ending(story)]


class Table:
    """The rows of a story, numbered as they are asked for. `width` is the terminal's, in columns: wide ones are lines more."""

    def __init__(self, story: Story, width: int) -> None:
        self.story = story
        self.width = max(width, MIN_WIDTH)
        self.numbers: dict[UUID, int] = {}
        self._roomy, self._with_time = width >= ROOMY, width >= WITH_TIME
        self._requests: dict[UUID, int] = {}
        self._letters: dict[str, str] = {}
        said_by = {step.service for step in story.steps}
        names = [name for name in SERVICES_WITH_A_DATABASE if name != "auth" or name in said_by]
        self._lanes = {name: name if self._roomy else SHORT.get(name, name) for name in names}
        self._last: Step | None = None
        self._tickets: dict[str, str] = {}
        """The state of each ticket so far: where it stays the same, it is the price that was changed."""

    def head(self) -> list[str]:
        about, first = self.story.about, self.story.steps[0].time
        lines = [_cut(line, self.width) for line in (f"{about.kind:<8} {about.id}", *_cast(self.story))]
        lines.append(f"{'began':<8} {first.astimezone(UTC):%Y-%m-%d} {exact_clock(first)} UTC")
        lanes = "".join(self._in_lane(name, title) for name, title in self._lanes.items())
        return [*lines, "", click.style(f"{self._start('#', '', 'at', 'after', 'of')}{lanes}event", dim=True)]

    def row(self, step: Step) -> list[str]:
        """An event, and what is to be said about its hearing. It gets the next number."""
        number = self.numbers[step.event_id] = len(self.numbers) + 1
        after = "" if self._last is None else _signed(_milliseconds(self._last.time, step.time))
        self._last = step
        start = self._start(str(number), self._why(step, number), exact_clock(step.time), after, self._of(step))
        lanes = "".join(self._cell(step, name) for name in self._lanes)
        event = _fitting(step, self._details(step), self.width - len(click.unstyle(start + lanes)), 21 if self._roomy else 0)
        return [f"{start}{lanes}{event}".rstrip(), *self._notes(step, (*step.heard, *step.parked, *step.dropped))]

    def _details(self, step: Step) -> list[str]:
        """Its state, a price, a title: the more telling first."""
        details = in_short(step.event, step.data).split(", ")
        if step.service == "tickets" and "version" in step.data:
            ticket, state = str(step.data.get("ticket_id")), details[0]
            if self._tickets.get(ticket) == state:
                details = [*details[1:], state]
            self._tickets[ticket] = state
        return details

    def news(self, step: Step, services: Sequence[str]) -> list[str]:
        """Who has heard an event whose row is lines already."""
        start = self._start(str(self.numbers[step.event_id]), "", "", "", self._of(step))
        lanes = "".join(self._cell(step, name) if name in services else self._in_lane(name, "") for name in self._lanes)
        return [f"{start}{lanes}".rstrip(), *self._notes(step, services)]

    def ending(self, story: Story) -> list[str]:
        """How it stands, what is missing and what comes next."""
        found = order_statuses(story)
        lines = [self._status_line(order, alone=story.about.kind == "order") for order in found]
        if story.about.kind == "request":
            lines = [
                f"{letter:<2} order {order_id}: `admitone journey {order_id}` tells how it stands."
                for order_id, letter in self._letters.items()
            ]
        elif "orders" in story.away and not any(order.status for order in found):
            lines = ["How its orders stand is not known: orders can't be asked."]
        lines += self.expected(story)
        lines += [click.style(_parked_in_short(step, self.numbers[step.event_id]), fg="red") for step in story.steps if step.parked]
        under_way = missing(story, self.numbers)
        lines += [click.style(f"Missing: {line}.", fg="yellow") for line in under_way]
        if not under_way and not story.away and not any(step.parked for step in story.steps):
            lines.append("Nothing is missing.")
        requests = ", ".join(f"{number} {short_id(request)}" for request, number in self._requests.items())
        small = [*wrap(f"Requests, as log lines have them: {requests}.", self.width), *LEGEND]
        return [*(click.style(line, dim=True) for line in small), "", *lines]

    def expected(self, story: Story) -> list[str]:
        """What comes next, a line for each order that has not ended."""
        return [f"Expected next{self._letter(order)}: {order.expected}." for order in order_statuses(story) if order.expected]

    def _start(self, number: str, why: str, time: str, after: str, of: str) -> str:
        """The columns before the lanes."""
        moment = f" {time:<12}" if self._with_time else ""
        order = "" if self.story.about.kind == "order" else f"{of:<2} "
        return f"{number:>{3 if self._roomy else 2}}{why:>4}{moment} {after:>7}{self._gap}{order}"

    def _why(self, step: Step, number: int) -> str:
        if step.causation_id is not None:
            return f"<{self.numbers.get(step.causation_id, '?')}"
        first = self._requests.setdefault(step.correlation_id, number)
        return "" if first == number else f"~{first}"

    def _cell(self, step: Step, name: str) -> str:
        text, style = _mark(step, name)
        return click.style(self._in_lane(name, text), **style)

    def _in_lane(self, name: str, text: str) -> str:
        return f"{text:<{max(LANE, len(self._lanes[name]))}}{self._gap}"

    @property
    def _gap(self) -> str:
        return "  " if self._roomy else " "

    def _of(self, step: Step) -> str:
        """Which of several orders it is about."""
        if step.order_id is None or self.story.about.kind == "order":
            return ""
        return self._letters.setdefault(step.order_id, _nth_letter(len(self._letters)))

    def _letter(self, order: OrderStatus) -> str:
        return f" for {self._letters[order.order_id]}" if order.order_id in self._letters else ""

    def _notes(self, step: Step, services: Sequence[str]) -> list[str]:
        """What a column is too narrow for, of these services."""
        notes = []
        for name, heard in step.heard.items():
            if heard.from_published_milliseconds > SLOW_MILLISECONDS:
                notes.append((name, f"{name} took {_duration(heard.from_published_milliseconds)} from published to handled", "yellow"))
        notes += [(name, _parked(name, heard), "red") for name, heard in step.parked.items()]
        notes += [(name, f"dropped by {name}: {printable(reason)}", "yellow") for name, reason in step.dropped.items()]
        return [click.style(_cut(f"{'':>8}{note}", self.width), fg=colour) for name, note, colour in notes if name in services]

    def _status_line(self, order: OrderStatus, alone: bool) -> str:
        who = "It" if alone else f"{self._letters.get(order.order_id, '?'):<2} order {order.order_id}"
        if order.status is None:
            return f"{who} is not known to orders."
        return f"{who} is {order.status}" + (f" ({order.reason})." if order.reason else ".")


def format_user(user: User, width: int) -> list[str]:
    """A line for each ticket and order, with the id to go on with."""
    lines = [f"user     {user.about.id}" + (f"  {printable(user.email)}" if user.email else "")]
    if user.signed_up_at:
        lines.append(f"joined   {moment(user.signed_up_at)} UTC")
    for title, listed in (("Listed", user.listed), ("Ordered", user.ordered)):
        lines += ["", f"{title}: {len(listed) or 'nothing'}", *_rows(listed, width)]
    return lines


def document(story: Story) -> dict[str, Any]:
    """A story for a program."""
    return {**msgspec.to_builtins(story), "orders": msgspec.to_builtins(order_statuses(story)), "over": over(story)}


def _rows(listed: list[Listed], width: int) -> list[str]:
    states = [entry.status.replace("cancelled: ", "") for entry in listed]
    prices = [amount(entry.price_cents, entry.currency) for entry in listed]
    state_width, price_width = max(map(len, states), default=0), max(map(len, prices), default=0)
    rows = []
    for entry, state, price in zip(listed, states, prices, strict=True):
        id = str(entry.id) if width >= WITH_TIME else short_id(entry.id)
        start = f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M}  {id}  {state:<{state_width}}  {price:>{price_width}}  "
        rows.append(start + _cut(entry.title, max(20, width - len(start))))
    return rows


def _cast(story: Story) -> list[str]:
    """What it is called, and the ids to go on with; the orders of a ticket stand at the end, with their states."""
    roles = {"order": "order_id", "ticket": "ticket_id", "seller": "seller_id", "buyer": "user_id"}
    if story.about.kind == "ticket":
        roles = {"seller": "seller_id"}
    titles = [step.data["title"] for step in story.steps if step.data.get("title")]
    lines = [f"{'title':<8} {titles[-1]}"] if titles else []
    for role, field in roles.items():
        ids = dict.fromkeys(step.data[field] for step in story.steps if step.data.get(field))
        lines += [f"{role:<8} {found}" for found in ids if found != story.about.id]
    return lines


def _mark(step: Step, name: str) -> tuple[str, dict[str, Any]]:
    if name == step.service:
        return "says", {"fg": "cyan", "bold": True}
    if name in step.parked:
        return "PARKED", {"fg": "red", "bold": True}
    if name in step.dropped:
        return "dropped", {"fg": "yellow"}
    if name in step.heard:
        heard = step.heard[name]
        return _duration(heard.milliseconds), {"fg": "yellow"} if heard.from_published_milliseconds > SLOW_MILLISECONDS else {"fg": "green"}
    if name in step.missing:
        return "not yet", {"fg": "yellow"}
    return "?" if name in recording_services(step.event) else "", {}  # Its database can't be asked.


def _parked_in_short(step: Step, number: int) -> str:
    return f"Parked: {words(step.event)} ({number}) by {', '.join(step.parked)}. To see it: admitone parked show {short_id(step.event_id)}"


def _parked(name: str, heard: Handling) -> str:
    return f"PARKED by {name} after {heard.tries} {'try' if heard.tries == 1 else 'tries'}: {printable(heard.error or '')}"


def _fitting(step: Step, in_words: list[str], room: int, column: int) -> str:
    """The event, and as much more of it as there is room for. The name has a column, or a colon."""
    details: list[str | None] = [*in_words]
    if in_words[0] in step.event.lower():  # An order that was cancelled is cancelled.
        del details[0]
    details += [step.data.get("title") if step.service == "tickets" else None, step.data.get("email")]
    lines = f"{words(step.event):<{column}}"
    for detail in filter(None, details):
        separator = ", " if lines.rstrip() != words(step.event) else "" if column else ": "
        if len(lines + separator + printable(detail)) > room:
            break
        lines += separator + printable(detail)
    return lines


def _cut(text: str, room: int) -> str:
    clean = printable(text)
    return clean if len(clean) <= room else clean[: max(0, room - 1)] + "…"


def _milliseconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() * 1000


def _nth_letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else str(index + 1)


def _signed(milliseconds: float) -> str:
    return f"{'-' if milliseconds < 0 else '+'}{_duration(abs(milliseconds))}"


def _duration(milliseconds: float) -> str:
    """In at most seven letters."""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.0f} h" if minutes < 6000 else f"{minutes / 1440:.0f} d"
