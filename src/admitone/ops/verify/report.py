"""What a check has found: a line for each thing that must always hold, and the rows that break it."""

from collections import Counter
from uuid import UUID

import msgspec
from msgspec import Struct, field

MAX_ROWS = 10
"""So many offending rows are shown of each line; the others are counted."""


class Line(Struct, kw_only=True):
    """One thing that must always hold."""

    name: str
    """Its number, such as `I1`."""
    claim: str
    counted: Counter[str] = field(default_factory=Counter)
    """What was looked at: plural noun -> how many."""
    violations: int = 0
    rows: list[str] = field(default_factory=list)
    """The first of the rows that break it."""
    notes: list[str] = field(default_factory=list)
    """What was not compared, and what is no violation but worth knowing."""
    checked: bool = True
    """False for what needs everything at rest, where it is not."""

    def broken(self, row: str) -> None:
        """One more violation; the row says which, in a sentence that goes on in small letters."""
        self.violations += 1
        if len(self.rows) < MAX_ROWS:
            self.rows.append(row)


class UnderWay(Struct, kw_only=True):
    """What is still to happen by itself."""

    unpublished: Counter[str] = field(default_factory=Counter)
    """Service -> events that it has said, and that the stream does not have (any more)."""
    unheard: Counter[str] = field(default_factory=Counter)
    """Service -> events that it is still to hear."""
    payments: int = 0
    """Not at their end: to be resolved, captured, voided or refunded."""
    overdue: int = 0
    """Orders and timers whose time is over."""

    def __bool__(self) -> bool:
        return bool(self.unpublished.total() or self.unheard.total() or self.payments or self.overdue)

    def sentence(self) -> str:
        """How much of what."""
        events = [f"{service} hears {times:,}" for service, times in self.unheard.items() if times]
        events += [f"{service} says {times:,}" for service, times in self.unpublished.items() if times]
        parts = []
        if events:
            total = self.unheard.total() + self.unpublished.total()
            parts.append(f"{_many(total, 'event')} under way ({', '.join(events)})")
        if self.payments:
            parts.append(f"{_many(self.payments, 'payment')} not at the end")
        if self.overdue:
            parts.append(f"{_many(self.overdue, 'order')} or timers whose time is over")
        return ", ".join(parts)


class Excluded(Struct, frozen=True):
    """Orders and tickets of which some service has not handled an event: it is parked, or was dropped. What follows from
    that is no violation, so they are left out where the services are compared.
    """

    ids: frozenset[UUID] = frozenset()


class Report(Struct, kw_only=True):
    """All of it."""

    lines: list[Line]
    under_way: UnderWay
    parked: int
    """Events that wait for a person."""

    @property
    def violations(self) -> int:
        return sum(line.violations for line in self.lines)

    @property
    def exit_code(self) -> int:
        """1: something is broken. 2: not at rest, so that it can't be said of everything. 0: all of it holds."""
        return 1 if self.violations else 2 if self.under_way else 0


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_counts(line: Line) -> str:
    """What was counted, in a few words."""
    if not line.checked:
        return "not checked, which needs everything at rest"
    counts = [f"{number:,} {noun.removesuffix('s') if number == 1 else noun}" for noun, number in line.counted.items()]
    return ", ".join([*counts, f"{_many(line.violations, 'violation')}"])


def format_report(report: Report) -> list[str]:
    """For a terminal."""
    lines = []
    for line in report.lines:
        state = "BAD" if line.violations else "ok" if line.checked else "--"
        lines.append(f"{state:<3}  {line.name:<3}  {line.claim}: {format_counts(line)}")
        lines += [f"{'':>10}{row}" for row in line.rows]
        if line.violations > len(line.rows):
            lines.append(f"{'':>10}and {line.violations - len(line.rows):,} more")
        lines += [f"{'':>10}({note})" for note in line.notes]
    return [*lines, "", _verdict(report)]


def _verdict(report: Report) -> str:
    if report.violations:
        broken = [line.name for line in report.lines if line.violations]
        return f"Broken: {', '.join(broken)}." + (f" Not at rest yet either: {report.under_way.sentence()}." if report.under_way else "")
    if report.under_way:
        return f"Not at rest yet: {report.under_way.sentence()}. What needs rest is not checked; --wait waits for it."
    return "All of them hold: I1 to I9, I12 and I13."


def as_json(report: Report) -> str:
    """For a program."""
    whole = {"exitCode": report.exit_code, "notAtRest": report.under_way.sentence(), "parked": report.parked, "lines": report.lines}
    return msgspec.json.format(msgspec.json.encode(whole)).decode()
