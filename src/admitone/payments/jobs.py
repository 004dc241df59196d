"""What payments does by itself."""

import asyncio
from uuid import UUID

from admitone.kit.config import Settings
from admitone.kit.db import TRANSIENT, Database, happened
from admitone.kit.log import going_back_to, log
from admitone.payments import repository
from admitone.payments.gateway import Gateway
from admitone.payments.model import DueCharge
from admitone.payments.processing import bring_on

AT_ONCE = 16


async def settle_charges(db: Database, _settings: Settings, gateway: Gateway) -> None:
    """Whenever something was committed, and once a second, bring every charge to the end that its order has come to.

    Each by itself, so many at once: a call that hangs holds up no other charge.
    """
    busy: set[UUID] = set()

    async def one(charge: DueCharge) -> None:
        try:
            with going_back_to(charge.correlation_id):
                await bring_on(db, gateway, charge)
        except TRANSIENT as error:
            log.warning("a charge is settled as soon as the engines are back", error=repr(error))
        finally:
            busy.discard(charge.charge_id)

    async with asyncio.TaskGroup() as group:
        while True:
            committed = db.committed.next()
            try:
                async with db.reading() as tx:
                    due = await repository.due(tx, tx.now)
            except TRANSIENT as error:
                log.warning("charges are settled as soon as the engines are back", error=repr(error))
                due = []
                await asyncio.sleep(1.0)
            for charge in due:
                if charge.charge_id not in busy and len(busy) < AT_ONCE:
                    busy.add(charge.charge_id)
                    group.create_task(one(charge))
            await happened(committed, 1.0)
