"""CPU time by group of processes, and what everybody else used of the machine meanwhile. Linux only: it reads /proc."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
NOISY_CORES = 0.25
"""When others used more than this of a core, a figure is marked as noisy."""


@dataclass(kw_only=True)
class Used:
    """What was used while something ran; seconds of CPU."""

    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    """By group: python, postgres, nats, and others if there are any."""
    client: float = 0.0
    """The load generator and this process."""
    others: float = 0.0

    @property
    def noisy(self) -> bool:
        return self.seconds > 0 and self.others / self.seconds > NOISY_CORES


@dataclass(frozen=True)
class Reading:
    at: float
    cpu: dict[str, float]
    client: float
    busy: float


class Meter:
    """Knows the processes at the roots of each group. A group is these and all their descendants, also those that have ended."""

    def __init__(self) -> None:
        self.roots: dict[int, str] = {}

    def read(self) -> Reading:
        times, children = _processes()
        groups: dict[str, float] = dict.fromkeys(self.roots.values(), 0.0)
        for root, group in self.roots.items():
            groups[group] += sum(times.get(pid, 0.0) for pid in _tree(root, children))
        own = os.times()
        return Reading(time.perf_counter(), groups, own.user + own.system + own.children_user + own.children_system, _busy())

    def since(self, before: Reading) -> Used:
        after = self.read()
        cpu = {name: spent - before.cpu.get(name, 0.0) for name, spent in after.cpu.items()}
        client = after.client - before.client
        others = max(0.0, after.busy - before.busy - sum(cpu.values()) - client)
        return Used(seconds=after.at - before.at, cpu=cpu, client=client, others=others)

    @contextlib.contextmanager
    def measure(self) -> Iterator[Used]:
        """What the block used; filled in when it ends."""
        used, before = Used(), self.read()
        yield used
        found = self.since(before)
        used.seconds, used.cpu, used.client, used.others = found.seconds, found.cpu, found.client, found.others


def _processes() -> tuple[dict[int, float], dict[int, list[int]]]:
    """Of each process its CPU time with that of its children that have ended, and its children that live."""
    times: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                times[int(entry)] = sum(map(int, fields[11:15])) / TICK
                children.setdefault(int(fields[1]), []).append(int(entry))
    return times, children


def _tree(root: int, children: dict[int, list[int]]) -> list[int]:
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _busy() -> float:
    """What all processors have worked so far; waiting for a disk is no work."""
    user, nice, system, _idle, _waiting, hardware, software, stolen = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + hardware + software + stolen) / TICK
