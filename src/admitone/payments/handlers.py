"""What payments does about orders: it knows their state. What follows from it, the job in jobs.py does."""

from collections.abc import Sequence

from admitone.events import OrderCancelled, OrderCompleted, OrderCreated, OrderExtended, OrderRefunded, OrderReserved
from admitone.kit.data.db import Tx
from admitone.kit.service import Delivered, Handlers
from admitone.payments import repository

handlers = Handlers("payments")


@handlers.on_runs(OrderCreated, OrderReserved, OrderExtended, OrderCancelled, OrderCompleted, OrderRefunded, row="order_id")
async def copy_orders(run: Sequence[Delivered], tx: Tx) -> None:
    """The newest state of each order is kept: reserved may be paid, completed is captured, cancelled is voided or refused."""
    await repository.keep_newest(tx, [delivered.event for delivered in run])
