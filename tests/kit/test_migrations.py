"""Migrations: each once, however many processes start; a file that was applied is never edited."""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from facts import ANN, ANOTHER_TICKET, BOB, CANCEL_AT, CHARGE, EXPIRES_AT, PRICE, TICKET, TITLE, A, B, C

from admitone.kit.clock import database_clock
from admitone.kit.config import SERVICES_WITH_A_DATABASE, Settings, own_database_url
from admitone.kit.db import connected
from admitone.kit.migrations import MigrationEdited, create_databases, migrate_at
from admitone.kit.testing import NOON
from admitone.local import Engines
from admitone.orders import commands
from admitone.orders.model import Order, TicketSold
from admitone.payments import ledger
from admitone.tickets.model import Ticket
from databases import empty_database


async def test_many_processes_that_start_at_once_apply_each_migration_once(engines: Engines) -> None:
    async with empty_database(engines) as url:
        applied = await asyncio.gather(*(migrate_at(url, "orders") for _ in range(4)))
        assert sorted(applied, key=len)[:3] == [[], [], []]
        everything = max(applied, key=len)
        assert everything[0].startswith("kit/")
        assert everything[-1].startswith("orders/")
        assert await migrate_at(url, "orders") == []
        connection = await asyncpg.connect(url)
        assert [row["name"] for row in await connection.fetch("SELECT name FROM migrations ORDER BY applied_at, name")] == everything
        await connection.close()


async def test_a_file_that_was_edited_after_it_was_applied_is_refused(engines: Engines) -> None:
    async with empty_database(engines) as url:
        name = (await migrate_at(url, "orders"))[-1]
        connection = await asyncpg.connect(url)
        await connection.execute("UPDATE migrations SET checksum = md5('what it was before') WHERE name = $1", name)
        await connection.close()
        with pytest.raises(MigrationEdited, match=name):
            await migrate_at(url, "orders")
        with pytest.raises(MigrationEdited):  # And the lock was given back.
            await asyncio.wait_for(migrate_at(url, "orders"), 5)


async def test_a_migration_that_fails_leaves_nothing_behind(engines: Engines) -> None:
    async with empty_database(engines) as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE orders (in_the_way integer)")
        with pytest.raises(asyncpg.DuplicateTableError):
            await migrate_at(url, "orders")
        assert await connection.fetchval("SELECT to_regclass('ticket_copies')") is None
        await connection.execute("DROP TABLE orders")
        assert all(name.startswith("orders/") for name in await migrate_at(url, "orders"))
        await connection.close()


async def test_databases_are_made_once_and_a_role_gets_only_into_its_own(engines: Engines) -> None:
    await create_databases(engines.database_url, ["orders", "tickets"])
    own = own_database_url(engines.database_url, "orders")
    connection = await asyncpg.connect(own)
    assert await connection.fetchval("SELECT current_user") == "orders"
    await connection.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(urlunsplit(urlsplit(own)._replace(path="/tickets")))


BREAKS_OLDER_PROCESSES = re.compile(
    r"\b(DROP (?!INDEX|CONSTRAINT|FUNCTION|TRIGGER|DEFAULT|NOT NULL)|RENAME|SET NOT NULL|SET DATA TYPE|ALTER \w+ TYPE"
    r"|ADD (?!CHECK|CONSTRAINT)[^,;]* NOT NULL(?![^,;]* DEFAULT))"
)
FROM_BEFORE_THE_FIRST_RELEASE = ["payments/0002_refunds_and_ledger.sql"]


def test_migrations_after_the_first_only_add_columns_that_have_a_default() -> None:
    found = []
    for package in ("kit", *SERVICES_WITH_A_DATABASE):
        for file in (files(f"admitone.{package}") / "migrations").iterdir():
            if not file.name.startswith("0001_") and BREAKS_OLDER_PROCESSES.search(re.sub(r"--.*", "", file.read_text())):
                found.append(f"{package}/{file.name}")
    assert found == FROM_BEFORE_THE_FIRST_RELEASE


@pytest.mark.parametrize(
    ("sql", "breaks"),
    [
        ("ALTER TABLE tickets ADD venue text", False),
        ("ALTER TABLE tickets ADD hue text NOT NULL DEFAULT 'red', ADD venue text NOT NULL DEFAULT ''", False),
        ("ALTER TABLE tickets ADD venue text NOT NULL, ADD hue text DEFAULT 'red'", True),
        ("ALTER TABLE tickets DROP title", True),
        ("ALTER TABLE tickets DROP COLUMN title", True),
        ("ALTER TABLE tickets RENAME title TO name", True),
        ("ALTER TABLE tickets ALTER version TYPE bigint", True),
        ("DROP TABLE tickets", True),
        ("DROP INDEX tickets_by_pieces", False),
    ],
)
def test_a_migration_that_would_break_older_processes_is_recognized(sql: str, breaks: bool) -> None:
    assert bool(BREAKS_OLDER_PROCESSES.search(sql)) is breaks


