"""Paying over HTTP."""

import asyncio
import contextlib
from typing import Any
from uuid import UUID

from litestar import Response, get, post
from msgspec.structs import replace

from admitone.kit.data.db import TRANSIENT, Database
from admitone.kit.http.app import as_problem_json, eventually, read, read_query
from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.documented import documented
from admitone.kit.http.idempotency import KeyReused, Known, claim, key_of, remember
from admitone.kit.http.session import User
from admitone.kit.observe.log import log
from admitone.payments import commands, repository, settlement
from admitone.payments.model import (
    VOIDED,
    AttemptView,
    CardDeclined,
    Charge,
    ChargeNotFound,
    ChargeView,
    Looked,
    NotPayableYet,
    OrderNotFound,
    OrderWasCancelled,
    PaidAlready,
    PaymentForm,
    PaymentsWanted,
    PaymentUnderWay,
    ProcessorAway,
    StillUnknown,
    TimeIsUp,
    UnknownCard,
    UnknownToken,
)
from admitone.payments.processors.protocol import CardProcessor, OutcomeUnknown, Refused, WrongSignature
from admitone.payments.processors.test import bank

ANSWER_WITHIN_SECONDS = 5.0

_under_way: set[asyncio.Task[None]] = set()
"""Calls to the processor; one goes on when the buyer has had an answer, or has left."""


@documented(
    body=PaymentForm,
    takes_key=True,
    answers={201: ChargeView, 202: ChargeView},
    refuses=(
        *(UnknownCard, UnknownToken, CardDeclined),
        *(OrderNotFound, NotPayableYet, TimeIsUp, OrderWasCancelled, PaidAlready, PaymentUnderWay, ProcessorAway),
    ),
)
@post("/")
async def pay(request: AnyRequest, db: Database, processor: CardProcessor, user: User) -> Response[Any]:
    """Pay for an order.

    The money is set aside, and taken once the order is complete: that is waited for, up to five seconds. 202 says that it is not known
    yet, or, with a `redirectUrl`, that the buyer has to confirm it there. A repeated Idempotency-Key follows the charge that it began,
    whatever has become of the first request.
    """
    form = await read(request, PaymentForm)
    try:
        token = await asyncio.wait_for(processor.token(form.token), settlement.DEADLINE_SECONDS)
    except (OutcomeUnknown, TimeoutError) as error:
        raise ProcessorAway from error

    key = await key_of(request, user)

    async def begin() -> Charge | Known:
        async with db.transaction() as tx:
            match (await claim(tx, [key])).get(key) if key else None:
                case KeyReused() as reused:
                    raise reused
                case Known() as known:
                    return known
            charge = await commands.begin_charge(tx, form.order_id, user.id, token, tx.now)
            if key:
                await remember(tx, [(key, None, {"charge": charge.charge_id})])
        return charge

    # The order, the confirmation of its lock, or more time for it, may be on its way to us.
    begun = await eventually(db, begin, OrderNotFound, NotPayableYet, TimeIsUp)
    match begun:
        case Known(status=int(status), body=body):
            return Response(body, status_code=status, media_type=_media_type(status))
        case Known(body=body):
            charge_id = UUID(body["charge"])
        case charge:
            charge_id = charge.charge_id
            task = asyncio.create_task(_authorize(db, processor, charge))
            _under_way.add(task)
            task.add_done_callback(_under_way.discard)
    answer = await _outcome(request, db, charge_id, form.order_id)
    if key and answer.status_code in (201, 402):
        async with db.transaction() as tx:
            await remember(tx, [(key, answer.status_code, answer.content)])
    return answer


async def _authorize(db: Database, processor: CardProcessor, charge: Charge) -> None:
    try:
        await settlement.authorize(db, processor, charge)
    except (OutcomeUnknown, *TRANSIENT) as error:
        log.warning("processor_unavailable", message="the processor has not answered; the same call is made again later", error=repr(error))
    except Exception as error:
        log.error(
            "authorization_failed",
            message="an authorization failed unexpectedly; the same call is made again later",
            exc_info=error,
        )


