"""What a process answers for itself, to whom; and whose request it is."""

import dataclasses
import json
from typing import Any, cast

import httpx
import pytest
from litestar import get
from support.house import House

from admitone import tickets
from admitone.kit.http.asgi import respond
from admitone.kit.http.client_address import networks
from admitone.kit.observe.log import client_address
from admitone.runtime.dispatcher import Dispatcher
from admitone.runtime.gateway import Gateway
from admitone.runtime.programs import free_port


def at(app: Any, peer: str = "203.0.113.7") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(cast("Any", app), client=(peer, 1234)), base_url="http://here")


async def _ready() -> dict[str, Any]:
    return {"ready": True, "database": "ready", "bus": "ready"}


@pytest.mark.parametrize("apart", [False, True])
async def test_what_is_internal_is_at_a_port_of_its_own_where_there_is_one(apart: bool) -> None:
    process = Dispatcher(internal_apart=apart)
    process.checks["orders"] = _ready
    async with at(process) as outside, at(process.internal) as inside:
        for path in ("/healthz", "/readyz"):
            assert (await outside.get(path)).status_code == (await inside.get(path)).status_code == 200
        assert (await outside.get("/metrics")).status_code == (404 if apart else 200)
        assert ("services" in (await outside.get("/readyz")).json()) is not apart
        assert (await inside.get("/readyz")).json()["services"]["orders"]["database"] == "ready"
        assert "admitone_" in (await inside.get("/metrics")).text
        assert (await inside.get("/api/tickets")).status_code == 404


async def test_the_internal_port_is_served_beside_the_other_and_known_to_the_doctor(own_house: House) -> None:
    inside = f"127.0.0.1:{free_port()}"
    settings = {"ADMITONE_INTERNAL_PORT": inside.partition(":")[2]}
    await own_house.start(**settings)
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{own_house.url}/metrics")).status_code == 404
        assert "admitone_" in (await client.get(f"http://{inside}/metrics")).text
    assert own_house.admitone("doctor", **settings).returncode == 0
    unaware = own_house.admitone("doctor")
    assert unaware.returncode == 1
    assert "set ADMITONE_INTERNAL_PORT" in unaware.stdout


async def test_every_request_has_its_clients_address() -> None:
    seen = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        seen.append(client_address.get())
        await respond(send, 200, {})

    process = Dispatcher(trusted_proxies=networks("10.0.0.0/8"))

    @get("/")
    async def nothing() -> None: ...

    process.add(dataclasses.replace(tickets.service, routes=(nothing,)), app)
    for peer in ("203.0.113.7", "10.0.0.1"):
        async with at(process, peer) as client:
            await client.get("/api/tickets", headers={"X-Forwarded-For": "198.51.100.1"})
    assert seen == ["203.0.113.7", "198.51.100.1"]


async def test_the_gateway_says_whose_request_it_is_and_not_what_the_client_says() -> None:
    async def service(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps(request.headers.get_list("x-forwarded-for")).encode()))

    async with httpx.AsyncClient(transport=httpx.MockTransport(service)) as inside:
        gateway = Gateway({"tickets": "http://tickets"}, inside, networks("10.0.0.0/8"))
        for peer, address in (("203.0.113.7", "203.0.113.7"), ("10.0.0.1", "198.51.100.1")):
            async with at(gateway, peer) as client:
                assert (await client.get("/api/tickets", headers={"X-Forwarded-For": "198.51.100.1"})).json() == [address]
