"""What orders does by itself."""

import asyncio
import contextlib

from admitone.config import Settings
from admitone.kit.data.db import TRANSIENT, Database
from admitone.kit.observe.log import log
from admitone.orders import commands
from admitone.orders.refusals import Tally

SWEEP_SECONDS = 30
COUNT_SECONDS = 5


async def sweep_overdue_orders(db: Database, _settings: Settings, tally: Tally) -> None:
    """Every 30 s, end what is overdue: so losing expiration only delays."""
    while True:
        try:
            await sweep(db)
        except TRANSIENT as error:
            log.warning("the sweep will be made again", error=repr(error))
        await asyncio.sleep(SWEEP_SECONDS)


async def sweep(db: Database) -> None:
    """Once."""
    async with db.transaction() as tx:
        swept = await commands.expire_overdue(tx, tx.now)
    if swept:
        log.warning("orders were overdue and are cancelled by the sweep", orders=swept)


async def write_down_refusals(db: Database, _settings: Settings, tally: Tally) -> None:
    """Every few seconds, and when the service stops, add what was counted to the database."""
    try:
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            with contextlib.suppress(*TRANSIENT):  # It is counted still, and written down the next time.
                await tally.write_down(db)
    finally:
        with contextlib.suppress(*TRANSIENT):
            await tally.write_down(db)
