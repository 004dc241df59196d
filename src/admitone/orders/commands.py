"""The commands of orders. Each changes the status by one guarded UPDATE, so the first change of an open order wins."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec

from admitone.config import Settings
from admitone.events import (
    ExpirationComplete,
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderEvent,
    OrderExtended,
    OrderRefunded,
    OrderReserved,
    PaymentCreated,
    PaymentFailed,
    PaymentUncollected,
)
from admitone.kit.data.db import Tx
from admitone.kit.http.problem import Problem
from admitone.kit.observe.log import correlation, correlation_scope
from admitone.kit.service import Delivered, TooEarly
from admitone.orders import repository
from admitone.orders.model import (
    MAX_ATTEMPTS,
    AnotherPrice,
    NotConfirmedYet,
    Obstacle,
    Order,
    OrderComplete,
    OrderEnded,
    OrderNotFound,
    TicketSold,
    TicketTaken,
    TicketUnknown,
    TicketWithdrawn,
    TimeIsUp,
    TooManyOpenOrders,
    Wish,
)

EXTENSION = timedelta(minutes=5)


async def create_orders(tx: Tx, wishes: Sequence[Wish], settings: Settings) -> list[Order | Problem]:
    """Lock a ticket for each of these buyers, who are all different; of several who want the same ticket, the first has it.

    Returns for each wish its order; or TicketUnknown, TicketTaken, TicketSold, TicketWithdrawn, AnotherPrice or TooManyOpenOrders.
    """
    await repository.serialize_users(tx, [wish.user_id for wish in wishes])
    expires_at = tx.now + timedelta(seconds=settings.order_window_seconds)
    cancel_at = expires_at + timedelta(seconds=settings.settle_seconds)
    outcomes: dict[UUID, Order | Problem] = {}
    while waiting := [wish for wish in wishes if wish.order_id not in outcomes]:
        for order in await repository.insert_orders(
            tx,
            waiting,
            fee_basis_points=settings.fee_basis_points,
            max_open=settings.max_open_orders,
            expires_at=expires_at,
            cancel_at=cancel_at,
        ):
            outcomes[order.order_id] = order
        refused = [wish for wish in waiting if wish.order_id not in outcomes]
        obstacles = await repository.obstacles(tx, refused) if refused else []
        for wish, obstacle in zip(refused, obstacles, strict=True):
            refusal = _refusal(wish, obstacle, settings.max_open_orders)
            if refusal is not None:
                outcomes[wish.order_id] = refusal
        # Whoever has no outcome yet: nothing is in the way any more, whatever was has ended since. Try again.
    for wish in wishes:
        outcome = outcomes[wish.order_id]
        if isinstance(outcome, Order):
            tx.emit(_state(outcome, OrderCreated), wish)
    return [outcomes[wish.order_id] for wish in wishes]


async def create_order(tx: Tx, user_id: UUID, ticket_id: UUID, seen_price_cents: int | None, settings: Settings) -> Order:
    """Lock a ticket for one buyer. Raises what create_orders returns as refusals."""
    (outcome,) = await create_orders(tx, [Wish(uuid4(), user_id, ticket_id, seen_price_cents, None, correlation())], settings)
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


def _refusal(wish: Wish, obstacle: Obstacle, max_open: int) -> Problem | None:
    """Why no order was inserted, or None when it could be inserted by now."""
    if obstacle.price_cents is None or obstacle.currency is None:
        return TicketUnknown()
    if obstacle.sold:
        return TicketSold()
    if obstacle.holder_status is not None:
        return TicketSold() if obstacle.holder_status in ("complete", "refunded") else TicketTaken()
    if obstacle.withdrawn:
        return TicketWithdrawn()
    if wish.seen_price_cents is not None and obstacle.price_cents != wish.seen_price_cents:
        return AnotherPrice(obstacle.price_cents, obstacle.currency)
    if obstacle.open_orders >= max_open:
        return TooManyOpenOrders(max_open)
    return None


async def copy_tickets(tx: Tx, run: Sequence[Delivered]) -> None:
    """Keep the newest state of each ticket; it also confirms the lock of the order that it names."""
    await repository.upsert_ticket_copies(tx, [delivered.event for delivered in run])
    named = {delivered.event.order_id: delivered for delivered in run if delivered.event.order_id is not None}
    confirmed = {order.order_id: order for order in await repository.confirm(tx, list(named))} if named else {}
    for order_id, delivered in named.items():
        if order_id in confirmed:
            tx.emit(_state(confirmed[order_id], OrderReserved), delivered)


async def extend(tx: Tx, order_id: UUID, user_id: UUID, now: datetime) -> Order:
    """Give the buyer five minutes more, once; asked again, the order is as it is.

    Raises OrderNotFound, NotConfirmedYet, TimeIsUp or OrderEnded.
    """
    order = await repository.extend(tx, order_id, user_id, EXTENSION, now)
    if order is not None:
        tx.emit(_state(order, OrderExtended))
        return order
    order = await repository.get(tx, order_id)
    if order is None or order.user_id != user_id:
        raise OrderNotFound
    if order.status not in ("created", "awaiting:payment"):
        raise OrderEnded
    if order.expires_at <= now:
        raise TimeIsUp
    if not order.extended:
        raise NotConfirmedYet  # Or it was confirmed a moment ago: then the next try succeeds.
    return order


async def cancel_by_buyer(tx: Tx, order_id: UUID, user_id: UUID) -> None:
    """Give the ticket back; a second time changes nothing. Raises OrderNotFound or OrderComplete."""
    order = await repository.get(tx, order_id)
    if order is None or order.user_id != user_id:
        raise OrderNotFound
    if not await cancel(tx, order_id, "by_buyer"):
        order = await repository.get(tx, order_id)
        if order is not None and order.status != "cancelled":
            raise OrderComplete


async def cancel(tx: Tx, order_id: UUID, reason: str) -> bool:
    """End an order that is still open; False when it is not."""
    order = await repository.cancel(tx, order_id, reason)
    if order is not None:
        tx.emit(_state(order, OrderCancelled))
    return order is not None


async def expire(tx: Tx, event: ExpirationComplete, now: datetime) -> None:
    """Cancel an order whose time is over by our own clock. Raises TooEarly when it is not over yet."""
    order = await repository.expire(tx, event.order_id, event.cancel_at, now)
    if order is not None:
        tx.emit(_state(order, OrderCancelled))
        return
    order = await repository.get(tx, event.order_id)
    if order is not None and order.status in ("created", "awaiting:payment") and order.cancel_at == event.cancel_at:
        raise TooEarly((order.cancel_at - now).total_seconds() + 0.05)
    # Otherwise it has ended, or has been given more time: this event is superseded.


async def expire_overdue(tx: Tx, now: datetime) -> int:
    """Cancel up to 500 overdue orders, also without an event of expiration. Returns their number."""
    orders = sorted(await repository.expire_overdue(tx, now), key=lambda order: (order.cancel_at, order.order_id))
    for order in orders:
        with correlation_scope(await repository.correlation_of_order(tx, order.order_id) or correlation()):
            tx.emit(_state(order, OrderCancelled))
    return len(orders)


async def complete(tx: Tx, order_id: UUID, amount_cents: int, currency: str) -> None:
    """The bank has approved the money. If the order has ended meanwhile, nothing happens: payments gives the approval back."""
    order = await repository.complete(tx, order_id, amount_cents, currency)
    if order is not None:
        tx.emit(_state(order, OrderCompleted))


async def record_failed_payment(tx: Tx, event: PaymentFailed, now: datetime) -> None:
    """Cancel the order after the buyer's last attempt. Payments counts the attempts, so a repeated event changes nothing."""
    await repository.record_payment_event(tx, event, now)
    if event.attempt >= MAX_ATTEMPTS:
        await cancel(tx, event.order_id, "payment_failed")


async def record_charge(tx: Tx, event: PaymentCreated, now: datetime) -> None:
    """The money was captured: keep the charge with the order, and the event for its history."""
    await repository.record_payment_event(tx, event, now)
    await repository.record_charge(tx, event.order_id, event.charge_id)


async def record_uncollected(tx: Tx, event: PaymentUncollected, now: datetime) -> None:
    """The money can't be taken; the order stands all the same."""
    await repository.record_payment_event(tx, event, now)
    await repository.record_uncollected(tx, event.order_id)


async def refund(tx: Tx, order_id: UUID, relist: bool) -> None:
    """The buyer has the money back. The ticket stays sold, unless it is to be on sale again; a second time changes nothing."""
    order = await repository.refund(tx, order_id, relist)
    if order is not None:
        tx.emit(_state(order, OrderRefunded))


def _state(order: Order, event: type[OrderEvent]) -> OrderEvent:
    return msgspec.convert(order, event, from_attributes=True)
