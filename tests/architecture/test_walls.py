"""The walls between the services are real: roles, databases, events, imports."""

import re
import tomllib
from pathlib import Path

import asyncpg
import pytest

from admitone.apidocs.overview import INTENTIONALLY_UNHEARD
from admitone.config import DATABASES, SERVICES_WITH_A_DATABASE, own_database_url
from admitone.kit.event import CATALOGUE, LISTENERS, OWNERS
from admitone.kit.service import Service
from admitone.runtime.engines import Engines
from admitone.services import SERVICES

BY_NAME = {service.name: service for service in SERVICES}


@pytest.mark.parametrize("other", [*DATABASES, "postgres", "template1"])
@pytest.mark.parametrize("role", DATABASES)
async def test_a_role_reaches_its_own_database_and_no_other(engines: Engines, role: str, other: str) -> None:
    own = own_database_url(engines.database_url, role)
    url = own.removesuffix(f"/{role}") + f"/{other}"
    if role == other:
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT current_user") == role
        await connection.close()
    else:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(url)


async def test_a_role_is_known_by_its_own_password_only(engines: Engines) -> None:
    url = own_database_url(engines.database_url, "orders").replace("orders:", "tickets:").replace("/orders", "/tickets")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url)


def test_the_services_with_a_database_are_those_that_say_so() -> None:
    assert sorted(SERVICES_WITH_A_DATABASE) == sorted(service.name for service in SERVICES if service.has_database)


def test_the_contracts_of_the_imports_name_every_service() -> None:
    contracts = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    order = next(one for one in contracts if any("admitone.orders |" in layer for layer in one.get("layers", ())))
    services = next(layer for layer in order["layers"] if "admitone.orders" in layer).split(" | ")
    containers = next(contract["containers"] for contract in contracts if "containers" in contract)
    closed = next(one["source_modules"] for one in contracts if "admitone.ops.reach" in one.get("forbidden_modules", ()))
    for service in SERVICES:
        assert f"admitone.{service.name}" in services, f"add admitone.{service.name} to the layer of the services in pyproject.toml"
        assert f"admitone.{service.name}" in closed, f"add admitone.{service.name} to source_modules in pyproject.toml"
        assert f"admitone.{service.name}" in containers or not service.has_database, (
            f"add admitone.{service.name} to containers in pyproject.toml"
        )


def test_every_log_line_has_a_stable_key() -> None:
    """`log.warning("bus_unavailable", message="...")`: the key is what an alert or a search is written for."""
    source = Path(__file__).parents[2] / "src"
    for path in source.rglob("*.py"):
        for first in re.findall(r"\blog\.(?:debug|info|warning|error|exception)\(\s*(.{1,80})", path.read_text()):
            assert re.match(r'"[a-z]+(_[a-z]+)*"', first), (
                f"{path.relative_to(source)}: begin {first!r} with a key and give the sentence as message="
            )


@pytest.mark.parametrize("event", CATALOGUE)
def test_an_event_has_an_owner_a_sentence_and_somebody_who_listens(event: str) -> None:
    kind = CATALOGUE[event]
    assert OWNERS[kind] in BY_NAME
    assert kind.__doc__, f"say in one sentence what {event} means"
    assert LISTENERS[kind] or event in INTENTIONALLY_UNHEARD, f"nobody listens to {event}: say in apidocs/overview.py who will, or drop it"
    assert not (LISTENERS[kind] and event in INTENTIONALLY_UNHEARD)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_the_docstring_of_a_service_tells_the_truth(service: Service) -> None:
    told = __import__(f"admitone.{service.name}", fromlist=["service"]).__doc__ or ""
    says = re.search(r"^publishes: (.*(?:\n +.*)*)", told, re.M)
    hears = re.search(r"^listens to: (.*(?:\n +.*)*)", told, re.M)
    assert says, f"admitone/{service.name}/__init__.py does not say what it publishes"
    assert hears, f"admitone/{service.name}/__init__.py does not say what it listens to"
    published = {event.__name__ for event, owner in OWNERS.items() if owner == service.name}
    heard = {event.__name__ for event in CATALOGUE.values() if service.name in LISTENERS[event]}
    assert set(re.findall(r"[A-Z]\w+", says[1])) == published
    assert set(re.findall(r"[A-Z]\w+", hears[1])) == heard
