"""What is read, and what is answered."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from .database import Order, Ticket, utc_now

Title = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Price = Annotated[Decimal, Field(ge=Decimal("0.50"), le=Decimal("999999.99"), decimal_places=2)]


class Schema(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


class TicketForm(Schema):
    title: Title
    price: Price


class OrderForm(Schema):
    ticket_id: UUID
    price: Price | None = None


class TicketView(Schema):
    id: UUID
    title: str
    price: float
    currency: str
    user_id: UUID
    order_id: UUID | None
    status: str
    locked_until: datetime | None
    version: int

    @classmethod
    def of(cls, ticket: Ticket) -> Self:
        names = ("id", "title", "currency", "user_id", "order_id", "locked_until", "version")
        status = "locked" if ticket.order_id else "available"
        return cls(**{name: getattr(ticket, name) for name in names}, price=ticket.price_cents / 100, status=status)


class OrderedTicket(Schema):
    id: UUID
    title: str
    price: float


class OrderView(Schema):
    id: UUID
    status: str
    reason: str | None
    user_id: UUID
    expires_at: datetime
    extended: bool = False
    server_time: datetime = Field(default_factory=utc_now)
    version: int
    ticket: OrderedTicket
    currency: str
    paid: bool = False
    uncollected: bool = False

    @classmethod
    def of(cls, order: Order) -> Self:
        names = ("id", "status", "reason", "user_id", "expires_at", "version", "currency")
        ticket = OrderedTicket(id=order.ticket_id, title=order.title, price=order.price_cents / 100)
        return cls(**{name: getattr(order, name) for name in names}, ticket=ticket)
