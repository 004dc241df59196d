"""The gauges of orders, besides those of every service."""

from datetime import timedelta

from admitone.kit.data.db import Tx
from admitone.kit.observe.gauges import Gauge
from admitone.orders import repository

OVERDUE_AFTER = timedelta(seconds=65)
"""An order ends within 5 s of its deadline; without expiration, the sweep ends it within 30 s. None may be open that long after it."""


async def _overdue(tx: Tx) -> float:
    return float(await repository.count_overdue(tx, tx.now - OVERDUE_AFTER))


GAUGES = (Gauge("overdue_orders", "Orders that are open still, more than 65 s after they should have ended.", _overdue),)
