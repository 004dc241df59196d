"""Prints how long a page of the list takes with 20 tickets and with 100,000. A benchmark, not a test.

Run it with `make figures`. It starts engines of its own, with the durability that `admitone up` has.
"""

import asyncio
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from admitone.config import owner_database_url
from admitone.kit.data.db import Database, connected
from admitone.kit.data.migrations import migrate_at
from admitone.kit.http.amount import Amount
from admitone.runtime.engines import Engines
from admitone.runtime.provisioning import create_databases
from admitone.tickets import repository
from admitone.tickets.model import Search

FEW, MANY = 20, 100_000
ROUNDS = 100
PAGES = {
    "the home page": Search(),
    "cheapest first": Search(sort="cheapest"),
    "a wide range of prices": Search(min=Amount(50_00), max=Amount(200_00)),
    "a narrow range of prices": Search(min=Amount(123_00), max=Amount(123_10)),
    "a range of prices that nothing is in": Search(min=Amount(9000_00)),
    "a common word": Search(q="front row"),
    "a common word, cheapest first": Search(q="front row", sort="cheapest"),
    "a common word in a range of prices": Search(q="front row", min=Amount(50_00), max=Amount(60_00)),
    "a rare word": Search(q="joshua"),
    "a rare word, cheapest first": Search(q="joshua", sort="cheapest"),
    "a word that one in a hundred has": Search(q="cup final"),
    "two letters, common": Search(q="ba"),
    "two letters, rare": Search(q="u2"),
    "one letter, rare": Search(q="東"),
    "nothing found": Search(q="zzzz"),
}
"""Of each the first page."""


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="admitone-") as folder:
        Path(folder).chmod(0o755)
        engines = Engines(Path(folder), lambda line: None)
        engines.start()
        try:
            await engines.ready()
            await create_databases(engines.database_url, ["tickets"])
            url = owner_database_url(engines.database_url, "tickets")
            await migrate_at(url, "tickets")
            async with connected("tickets", url) as db:
                few, many = await measured(db, url, FEW), await measured(db, url, MANY)
        finally:
            engines.stop()
    print(f"{'the first page, median of ' + str(ROUNDS):<40}{FEW:>8} tickets{MANY:>12,} tickets     ratio")
    for what in PAGES:
        print(f"{what:<40}{few[what] * 1000:>13.2f} ms{many[what] * 1000:>17.2f} ms{many[what] / few[what]:>10.1f}")


async def measured(db: Database, url: str, number: int) -> dict[str, float]:
    """The median of each page in seconds, with so many tickets for sale."""
    connection = await asyncpg.connect(url)  # With more patience than a service has.
    await fill(connection, number)
    await connection.close()
    return {what: await seconds_of(db, wanted) for what, wanted in PAGES.items()}


async def fill(connection: "asyncpg.Connection[asyncpg.Record]", number: int) -> None:
    """So many tickets for sale, and no others."""
    await connection.execute("TRUNCATE tickets CASCADE")
    columns = ("ticket_id", "version", "seller_id", "title", "price_cents", "currency", "created_at")
    await connection.copy_records_to_table("tickets", records=tickets(number), columns=columns)
    await connection.execute("VACUUM ANALYZE tickets")  # As PostgreSQL does by itself after a while.


def tickets(number: int) -> list[tuple[object, ...]]:
    """Listed a second apart; the one with the rare words is in the middle."""
    chance = random.Random(1)
    syllables = ["ba", "dra", "fe", "ga", "kel", "ko", "li", "lo", "mar", "mi", "ne", "on", "po", "ro", "sha", "su", "tri", "vi", "zen"]
    names = ["".join(chance.choices(syllables, k=chance.randint(2, 4))).title() for _ in range(3000)]
    details = ["Front row", "Friday", "Saturday", "Block A", "Block B", "Seat 12", "Standing", "Opera", "VIP"]
    titles = [f"{chance.choice(names)} {chance.choice(names)}, {chance.choice(details)}" for _ in range(number)]
    titles[::100] = [f"Cup final, {title}" for title in titles[::100]]
    titles[number // 2] = "U2, The Joshua Tree, 東京ドーム"
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        (UUID(int=row), 1, UUID(int=0), title, chance.randrange(50, 300_00), "USD", begun + timedelta(seconds=row))
        for row, title in enumerate(titles)
    ]


async def seconds_of(db: Database, wanted: Search) -> float:
    """From asking for a connection to the last ticket."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        async with db.reading() as tx:
            await repository.search(tx, wanted)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


if __name__ == "__main__":
    asyncio.run(main())
