"""What payments does by itself."""

import asyncio
from uuid import UUID

from admitone.config import Settings
from admitone.kit.data.db import TRANSIENT, Database, wait_for_signal
from admitone.kit.observe.log import correlation_scope, log
from admitone.payments import repository
from admitone.payments.model import DueCharge
from admitone.payments.processors.protocol import CardProcessor
from admitone.payments.settlement import reconcile_charge

AT_ONCE = 16


REST_SECONDS = 0.02
"""So that a hundred commits in a row are no hundred looks."""


async def reconcile_charges(db: Database, _settings: Settings, processor: CardProcessor) -> None:
    """Whenever something was committed, and once a second, bring every charge to the end that its order has come to.

    Each by itself, so many at once: a call that hangs holds up no other charge.
    """
    busy: set[UUID] = set()
    async with asyncio.TaskGroup() as group:
        while True:
            committed = db.committed.next()
            try:
                for charge in await due_charges(db, busy):
                    group.create_task(settle(db, processor, charge, busy))
            except TRANSIENT as error:
                log.warning("settlement_delayed", message="charges are settled as soon as the database is back", error=repr(error))
                await asyncio.sleep(1.0)
            await wait_for_signal(committed, 1.0)
            await asyncio.sleep(REST_SECONDS)


async def due_charges(db: Database, busy: set[UUID]) -> list[DueCharge]:
    """What is to be settled now, as many as there are hands; those that are taken are busy from now on."""
    async with db.reading() as tx:
        due = await repository.due(tx, tx.now)
    taken = [charge for charge in due if charge.charge_id not in busy][: AT_ONCE - len(busy)]
    busy.update(charge.charge_id for charge in taken)
    return taken


async def settle(db: Database, processor: CardProcessor, charge: DueCharge, busy: set[UUID]) -> None:
    """One charge, as far as it goes today; then it is busy no more."""
    try:
        with correlation_scope(charge.correlation_id):
            await reconcile_charge(db, processor, charge)
    except TRANSIENT as error:
        log.warning("settlement_delayed", message="a charge is settled as soon as the database is back", error=repr(error))
    finally:
        busy.discard(charge.charge_id)
