"""Clicks on Buy that wait at the same time become orders in one transaction."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from admitone.config import Settings
from admitone.kit.data.batcher import Batcher
from admitone.kit.data.db import Database, Tx
from admitone.kit.http.idempotency import Known, claim, release, remember
from admitone.orders import commands
from admitone.orders.model import Order, OrderView, Wish

OrderBatcher: TypeAlias = Batcher[Wish, Known]


def order_batcher(settings: Settings, db: Database | None) -> OrderBatcher:
    """One per process. A buyer has one wish in a transaction, and the next in a later one."""
    assert db is not None

    async def act(tx: Tx, wishes: Sequence[Wish]) -> Sequence[Known | Exception]:
        return await buy(tx, wishes, settings)

    return Batcher(db, act, key=lambda wish: wish.user_id)


async def buy(tx: Tx, wishes: Sequence[Wish], settings: Settings) -> list[Known | Exception]:
    """The answer to each wish: its order, what its Idempotency-Key stands for, or why it is refused.

    A refusal is not remembered: its key is given up in the same transaction.
    """
    answers: dict[Wish, Known | Exception] = {}
    known = await claim(tx, [wish.key for wish in wishes if wish.key])
    for wish in wishes:
        if wish.key in known:
            answers[wish] = known[wish.key]
    new = [wish for wish in wishes if wish not in answers]
    for wish, outcome in zip(new, await commands.create_orders(tx, new, settings) if new else (), strict=True):
        if isinstance(outcome, Order):
            answers[wish] = Known(201, msgspec.Raw(msgspec.json.encode(OrderView.of(outcome, tx.now))))
        else:
            answers[wish] = outcome
    made = [(wish.key, answer) for wish, answer in answers.items() if wish.key and wish in new]
    await remember(tx, [(key, answer.status, answer.body) for key, answer in made if isinstance(answer, Known)])
    await release(tx, [key for key, answer in made if isinstance(answer, Exception)])
    return [answers[wish] for wish in wishes]
