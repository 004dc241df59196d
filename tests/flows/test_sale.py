"""One sale from end to end, told as it happens. The same on one process and on six."""

import asyncio
import os
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from support.house import House


@pytest.mark.parametrize("processes", [1, 6])
async def test_a_sale_on_one_process_and_on_six(own_house: House, processes: int) -> None:
    await (own_house.start() if processes == 1 else own_house.start_six())
    ann, bob, eve = await own_house.people("ann", "bob", "eve")

    ticket = await ann.lists("Front row", 49.90)
    order = await bob.orders(ticket)
    assert (await eve.tries_to_buy(ticket)).status_code == 409
    await bob.sees_order(order, "awaiting:payment")
    assert (await ann.ticket(ticket))["status"] == "locked"
    assert (await ann.edits(ticket, "Front row", 1000)).status_code == 409
    assert ticket["id"] not in [found["id"] for found in (await eve.ask("GET", "/api/tickets")).json()]
    page = await eve.ask("GET", f"/tickets/{ticket['id']}")
    assert (page.status_code, len(page.headers.get_list("date"))) == (200, 1), page.text
    assert "Free again in at most" in page.text

    paid = await bob.pays(order)
    assert paid.status_code == 201, paid.text
    assert (await bob.order(order))["status"] == "complete"
    await eve.sees_ticket(ticket, "sold")
    assert (await bob.cancels(order)).status_code == 409
    for path in ("/", "/readyz", f"/api/tickets/{ticket['id']}"):
        looked = await eve.ask("HEAD", path)
        assert (looked.status_code, looked.content) == (200, b"")

    await own_house.at_rest()
    assert [row["status"] for row in await own_house.rows("payments", "SELECT status FROM charges")] == ["completed"]
    assert [row["status"] for row in await own_house.rows("testgateway", "SELECT status FROM intents")] == ["captured"]


async def test_the_sale_in_the_readme_works_as_it_stands(house: House) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    script = readme.partition("## A sale with curl")[2].partition("```sh\n")[2].partition("```")[0]
    admitone = f"{shlex.quote(sys.executable)} -m admitone.cli"
    script = script.replace("http://localhost:8000", house.url).replace(".venv/bin/admitone", admitone)
    process = await asyncio.create_subprocess_exec(
        "bash", "-e", "-c", script, env={**os.environ, **house.settings}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert '"Ticket taken"' in output
    assert '"Ticket locked"' in output
    assert '"status":"complete"' in output
    assert "It is complete." in output


async def test_the_gateway_mixes_up_neither_sessions_nor_paths(own_house: House) -> None:
    await own_house.start_six()
    [ann] = await own_house.people("ann")
    assert (await ann.ask("GET", "/api/users/currentuser")).json()["currentUser"]["id"] == ann.id
    async with httpx.AsyncClient(base_url=own_house.url) as stranger:
        assert (await stranger.get("/api/users/currentuser")).json() == {"currentUser": None}
        for path in ("/metrics", "/api/tickets/%2e%2e/users/currentuser", "/api/tickets/%2e%2E/%2e%2e/metrics"):
            assert (await stranger.get(path)).status_code == 404
