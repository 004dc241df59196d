"""What the rounds have found, by figure."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.goals import BY_KEY, GOALS
from bench.meter import NOISY_CORES, Used


@dataclass
class Entry:
    """A figure: a value of each round, and what it cost."""

    values: list[float] = field(default_factory=list)
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)
    """CPU milliseconds per operation, by group of processes."""
    client_cores: list[float] = field(default_factory=list)
    others_cores: list[float] = field(default_factory=list)

    @property
    def noisy(self) -> bool:
        return any(cores > NOISY_CORES for cores in self.others_cores)

    def as_json(self) -> dict[str, Any]:
        return {
            "median": statistics.median(self.values),
            "min": min(self.values),
            "max": max(self.values),
            "rounds": self.values,
            "cpu_ms": {group: statistics.median(found) for group, found in self.cpu_ms.items()},
            "client_cores": statistics.median(self.client_cores) if self.client_cores else None,
            "others_cores": max(self.others_cores, default=None),
            "noisy": self.noisy,
        }


class Book:
    """Every figure of a run."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def add(self, key: str, value: float, used: Used | None = None, cost: Mapping[str, float] | None = None) -> None:
        """One round of a figure. `cost`: CPU milliseconds per operation, by group of processes."""
        assert key in BY_KEY, key
        entry = self.entries.setdefault(key, Entry())
        entry.values.append(value)
        for group, spent in (cost or {}).items():
            entry.cpu_ms.setdefault(group, []).append(spent)
        if used is not None and used.seconds:
            entry.client_cores.append(used.client / used.seconds)
            entry.others_cores.append(used.others / used.seconds)

    def median(self, key: str) -> float:
        return statistics.median(self.entries[key].values)

    def as_json(self) -> dict[str, Any]:
        """In the order of the goals."""
        found = {}
        for goal in GOALS:
            if goal.key in self.entries:
                entry = self.entries[goal.key].as_json()
                found[goal.key] = {"title": goal.title, "unit": goal.unit, **entry, "must": goal.must, "better": goal.better}
                found[goal.key]["met"] = goal.met(entry["median"])
        return found


def cost_of(used: Used, operations: int, idle_cores: Mapping[str, float] | None = None) -> dict[str, float]:
    """CPU milliseconds per operation, by group of processes, without what they use when nothing happens."""
    idle = idle_cores or {}
    return {
        group: (spent - idle.get(group, 0.0) * used.seconds) * 1000 / operations
        for group, spent in used.cpu.items()
        if group in ("python", "postgres", "nats")
    }
