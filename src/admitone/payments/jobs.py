"""What payments does by itself."""

import asyncio

from admitone.kit.config import Settings
from admitone.kit.db import TRANSIENT, Database, happened
from admitone.kit.log import log
from admitone.payments.gateway import Gateway
from admitone.payments.processing import settle


async def settle_charges(db: Database, _settings: Settings, gateway: Gateway) -> None:
    """Whenever something was committed, and once a second, bring every charge to the end that its order has come to."""
    while True:
        committed = db.committed.next()
        try:
            await settle(db, gateway)
        except TRANSIENT as error:
            log.warning("charges are settled as soon as the engines are back", error=repr(error))
            await asyncio.sleep(1.0)
        await happened(committed, 1.0)
