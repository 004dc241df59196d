"""How payments stands, besides what is to be seen of every service."""

from admitone.kit.data.db import Tx
from admitone.kit.observe.gauges import Gauge
from admitone.payments import repository
from admitone.payments.model import SETTLED_WITHIN


async def _unsettled(tx: Tx) -> float:
    return float(len(await repository.unsettled(tx, tx.now - SETTLED_WITHIN)))


async def _in_doubt(tx: Tx) -> float:
    return float(sum(charge.status == "created" for charge in await repository.unsettled(tx, tx.now - SETTLED_WITHIN)))


GAUGES = (
    Gauge("unsettled_charges", "Payments that `admitone money` lists: older than a minute and not settled.", _unsettled),
    Gauge("charges_in_doubt", "Those of them of which nobody knows yet whether the bank has approved.", _in_doubt),
)
