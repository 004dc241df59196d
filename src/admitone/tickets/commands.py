"""The commands of tickets."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

import msgspec

from admitone.events import OrderEvent, OrderRefunded, ReservationRefused, TicketCreated, TicketEvent, TicketUpdated
from admitone.kit.data.db import Tx
from admitone.kit.service import Delivered
from admitone.tickets import repository
from admitone.tickets.model import (
    NoteNotFound,
    NotYourTicket,
    Ticket,
    TicketChanged,
    TicketLocked,
    TicketNotFound,
    TicketSold,
    TicketWithdrawn,
)


async def list_ticket(tx: Tx, seller_id: UUID, title: str, price_cents: int, currency: str, now: datetime, note: str = "") -> Ticket:
    """Put a ticket up for sale, with a note for who will have bought it."""
    ticket = await repository.insert(tx, uuid4(), seller_id, title, price_cents, currency, now)
    if note:
        await write_note(tx, ticket.ticket_id, seller_id, note)
    tx.emit(_state(ticket, TicketCreated))
    return ticket


async def edit_ticket(tx: Tx, ticket_id: UUID, seller_id: UUID, title: str, price_cents: int, version: int | None = None) -> Ticket:
    """Change title and price. Raises TicketNotFound, NotYourTicket, TicketLocked, TicketSold, TicketWithdrawn or TicketChanged."""
    ticket = await repository.edit(tx, ticket_id, seller_id, title, price_cents, version)
    if ticket is None:
        raise await _why_not(tx, ticket_id, seller_id, version)
    tx.emit(_state(ticket, TicketUpdated))
    return ticket


async def withdraw_ticket(tx: Tx, ticket_id: UUID, seller_id: UUID) -> None:
    """Take a ticket off the market; a second time changes nothing. Raises as edit_ticket does."""
    ticket = await repository.withdraw(tx, ticket_id, seller_id)
    if ticket is not None:
        tx.emit(_state(ticket, TicketUpdated))
        return
    refusal = await _why_not(tx, ticket_id, seller_id)
    if not isinstance(refusal, TicketWithdrawn):
        raise refusal


async def write_note(tx: Tx, ticket_id: UUID, seller_id: UUID, note: str) -> str:
    """Store the seller's note for the buyer; a blank note removes it. Raises TicketNotFound or NotYourTicket."""
    note = note if note.strip() else ""
    if not await repository.write_note(tx, ticket_id, seller_id, note):
        raise await _why_not(tx, ticket_id, seller_id)
    return note


async def read_note(tx: Tx, ticket_id: UUID, reader_id: UUID) -> str:
    """For the seller, and for the buyer of the complete order. Raises NoteNotFound for anybody else, whether there is one or not."""
    note = await repository.get_note(tx, ticket_id, reader_id)
    if note is None:
        raise NoteNotFound
    return note


async def lock_tickets(tx: Tx, run: Sequence[Delivered]) -> None:
    """Lock the ticket of each order, unless a newer order is known. Refuse it when title or price differ, or it is withdrawn."""
    locked = {ticket.order_id: ticket for ticket in await repository.lock(tx, [delivered.event for delivered in run])}
    for delivered in run:
        ticket = locked.get(delivered.event.order_id)
        if ticket is not None:
            tx.emit(_state(ticket, TicketUpdated), delivered)
        else:
            await _refuse_lock(tx, delivered)


async def _refuse_lock(tx: Tx, delivered: Delivered) -> None:
    order = delivered.event
    is_newest = await repository.remember_fencing_token(tx, order.ticket_id, order.lock)
    ticket = await repository.get(tx, order.ticket_id)
    if ticket is None:
        raise LookupError(f"order {order.order_id} is for a ticket that never was: {order.ticket_id}")
    if not is_newest:
        return  # A newer order was heard of, or this very one: then it has had its answer.
    reason = "withdrawn" if ticket.withdrawn else "price_changed"
    tx.emit(ReservationRefused(order_id=order.order_id, ticket_id=order.ticket_id, reason=reason), delivered)


async def lock_longer(tx: Tx, order: OrderEvent) -> None:
    """Lock the ticket until the new deadline. When OrderExtended arrives before OrderCreated, it locks in its place."""
    ticket = await repository.lock_longer(tx, order)
    if ticket is None:
        await lock_tickets(tx, [Delivered.now(order)])
    else:
        tx.emit(_state(ticket, TicketUpdated))


async def unlock_ticket(tx: Tx, order: OrderEvent) -> None:
    """Free the ticket after an order ended without a sale, if it is held by that fencing token or an older one."""
    ticket = await repository.unlock(tx, order.ticket_id, order.lock)
    if ticket is not None:
        tx.emit(_state(ticket, TicketUpdated))
    else:
        await repository.remember_fencing_token(tx, order.ticket_id, order.lock)


async def sell_ticket(tx: Tx, order: OrderEvent) -> None:
    """The order was paid: the ticket is sold, whatever else was heard before, and its buyer may read the note."""
    await repository.record_purchase(tx, order.order_id, order.user_id, refunded=False)
    ticket = await repository.sell(tx, order.ticket_id, order.order_id, order.lock)
    if ticket is not None:
        tx.emit(_state(ticket, TicketUpdated))


async def relist_ticket(tx: Tx, order: OrderRefunded) -> None:
    """Put a refunded order's ticket on sale again, if `relist` says so: then a newer fencing token may lock it.

    In any case its buyer can't read the note any more.
    """
    await repository.record_purchase(tx, order.order_id, order.user_id, refunded=True)
    if order.relist:
        ticket = await repository.relist(tx, order.ticket_id, order.lock)
        if ticket is not None:
            tx.emit(_state(ticket, TicketUpdated))


async def _why_not(tx: Tx, ticket_id: UUID, seller_id: UUID, version: int | None = None) -> Exception:
    ticket = await repository.get(tx, ticket_id)
    if ticket is None:
        return TicketNotFound()
    if ticket.seller_id != seller_id:
        return TicketNotFound() if ticket.status == "withdrawn" else NotYourTicket()
    match ticket.status:
        case "sold":
            return TicketSold()
        case "withdrawn":
            return TicketWithdrawn()
        case "available" if version is not None and version != ticket.version:
            return TicketChanged()
        case _:  # Or it was, a moment ago.
            return TicketLocked()


def _state(ticket: Ticket, event: type[TicketEvent]) -> TicketEvent:
    return msgspec.convert(ticket, event, from_attributes=True)
