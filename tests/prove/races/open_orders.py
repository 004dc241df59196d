"""One user clicks *Buy* on more tickets at the same instant than anybody may hold unpaid."""

import asyncio
import random
from collections import Counter
from uuid import UUID, uuid4

from prove.races.outcome import Outcome, Say, replicas
from support.databases import OwnDatabase
from support.facts import ticket_created

from admitone.config import Settings
from admitone.kit.data.db import Database
from admitone.kit.service import Delivered
from admitone.orders import commands
from admitone.orders.model import Order

MOST = Settings().max_open_orders
AT_ONCE = 3
"""So many users go on side by side, each with tickets of their own."""


async def open_orders(orders: OwnDatabase, say: Say, clicks: int = 14, rounds: int = 200, processes: int = 3, seed: int = 1) -> Outcome:
    """In each round another user, who may have some orders already. The tickets go on sale again after it."""
    outcome, chance = Outcome(), random.Random(seed)
    turns = iter(range(1, rounds + 1))

    async def one_after_the_other(dbs: list[Database]) -> None:
        tickets = [uuid4() for _ in range(clicks)]
        async with orders.db.transaction() as tx:
            for ticket in tickets:
                await commands.copy_tickets(tx, [Delivered.now(ticket_created(ticket_id=ticket))])
        for turn in turns:
            await _round(orders, dbs, tickets, chance.randint(0, MOST), outcome)
            say(turn)

    async with replicas(orders, processes) as dbs:
        await asyncio.gather(*(one_after_the_other(dbs) for _ in range(AT_ONCE)))
    return outcome


async def _round(orders: OwnDatabase, dbs: list[Database], tickets: list[UUID], before: int, outcome: Outcome) -> None:
    user = uuid4()
    early = [await _buys(orders.db, user, ticket) for ticket in tickets[:before]]
    late = await asyncio.gather(*(_buys(dbs[number % len(dbs)], user, ticket) for number, ticket in enumerate(tickets[before:])))
    had = [answer for answer in (*early, *late) if isinstance(answer, Order)]
    told = Counter(type(answer).__name__ for answer in (*early, *late) if not isinstance(answer, Order))
    outcome.counted.update(told, orders=len(had))
    [count] = await orders.rows("SELECT count(*) AS open FROM orders WHERE user_id = $1 AND status = 'created'", user)
    outcome.must(count["open"] == len(had) == MOST, f"{user} has {count['open']} open orders, was given {len(had)}, may have {MOST}")
    outcome.must(set(told) <= {"TooManyOpenOrders"}, f"{user} was told {dict(told)}")
    async with orders.db.transaction() as tx:
        for order in had:
            await commands.cancel(tx, order.order_id, "by_buyer")


async def _buys(db: Database, user: UUID, ticket: UUID) -> Order | Exception:
    try:
        async with db.transaction() as tx:
            return await commands.create_order(tx, user, ticket, None, Settings())
    except Exception as error:
        return error