class Yesterday:
    """A database as the first release left it, until the service is updated."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", url: str, service: str) -> None:
        self.connection, self.url, self.service = connection, url, service

    async def holds(self, table: str, **row: Any) -> None:
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await self.connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())

    async def is_updated(self) -> list[str]:
        """The names of what was applied."""
        return await migrate_at(self.url, self.service)

    async def rows(self, sql: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.connection.fetch(sql)]


@contextlib.asynccontextmanager
async def yesterday(engines: Engines, service: str) -> AsyncIterator[Yesterday]:
    """Each first file is applied as the runner does it, and on record."""
    async with empty_database(engines) as url:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(
                "CREATE TABLE migrations (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            for package in ("kit", service):
                (first,) = (file for file in (files(f"admitone.{package}") / "migrations").iterdir() if file.name.startswith("0001_"))
                await connection.execute(first.read_text())
                checksum = hashlib.sha256(first.read_text().encode()).hexdigest()
                await connection.execute("INSERT INTO migrations VALUES ($1, $2)", f"{package}/{first.name}", checksum)
            yield Yesterday(connection, url, service)
        finally:
            await connection.close()


async def test_an_update_keeps_every_order_and_gives_it_its_seller(engines: Engines) -> None:
    async with yesterday(engines, "orders") as then:
        ticket = {"version": 3, "seller_id": ANN, "title": TITLE, "price_cents": PRICE, "currency": "USD", "withdrawn": False}
        order = {"user_id": BOB, "title": TITLE, "price_cents": PRICE, "currency": "USD"}
        order |= {"expires_at": EXPIRES_AT, "cancel_at": CANCEL_AT, "created_at": NOON}
        await then.holds("ticket_copies", ticket_id=TICKET, order_id=A, sold=False, **ticket)
        paid = {"order_id": A, "version": 3, "ticket_id": TICKET, "status": "complete", "lock": 2, "charge_id": CHARGE}
        given_up = {"order_id": B, "version": 2, "ticket_id": TICKET, "status": "cancelled", "reason": "by_buyer", "lock": 1}
        await then.holds("orders", **order, **given_up)
        await then.holds("orders", **order, **paid)
        await then.holds("orders", **order, **paid | {"order_id": C, "ticket_id": ANOTHER_TICKET})
        before = await then.rows("SELECT * FROM orders ORDER BY order_id")

        assert await then.is_updated() == [
            "kit/0002_dropped.sql",
            "orders/0002_refunds.sql",
            "orders/0003_history.sql",
            "orders/0004_proof.sql",
        ]
        after = await then.rows("SELECT * FROM orders ORDER BY order_id")
        assert [{name: row[name] for name in before[0]} for row in after] == before
        found = {row.order_id: row for row in (Order(**row) for row in after)}
        assert {key: row.seller_id for key, row in found.items()} == {A: ANN, B: ANN, C: None}
        assert {(row.fee_basis_points, row.relist, row.uncollected) for row in found.values()} == {(0, False, False)}

        async with connected("orders", then.url, database_clock) as db:
            async with db.transaction() as tx:
                await commands.refund(tx, A, relist=False)
            with pytest.raises(TicketSold):
                async with db.transaction() as tx:
                    await commands.create_order(tx, BOB, TICKET, None, Settings(), tx.now)


async def test_an_update_keeps_every_ticket(engines: Engines) -> None:
    async with yesterday(engines, "tickets") as then:
        ticket = {"seller_id": ANN, "title": TITLE, "price_cents": PRICE, "currency": "USD", "created_at": NOON}
        await then.holds("tickets", ticket_id=TICKET, version=3, order_id=A, sold=True, lock=1, **ticket)
        await then.holds("tickets", ticket_id=ANOTHER_TICKET, version=1, **ticket)
        before = await then.rows("SELECT * FROM tickets ORDER BY version")

        assert await then.is_updated() == [
            "kit/0002_dropped.sql",
            "tickets/0002_relisting.sql",
            "tickets/0003_notes.sql",
            "tickets/0004_search.sql",
        ]
        after = await then.rows("SELECT * FROM tickets ORDER BY version")
        assert after == [row | {"relisted": 0} for row in before]
        assert [Ticket(**row).status for row in after] == ["available", "sold"]


async def test_an_update_keeps_every_charge_and_books_what_was_taken(engines: Engines) -> None:
    async with yesterday(engines, "payments") as then:
        charge = {"amount_cents": PRICE, "currency": "USD", "payment_token": "tok_visa", "begun_at": NOON, "correlation_id": A}
        copy = {"version": 3, "user_id": BOB, "price_cents": PRICE, "currency": "USD", "expires_at": EXPIRES_AT}
        for order_id, status in [(A, "complete"), (B, "awaiting:payment")]:
            await then.holds("order_copies", order_id=order_id, status=status, **copy)
        declined = {"charge_id": A, "order_id": A, "attempt": 1, "status": "failed", "failure": "card_declined"}
        taken = {"charge_id": CHARGE, "order_id": A, "attempt": 2, "status": "completed", "stripe_id": "ch_1"}
        approved = {"charge_id": B, "order_id": B, "attempt": 1, "status": "authorized", "stripe_id": "ch_2"}
        for row in (declined, taken, approved):
            await then.holds("charges", **charge, **row, idempotency_key=str(row["charge_id"]))
        await then.holds("test_gateway", idempotency_key="1", id="ch_1", amount_cents=PRICE, currency="USD", status="captured")
        before = await then.rows("SELECT * FROM charges ORDER BY status")

        assert await then.is_updated() == ["kit/0002_dropped.sql", "payments/0002_refunds_and_ledger.sql"]
        after = await then.rows("SELECT * FROM charges ORDER BY status")
        assert [{name: row[name] for name in before[0]} for row in after] == before
        assert {(row["fee_cents"], row["relist"], row["changed_at"], row["next_look_at"]) for row in after} == {(0, False, NOON, NOON)}
        assert await then.rows("SELECT charge_id, account, amount_cents FROM ledger ORDER BY account") == [
            {"charge_id": CHARGE, "account": "processor", "amount_cents": PRICE},
            {"charge_id": CHARGE, "account": "seller", "amount_cents": -PRICE},
        ]
        assert await then.rows("SELECT to_regclass('test_gateway') AS test_gateway") == [{"test_gateway": None}]
        async with connected("payments", then.url, database_clock) as db:
            async with db.reading() as tx:
                assert await ledger.unlike_charges(tx) == []
                assert sum(balance.amount_cents for balance in await ledger.balances(tx)) == 0