async def _outcome(request: AnyRequest, db: Database, charge_id: UUID, order_id: UUID) -> Response[Any]:
    """What has become of the attempt, as soon as that is known. Raises OrderWasCancelled when the order was faster."""

    async def look() -> Response[Any]:
        async with db.reading() as tx:
            charge = await repository.charge(tx, charge_id)
            assert charge is not None
            order = await repository.order_copy(tx, charge.order_id)
            assert order is not None
        if charge.status == "failed":
            if charge.failure == VOIDED:
                raise OrderWasCancelled
            return as_problem_json(request, CardDeclined.of(charge))
        if order.status == "cancelled":
            raise OrderWasCancelled
        if order.status in ("complete", "refunded"):
            return Response(ChargeView(charge.charge_id, charge.order_id, charge.status, charge.stripe_id), status_code=201)
        if charge.status == "created" and charge.redirect_url is not None:
            confirm = ChargeView(charge.charge_id, charge.order_id, charge.status, charge.stripe_id, charge.redirect_url)
            return Response(confirm, status_code=202)
        raise StillUnknown

    try:
        return await eventually(db, look, StillUnknown, seconds=ANSWER_WITHIN_SECONDS)
    except StillUnknown:
        return Response(ChargeView(charge_id, order_id, "created", None), status_code=202)


@documented(query=PaymentsWanted, answers={200: list[AttemptView]}, refuses=(OrderNotFound,))
@get("/")
async def my_payments(request: AnyRequest, db: Database, user: User) -> list[AttemptView]:
    """Every attempt to pay for an order of one's own."""
    wanted = read_query(request, PaymentsWanted)
    async with db.reading() as tx:
        order = await repository.order_copy(tx, wanted.order_id)
        if order is None or order.user_id != user.id:
            raise OrderNotFound
        charges = await repository.charges_of(tx, wanted.order_id)
    return [AttemptView.of(charge) for charge in charges]


@documented(answers={303: None}, refuses=(ChargeNotFound,))
@get("/{charge_id:uuid}/return")
async def come_back(charge_id: UUID, db: Database, processor: CardProcessor) -> Response[Any]:
    """Where the bank sends the buyer after a confirmation.

    We look how the payment stands, and lead on to the page of the order.
    """
    async with db.reading() as tx:
        charge = await repository.charge(tx, charge_id)
    if charge is None:
        raise ChargeNotFound
    if charge.status == "created" and charge.stripe_id is not None:
        with contextlib.suppress(OutcomeUnknown, Refused):  # Then the job finds out.
            await settlement.look(db, processor, charge)
    return Response("", status_code=303, headers={"Location": f"/orders/{charge.order_id}"}, media_type="text/plain")


@documented(
    body=object,
    takes_headers={"Stripe-Signature": "The processor's signature of the body, with the time."},
    answers={200: Looked},
    refuses=(WrongSignature, ChargeNotFound, ProcessorAway),
)
@post("/webhook", status_code=200)
async def receive_webhook(request: AnyRequest, db: Database, processor: CardProcessor) -> Looked:
    """Something happened to a payment, says the processor.

    What, we don't take from the message, but look for ourselves.
    """
    notice = processor.notice_of(await request.body(), request.headers.get("stripe-signature", ""))
    if notice is None:
        return Looked(False)
    async with db.reading() as tx:
        charge = await repository.charge_of(tx, notice.stripe_id, notice.charge_id)
    if charge is None:
        raise ChargeNotFound
    try:
        await settlement.look(db, processor, replace(charge, stripe_id=notice.stripe_id))
    except OutcomeUnknown as error:
        raise ProcessorAway from error
    except Refused as error:
        raise ChargeNotFound from error
    return Looked(True)


def _media_type(status: int) -> str:
    return "application/json" if status < 400 else "application/problem+json"


ROUTES = (pay, my_payments, come_back, receive_webhook, *bank.ROUTES)
