"""One payments service with its processor for all tests here; each begins anew."""

from collections.abc import AsyncIterator

import pytest
from support.paying import Scene, paying

from admitone.runtime.engines import Engines


@pytest.fixture(scope="session")
async def stage(engines: Engines) -> AsyncIterator[Scene]:
    async with paying(engines) as scene:
        yield scene


@pytest.fixture
async def scene(stage: Scene) -> Scene:
    await stage.begins_anew()
    return stage
