"""`admitone verify` beside a marketplace that runs, and one that is stopped; what it publishes, and what orders counts for that."""

from pathlib import Path

import httpx
import pytest
from support.databases import own_database
from support.house import House, Json

from admitone.orders.model import AnotherPrice, TicketSold, TicketTaken, TicketUnknown, TicketWithdrawn, TooManyOpenOrders
from admitone.orders.refusals import RefusalCounter
from admitone.runtime.engines import Engines


async def stop(house: House) -> None:
    """As Ctrl-C does it."""
    process = house.processes.pop("all")
    process.terminate()
    process.join()


async def counted(house: House) -> Json:
    return {row["reason"]: row["times"] for row in await house.rows("orders", "SELECT reason, times FROM refusals")}


async def test_a_marketplace_is_checked_published_broken_and_checked_when_it_is_stopped(own_house: House) -> None:
    await own_house.start()
    nothing = httpx.get(f"{own_house.url}/proof")
    assert (nothing.status_code, "Nothing was published yet" in nothing.text) == (200, True)
    assert httpx.get(f"{own_house.url}/api/orders/proof").status_code == 404

    ann, bob, eve = await own_house.people("ann", "bob", "eve")
    ticket, _ = await ann.lists("Front row", 20), await ann.lists("Last row", 10)
    order = await bob.buys(ticket)
    assert (await eve.tries_to_buy(ticket)).json()["title"] == "Ticket taken"
    await bob.pays(order)
    await eve.sees_ticket(ticket, "sold")
    assert (await eve.tries_to_buy(ticket)).json()["title"] == "Ticket sold"
    await stop(own_house)  # What it has not written down yet, it writes down now.
    assert await counted(own_house) == {"taken": 1, "sold": 1}
    await own_house.start()
    assert (await bob.tries_to_buy(ticket)).json()["title"] == "Ticket sold"

    checked = own_house.admitone("verify", "--wait", "--publish")
    assert (checked.returncode, checked.stderr) == (0, "Published: see /proof.\n"), checked.stdout
    assert "ok   I1   at most one live order per ticket, at any time: 2 tickets, 1 order, 0 violations" in checked.stdout
    assert "All of them hold: I1 to I9, I12 and I13." in checked.stdout
    proof = httpx.get(f"{own_house.url}/api/orders/proof").json()
    assert [proof[name] for name in ("tickets", "orders", "sold", "doubleSales", "parked", "givenBack")] == [2, 1, 1, 0, 0, []]
    page = httpx.get(f"{own_house.url}/proof").text
    for words in (
        "Yes. No ticket was sold twice.",
        "<dt>tickets listed</dt><dd>2</dd>",
        "<dt>sold twice</dt><dd>0</dd>",
        "1 got the ticket",
        "once: somebody else was paying for the ticket",
        "admitone verify --wait --publish",
        "<strong>I13</strong>",
    ):
        assert words in page, words
    assert order["id"] not in page
    assert 'href="/proof"' in httpx.get(own_house.url).text

    await own_house.rows("tickets", "UPDATE tickets SET order_id = NULL, sold = false WHERE sold")
    await own_house.publish_bytes("events.orders.OrderCreated", b"{}")
    broken = own_house.admitone("verify", "--wait", "--publish")
    assert broken.returncode == 1, broken.stdout
    assert f"ticket {ticket['id']} is free, and should be sold to {order['id']}" in broken.stdout
    assert "(events.orders.OrderCreated " in broken.stdout
    assert "Broken: I5, I7, I8, I9." in broken.stdout
    page = httpx.get(f"{own_house.url}/proof").text
    assert ("But something else is not as it should be." in page, "Not as it must be." in page) == (True, True)

    await stop(own_house)
    assert await counted(own_house) == {"taken": 1, "sold": 2}
    await own_house.rows("orders", "UPDATE outbox SET published_at = NULL, seq = NULL WHERE event = 'OrderCompleted'")
    own_house.engines.stop()
    stopped = own_house.admitone("verify", "--wait", DATABASE_URL="", NATS_URL="", ADMITONE_DATA=str(own_house.folder))
    assert stopped.returncode == 1, stopped.stdout
    assert "Not at rest yet either: 1 event under way (orders says 1)." in stopped.stdout
    assert "its engines are started for this look, and stopped again" in stopped.stderr


async def test_where_nothing_is_that_is_said(house: House, tmp_path: Path) -> None:
    seen = house.admitone("verify", DATABASE_URL="", NATS_URL="", ADMITONE_DATA=str(tmp_path))
    assert (seen.returncode, seen.stdout) == (1, "")
    assert seen.stderr.startswith(f"admitone: Nothing runs in {tmp_path}")


async def test_what_can_not_be_written_down_is_counted_still(engines: Engines) -> None:
    refusals = RefusalCounter()
    for refusal in (TicketTaken(), TicketTaken(), TicketSold(), AnotherPrice(1, "USD"), TooManyOpenOrders(8), TicketWithdrawn()):
        refusals.count(refusal)
    refusals.count(TicketUnknown())  # That is no attempt to buy a ticket.
    async with own_database(engines, "orders") as own:
        await own.db.pool.execute("ALTER TABLE refusals RENAME TO elsewhere")
        with pytest.raises(Exception, match="refusals"):
            await refusals.store(own.db)
        await own.db.pool.execute("ALTER TABLE elsewhere RENAME TO refusals")
        await refusals.store(own.db)
        await refusals.store(own.db)
        refusals.count(TicketTaken())
        await refusals.store(own.db)
        found = {row["reason"]: row["times"] for row in await own.rows("SELECT * FROM refusals")}
    assert found == {"taken": 3, "sold": 1, "another_price": 1, "too_many_open": 1, "withdrawn": 1}
