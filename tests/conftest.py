"""Real parts for every test: one PostgreSQL and one NATS for the rehearsals, and a whole house for the flows."""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from house import House, copy_data

from admitone.app import SERVICES
from admitone.kit.config import DATABASES, TEST_PROCESSOR, own_database_url
from admitone.kit.migrations import create_databases, migrate_at
from admitone.kit.service import Service
from admitone.kit.testing import Ensemble, Rehearsal, ensemble, rehearsal
from admitone.local import Engines
from admitone.payments import testgateway


def pytest_configure() -> None:
    """Databases are copied a hundred times: in memory, where there is room, that is done in a fifth of the time."""
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that was skipped was not run, and that is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


Rehearse = Callable[[Service], AbstractAsyncContextManager[Rehearsal]]
Together = Callable[..., AbstractAsyncContextManager[Ensemble]]


@pytest.fixture(scope="session")
async def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a migrated database for each service, to be copied: that is quicker than making it anew."""
    engines = Engines(reachable(tmp_path_factory.mktemp("prepared")), lambda line: None, durable=False)
    try:
        engines.start()
        await engines.ready()
        names = [service.name for service in SERVICES if service.has_database]
        await create_databases(engines.database_url, DATABASES)
        for name in names:
            await migrate_at(own_database_url(engines.database_url, name), name)
        await migrate_at(own_database_url(engines.database_url, TEST_PROCESSOR), TEST_PROCESSOR, testgateway.MIGRATIONS)
    finally:
        engines.stop()
    return engines.folder


@pytest.fixture(scope="session")
async def engines(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engines]:
    """PostgreSQL and NATS, with a migrated database for each service."""
    folder = reachable(tmp_path_factory.mktemp("engines"))
    copy_data(prepared, folder)
    engines = Engines(folder, lambda line: None, durable=False)
    try:
        engines.start()
        await engines.ready()
        yield engines
    finally:
        engines.stop()


@pytest.fixture
def rehearse(engines: Engines) -> Rehearse:
    """rehearse(orders.service): that service on stage, on a database of which nothing is kept."""
    return lambda service: rehearsal(service, own_database_url(engines.database_url, service.name))


@pytest.fixture
def together(engines: Engines) -> Together:
    """together(tickets.service, orders.service): they hear each other, and nothing is kept."""
    return lambda *services: ensemble(*[(service, own_database_url(engines.database_url, service.name)) for service in services])


@pytest.fixture(scope="session")
async def house(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """The whole marketplace in one process, shared by all tests that do it no harm."""
    async with House(reachable(tmp_path_factory.mktemp("house")), prepared) as house:
        await house.start()
        yield house


@pytest.fixture
async def own_house(prepared: Path, tmp_path: Path) -> AsyncIterator[House]:
    """A marketplace of one's own, not started yet: to be set up otherwise, frozen, killed."""
    async with House(reachable(tmp_path), prepared) as house:
        yield house


def reachable(folder: Path) -> Path:
    """The engines run as the user nobody when the tests run as root: let that user get there."""
    for parent in (folder, *folder.parents):
        if parent.stat().st_mode & 0o700 == 0o700 and "pytest-of" in str(parent):
            parent.chmod(0o755)
    return folder
