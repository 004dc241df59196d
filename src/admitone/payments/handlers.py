"""What payments does about orders: it knows their state. What follows from it, the job in jobs.py does."""

from admitone.events import OrderCancelled, OrderCompleted, OrderCreated, OrderEvent, OrderExtended, OrderRefunded, OrderReserved
from admitone.kit.data.db import Tx
from admitone.kit.service import Handlers
from admitone.payments import repository

handlers = Handlers("payments")


@handlers.on(OrderCreated, OrderReserved, OrderExtended, OrderCancelled, OrderCompleted, OrderRefunded)
async def copy_order(event: OrderEvent, tx: Tx) -> None:
    """The newest state of each order is kept: reserved may be paid, completed is captured, cancelled is voided or refused."""
    await repository.keep_newest(tx, event)
