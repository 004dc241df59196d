"""Paying over HTTP."""

from typing import Any
from uuid import UUID

from litestar import Response, post

from admitone.kit.db import TRANSIENT, Database
from admitone.kit.idempotency import Known, claim, remember
from admitone.kit.log import log
from admitone.kit.session import User
from admitone.kit.web import AnyRequest, as_problem_json, eventually, read
from admitone.payments import commands, processing, repository
from admitone.payments.gateway import Gateway, OutcomeUnknown
from admitone.payments.model import (
    VOIDED,
    CardDeclined,
    Charge,
    ChargeView,
    NotPayableYet,
    OrderCancelled,
    OrderNotFound,
    PaymentForm,
    StillUnknown,
)

ANSWER_WITHIN_SECONDS = 5.0


@post("/")
async def pay(request: AnyRequest, db: Database, gateway: Gateway, user: User) -> Response[Any]:
    """Authorize, and wait for what orders makes of it.

    A repeated Idempotency-Key follows the charge that it began, whatever has become of the first request.
    """
    form = await read(request, PaymentForm)
    token = gateway.token(form.token)

    async def begin() -> Charge | Known:
        async with db.transaction() as tx:
            known = await claim(tx, request, user)
            if known is not None:
                return known
            charge = await commands.begin_charge(tx, form.order_id, user.id, token, tx.now)
            await remember(tx, request, user, None, {"charge": charge.charge_id})
        return charge

    # The order, or the confirmation of its lock, may be on its way to us.
    begun = await eventually(db, begin, OrderNotFound, NotPayableYet)
    match begun:
        case Known(status=int(status), body=body):
            return Response(body, status_code=status, media_type=_media_type(status))
        case Known(body=body):
            charge_id = UUID(body["charge"])
        case charge:
            charge_id = charge.charge_id
            try:
                await processing.authorize(db, gateway, charge)
            except (OutcomeUnknown, *TRANSIENT) as error:
                log.warning("the processor has not answered; the same call is made again later", error=repr(error))
    answer = await _outcome(request, db, charge_id)
    if answer.status_code in (201, 402):
        async with db.transaction() as tx:
            await remember(tx, request, user, answer.status_code, answer.content)
    return answer


async def _outcome(request: AnyRequest, db: Database, charge_id: UUID) -> Response[Any]:
    """What has become of the attempt, as soon as that is known. Raises OrderCancelled when the order was faster."""

    async def look() -> Response[Any]:
        async with db.reading() as tx:
            charge = await repository.charge(tx, charge_id)
            assert charge is not None
            order = await repository.order_copy(tx, charge.order_id)
            assert order is not None
        if charge.status == "failed":
            if charge.failure == VOIDED:
                raise OrderCancelled
            return as_problem_json(request, CardDeclined.of(charge))
        if order.status == "cancelled":
            raise OrderCancelled
        if order.status == "complete":
            return Response(ChargeView(charge.charge_id, charge.status), status_code=201)
        raise StillUnknown

    try:
        return await eventually(db, look, StillUnknown, seconds=ANSWER_WITHIN_SECONDS)
    except StillUnknown:
        return Response(ChargeView(charge_id, "created"), status_code=202)


def _media_type(status: int) -> str:
    return "application/json" if status < 400 else "application/problem+json"


ROUTES = (pay,)
