"""Load over many connections at once: by wrk, or by a small client of our own where there is no wrk."""

import asyncio
import json
import os
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.client import Connection, Request
from bench.stage import BenchError

CONNECTIONS = 32
SCRIPT = Path(__file__).with_name("load.lua")
MISSING = "wrk is missing, so a slower client of our own makes the load: apt-get install wrk"


@dataclass(kw_only=True)
class Load:
    """What was answered."""

    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    """From the first request to the last answer."""
    used_up: bool = False
    """All prepared requests were sent before the time was over."""
    p50: float = 0.0
    p99: float = 0.0

    @property
    def answers(self) -> int:
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        return self.answers / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to send where, and for how long. `expected` are the statuses that may be answered: any other fails the run."""

    url: str
    requests: Sequence[Request]
    seconds: float
    expected: frozenset[int]
    again: bool = False
    """Begin anew when all requests were sent; otherwise each is sent once."""
    connections: int = CONNECTIONS


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


async def put_load(plan: Plan, folder: Path) -> Load:
    """Send it. Raises BenchError for an answer that was not expected, or none."""
    too_short = plan.seconds < 1 and not plan.again  # For wrk, which knows whole seconds.
    load = await (_by_wrk(plan, folder) if has_wrk() and not too_short else _by_ourselves(plan))
    unexpected = {status: times for status, times in load.statuses.items() if status not in plan.expected}
    if unexpected or not load.answers:
        raise BenchError(f"{plan.url} answered {load.statuses}, where {sorted(plan.expected)} was expected.")
    return load


async def _by_wrk(plan: Plan, folder: Path) -> Load:
    """One thread: it is far quicker than what it measures, and what is tested needs the other processor."""
    requests, result = folder / "requests", folder / "wrk.json"
    Path(f"{requests}.1").write_bytes(b"\0".join(request.raw for request in plan.requests))
    result.unlink(missing_ok=True)
    command = ["wrk", "-t1", f"-c{plan.connections}", f"-d{max(1, round(plan.seconds))}s", "--timeout", "20s", "-s", str(SCRIPT), plan.url]
    process = await asyncio.create_subprocess_exec(
        *command,
        "--",
        str(requests),
        "again" if plan.again else "once",
        env=os.environ | {"BENCH_RESULT": str(result)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode or not result.exists():
        raise BenchError(f"wrk failed: {output.decode(errors='replace').strip()[-500:]}")
    found = json.loads(result.read_text())
    if found["broken"]:
        raise BenchError(f"{found['broken']} requests to {plan.url} were not answered: {output.decode(errors='replace')[-500:]}")
    return Load(
        statuses={int(status): times for status, times in found["statuses"].items()},
        seconds=found["seconds"],
        used_up=bool(found["used_up"]),
        p50=found["p50"],
        p99=found["p99"],
    )


async def _by_ourselves(plan: Plan) -> Load:
    """The same by asyncio."""
    loop = asyncio.get_running_loop()
    load, latencies = Load(), list[float]()
    position, begun = 0, loop.time()

    async def one_after_the_other() -> None:
        nonlocal position
        async with Connection(plan.url) as connection:
            while loop.time() - begun < plan.seconds:
                if position == len(plan.requests):
                    if not plan.again:
                        load.used_up = True
                        return
                    position = 0
                request = plan.requests[position]
                position += 1
                sent = loop.time()
                answer = await connection.ask(request)
                latencies.append(loop.time() - sent)
                load.statuses[answer.status] = load.statuses.get(answer.status, 0) + 1

    async with asyncio.TaskGroup() as all_connections:
        for _ in range(plan.connections):
            all_connections.create_task(one_after_the_other())
    load.seconds = loop.time() - begun
    if len(latencies) > 1:
        hundredths = statistics.quantiles(latencies, n=100)
        load.p50, load.p99 = hundredths[49], hundredths[98]
    return load
