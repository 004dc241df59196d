"""Orders over HTTP."""

from typing import Any
from uuid import UUID, uuid4

from litestar import Response, delete, get, post

from admitone.kit.data.db import Database
from admitone.kit.http.app import eventually, read, read_query
from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.documented import documented
from admitone.kit.http.idempotency import key_of, once
from admitone.kit.http.paging import LINK, links
from admitone.kit.http.problem import Problem
from admitone.kit.http.session import User
from admitone.kit.observe.log import correlation
from admitone.orders import commands, repository
from admitone.orders.buying import OrderBatcher
from admitone.orders.history import history
from admitone.orders.model import (
    AnotherPrice,
    HistoryLine,
    NotConfirmedYet,
    OrderComplete,
    OrderEnded,
    OrderForm,
    OrderNotFound,
    OrdersWanted,
    OrderView,
    TicketSold,
    TicketTaken,
    TicketUnknown,
    TicketWithdrawn,
    TimeIsUp,
    TooManyOpenOrders,
    Wish,
)
from admitone.orders.proof import Proof, ProofNotFound
from admitone.orders.refusals import RefusalCounter


@documented(
    body=OrderForm,
    takes_key=True,
    answers={201: OrderView},
    refuses=(TicketUnknown, TicketTaken, TicketSold, TicketWithdrawn, AnotherPrice, TooManyOpenOrders),
)
@post("/", direct=True)
async def create_order(request: AnyRequest, db: Database, user: User, orders: OrderBatcher, refusals: RefusalCounter) -> Response[Any]:
    """Lock a ticket, to pay for it in time.

    With `price` the order is refused if the ticket costs something else by now. What is under way, as a ticket that was just listed,
    is waited for up to one second.
    """
    form = await read(request, OrderForm)
    wish = Wish(uuid4(), user.id, form.ticket_id, form.price, await key_of(request, user), correlation())
    try:
        # A ticket that was just listed, or a price that was just changed, may be on its way to us.
        answer = await eventually(db, lambda: orders.run(wish), TicketUnknown, AnotherPrice)
    except Problem as refusal:
        refusals.count(refusal)
        raise
    return Response(answer.body, status_code=answer.status, media_type="application/json")


@documented(query=OrdersWanted, answers={200: list[OrderView]}, gives_headers=LINK)
@get("/")
async def my_orders(request: AnyRequest, db: Database, user: User) -> Response[list[OrderView]]:
    """One's own orders, newest first."""
    page = read_query(request, OrdersWanted)
    async with db.reading() as tx:
        found = await repository.list_by_user(tx, user.id, page.statuses, page.limit, page.cursor)
    orders = [OrderView.of(order, tx.now) for order in found[: page.limit]]
    return Response(orders, headers=links(request, found, page.limit, lambda order: (order.created_at, order.order_id)))


@documented(answers={200: Proof}, refuses=(ProofNotFound,))
@get("/proof")
async def show_proof(db: Database) -> Proof:
    """What the last published check of the whole marketplace has found. Anybody may read it."""
    async with db.reading() as tx:
        proof = await repository.newest_proof(tx)
    if proof is None:
        raise ProofNotFound
    return proof


@documented(answers={200: OrderView}, refuses=(OrderNotFound,))
@get("/{order_id:uuid}")
async def show_order(order_id: UUID, db: Database, user: User) -> OrderView:
    """An order of one's own."""
    async with db.reading() as tx:
        order = await repository.get(tx, order_id)
    if order is None or order.user_id != user.id:
        raise OrderNotFound
    return OrderView.of(order, tx.now)


@documented(answers={200: list[HistoryLine]}, refuses=(OrderNotFound,))
@get("/{order_id:uuid}/history")
async def show_history(order_id: UUID, db: Database, user: User) -> list[HistoryLine]:
    """What happened to an order of one's own, in plain words, oldest first."""
    async with db.reading() as tx:
        order = await repository.get(tx, order_id)
        if order is None or order.user_id != user.id:
            raise OrderNotFound
        return history(order, await repository.history_entries(tx, order_id))


@documented(takes_key=True, answers={200: OrderView}, refuses=(OrderNotFound, NotConfirmedYet, TimeIsUp, OrderEnded))
@post("/{order_id:uuid}/extension", status_code=200)
async def extend_order(request: AnyRequest, order_id: UUID, db: Database, user: User) -> Response[Any]:
    """Have five minutes more to pay, once per order.

    A second time changes nothing, and is answered with the order as it is.
    """
    key = await key_of(request, user)

    async def attempt() -> Response[Any]:
        async with db.transaction() as tx:

            async def act() -> Response[Any]:
                order = await commands.extend(tx, order_id, user.id, tx.now)
                return Response(OrderView.of(order, tx.now), status_code=200)

            return await once(tx, key, act)

    # The confirmation of its lock may be on its way to us.
    return await eventually(db, attempt, NotConfirmedYet)


@documented(answers={204: None}, refuses=(OrderNotFound, OrderComplete))
@delete("/{order_id:uuid}")
async def cancel_order(order_id: UUID, db: Database, user: User) -> None:
    """Give the ticket back. A second time changes nothing."""
    async with db.transaction() as tx:
        await commands.cancel_by_buyer(tx, order_id, user.id)


ROUTES = (create_order, my_orders, show_proof, show_order, show_history, extend_order, cancel_order)
