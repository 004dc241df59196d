"""`admitone demo`: something to look at, made by the public API alone."""

import os
import re
import signal
from itertools import islice
from pathlib import Path
from random import Random

import httpx
from support import processes
from support.house import House, Json, eventually
from support.stripe_stub import SECRET_KEY, WEBHOOK_SECRET

from admitone import config
from admitone.kit.http.amount import Price
from admitone.ops.demo import living, people
from admitone.ops.demo.wares import PARTICULAR, wares
from admitone.runtime.programs import free_port
from admitone.web.api import client_of


async def test_the_demo_fills_a_marketplace_and_a_second_time_adds_only_what_is_missing(house: House) -> None:
    # With Stripe behind the payments nothing is bought.
    unpaid = house.admitone("demo", "--tickets", "4", STRIPE_SECRET_KEY=SECRET_KEY, STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET)
    assert unpaid.returncode == 0, unpaid.stderr
    assert "Nothing is bought: cards are Stripe's business here" in unpaid.stdout
    tickets, ordered = await seen_by_those(unpaid.stdout)
    assert first(4) <= {ticket["title"] for ticket in tickets}

    filled = house.admitone("demo", "--tickets", "12")
    assert filled.returncode == 0, filled.stderr
    assert "1 of them is sold, 1 is being paid for." in filled.stdout
    assert "were there already" in filled.stdout
    tickets, orders = await seen_by_those(filled.stdout)
    assert first(12) <= {ticket["title"] for ticket in tickets}
    new = [order["status"] for order in orders if order["id"] not in {one["id"] for one in ordered}]
    assert sorted(new) == ["awaiting:payment", "cancelled", "complete"]

    again = house.admitone("demo", "--tickets", "12")
    assert again.returncode == 0, again.stderr
    assert "Nothing had to be listed. 12 tickets of the demo were there already." in again.stdout
    tickets_then, orders_then = await seen_by_those(again.stdout)
    assert (len(tickets_then), len(orders_then)) == (len(tickets), len(orders))


async def test_the_live_demo_goes_on_until_ctrl_c(house: House, tmp_path: Path) -> None:
    out, errors = tmp_path / "out", tmp_path / "errors"
    demo = processes.begin(["demo", "--tickets", "3", "--live"], {**os.environ, **house.settings}, out, errors)

    async def something_happens() -> bool:
        assert demo.exitcode is None, errors.read_text()
        return out.exists() and bool(re.search(r"^\d\d:\d\d:\d\d  \S", out.read_text(), re.MULTILINE))

    await eventually(something_happens, seconds=30)
    assert demo.pid is not None
    os.kill(demo.pid, signal.SIGINT)
    demo.join(10)
    assert (demo.exitcode, "Traceback" in errors.read_text()) == (0, False)


async def test_in_the_live_demo_everything_happens_by_and_by(house: House) -> None:
    lines = ""
    async with client_of(config.load(house.settings), None) as client:
        company = await people.company(client)
        goes_on = living.happenings(company, islice(wares(), 500, None), takes_test_cards=True, dice=Random(7))
        for word in (" lists ", " asks for ", " clicks Buy", " pays: ", " back: ", " declined", " withdraws "):
            while word not in lines:
                lines += await anext(goes_on) + "\n"
                assert lines.count("\n") < 300, lines


async def test_where_nothing_runs_the_demo_says_so_in_a_sentence(tmp_path: Path) -> None:
    nowhere = {**os.environ, "ADMITONE_DATA": str(tmp_path)}
    for arguments, sentence in (
        ([], f"Nothing runs in {tmp_path}"),
        (["--url", f"http://localhost:{free_port()}"], "No marketplace answers at http://localhost:"),
        (["--url", "localhost"], "--url must be an address such as http://localhost:8000."),
    ):
        told = processes.run(["demo", *arguments], nowhere)
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr.startswith(f"admitone: {sentence}")
        assert told.stderr.count("\n") == 1


def test_what_the_demo_lists_is_always_the_same_and_nothing_twice() -> None:
    some = list(islice(wares(), 3000))
    assert len({ware.title for ware in some}) == 3000
    assert list(islice(wares(), 3000)) == some
    assert {ware.title for ware in PARTICULAR.values()} <= first(20)
    for ware in some:
        assert 1 <= len(ware.title) <= 200
        Price.parse(ware.price)


def first(number: int) -> set[str]:
    """The titles of the first wares."""
    return {ware.title for ware in islice(wares(), number)}


async def seen_by_those(told: str) -> tuple[list[Json], list[Json]]:
    """All that the users can see as their own whom the demo tells us to sign in as: tickets, and orders."""
    [url] = re.findall(r"Sign in at (\S+)/signin", told)
    users = re.findall(r"^  (\S+@\S+) +(\S+) ", told, re.MULTILINE)
    assert len(users) == 5
    tickets: list[Json] = []
    orders: list[Json] = []
    async with httpx.AsyncClient(base_url=url) as client:
        for email, password in users:
            (await client.post("/api/users/signin", json={"email": email, "password": password})).raise_for_status()
            tickets += (await client.get("/api/tickets/mine")).json()
            orders += (await client.get("/api/orders")).json()
    return tickets, orders
