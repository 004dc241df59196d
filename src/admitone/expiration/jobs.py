"""Background jobs of expiration."""

import asyncio

from admitone.config import Settings
from admitone.expiration import commands, repository
from admitone.kit.data.db import TRANSIENT, Database, wait_for_signal

MAX_SLEEP_SECONDS = 1.0
REST_SECONDS = 0.05
"""So that a hundred commits in a row are no hundred looks: no timer needs to ring that promptly."""


async def ring_timers(db: Database, _settings: Settings) -> None:
    """Sleep until the next timer is due, and ring it. Whatever is committed meanwhile may have set an earlier one."""
    while True:
        committed = db.committed.next()
        try:
            wait = await ring_or_wait(db)
            if wait is None or wait > 0:
                await wait_for_signal(committed, MAX_SLEEP_SECONDS if wait is None else min(wait, MAX_SLEEP_SECONDS))
                await asyncio.sleep(REST_SECONDS)
        except TRANSIENT:
            await asyncio.sleep(0.5)


async def ring_or_wait(db: Database) -> float | None:
    """Ring what is due; otherwise, in how many seconds the next timer will be, and None where there is none."""
    async with db.reading() as tx:
        due = await repository.next_due(tx)
    if due is None:
        return None
    wait = (due - tx.now).total_seconds()
    if wait <= 0:
        async with db.transaction() as tx:
            await commands.ring_due_timers(tx, tx.now)
    return max(wait, 0.0)
