"""A newer version adds columns while this one is running."""

import asyncio

import asyncpg
from support.house import House, Json, Person

from admitone.config import DATABASES, SERVICES_WITH_A_DATABASE, owner_database_url

TABLES = "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"


async def test_columns_that_are_added_while_sales_go_on_disturb_nobody(own_house: House) -> None:
    await own_house.start()
    ann, bob = await own_house.people("ann", "bob")
    sold = await _sells(ann, bob)  # So every statement of a sale is prepared.
    await _cancels(ann, bob)

    async with asyncio.TaskGroup() as group:
        selling = group.create_task(_sells_on(ann, bob))
        await _add_a_column_to_every_table(own_house)
        selling.cancel()

    await _sells(ann, bob)
    await _cancels(ann, bob)
    for path in ("/", "/orders", "/readyz", f"/tickets/{sold['ticket']['id']}", f"/orders/{sold['id']}"):
        assert (await bob.ask("GET", path)).status_code == 200, path
    await own_house.people("eve")
    await own_house.at_rest()
    for service in SERVICES_WITH_A_DATABASE:
        assert await own_house.rows(service, "SELECT event, error FROM parked") == []
    log = own_house.log()
    assert [line for line in log.splitlines() if "could not handle" in line or "unexpected" in line] == []
    assert own_house.processes["all"].is_alive(), log


async def _sells(ann: Person, bob: Person) -> Json:
    ticket = await ann.lists("Front row", 30)
    order = await bob.buys(ticket)
    paid = await bob.pays(order)
    assert paid.status_code == 201, paid.text
    await bob.sees_order(order, "complete")
    await ann.sees_ticket(ticket, "sold")
    return order


async def _cancels(ann: Person, bob: Person) -> None:
    ticket = await ann.lists("Second row", 30)
    order = await bob.buys(ticket)
    assert (await bob.extends(order)).status_code == 200
    cancelled = await bob.cancels(order)
    assert cancelled.status_code == 204, cancelled.text
    await ann.sees_ticket(ticket, "available")
    assert (await ann.edits(ticket, "Second row", 40)).status_code == 200


async def _sells_on(ann: Person, bob: Person) -> None:
    while True:
        await _sells(ann, bob)


async def _add_a_column_to_every_table(house: House) -> None:
    for database in DATABASES:
        connection = await asyncpg.connect(owner_database_url(house.engines.database_url, database))
        tables = [row["name"] for row in await connection.fetch(TABLES)]
        assert "outbox" in tables or database not in SERVICES_WITH_A_DATABASE
        for table in tables:
            await connection.execute(f"ALTER TABLE {table} ADD COLUMN extra text DEFAULT 'x'")
        await connection.close()
