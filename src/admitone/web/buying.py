"""Orders: from the click on *Buy* to the end, whichever it is."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from litestar import Response, get, post

from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.form import as_uuid
from admitone.kit.http.problem import NotFound
from admitone.web.answers import Attempt, Item, Order
from admitone.web.api import Api, Away, Refused
from admitone.web.browsing import ticket_page
from admitone.web.form import key_of, read_form
from admitone.web.render import POLICY, POLICY_WITH_STRIPE, current_url, page, see_other, settings_of
from admitone.web.visitor import Visitor

REFRESH_SECONDS = 2
EXTRAS_WITHIN_SECONDS = 2
MAX_TRIES = 3
"""How many cards may be declined before the order is cancelled."""


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
    return page(request, "orders.html", found=found, next_path=next_path, current_url=current_url(request))


@get("/orders/{order_id:uuid}")
async def show_order(request: AnyRequest, order_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    visitor.must_be_signed_in(back=f"/orders/{order_id}")
    return await _order_page(request, api, order_id)


@post("/orders/{order_id:uuid}/payment")
async def pay(request: AnyRequest, order_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    """The card's number is passed on and forgotten: it is in no page, no log line and no row of ours.

    A payment that has begun leads back to the order, whatever became of it: its page says how it stands. That page has a link
    to the bank, where a confirmation is needed: we can't redirect there, as `form-action 'self'` holds for all that follows a form.
    """
    visitor.must_be_signed_in(back=f"/orders/{order_id}")
    fields = await read_form(request)
    card = fields.get("card", "").strip()
    if not card:
        return await _order_page(request, api, order_id, 400, card_error="Please enter a card.")
    try:
        await api.pay(order_id, card, key_of(fields))
    except Refused as refused:
        match refused.kind:
            case "card-declined" | "paid-already" | "payment-under-way":
                return see_other(request, f"/orders/{order_id}")
            case "unknown-card" | "unknown-token":
                return await _order_page(request, api, order_id, 400, card_error=refused.detail)
            case "key-reused":
                error = "This form was sent before with another card. Please enter the card once more."
                return await _order_page(request, api, order_id, 409, card_error=error)
        if refused.status == 400:
            return await _order_page(request, api, order_id, 400, card_error="This is not a card number.")
        if refused.status not in (409, 503):
            raise
        return await _order_page(request, api, order_id, refused.status, refused=refused)
    return see_other(request, f"/orders/{order_id}")


@post("/orders/{order_id:uuid}/extension")
async def extend(request: AnyRequest, order_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    visitor.must_be_signed_in(back=f"/orders/{order_id}")
    return await _done_or_why_not(request, api, order_id, api.extend(order_id))


@post("/orders/{order_id:uuid}/cancellation")
async def cancel(request: AnyRequest, order_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    visitor.must_be_signed_in(back=f"/orders/{order_id}")
    return await _done_or_why_not(request, api, order_id, api.cancel(order_id))


@get([f"/orders/{{order_id:uuid}}/{verb}" for verb in ("payment", "extension", "cancellation")])
async def back_to_order(request: AnyRequest, order_id: UUID) -> Response[str]:
    """A reload of a form's address leads back to the order."""
    return see_other(request, f"/orders/{order_id}")


async def _done_or_why_not(request: AnyRequest, api: Api, order_id: UUID, asked: Coroutine[Any, Any, None]) -> Response[str]:
    try:
        await asked
    except Refused as refused:
        if refused.status != 409:
            raise
        return await _order_page(request, api, order_id, 409, refused=refused)
    return see_other(request, f"/orders/{order_id}")


async def _order_page(
    request: AnyRequest, api: Api, order_id: UUID, status: int = 200, *, refused: Refused | None = None, card_error: str = ""
) -> Response[str]:
    order = await api.order(order_id)
    attempts, history, note = await asyncio.gather(_attempts(api, order), _optional(api.history(order.id), []), _note(api, order))
    failed = [attempt for attempt in attempts if attempt.status == "failed"]
    under_way = next((attempt for attempt in attempts if attempt not in failed), None)
    tries_left = MAX_TRIES - len(failed)
    payable = order.status == "awaiting:payment" and order.seconds_left > 0 and under_way is None and tries_left > 0
    waits_for_bank = order.status == "awaiting:payment" and under_way is not None and under_way.redirect_url is not None
    stripe_key = settings_of(request).stripe_publishable_key if payable else None
    return page(
        request,
        "order.html",
        status,
        policy=POLICY_WITH_STRIPE if stripe_key else POLICY,
        order=order,
        refused=refused,
        card_error=card_error,
        history=history,
        note=note,
        under_way=under_way,
        declined=failed[-1] if failed and under_way is None else None,
        tries_left=tries_left,
        payable=payable,
        waits_for_bank=waits_for_bank,
        extendable=(payable or waits_for_bank) and not order.extended and order.seconds_left > 0,
        stripe_key=stripe_key,
        refresh=_refresh(order, payable, under_way),
    )


async def _attempts(api: Api, order: Order) -> list[Attempt]:
    """The attempts to pay an order that is waiting for its payment."""
    return await _optional(api.payments(order.id), []) if order.status == "awaiting:payment" else []


async def _note(api: Api, order: Order) -> str | None:
    """What the seller has left for who has bought the ticket; None when that can't be had."""
    return await _optional(api.note(order.ticket.id), None) if order.status == "complete" else None


async def _optional(asked: Coroutine[Any, Any, Item], otherwise: Item) -> Item:
    """An optional part of a page: `otherwise` when the service refuses, or does not answer in time."""
    try:
        async with asyncio.timeout(EXTRAS_WITHIN_SECONDS):
            return await asked
    except (Refused, Away, TimeoutError):
        return otherwise


def _refresh(order: Order, payable: bool, under_way: Attempt | None) -> int | None:
    """In how many seconds there may be something new to see. (A page with scripts is told most of it, and counts down by itself.)"""
    match order.status:
        case "awaiting:payment" if payable:
            return order.seconds_left + 1
        case "awaiting:payment" if under_way is None or under_way.redirect_url:
            return 2 * REFRESH_SECONDS
        case "cancelled" | "refunded":
            return None
        case "complete" if order.paid or order.uncollected:
            return None
    return REFRESH_SECONDS


ROUTES = (buy, my_orders, show_order, pay, extend, cancel, back_to_order)
