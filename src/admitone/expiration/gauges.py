"""The gauges of expiration, besides those of every service."""

from datetime import timedelta

from admitone.expiration import repository
from admitone.kit.data.db import Tx
from admitone.kit.observe.gauges import Gauge

OVERDUE_AFTER = timedelta(seconds=5)
"""The job looks at least once a second, and has a few more for trouble with its database."""


async def _overdue(tx: Tx) -> float:
    return float(await repository.count_overdue(tx, tx.now - OVERDUE_AFTER))


GAUGES = (Gauge("overdue_timers", "Timers that should have rung more than 5 s ago.", _overdue),)
