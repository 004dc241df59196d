"""A row is what its events add up to, and a copy equals its owner's row."""

from datetime import timedelta
from typing import Any

import msgspec
from asyncpg import Record

from admitone.kit.event import Event
from admitone.ops.verify.report import Line
from admitone.ops.verify.snapshot import Snapshot


class RowChecks:
    """The lines of I1, I3 to I6, I8 and I9, and what is compared of tickets and orders alike."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.i1 = Line(name="I1", claim="at most one live order per ticket, at any time")
        self.i3 = Line(name="I3", claim="orders move only forward, their versions by one")
        self.i4 = Line(name="I4", claim="no order expires before its time, and none outlives it")
        self.i4.counted.update({"expired orders": 0, "open orders": 0})
        self.i5 = Line(name="I5", claim="each ticket is held by its live order or by nobody, and its locks only rise")
        self.i6 = Line(name="I6", claim="the price of an order is the ticket's, and frozen while it is locked")
        self.i8 = Line(name="I8", claim="every row is what the events about it add up to, in whatever order")
        self.i9 = Line(name="I9", claim="every copy equals its owner's row")
        self._late, self._latest = 0, timedelta()
        if not snapshot.at_rest:
            self.i5.checked = self.i9.checked = False
            self.i6.notes.append("orders were not compared with their tickets: that needs everything at rest")

    def _newest(self, name: str, row: Record | None, states: list[dict[str, Any]], event: type[Event]) -> None:
        """A row is the newest of its states: so it does not matter in which order they are heard."""
        self.i8.counted["rows"] += 1
        self.i8.counted["events"] += len(states)
        if len({state["version"] for state in states}) != len(states):
            self.i8.broken(f"{name} has two events of one version")
        if row is None or not states:
            self.i8.broken(f"{name} is {'in the log, and not there' if row is None else 'there, and not in the log'}")
        elif differing := _differing(row, states[-1], event):
            self.i8.broken(f"{name} is not what its log adds up to: {', '.join(differing)}")

    def _copy(self, of: str, where: str, row: Record | None, states: list[dict[str, Any]], copy: Record | None, event: type[Event]) -> None:
        self.i8.counted["copies"] += 1
        self.i9.counted["copies"] += 1
        name, owner = f"the copy of {of} in {where}", of.partition(" ")[0]
        if copy is None or row is None:
            self.i9.broken(f"{name} {'is not there' if copy is None else f'has no {owner}'}")
            return
        differing = [field for field, value in copy.items() if value != row[field]]
        if differing:
            self.i9.broken(f"{name} differs in {', '.join(differing)}")
        if states and (folded := _differing(copy, states[-1], event)):
            self.i8.broken(f"{name} is not what the log of {owner}s adds up to: {', '.join(folded)}")


def _differing(row: Record, state: dict[str, Any], event: type[Event]) -> list[str]:
    """The columns that are not as an event says. A column that was added since the event was said is not in it."""
    try:
        said = msgspec.convert(state, event)
    except msgspec.ValidationError as error:
        return [str(error)]
    return [name for name in event.__struct_fields__ if name in state and name in row and row[name] != getattr(said, name)]
