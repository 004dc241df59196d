"""Where is my order stuck? As `admitone journey` tells it, of real orders."""

import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest
from support import processes
from support.house import House, Json, Person, eventually

from admitone import config
from admitone.ops.journey import journey

TITLE = "Sitz \x1b[31m neben der Tür " * 8
NOBODY = "postgresql://nobody:nothing@127.0.0.1:1/nothing"
SALE = ["ticket created", "order created", "ticket updated", "order reserved", "payment authorized", "order completed"]


async def told(house: House, id: str, width: int = 100, as_json: bool = False) -> list[str]:
    """The story, without another process."""
    lines: list[str] = []
    complaints: list[str] = []
    settings = config.load(house.settings)
    assert await journey(settings, id, lines.append, complaints.append, width=width, following=False, as_json=as_json), complaints
    return [re.sub("\x1b\\[[0-9;]*m", "", line) for line in lines]


class Sale(NamedTuple):
    order: Json
    ann: Person
    bob: Person


@pytest.fixture(scope="module")
async def sale(house: House) -> Sale:
    """Bob has paid for the only ticket that Ann has listed, and nothing is under way."""
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists(TITLE, 30))
    assert (await bob.pays(order)).status_code == 201
    await house.at_rest()
    return Sale(order, ann, bob)


async def test_a_sale_is_told_from_the_listing_to_the_money(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 30))
    waiting = house.admitone("journey", order["id"])
    assert waiting.returncode == 0, waiting.stderr
    assert "\nIt is awaiting:payment.\nExpected next: the buyer pays, until " in waiting.stdout
    assert "the timer rings at " in waiting.stdout

    assert (await bob.pays(order)).status_code == 201
    await house.at_rest()
    story = house.admitone("journey", order["id"]).stdout
    places = [story.index(chapter) for chapter in [*SALE, "payment created"]]
    assert places == sorted(places)
    assert re.search(r"^ *2 .* \d+ ms +says +\d+ ms +\d+ ms +order created", story, re.M)
    assert re.search(r"^ *3 +<2 .* says +\d+ ms +ticket updated", story, re.M)
    assert story.endswith("\nIt is complete.\nNothing is missing.\n")
    assert "\x1b" not in story  # Nobody's terminal.


async def test_what_came_of_a_ticket_is_told_order_by_order(house: House) -> None:
    ann, bob, eve = await house.people("ann", "bob", "eve")
    ticket = await ann.lists("Front row", 30)
    given_back = await bob.buys(ticket)
    await bob.cancels(given_back)
    await bob.sees_ticket(ticket, "available")
    paid = await eve.buys(ticket)
    assert (await eve.pays(paid, "tok_chargeDeclined")).status_code == 402
    assert (await eve.pays(paid)).status_code == 201
    await house.at_rest()
    story = await told(house, ticket["id"], 120)
    assert story[0] == f"ticket   {ticket['id']}"
    assert story[-3:] == [
        f"A  order {given_back['id']} is cancelled (by_buyer).",
        f"B  order {paid['id']} is complete.",
        "Nothing is missing.",
    ]
    assert any(re.search(r" B .* says +payment failed +try 1", line) for line in story)
    assert any(re.search(r" A .* says .* order cancelled +by_buyer", line) for line in story)
    freed = next(line for line in reversed(await told(house, given_back["id"])) if "ticket updated" in line)
    assert re.search(r"<5 .* available", freed)  # It names no order any more, but it was caused by this one.


async def test_one_request_is_told_alone_also_by_the_digits_that_log_lines_have(house: House, sale: Sale) -> None:
    order = sale.order
    created = "SELECT correlation_id::text AS id FROM outbox WHERE event = 'OrderCreated' AND data ->> 'order_id' = $1"
    (row,) = await house.rows("orders", created, order["id"])
    for id in (row["id"], row["id"][:8]):
        story = await told(house, id)
        assert story[0] == f"request  {row['id']}"
        assert [name for name in SALE if any(name in line for line in story)] == ["order created", "ticket updated", "order reserved"]
        assert f"A  order {order['id']}: `admitone journey {order['id']}` tells how it stands." in story


async def test_a_user_is_told_by_what_they_listed_and_ordered(house: House, sale: Sale) -> None:
    order, ann, bob = sale
    for id in (bob.id, bob.email.upper(), bob.id[:13]):
        story = await told(house, id)
        assert story[0] == f"user     {bob.id}  {bob.email}"
        assert story[-4:-1] == ["Listed: nothing", "", "Ordered: 1"]
        assert re.search(rf"{order['id'][:8]}  complete +30\.00 USD  Sitz", story[-1])
    *_, listed, _, ordered = await told(house, ann.id, 120)
    assert f"{order['ticket']['id']}  sold  30.00 USD  Sitz \\u001b[31m" in listed
    assert ordered == "Ordered: nothing"
    (document,) = await told(house, bob.id, as_json=True)
    assert [entry["id"] for entry in json.loads(document)["ordered"]] == [order["id"]]


