"""The commands of expiration."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from admitone.events import ExpirationComplete, OrderEvent
from admitone.expiration import repository
from admitone.expiration.repository import Timer
from admitone.kit.data.db import Tx
from admitone.kit.observe.log import correlation_scope, log
from admitone.kit.service import Delivered


async def follow_orders(tx: Tx, run: Sequence[Delivered]) -> None:
    """Set the timers of open orders; remove those of orders that have ended."""
    timers = [_timer(delivered.event, delivered.correlation_id) for delivered in run]
    await repository.set_timers(tx, timers)
    for timer in timers:
        if timer.due is not None:
            due = timer.due.isoformat(timespec="seconds")
            log.info("timer_set", message=f"order {timer.order_id} expires at {due}", correlation=timer.correlation_id)


def _timer(order: OrderEvent, correlation_id: UUID) -> Timer:
    due = order.cancel_at if order.status in ("created", "awaiting:payment") else None
    return Timer(order_id=order.order_id, version=order.version, due=due, correlation_id=correlation_id)


async def ring_due_timers(tx: Tx, now: datetime) -> int:
    """Emit ExpirationComplete for up to 500 orders whose time is over. Returns their number."""
    rung = sorted(await repository.ring(tx, now), key=lambda timer: (timer.due, timer.order_id))
    for timer in rung:
        assert timer.due is not None
        with correlation_scope(timer.correlation_id):
            tx.emit(ExpirationComplete(order_id=timer.order_id, cancel_at=timer.due))
    return len(rung)
