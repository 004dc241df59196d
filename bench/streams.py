"""Five hundred open pages on one process: how soon all of them are told of a change, and what they cost. `make figures` prints it."""

import asyncio
import time
from collections.abc import Awaitable, Callable

STREAMS = 500
CHANGES = 20


async def streams(
    port: int, path: str, change: Callable[[int], Awaitable[str]], memory: Callable[[], float], cpu: Callable[[], float]
) -> None:
    """`change` makes a change and says what a page that was told of it has read; `memory` is in MB, `cpu` in seconds."""
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
    await asyncio.sleep(2)
    median, worst = sorted(slowest)[CHANGES // 2] * 1000, max(slowest) * 1000
    print(f"{STREAMS} open pages, from a change to the last one told  median {median:6.0f} ms   worst {worst:6.0f} ms")
    print(f"CPU of the Python process per change, told to {STREAMS}         {spent * 1000:6.0f} ms")
    print(f"memory before, while they are open, and afterwards    {before:.0f}, {opened:.0f}, {memory():.0f} MB")
