"""All that nobody should send: thousands of requests, no 5xx, and the process needs no more memory for them a second time."""

from pathlib import Path

from support.attempts import Scene, unwelcome
from support.house import House

AT_LEAST = 5000
AGAIN_EVERY = 5
MAY_GROW_MB = 8


async def test_nothing_that_nobody_should_send_is_answered_with_a_5xx_or_remembered(house: House) -> None:
    """The first time pages, statements and the latest thousand paths are kept; after that nothing is to be added to them."""
    scene = await Scene.begin(house)
    attempts = list(scene.attempts())
    assert len(attempts) >= AT_LEAST
    wrong = await unwelcome(scene, attempts)
    before = resident_mb(house)
    wrong += await unwelcome(scene, attempts[::AGAIN_EVERY])
    after = resident_mb(house)
    print(f"{len(attempts)} requests, and a fifth of them again: from {before:.1f} to {after:.1f} MB of resident memory")
    assert not wrong, "\n".join(wrong)
    assert after - before < MAY_GROW_MB


def resident_mb(house: House) -> float:
    """What the process of all services has in memory now."""
    status = Path(f"/proc/{house.processes['all'].pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024