async def test_an_event_leads_to_its_order_and_the_first_digits_of_an_id_will_do(house: House, sale: Sale) -> None:
    order = sale.order
    approval = "SELECT event_id::text AS id FROM outbox WHERE event = 'PaymentAuthorized' AND data ->> 'order_id' = $1"
    (row,) = await house.rows("payments", approval, order["id"])
    for id in (row["id"], row["id"][:8], order["id"][:8], order["id"].replace("-", "").upper()):
        assert (await told(house, id))[0] == f"order    {order['id']}"


async def test_a_story_is_no_wider_than_the_terminal(house: House, sale: Sale) -> None:
    order, _, bob = sale
    for width in (20, 100, 120):
        for id in (order["ticket"]["id"], bob.id):
            story = await told(house, id, width)
            assert max(map(len, story)) <= max(80, width), story
            assert not any("\x1b" in line for line in story)


@asynccontextmanager
async def not_heard(house: House, order: Json, event: str, service: str) -> AsyncIterator[UUID]:
    """That service has not handled this event of the order, for a while."""
    (row,) = await house.rows("orders", "SELECT event_id FROM outbox WHERE event = $1 AND data ->> 'order_id' = $2", event, order["id"])
    event_id: UUID = row["event_id"]
    await house.rows(service, "DELETE FROM inbox WHERE event_id = $1", event_id)
    try:
        yield event_id
    finally:
        await house.rows(service, "INSERT INTO inbox VALUES ($1, $2, now()) ON CONFLICT DO NOTHING", event_id, event)
        await house.rows(service, "DELETE FROM parked WHERE event_id = $1", event_id)
        await house.rows(service, "DELETE FROM dropped WHERE event_id = $1", event_id)


async def test_services_that_missed_parked_or_dropped_an_event_are_listed(house: House, sale: Sale) -> None:
    order = sale.order
    async with not_heard(house, order, "OrderCompleted", "expiration") as event_id:
        story = await told(house, order["id"])
        assert story[-1] == "Missing: order completed (6) is published, but not heard by expiration yet."
        assert any(re.search(r"says +not yet .*order completed", line) for line in story)
        (document,) = await told(house, order["id"], as_json=True)
        assert [step["missing"] for step in json.loads(document)["steps"] if step["missing"]] == [["expiration"]]
        assert json.loads(document)["over"] is False

        parked = "INSERT INTO parked VALUES ($1, 'OrderCompleted', '', E'KeyError: \\x1b[31m\\nits trace', 5, now())"
        await house.rows("expiration", parked, event_id)
        story = await told(house, order["id"])
        short = str(event_id)[:8]
        assert story[-1] == f"Parked: order completed (6) by expiration. To see it: admitone parked show {short}"
        assert any(re.search(r"says +PARKED .*order completed", line) for line in story)
        assert f"{'':>8}PARKED by expiration after 5 tries: KeyError: \\u001b[31m" in story

        dropped = "INSERT INTO dropped SELECT *, 'nobody minds', now() FROM parked WHERE event_id = $1"
        await house.rows("expiration", dropped, event_id)
        await house.rows("expiration", "DELETE FROM parked WHERE event_id = $1", event_id)
        await house.rows("expiration", "INSERT INTO inbox VALUES ($1, 'OrderCompleted', now())", event_id)
        story = await told(house, order["id"])
        assert f"{'':>8}dropped by expiration: nobody minds" in story
        assert any(re.search(r"says +dropped .*order completed", line) for line in story)
        assert story[-1] == "Nothing is missing."
        (document,) = await told(house, order["id"], as_json=True)
        (step,) = [step for step in json.loads(document)["steps"] if step["event_id"] == str(event_id)]
        assert (step["dropped"], "expiration" in step["heard"]) == ({"expiration": "nobody minds"}, False)


async def test_a_story_for_a_program_has_every_step_with_its_cause(house: House, sale: Sale) -> None:
    order = sale.order
    document = json.loads(house.admitone("journey", order["id"], "--json").stdout)
    assert document["about"] == {"kind": "order", "id": order["id"]}
    assert document["orders"] == [{"order_id": order["id"], "status": "complete", "reason": None, "ended": True, "expected": None}]
    assert document["over"] is True
    listed, created, locked, reserved, *_ = document["steps"]
    assert (listed["event"], listed["causation_id"], created["causation_id"]) == ("TicketCreated", None, None)
    assert [locked["causation_id"], reserved["causation_id"]] == [created["event_id"], locked["event_id"]]
    assert locked["correlation_id"] == created["correlation_id"] != listed["correlation_id"]
    assert set(created["heard"]) == {"tickets", "expiration", "payments"}
    assert locked["data"]["order_id"] == order["id"]


