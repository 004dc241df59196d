"""Hundreds click *Buy* on one ticket at the same instant: one has it, and everybody else is told so."""

import asyncio
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


async def hot_ticket(orders: OwnDatabase, say: Say, buyers: int = 500, rounds: int = 50, processes: int = 5) -> Outcome:
    """Every second ticket is sold a second time, after its order was cancelled."""
    outcome = Outcome()
    async with replicas(orders, processes) as dbs:
        ticket = UUID(int=0)
        for turn in range(rounds):
            if turn % 2 == 0:
                ticket = uuid4()
                async with orders.db.transaction() as tx:
                    await commands.copy_tickets(tx, [Delivered.now(ticket_created(ticket_id=ticket))])
            answers = await asyncio.gather(*(_buys(dbs[number % processes], ticket) for number in range(buyers)))
            await _judge(orders, ticket, answers, lock=turn % 2 + 1, outcome=outcome)
            async with orders.db.transaction() as tx:
                for winner in answers:
                    if isinstance(winner, Order):
                        await commands.cancel(tx, winner.order_id, "by_buyer")
            say(turn + 1)
    return outcome


async def _buys(db: Database, ticket: UUID) -> Order | Exception:
    try:
        async with db.transaction() as tx:
            return await commands.create_order(tx, uuid4(), ticket, None, Settings())
    except Exception as error:
        return error


async def _judge(orders: OwnDatabase, ticket: UUID, answers: list[Order | Exception], lock: int, outcome: Outcome) -> None:
    winners = [answer for answer in answers if isinstance(answer, Order)]
    told = Counter(type(answer).__name__ for answer in answers if not isinstance(answer, Order))
    outcome.counted.update(told, orders=len(winners))
    outcome.must(len(winners) == 1, f"{len(winners)} buyers have ticket {ticket}")
    outcome.must(set(told) <= {"TicketTaken"}, f"who did not get ticket {ticket} was told {dict(told)}")
    live = await orders.rows("SELECT order_id, lock FROM orders WHERE ticket_id = $1 AND status <> 'cancelled'", ticket)
    ours = [{"order_id": winner.order_id, "lock": lock} for winner in winners]
    outcome.must(live == ours, f"ticket {ticket} has the orders {live}, told were {ours}")
    said = await orders.rows(
        "SELECT data ->> 'order_id' AS id FROM outbox WHERE event = 'OrderCreated' AND data ->> 'ticket_id' = $1", str(ticket)
    )
    outcome.must(len(said) == lock, f"{len(said)} orders of ticket {ticket} were said, not {lock}")
