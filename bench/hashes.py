"""How many passwords a second can be checked, if nothing else is done: by the function of auth, with its own limit of how many at once.

python -m bench.hashes SECONDS
"""

import asyncio
import json
import sys
import time

from admitone.auth.passwords import HASHER, is_right

PASSWORD = "correct horse"
AT_ONCE = 4


async def measure(seconds: float) -> tuple[float, float]:
    """Checks per second, and CPU milliseconds of each."""
    known, checked, begun, cpu = HASHER.hash(PASSWORD), 0, time.perf_counter(), time.process_time()

    async def check() -> None:
        nonlocal checked
        while time.perf_counter() - begun < seconds:
            await is_right(PASSWORD, known)
            checked += 1

    await asyncio.gather(*(check() for _ in range(AT_ONCE)))
    return checked / (time.perf_counter() - begun), (time.process_time() - cpu) * 1000 / checked


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(float(sys.argv[1])))))
