"""Five hundred open pages on one process: how soon all of them are told of a change, and what they cost. `make figures` prints it."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from limits import head, line

STREAMS = 500
CHANGES = 20
TOLD_WITHIN_SECONDS = 1
MEMORY_LEFT_MB = 3
"""What the first 500 leave behind is Python's allocator's, for the next ones: so it is the second 500 that must take nothing more."""


async def streams(
    port: int, path: str, change: Callable[[int], Awaitable[str]], memory: Callable[[], float], cpu: Callable[[], float]
) -> None:
    """`change` makes a change and says what a page that was told of it has read; `memory` is in MB, `cpu` in seconds."""
    head(f"{STREAMS} open event streams on one process, {CHANGES} changes")
    rounds = [await opened_told_and_closed(port, path, change, memory, cpu) for _ in range(2)]
    slowest = [seconds for taken, *_ in rounds for seconds in taken]
    (_, spent, first, opened, after), (*_, after_all) = rounds
    line("from a change to the last one told, median", statistics.median(slowest), None, "s", 2)
    line("from a change to the last one told, worst", max(slowest), TOLD_WITHIN_SECONDS, "s", 2)
    line(f"CPU of the Python process per change, told to {STREAMS}", spent * 1000, None, "ms")
    line("memory that the first 500 take", opened - first, None, "MB", 1)
    line("memory that is kept for the next ones when they have closed", after - first, None, "MB", 1)
    line("memory after the next 500 have closed, more than before them", after_all - after, MEMORY_LEFT_MB, "MB", 1)


async def opened_told_and_closed(
    port: int, path: str, change: Callable[[int], Awaitable[str]], memory: Callable[[], float], cpu: Callable[[], float]
) -> tuple[list[float], float, float, float, float]:
    """The seconds that each change took, the CPU's per change, and the memory before, while they are open, and afterwards."""
    before = memory()
    readers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(STREAMS)]
    for reader, writer in readers:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"event: beat")
    opened = memory()
    slowest, begun_cpu = [], cpu()
    for number in range(CHANGES):
        begun = time.perf_counter()
        told = (await change(number)).encode()
        await asyncio.gather(*(reader.readuntil(told) for reader, _ in readers))
        slowest.append(time.perf_counter() - begun)
    spent = (cpu() - begun_cpu) / CHANGES
    for _, writer in readers:
        writer.close()
    await asyncio.sleep(3)
    return slowest, spent, before, opened, memory()
