"""Prints what it costs to run and how quick it is: memory, idle CPU, and how long events take. A benchmark, not a test.

Run it with `make figures`. It starts `admitone up` on a data folder and a port of its own. Linux only: it reads /proc.
"""

import asyncio
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
from market import begin, post, ready, stop
from streams import streams

from admitone.runtime.programs import free_port

ROUNDS = 60
IDLE_SECONDS = 10
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


async def main() -> None:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="admitone-") as folder:
        Path(folder).chmod(0o755)
        environment = {**os.environ, "ADMITONE_DATA": f"{folder}/data", "ADMITONE_PORT": str(port)}
        for start in ("first", "second"):
            begun = time.perf_counter()
            process = begin(environment)
            await ready(port)
            print(f"ready after the {start} start                    {time.perf_counter() - begun:8.2f} s")
            if start == "first":
                stop(process)
        try:
            async with httpx.AsyncClient(base_url=f"http://localhost:{port}", timeout=10) as client:
                await latencies(client)
                memory(process.pid)
                await idle(process.pid)
                await open_pages(client, port, process.pid)
        finally:
            stop(process)


async def open_pages(client: httpx.AsyncClient, port: int, pid: int) -> None:
    """Somebody changes a ticket's price again and again, and everybody looks at it."""
    ticket = await post(client, "/api/tickets", {"title": "Seen by many", "price": 10})

    async def change(number: int) -> str:
        (await client.put(f"/api/tickets/{ticket['id']}", json={"title": "Seen by many", "price": 20 + number})).raise_for_status()
        return f"${20 + number}.00"

    await streams(
        port, f"/live/tickets/{ticket['id']}", change, lambda: _kilobytes(pid, "status", "VmRSS") / 1024, lambda: _ticks(pid) / CLOCK_TICKS
    )


async def latencies(client: httpx.AsyncClient) -> None:
    """From a 201 to what follows from it, one at a time on an idle system."""
    await post(client, "/api/users/signup", {"email": f"figures-{time.time()}@example.com", "password": "correct horse"})
    reserved, orderable = [], []
    for number in range(ROUNDS):
        ticket = await post(client, "/api/tickets", {"title": f"Seat {number}", "price": 10})
        begun = time.perf_counter()
        order = await post(client, "/api/orders", {"ticketId": ticket["id"]})
        orderable.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        await until(lambda order=order: status_of(client, order["id"]), "awaiting:payment")  # type: ignore[misc]
        reserved.append(time.perf_counter() - begun)
        await client.delete(f"/api/orders/{order['id']}")
    show("from the 201 of an order to awaiting:payment", reserved)
    show("from the 201 of a ticket to its first order's 201", orderable)


async def status_of(client: httpx.AsyncClient, order_id: str) -> str:
    status: str = (await client.get(f"/api/orders/{order_id}")).json()["status"]
    return status


async def until(look: Callable[[], Awaitable[str]], wanted: str) -> None:
    while await look() != wanted:
        await asyncio.sleep(0.001)


def show(what: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    median, worst = statistics.median(ordered), ordered[-1]
    print(f"{what:<50} median {median * 1000:6.1f} ms   worst {worst * 1000:6.1f} ms   of {len(ordered)}")


def memory(pid: int) -> None:
    print(f"resident memory of the Python process                 {_kilobytes(pid, 'status', 'VmRSS') / 1024:6.0f} MB")
    engines = descendants(pid)
    print(f"both engines, {len(engines)} processes, proportional set size  {sum(_pss(engine) for engine in engines) / 1024:6.0f} MB")


async def idle(pid: int) -> None:
    before = _ticks(pid)
    await asyncio.sleep(IDLE_SECONDS)
    share = (_ticks(pid) - before) / CLOCK_TICKS / IDLE_SECONDS
    print(f"idle CPU of the Python process                        {share:6.1%} of one core")


def descendants(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.split()
    parents = dict(zip(map(int, listed[::2]), map(int, listed[1::2]), strict=True))
    found = [pid]
    for parent in found:
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def _kilobytes(pid: int, file: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError, StopIteration):
        return _kilobytes(pid, "smaps_rollup", "Pss")
    return 0


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    asyncio.run(main())
