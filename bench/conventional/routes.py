"""The endpoints. The version of a ticket decides who has it: of two who have read it as free, only one can update it."""

import base64
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import APIRouter, Cookie, Depends, HTTPException, Query
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload
from sqlalchemy.orm.exc import StaleDataError

from .database import CURRENCY, MAX_OPEN_ORDERS, ORDER_WINDOW_SECONDS, Order, OutboxEvent, Ticket, new_session, utc_now
from .schemas import OrderForm, OrderView, TicketForm, TicketView

RAW_KEYS = [base64.urlsafe_b64decode(key + "=" * (-len(key) % 4)) for key in os.environ["ADMITONE_PUBLIC_KEYS"].split(",")]
KEYS = {hashlib.sha256(raw).hexdigest()[:16]: Ed25519PublicKey.from_public_bytes(raw) for raw in RAW_KEYS}
TAKEN = "Somebody else is buying this ticket right now. It may come back if they don't pay."

router = APIRouter(prefix="/api")


async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


async def signed_in(session: Annotated[str, Cookie()] = "") -> UUID:
    """The user of the session cookie: a JWT, signed by auth."""
    try:
        key = KEYS[jwt.get_unverified_header(session)["kid"]]
        claims = jwt.decode(session, key, algorithms=["EdDSA"], issuer="admitone", options={"require": ["exp", "iat", "iss"]})
        return UUID(claims["id"])
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError):
        raise HTTPException(401, "Please sign in first.") from None


Session = Annotated[AsyncSession, Depends(get_session)]
UserId = Annotated[UUID, Depends(signed_in)]
Limit = Annotated[int, Query(ge=1, le=100)]


@router.get("/tickets")
async def list_tickets(session: Session, limit: Limit = 20) -> list[TicketView]:
    query = select(Ticket).where(Ticket.order_id.is_(None)).order_by(Ticket.created_at.desc(), Ticket.id.desc()).limit(limit)
    return [TicketView.of(ticket) for ticket in await session.scalars(query)]


@router.post("/tickets", status_code=201)
async def create_ticket(form: TicketForm, session: Session, user_id: UserId) -> TicketView:
    ticket = Ticket(user_id=user_id, title=form.title, price_cents=int(form.price * 100), currency=CURRENCY)
    session.add(ticket)
    await session.commit()
    return TicketView.of(ticket)


@router.post("/orders", status_code=201)
async def create_order(form: OrderForm, session: Session, user_id: UserId) -> OrderView:
    """Lock a ticket. The limit of open orders is only checked before, so orders of one user at the same instant can exceed it."""
    ticket = await session.get(Ticket, form.ticket_id)
    if ticket is None:
        raise HTTPException(404, "There is no such ticket.")
    if ticket.order_id is not None:
        raise HTTPException(409, TAKEN)
    if form.price is not None and int(form.price * 100) != ticket.price_cents:
        raise HTTPException(409, f"The price has changed: this ticket costs {ticket.price_cents / 100:.2f} {ticket.currency} now.")
    open_orders = select(func.count()).where(Order.user_id == user_id, Order.status == "created")
    if await session.scalar(open_orders) >= MAX_OPEN_ORDERS:
        raise HTTPException(409, f"You have {MAX_OPEN_ORDERS} unpaid orders already. Pay or cancel one of them first.")
    expires_at = utc_now() + timedelta(seconds=ORDER_WINDOW_SECONDS)
    price = {"price_cents": ticket.price_cents, "currency": ticket.currency}
    order = Order(id=uuid4(), ticket=ticket, user_id=user_id, title=ticket.title, expires_at=expires_at, **price)
    ticket.order_id, ticket.locked_until = order.id, expires_at
    session.add(order)
    try:
        return await save(session, order, "OrderCreated")
    except StaleDataError:
        raise HTTPException(409, TAKEN) from None


@router.get("/orders")
async def my_orders(session: Session, user_id: UserId, limit: Limit = 100) -> list[OrderView]:
    orders = await session.scalars(select(Order).where(Order.user_id == user_id).order_by(Order.created_at.desc()).limit(limit))
    return [OrderView.of(order) for order in orders]


@router.get("/orders/{order_id:uuid}")
async def show_order(order_id: UUID, session: Session, user_id: UserId) -> OrderView:
    return OrderView.of(await own_order(session, order_id, user_id))


@router.delete("/orders/{order_id:uuid}", status_code=204)
async def cancel_order(order_id: UUID, session: Session, user_id: UserId) -> None:
    """Give the ticket back. A second time changes nothing."""
    order = await own_order(session, order_id, user_id)
    if order.status == "created":
        order.status, order.reason = "cancelled", "by_buyer"
        order.ticket.order_id = order.ticket.locked_until = None
        try:
            await save(session, order, "OrderCancelled")
        except StaleDataError:
            return  # Another request has cancelled it meanwhile.


async def own_order(session: AsyncSession, order_id: UUID, user_id: UUID) -> Order:
    order = await session.get(Order, order_id, options=[joinedload(Order.ticket)])
    if order is None or order.user_id != user_id:
        raise HTTPException(404, "There is no such order of yours.")
    return order


async def save(session: AsyncSession, order: Order, event: str) -> OrderView:
    """Write an order, its ticket and the event about it in one transaction. Raises StaleDataError where another was faster."""
    await session.flush()
    view = OrderView.of(order)
    session.add(OutboxEvent(event=event, data=view.model_dump(mode="json", exclude={"server_time"})))
    await session.commit()
    return view
