"""The settings, the connection pool and the tables.

A version column guards tickets and orders: the UPDATE of a row that has changed since it was read raises StaleDataError.
"""

import os
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, make_url
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

DATABASE_URL = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg")
POOL_SIZE = int(os.environ.get("DATABASE_POOL_SIZE", "16"))
ORDER_WINDOW_SECONDS = int(os.environ.get("ADMITONE_ORDER_WINDOW_SECONDS", "900"))
MAX_OPEN_ORDERS = int(os.environ.get("ADMITONE_MAX_OPEN_ORDERS", "8"))
CURRENCY = os.environ.get("ADMITONE_CURRENCY", "USD")

engine = create_async_engine(DATABASE_URL, pool_size=POOL_SIZE, max_overflow=0)
new_session = async_sessionmaker(engine, expire_on_commit=False)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True), dict[str, Any]: JSONB}  # noqa: RUF012


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    version: Mapped[int] = mapped_column()
    user_id: Mapped[UUID]
    title: Mapped[str]
    price_cents: Mapped[int]
    currency: Mapped[str]
    order_id: Mapped[UUID | None]
    locked_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    version: Mapped[int] = mapped_column()
    ticket_id: Mapped[UUID] = mapped_column(ForeignKey("tickets.id"), index=True)
    user_id: Mapped[UUID]
    status: Mapped[str] = mapped_column(default="created")
    reason: Mapped[str | None]
    title: Mapped[str]
    price_cents: Mapped[int]
    currency: Mapped[str]
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    ticket: Mapped[Ticket] = relationship()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class OutboxEvent(Base):
    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    event_id: Mapped[UUID] = mapped_column(default=uuid4)
    event: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    published_at: Mapped[datetime | None]


Index("tickets_for_sale", Ticket.created_at.desc(), Ticket.id.desc(), postgresql_where=Ticket.order_id.is_(None))
Index("orders_of_user", Order.user_id, Order.created_at)
Index("outbox_to_publish", OutboxEvent.id, postgresql_where=OutboxEvent.published_at.is_(None))
