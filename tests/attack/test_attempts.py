"""All that nobody should send: thousands of requests, no 5xx, and the process needs no more memory afterwards."""

from itertools import islice
from pathlib import Path

from attempts import Scene, unwelcome
from house import House

AT_LEAST = 5000
WARM_UP = 1500
"""By then all that is made once has been made: pages, statements, connections, caches."""
MAY_GROW_MB = 30


async def test_nothing_that_nobody_should_send_is_answered_with_a_5xx_or_remembered(house: House) -> None:
    scene = await Scene.begin(house)
    attempts = list(scene.attempts())
    assert len(attempts) >= AT_LEAST
    wrong = await unwelcome(scene, attempts[:WARM_UP])
    before = resident_mb(house)
    wrong += await unwelcome(scene, islice(attempts, WARM_UP, None))
    after = resident_mb(house)
    print(f"{len(attempts)} requests; resident memory after {WARM_UP}: {before:.1f} MB, at the end: {after:.1f} MB")
    assert not wrong, "\n".join(wrong)
    assert after - before < MAY_GROW_MB


def resident_mb(house: House) -> float:
    """What the process of all services has in memory now."""
    status = Path(f"/proc/{house.processes['all'].pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024
