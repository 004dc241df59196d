"""Event handlers of expiration."""

from collections.abc import Sequence

from admitone.events import OrderCancelled, OrderCompleted, OrderCreated, OrderExtended
from admitone.expiration import commands
from admitone.kit.data.db import Tx
from admitone.kit.service import Delivered, Handlers

handlers = Handlers("expiration")


@handlers.on_runs(OrderCreated, OrderExtended, OrderCancelled, OrderCompleted, row="order_id")
async def follow_orders(run: Sequence[Delivered], tx: Tx) -> None:
    """The timer of an open order is set to its deadline; that of an ended one is forgotten."""
    await commands.follow_orders(tx, run)
