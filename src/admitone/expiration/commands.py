"""The commands of expiration."""

from datetime import datetime

from admitone.events import ExpirationComplete, OrderEvent
from admitone.expiration import repository
from admitone.kit.data.db import Tx
from admitone.kit.observe.log import correlation, correlation_scope


async def follow_order(tx: Tx, order: OrderEvent) -> None:
    """Set the timer of an open order; remove that of an order that has ended."""
    open_still = order.status in ("created", "awaiting:payment")
    await repository.set_timer(tx, order.order_id, order.version, order.cancel_at if open_still else None, correlation())


async def ring_due_timers(tx: Tx, now: datetime) -> int:
    """Emit ExpirationComplete for up to 500 orders whose time is over. Returns their number."""
    rung = await repository.ring(tx, now)
    for timer in rung:
        assert timer.due is not None
        with correlation_scope(timer.correlation_id):
            await tx.emit(ExpirationComplete(order_id=timer.order_id, cancel_at=timer.due))
    return len(rung)
