"""What payments does by itself."""

import asyncio

from admitone.kit.config import Settings
from admitone.kit.db import TRANSIENT, Database, happened
from admitone.kit.log import log
from admitone.payments.gateway import gateway_of
from admitone.payments.processing import settle


async def settle_charges(db: Database, settings: Settings) -> None:
    """Whenever something was committed, and once a second, bring every charge to the end that its order has come to."""
    gateway = gateway_of(settings, db)
    while True:
        committed = db.committed.next()
        try:
            still_open = await settle(db, gateway)
        except TRANSIENT as error:
            log.warning("charges are settled as soon as the engines are back", error=repr(error))
            still_open = 1
        if still_open:
            await asyncio.sleep(1.0)
        else:
            await happened(committed, 1.0)