async def test_a_story_that_is_followed_goes_on_until_it_has_ended(house: House, tmp_path: Path) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 30))
    environment = {**os.environ, **house.settings}
    lines, program = tmp_path / "lines", tmp_path / "program"
    for_a_person = processes.begin(["journey", order["id"], "--follow"], environment, lines)
    for_a_program = processes.begin(["journey", order["id"], "--follow", "--json"], environment, program)
    await eventually(lambda: _says(lines, "Expected next: the buyer pays, until"))
    await eventually(lambda: _says(program, "OrderReserved"))
    assert (await bob.pays(order)).status_code == 201
    for process in (for_a_person, for_a_program):
        await eventually(lambda process=process: _ended(process))  # type: ignore[misc]
        assert process.exitcode == 0
    story = lines.read_text()
    places = [story.index(chapter) for chapter in [*SALE, "payment created"]]
    assert places == sorted(places)
    assert story.endswith("It is complete.\nNothing is missing.\n")
    *steps, end = [json.loads(line) for line in program.read_text().splitlines()]
    assert {"TicketCreated", "OrderCompleted", "PaymentCreated"} <= {step["event"] for step in steps}
    assert all(step["data"] for step in steps)
    assert [standing["status"] for standing in end["orders"]] == ["complete"]


async def test_ctrl_c_ends_following_quietly(house: House, tmp_path: Path) -> None:
    [ann] = await house.people("ann")
    ticket = await ann.lists("Front row", 30)
    process = processes.begin(["journey", ticket["id"], "--follow"], {**os.environ, **house.settings}, tmp_path / "lines")
    await eventually(lambda: _says(tmp_path / "lines", "ticket created"))
    before = (tmp_path / "lines").read_text()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    await eventually(lambda: _ended(process))
    assert process.exitcode == 0
    assert (tmp_path / "lines").read_text() == before


async def _says(file: Path, text: str) -> bool:
    return file.exists() and text in file.read_text()


async def _ended(process: ForkServerProcess) -> bool:
    return process.exitcode is not None


async def test_with_a_database_down_the_rest_is_told_and_what_is_missing_is_a_sentence(house: House, sale: Sale) -> None:
    order = sale.order
    answer = processes.run(["journey", order["id"]], {**os.environ, **house.settings, "ADMITONE_PAYMENTS_DATABASE_URL": NOBODY})
    assert answer.returncode == 1
    (sentence,) = answer.stderr.splitlines()
    assert re.fullmatch(r"admitone: The database of payments \(.+\) can't be asked: what it knows is missing here\.", sentence)
    assert re.search(r"says .* \? +order created", answer.stdout)
    assert answer.stdout.endswith("It is complete.\nExpected next: not known, as payments can't be asked about its money.\n")

    without_orders = processes.run(["journey", order["id"]], {**os.environ, **house.settings, "ADMITONE_ORDERS_DATABASE_URL": NOBODY})
    assert without_orders.returncode == 1
    assert "payment authorized" in without_orders.stdout
    assert "How its orders stand is not known: orders can't be asked." in without_orders.stdout

    services = ("AUTH", "TICKETS", "ORDERS", "EXPIRATION", "PAYMENTS")
    nowhere = {f"ADMITONE_{service}_DATABASE_URL": NOBODY for service in services}
    answer = processes.run(["journey", order["id"]], {**os.environ, **house.settings, **nowhere})
    assert (answer.returncode, answer.stdout) == (1, "")
    (sentence,) = answer.stderr.splitlines()
    assert sentence.startswith(f"admitone: Nobody who could be asked knows {order['id']}. The database of auth (")


@pytest.mark.parametrize(
    ("id", "options", "sentence"),
    [
        (str(uuid4()), [], "it is no order, ticket, user, request or event of this marketplace."),
        ("12", [], "'12' is no id: give that of an order"),
        ("\x1b[31mnone", [], "'\\x1b[31mnone' is no id"),
        ("nobody@example.com", ["--json"], "Nobody knows nobody@example.com"),
        (str(uuid4()), ["--follow"], "it is no order, ticket, user, request or event of this marketplace."),
    ],
    ids=["unknown", "short", "no text", "unknown address", "unknown and followed"],
)
def test_an_id_that_is_none_is_one_sentence(house: House, id: str, options: list[str], sentence: str) -> None:
    refused = house.admitone("journey", *options, "--", id)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert sentence in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


async def test_a_user_is_not_followed(house: House) -> None:
    [bob] = await house.people("bob")
    refused = house.admitone("journey", bob.id, "--follow")
    assert refused.returncode == 1
    assert refused.stderr.startswith("admitone: A user can't be followed")
