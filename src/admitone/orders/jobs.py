"""What orders does by itself."""

import asyncio

from admitone.kit.config import Settings
from admitone.kit.db import TRANSIENT, Database
from admitone.kit.log import log
from admitone.orders import commands

SWEEP_SECONDS = 30


async def sweep_overdue_orders(db: Database, _settings: Settings) -> None:
    """Every 30 s, end what is overdue: so losing expiration only delays."""
    while True:
        try:
            async with db.transaction() as tx:
                swept = await commands.expire_overdue(tx, tx.now)
            if swept:
                log.warning("orders were overdue and are cancelled by the sweep", orders=swept)
        except TRANSIENT as error:
            log.warning("the sweep will be made again", error=repr(error))
        await asyncio.sleep(SWEEP_SECONDS)
