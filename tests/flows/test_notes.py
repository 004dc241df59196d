"""What a seller leaves for the buyer reaches the buyer, and is nowhere else."""

import asyncio
from uuid import uuid4

from support.house import House, Json

from admitone.config import DATABASES

EVERY_TABLE = "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'"


async def places_of(house: House, word: str) -> list[str]:
    """Every table that holds this word, and every log."""
    found = []
    for database in DATABASES:
        for table in await house.rows(database, EVERY_TABLE):
            holds = f"SELECT 1 FROM {table['name']} AS row WHERE row::text LIKE '%' || $1 || '%'"
            found += [f"{database}.{table['name']}"] if await house.rows(database, holds, word) else []
    logs = [*house.folder.glob("*.out"), *(house.engines.folder / "log").iterdir()]
    return found + [log.name for log in logs if word in log.read_text(errors="replace")]


async def test_what_was_bought_can_be_had_and_the_note_is_in_one_place_only(house: House) -> None:
    ann, bob, eve = await house.people("ann", "bob", "eve")
    first, second, refused = (uuid4().hex for _ in range(3))
    wanted = {"title": f"Row {uuid4()}", "price": 30, "note": f"Meet me at {first}"}
    ticket: Json = (await ann.ask("POST", "/api/tickets", wanted, **{"Idempotency-Key": uuid4().hex})).json()
    path = f"/api/tickets/{ticket['id']}/note"
    assert (await ann.ask("GET", path)).json() == {"note": f"Meet me at {first}"}
    assert await places_of(house, first) == ["tickets.notes"]
    assert (await ann.ask("PUT", path, {"note": f"Meet me at {second}"})).json() == {"note": f"Meet me at {second}"}
    assert (await ann.ask("PUT", path, {"note": refused * 63})).status_code == 400
    assert (await bob.ask("PUT", path, {"note": refused})).status_code == 403
    order = await bob.buys(ticket)
    assert [answer.status_code for answer in await asyncio.gather(bob.ask("GET", path), eve.ask("GET", path))] == [404, 404]
    await bob.pays(order)
    answer = await bob.ask("GET", path)
    assert (answer.status_code, answer.json()) == (200, {"note": f"Meet me at {second}"})
    await house.at_rest()
    assert await places_of(house, first) == []
    assert await places_of(house, second) == ["tickets.notes"]
    assert await places_of(house, refused) == []
    for who, asked in [(ann, "/api/tickets/mine"), (bob, f"/api/orders/{order['id']}"), (bob, f"/api/tickets/{ticket['id']}")]:
        assert second not in (await who.ask("GET", asked)).text
    assert house.admitone("refund", order["id"], "--reason", "the show is off").returncode == 0
    await bob.sees_order(order, "refunded")
    await house.at_rest()
    assert (await bob.ask("GET", path)).status_code == 404
    assert (await ann.ask("PUT", path, {"note": ""})).json() == (await ann.ask("GET", path)).json() == {"note": ""}
    assert await places_of(house, second) == []
