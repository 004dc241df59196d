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


@pytest.mark.parametrize("other", DATABASES)
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
    strangers = next(layer for layer in order["layers"] if "admitone.orders" in layer).split(" | ")
    rooms = next(contract["containers"] for contract in contracts if "containers" in contract)
    for service in SERVICES:
        assert f"admitone.{service.name}" in strangers, f"add admitone.{service.name} to the layer of the services in pyproject.toml"
        assert f"admitone.{service.name}" in rooms or not service.has_database, (
            f"add admitone.{service.name} to containers in pyproject.toml"
        )


@pytest.mark.parametrize("event", CATALOGUE)
def test_an_event_has_an_owner_a_sentence_and_somebody_who_listens(event: str) -> None:
    kind = CATALOGUE[event]
    assert OWNERS[kind] in BY_NAME
    assert kind.__doc__, f"say in one sentence what {event} means"
    assert LISTENERS[kind] or event in INTENTIONALLY_UNHEARD, f"nobody listens to {event}: say in docs/overview.py who will, or drop it"
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
