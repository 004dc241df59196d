"""Orders: from the click on *Buy* to the end, whichever it is."""

import asyncio
from urllib.parse import urlencode
from uuid import UUID

from litestar import Response, get, post

from admitone.kit.form import as_uuid
from admitone.kit.problem import NotFound
from admitone.kit.web import AnyRequest
from admitone.web.api import Api, Away, Order, Refused
from admitone.web.browsing import ticket_page
from admitone.web.form import key_of, read_form
from admitone.web.render import page, see_other
from admitone.web.visitor import Visitor

REFRESH_SECONDS = 2
LOOKS_AFTER_LAST_DECLINE = 10


@post("/orders")
async def buy(request: AnyRequest, visitor: Visitor, api: Api) -> Response[str]:
    fields = await read_form(request)
    ticket_id = as_uuid(fields.get("ticket", ""))
    if ticket_id is None:
        raise NotFound("There is no such ticket.")
    visitor.must_be_signed_in(back=f"/tickets/{ticket_id}")
    try:
        order = await api.buy(ticket_id, fields.get("price", ""), key_of(fields))
    except Refused as refused:
        if refused.status != 409:
            raise
        try:
            ticket = await api.ticket(ticket_id)
        except (Refused, Away):  # Withdrawn, for one: then the reason is all there is to show.
            raise refused from None
        return await ticket_page(request, visitor, api, ticket, 409, refused)
    return see_other(request, f"/orders/{order.id}")


@get("/orders")
async def my_orders(request: AnyRequest, visitor: Visitor, api: Api) -> Response[str]:
    visitor.must_be_signed_in(back="/orders")
    found = await api.my_orders(request.query_params.get("cursor", ""))
    next_path = "/orders?" + urlencode({"cursor": found.cursor}) if found.cursor else None
    return page(request, "orders.html", found=found, next_path=next_path)


@get("/orders/{order_id:uuid}")
async def show_order(request: AnyRequest, order_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    visitor.must_be_signed_in(back=f"/orders/{order_id}")
    return _order_page(request, await api.order(order_id), paying="paying" in request.query_params)


@post("/orders/{order_id:uuid}/payment")
async def pay(request: AnyRequest, order_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    """The card's number is passed on and forgotten: it is in no page, no log line and no row of ours."""
    visitor.must_be_signed_in(back=f"/orders/{order_id}")
    fields = await read_form(request)
    card = fields.get("card", "").strip()
    if not card:
        return _order_page(request, await api.order(order_id), 400, card_error="Please enter a card number.")
    try:
        complete = await api.pay(order_id, card, key_of(fields))
    except Refused as refused:
        match refused.kind:
            case "paid-already":
                return see_other(request, f"/orders/{order_id}")
            case "payment-under-way":
                return see_other(request, f"/orders/{order_id}?paying=1")
            case "unknown-card":
                return _order_page(request, await api.order(order_id), 400, card_error=refused.detail)
            case "card-declined":
                return _order_page(request, await _after_a_decline(api, order_id, refused), 402, refused=refused)
            case "key-reused":
                error = "This form was sent before with another card. Please enter the card once more."
                return _order_page(request, await api.order(order_id), 409, card_error=error)
        if refused.status == 400:
            return _order_page(request, await api.order(order_id), 400, card_error="This is not a card number.")
        if refused.status != 409:
            raise
        return _order_page(request, await api.order(order_id), 409, refused=refused)
    return see_other(request, f"/orders/{order_id}" if complete else f"/orders/{order_id}?paying=1")


@post("/orders/{order_id:uuid}/cancellation")
async def cancel(request: AnyRequest, order_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    visitor.must_be_signed_in(back=f"/orders/{order_id}")
    try:
        await api.cancel(order_id)
    except Refused as refused:
        if refused.status != 409:
            raise
        return _order_page(request, await api.order(order_id), 409, refused=refused)
    return see_other(request, f"/orders/{order_id}")


@get(["/orders/{order_id:uuid}/payment", "/orders/{order_id:uuid}/cancellation"])
async def back_to_order(request: AnyRequest, order_id: UUID) -> Response[str]:
    """Where a browser asks again for the address of a form it has sent."""
    return see_other(request, f"/orders/{order_id}")


async def _after_a_decline(api: Api, order_id: UUID, refused: Refused) -> Order:
    """The order; the last decline ends it a moment later, and then no form is to be shown: that is waited for."""
    order = await api.order(order_id)
    for _ in range(LOOKS_AFTER_LAST_DECLINE):
        if refused.tries_left or order.status != "awaiting:payment":
            break
        await asyncio.sleep(0.1)
        order = await api.order(order_id)
    return order


def _order_page(
    request: AnyRequest,
    order: Order,
    status: int = 200,
    *,
    refused: Refused | None = None,
    card_error: str = "",
    paying: bool = False,
) -> Response[str]:
    paying = paying and order.status == "awaiting:payment"
    return page(
        request,
        "order.html",
        status,
        order=order,
        refused=refused,
        card_error=card_error,
        paying=paying,
        # With its address: what is shown may be the answer to a form.
        refresh=f"{seconds}; url=/orders/{order.id}{'?paying=1' if paying else ''}" if (seconds := _refresh(order, paying)) else None,
    )


def _refresh(order: Order, paying: bool) -> int | None:
    """In how many seconds there may be something new to see."""
    match order.status:
        case "awaiting:payment" if not paying:
            return order.seconds_left + 1 if order.seconds_left else 2 * REFRESH_SECONDS
        case "cancelled" | "refunded":
            return None
        case "complete" if order.paid:
            return None
    return REFRESH_SECONDS


ROUTES = (buy, my_orders, show_order, pay, cancel, back_to_order)
