"""Event handlers of expiration."""

from admitone.events import OrderCancelled, OrderCompleted, OrderCreated, OrderEvent, OrderExtended, OrderReserved
from admitone.expiration import commands
from admitone.kit.data.db import Tx
from admitone.kit.service import Handlers

handlers = Handlers("expiration")


@handlers.on(OrderCreated, OrderReserved, OrderExtended, OrderCancelled, OrderCompleted)
async def follow_order(event: OrderEvent, tx: Tx) -> None:
    """The timer of an open order is set to its deadline; that of an ended one is forgotten."""
    await commands.follow_order(tx, event)
