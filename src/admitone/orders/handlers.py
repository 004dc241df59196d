"""Event handlers of orders."""

from collections.abc import Sequence

from admitone.events import (
    ExpirationComplete,
    PaymentAuthorized,
    PaymentCreated,
    PaymentFailed,
    PaymentRefunded,
    PaymentUncollected,
    ReservationRefused,
    TicketCreated,
    TicketUpdated,
)
from admitone.kit.data.db import Tx
from admitone.kit.service import Delivered, Handlers
from admitone.orders import commands

handlers = Handlers("orders")


@handlers.on_runs(TicketCreated, TicketUpdated, row="ticket_id")
async def copy_tickets(run: Sequence[Delivered], tx: Tx) -> None:
    """The newest state of each ticket is kept; one that names an order confirms that order's lock."""
    await commands.copy_tickets(tx, run)


@handlers.on(ReservationRefused)
async def cancel_refused_order(event: ReservationRefused, tx: Tx) -> None:
    """An order that can't have its ticket is cancelled, with the reason."""
    await commands.cancel(tx, event.order_id, event.reason)


@handlers.on(ExpirationComplete)
async def expire_order(event: ExpirationComplete, tx: Tx) -> None:
    """An order that was not paid in time is cancelled, if it is still open and due by our own clock."""
    await commands.expire(tx, event, tx.now)


@handlers.on(PaymentAuthorized)
async def complete_order(event: PaymentAuthorized, tx: Tx) -> None:
    """An order whose payment was approved is complete, unless it was cancelled first."""
    await commands.complete(tx, event.order_id, event.amount_cents, event.currency)


@handlers.on(PaymentFailed)
async def cancel_after_last_attempt(event: PaymentFailed, tx: Tx) -> None:
    """After the third failed attempt to pay, the order is cancelled. Each of them is in its history."""
    await commands.record_failed_payment(tx, event, tx.now)


@handlers.on(PaymentCreated)
async def record_charge(event: PaymentCreated, tx: Tx) -> None:
    """The charge is kept with the order, for the record and its history."""
    await commands.record_charge(tx, event, tx.now)


@handlers.on(PaymentUncollected)
async def record_uncollected(event: PaymentUncollected, tx: Tx) -> None:
    """The order stands, and its buyer is told that the money could not be taken."""
    await commands.record_uncollected(tx, event, tx.now)


@handlers.on(PaymentRefunded)
async def refund_order(event: PaymentRefunded, tx: Tx) -> None:
    """A complete order whose buyer has the money back is refunded."""
    await commands.refund(tx, event.order_id, event.relist)
