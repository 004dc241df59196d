"""Background jobs of orders."""

import asyncio
import contextlib

from admitone.config import Settings
from admitone.kit.data.db import TRANSIENT, Database
from admitone.kit.observe.log import log
from admitone.orders import commands
from admitone.orders.refusals import RefusalCounter

SWEEP_SECONDS = 30
STORE_SECONDS = 5


async def sweep_overdue_orders(db: Database, _settings: Settings) -> None:
    """Cancel overdue orders every 30 s, so that an outage of expiration only delays them."""
    while True:
        try:
            await sweep(db)
        except TRANSIENT as error:
            log.warning("sweep_failed", message="overdue orders could not be cancelled; it is retried", error=repr(error))
        await asyncio.sleep(SWEEP_SECONDS)


async def sweep(db: Database) -> None:
    """Cancel the orders that are overdue now, up to 500."""
    async with db.transaction() as tx:
        swept = await commands.expire_overdue(tx, tx.now)
    if swept:
        log.warning("overdue_orders_cancelled", message="overdue orders are cancelled by the sweep", orders=swept)


async def store_refusals(db: Database, _settings: Settings, refusals: RefusalCounter) -> None:
    """Add the counted refusals to the database every few seconds, and when the service stops."""
    try:
        while True:
            await asyncio.sleep(STORE_SECONDS)
            with contextlib.suppress(*TRANSIENT):  # The counts are kept, and stored the next time.
                await refusals.store(db)
    finally:
        with contextlib.suppress(*TRANSIENT):
            await refusals.store(db)
