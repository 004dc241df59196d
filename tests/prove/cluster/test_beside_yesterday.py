"""The last version and this one run side by side on the same engines, as in a rolling update and on the way back from one."""

import asyncio
import subprocess
from pathlib import Path

import asyncpg
from support.house import House, Json, Person
from support.sales import buys, pays
from support.side_by_side import all_services, at

from admitone.config import DATABASES

ROOT = Path(__file__).resolve().parents[3]
SHORT = {"ADMITONE_ORDER_WINDOW_SECONDS": "3", "ADMITONE_SETTLE_SECONDS": "1"}


def last_version(folder: Path) -> Path:
    """The source of the version before this one, from the history of this repository."""
    number, commit = (ROOT / "tests/support/previous_version.txt").read_text().split()
    there = subprocess.run(["git", "-C", ROOT, "cat-file", "-e", commit], capture_output=True, check=False)
    assert there.returncode == 0, f"version {number} is not in this clone: get its history, with `git fetch --unshallow`"
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit, "src"], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return folder / "src"


async def sells(here: str, there: str, ann: Person, bob: Person) -> Json:
    """Each step at the process where the one before was not done."""
    ticket = await at(here, ann).lists("Front row", 30)
    await at(there, bob).sees_ticket(ticket, "available")
    order = await buys(at(there, bob), ticket)
    assert (await at(here, bob).extends(order)).status_code == 200
    await pays(at(here, bob), order)
    await at(there, bob).sees_order(order, "complete")
    await at(here, ann).sees_ticket(ticket, "sold")
    return order


async def gives_back(here: str, there: str, ann: Person, bob: Person) -> None:
    ticket = await at(here, ann).lists("Second row", 30)
    order = await buys(at(there, bob), ticket)
    assert (await at(here, bob).cancels(order)).status_code == 204
    await at(there, ann).sees_ticket(ticket, "available")


async def expires(here: str, there: str, ann: Person, bob: Person) -> None:
    ticket = await at(here, ann).lists("Third row", 30)
    order = await buys(at(there, bob), ticket)
    await at(here, bob).sees_order(order, "cancelled", seconds=20)
    await at(there, ann).sees_ticket(ticket, "available", seconds=20)


async def everything(here: str, there: str, ann: Person, bob: Person) -> Json:
    order = await sells(here, there, ann, bob)
    await asyncio.gather(sells(there, here, ann, bob), gives_back(here, there, ann, bob), expires(there, here, ann, bob))
    return order


async def test_the_last_version_and_this_one_share_a_market_both_ways(own_house: House, tmp_path: Path) -> None:
    source = await asyncio.to_thread(last_version, tmp_path)
    await _from_nothing(own_house)
    as_administrator = {name: own_house.settings["NATS_URL"] for name in own_house.settings if name.endswith("_NATS_URL")}
    async with all_services(own_house, "old", source, settings=SHORT | as_administrator) as old:
        own_house.url = old
        ann, bob = await own_house.people("ann", "bob")
        before = await everything(old, old, ann, bob)
        left_open = await buys(at(old, bob), await at(old, ann).lists("While it was updated", 30))

        migrated = await asyncio.to_thread(own_house.admitone, "migrate", "--create")  # While the old one serves.
        assert migrated.returncode == 0, migrated.stderr
        async with all_services(own_house, "new", settings=SHORT) as new:
            of_both = await everything(old, new, ann, bob)
            await at(new, bob).sees_order(left_open, "cancelled", seconds=20)
            for order in (before, of_both):
                refunded = await asyncio.to_thread(own_house.admitone, "refund", order["id"], "--reason", "tried", "--relist")
                assert refunded.returncode == 0, refunded.stderr
                await at(old, bob).sees_order(order, "refunded", seconds=20)
        # And back again: the new one has ended, and the old one goes on with what it has left.
        await everything(old, old, ann, bob)
        async with all_services(own_house, "new", settings=SHORT) as new:
            await everything(new, old, ann, bob)
            kept = await buys(at(old, bob), await at(new, ann).lists("Front row", 30))
            await pays(at(new, bob), kept)
    async with all_services(own_house, "new", settings=SHORT) as new:
        await at(new, bob).sees_order(kept, "complete")
        await everything(new, new, ann, bob)
        await own_house.at_rest(seconds=30)
        checked = await asyncio.to_thread(own_house.admitone, "verify", "--wait")
        assert checked.returncode == 0, checked.stdout
    for service in ("auth", "tickets", "orders", "expiration", "payments"):
        assert await own_house.rows(service, "SELECT event, error FROM parked") == []


async def _from_nothing(house: House) -> None:
    """As the last version makes it: each role owns its database, and no service has been there yet."""
    administrator = await asyncpg.connect(house.engines.database_url)
    for database in DATABASES:
        await administrator.execute(f"DROP DATABASE {database} WITH (FORCE)")
        await administrator.execute(f"CREATE DATABASE {database} OWNER {database} TEMPLATE template0")
    await administrator.close()
