"""A marketplace at rest, in transactions that never commit: each test may break it, and finds it whole."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from support.processor_states import processor_state

from admitone import auth, expiration, orders, payments, tickets
from admitone.auth.commands import sign_up
from admitone.config import SERVICES_WITH_A_DATABASE, TEST_PROCESSOR, Settings, owner_database_url
from admitone.expiration.commands import ring_due_timers
from admitone.kit.data.connection import Connection, prepare_connection
from admitone.kit.event import Message
from admitone.kit.testing import NOON, Ensemble, ensemble
from admitone.ops.reach import recording_services
from admitone.ops.verify import check
from admitone.ops.verify.report import Line, Report
from admitone.ops.verify.snapshot import Snapshot, Stored
from admitone.orders.commands import cancel_by_buyer, create_order, extend
from admitone.orders.model import Order
from admitone.payments import commands as paying
from admitone.payments.model import Charge
from admitone.payments.processors.protocol import State
from admitone.runtime.engines import Engines
from admitone.tickets.commands import edit_ticket, list_ticket

SELLER, BUYER, ANOTHER = uuid4(), uuid4(), uuid4()


@dataclass
class Market:
    """Everything that verify looks at."""

    databases: dict[str, Connection]
    now: datetime = NOON
    ids: dict[str, UUID] = field(default_factory=dict)
    """What the scene has made, by what has become of it."""
    stream: list[Stored] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("tickets", "orders", "expiration", "payments"), 0))
    at_work_since: dict[str, datetime] = field(default_factory=dict)

    async def run(self, database: str, sql: str) -> None:
        """Break something; {sold} stands for the id of the order that was sold, and so on."""
        await self.databases[database].execute(sql.format(**self.ids))

    async def check(self) -> Report:
        async def messages() -> AsyncIterator[Stored]:
            for message in self.stream:
                yield message

        return await check(
            Snapshot(
                databases=self.databases,
                began=dict.fromkeys(self.databases, self.now),
                at_work_since=self.at_work_since,
                waiting=self.waiting,
                last_seq=self.stream[-1].seq,
                messages=messages,
            )
        )

    async def line(self, name: str) -> Line:
        """What it says of this."""
        return next(line for line in (await self.check()).lines if line.name == name)


class Play:
    """What happened before anybody looked."""

    def __init__(self, them: Ensemble, books: Connection) -> None:
        self.them = them
        self.books = books

    async def lists(self, title: str) -> UUID:
        ticket = await self.them[tickets.service].does(list_ticket, SELLER, title, 4990, "USD", self.them.now)
        await self.them.play()
        return ticket.ticket_id

    async def buys(self, ticket_id: UUID, user_id: UUID = BUYER) -> Order:
        order = await self.them[orders.service].does(create_order, user_id, ticket_id, None, Settings(fee_basis_points=250))
        await self.them.play()
        await self.them[orders.service]._connection.execute(
            "INSERT INTO idempotency VALUES ($1, 'POST /api/orders', $2, '', $3, 201, $4)",
            user_id,
            str(uuid4()),
            self.them.now,
            {"id": str(order.order_id)},
        )
        return order

    async def begins(self, order: Order) -> Charge:
        return await self.them[payments.service].does(paying.begin_charge, order.order_id, order.user_id, "tok_visa", self.them.now)

    async def stands(self, charge: Charge, state: State, **changes: Any) -> None:
        """At the processor, and then at payments."""
        captured = charge.amount_cents if state in ("captured", "refunded") else 0
        await self.books.execute(
            """
            INSERT INTO intents VALUES ($1, $2, $3, $4, 'tok_visa', $5, 'USD', $6, $7, $8, $9, $10, $11)
            ON CONFLICT (id) DO UPDATE SET status = $6, code = $7, captured_cents = $8, refunded_cents = $9, refund_id = $10
            """,
            f"pi_test_{charge.charge_id.hex}",
            charge.idempotency_key,
            charge.order_id,
            charge.charge_id,
            charge.amount_cents,
            state,
            changes.get("code"),
            captured,
            captured if state == "refunded" else 0,
            changes.get("refund_id"),
            self.them.now,
        )
        seen = processor_state(charge, state, id=f"pi_test_{charge.charge_id.hex}", **changes)
        await self.them[payments.service].does(paying.record, charge, seen, self.them.now)
        await self.them.play()

    async def pays(self, order: Order) -> Charge:
        charge = await self.begins(order)
        await self.stands(charge, "authorized")
        await self.stands(charge, "captured")
        return charge

    async def refunds(self, charge: Charge, relist: bool) -> None:
        await self.them[payments.service].does(paying.ask_for_refund, charge.order_id, "the show is off", relist, self.them.now)
        await self.stands(charge, "refunded", refund_id=f"re_test_{charge.charge_id.hex}")


async def history(them: Ensemble, books: Connection) -> dict[str, UUID]:
    """A bit of everything; what has come of it, by name."""
    it = Play(them, books)
    await them[auth.service].does(sign_up, f"{SELLER}@example.com", "", NOON)
    for_sale, front, second, third, fourth, fifth = [await it.lists(f"Row {number}") for number in range(6)]
    await them[tickets.service].does(edit_ticket, for_sale, SELLER, "Row 0, with a view", 6990)
    await them.play()

    sold = await it.buys(front)
    charge = await it.pays(sold)

    refunded = await it.buys(second)
    await it.refunds(await it.pays(refunded), relist=True)
    again = await it.buys(second, ANOTHER)
    await it.pays(again)

    undone = await it.buys(third)
    await it.refunds(await it.pays(undone), relist=False)

    given_back = await it.buys(fourth)
    approved = await it.begins(given_back)
    await it.stands(approved, "declined", code="card_declined")
    approved = await it.begins(given_back)
    await them[orders.service].does(cancel_by_buyer, given_back.order_id, BUYER)
    await them.play()
    await it.stands(approved, "authorized")
    await it.stands(approved, "voided")

    expired = await it.buys(fifth)
    await them[orders.service].does(extend, expired.order_id, BUYER, NOON)
    await them.play()
    them.now += timedelta(minutes=21)
    await them[expiration.service].does(ring_due_timers, them.now)
    await them.play()

    held = await it.buys(fifth)
    return {
        "for_sale": for_sale,
        "ticket": front,
        "held_ticket": fifth,
        "sold": sold.order_id,
        "again": again.order_id,
        "refunded": refunded.order_id,
        "undone": undone.order_id,
        "given_back": given_back.order_id,
        "expired": expired.order_id,
        "held": held.order_id,
        "charge": charge.charge_id,
        "voided": approved.charge_id,
        "seller": SELLER,
        "buyer": BUYER,
        "nobody": uuid4(),
    }


async def carried(databases: dict[str, Connection]) -> list[Stored]:
    """All that was said is in the stream, and on the record of all who listen."""
    stream: list[Stored] = []
    for owner in SERVICES_WITH_A_DATABASE:
        for row in await databases[owner].fetch("SELECT * FROM outbox ORDER BY id"):
            seq = len(stream) + 1
            await databases[owner].execute("UPDATE outbox SET seq = $2, published_at = $3 WHERE id = $1", row["id"], seq, NOON)
            for listener in recording_services(row["event"]):
                await databases[listener].execute("INSERT INTO inbox VALUES ($1, $2, $3)", row["event_id"], row["event"], NOON)
            message = Message(
                event_id=row["event_id"],
                event=row["event"],
                time=row["created_at"],
                correlation_id=row["correlation_id"],
                causation_id=row["causation_id"],
                data=row["data"],
            )
            stream.append(Stored(seq, str(row["event_id"]), f"events.{owner}.{row['event']}", msgspec.json.encode(message)))
    return stream


@pytest.fixture(scope="module")
async def played(engines: Engines) -> AsyncIterator[Market]:
    services = (auth.service, tickets.service, orders.service, expiration.service, payments.service)
    books = await asyncpg.connect(owner_database_url(engines.database_url, TEST_PROCESSOR))
    async with ensemble(*((service, owner_database_url(engines.database_url, service.name)) for service in services)) as them:
        await prepare_connection(books)
        transaction = books.transaction()
        await transaction.start()
        made = await history(them, books)
        databases: dict[str, Connection] = {service.name: them[service]._connection for service in services}
        stream = await carried(databases)
        for connection in databases.values():
            await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        yield Market({**databases, TEST_PROCESSOR: books}, them.now, made, stream)
    await books.close()


@pytest.fixture
async def market(played: Market) -> AsyncIterator[Market]:
    """The same one for every test; whatever a test does to it is taken back."""
    async with contextlib.AsyncExitStack() as stack:
        for connection in played.databases.values():
            savepoint = connection.transaction()
            await savepoint.start()
            stack.push_async_callback(savepoint.rollback)
        yield Market(played.databases, played.now, played.ids, list(played.stream))
