"""Event handlers of tickets. The fencing token decides, never the order of arrival."""

from collections.abc import Sequence

from admitone.events import OrderCancelled, OrderCompleted, OrderCreated, OrderExtended, OrderRefunded
from admitone.kit.data.db import Tx
from admitone.kit.service import Delivered, Handlers
from admitone.tickets import commands

handlers = Handlers("tickets")


@handlers.on_runs(OrderCreated, row="ticket_id")
async def lock_ordered_tickets(run: Sequence[Delivered], tx: Tx) -> None:
    """A ticket somebody ordered is locked for them."""
    await commands.lock_tickets(tx, run)


@handlers.on(OrderExtended)
async def lock_extended_ticket(event: OrderExtended, tx: Tx) -> None:
    """A ticket whose buyer was given more time is locked for them until then."""
    await commands.lock_longer(tx, event)


@handlers.on(OrderCancelled)
async def unlock_cancelled_ticket(event: OrderCancelled, tx: Tx) -> None:
    """A ticket nobody paid for is for sale again."""
    await commands.unlock_ticket(tx, event)


@handlers.on(OrderCompleted)
async def mark_ticket_sold(event: OrderCompleted, tx: Tx) -> None:
    """A ticket that was paid for is sold, and its buyer may read the seller's note."""
    await commands.sell_ticket(tx, event)


@handlers.on(OrderRefunded)
async def relist_refunded_ticket(event: OrderRefunded, tx: Tx) -> None:
    """A refunded order's ticket stays sold, unless it is to be on sale again. Its buyer may not read the note any more."""
    await commands.relist_ticket(tx, event)
