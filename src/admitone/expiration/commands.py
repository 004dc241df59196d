"""The verbs of expiration."""

from datetime import datetime

from admitone.events import ExpirationComplete, OrderEvent
from admitone.expiration import repository
from admitone.kit.data.db import Tx
from admitone.kit.observe.log import correlation, correlation_scope


async def follow_order(tx: Tx, order: OrderEvent) -> None:
    """An open order has a timer; one that has ended is forgotten."""
    open_still = order.status in ("created", "awaiting:payment")
    await repository.set_timer(tx, order.order_id, order.version, order.cancel_at if open_still else None, correlation())


async def ring_due_timers(tx: Tx, now: datetime) -> int:
    """Say of every order whose time is over that it is. Returns how many."""
    rung = await repository.ring(tx, now)
    for timer in rung:
        assert timer.due is not None
        with correlation_scope(timer.correlation_id):
            await tx.emit(ExpirationComplete(order_id=timer.order_id, cancel_at=timer.due))
    return len(rung)
