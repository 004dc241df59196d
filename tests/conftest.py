"""Real parts for every test: one PostgreSQL and one NATS for the rehearsals, and a whole house for the flows."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from support.house import House, copy_data

from admitone.config import DATABASES, TEST_PROCESSOR, own_database_url, owner_database_url
from admitone.kit.data.migrations import migrate_at
from admitone.kit.service import Service
from admitone.kit.testing import Ensemble, Rehearsal, ensemble, rehearsal
from admitone.payments.processors import test as test_processor
from admitone.runtime.engines import Engines
from admitone.runtime.provisioning import create_databases
from admitone.services import SERVICES

OWN_FOLDER = "admitone-tests-"


def pytest_configure() -> None:
    """A run keeps its data in a folder of its own, in memory where there is room: databases are copied a hundred times.

    pytest's usual folder is shared by all runs of a user, and each that begins closes it to the user as whom the engines run.
    """
    if "PYTEST_DEBUG_TEMPROOT" in os.environ:
        return
    memory = Path("/dev/shm")
    room = memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30
    folder = memory if room else Path(tempfile.gettempdir())
    for left in folder.glob(f"{OWN_FOLDER}*"):
        if not _is_running(int(left.name.removeprefix(OWN_FOLDER))):
            shutil.rmtree(left, ignore_errors=True)
    own = folder / f"{OWN_FOLDER}{os.getpid()}"
    own.mkdir()
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(own)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that was skipped was not run, and that is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if session.exitstatus == pytest.ExitCode.OK and os.environ["PYTEST_DEBUG_TEMPROOT"].endswith(f"{OWN_FOLDER}{os.getpid()}"):
        shutil.rmtree(os.environ["PYTEST_DEBUG_TEMPROOT"], ignore_errors=True)  # What has failed is kept until the next run.


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
            await migrate_at(owner_database_url(engines.database_url, name), name)
        await migrate_at(own_database_url(engines.database_url, TEST_PROCESSOR), TEST_PROCESSOR, test_processor.MIGRATIONS)
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
