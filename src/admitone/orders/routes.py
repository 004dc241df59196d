"""Orders over HTTP."""

from typing import Any
from uuid import UUID

from litestar import Response, delete, get, post

from admitone.kit.config import Settings
from admitone.kit.db import Database, as_uuid
from admitone.kit.idempotency import once
from admitone.kit.session import User
from admitone.kit.web import AnyRequest, eventually, next_link, read, read_query
from admitone.orders import commands, repository
from admitone.orders.model import AnotherPrice, OrderForm, OrderNotFound, OrderView, Page, TicketUnknown


@post("/")
async def create_order(request: AnyRequest, db: Database, settings: Settings, user: User) -> Response[Any]:
    form = await read(request, OrderForm)

    async def attempt() -> Response[Any]:
        async with db.transaction() as tx:

            async def act() -> Response[Any]:
                order = await commands.create_order(tx, user.id, form.ticket_id, form.price, settings, tx.now)
                return Response(OrderView.of(order, tx.now), status_code=201)

            return await once(tx, request, user, act)

    # A ticket that was just listed, or a price that was just changed, may be on its way to us.
    return await eventually(db, attempt, TicketUnknown, AnotherPrice)


@get("/")
async def my_orders(request: AnyRequest, db: Database, user: User) -> Response[list[OrderView]]:
    page = read_query(request, Page)
    async with db.reading() as tx:
        found = await repository.of_user(tx, user.id, page.limit, page.cursor)
    orders = found[: page.limit]
    cursor = repository.cursor_after(orders[-1]) if len(found) > page.limit else None
    return Response([OrderView.of(order, tx.now) for order in orders], headers=next_link(request, cursor))


@get("/{order_id:str}")
async def show_order(order_id: str, db: Database, user: User) -> OrderView:
    async with db.reading() as tx:
        order = await repository.get(tx, _id(order_id))
    if order is None or order.user_id != user.id:
        raise OrderNotFound
    return OrderView.of(order, tx.now)


@delete("/{order_id:str}")
async def cancel_order(order_id: str, db: Database, user: User) -> None:
    async with db.transaction() as tx:
        await commands.cancel_by_buyer(tx, _id(order_id), user.id)


def _id(text: str) -> UUID:
    order_id = as_uuid(text)
    if order_id is None:
        raise OrderNotFound
    return order_id


ROUTES = (create_order, my_orders, show_order, cancel_order)
