"""Everything that talks to the card processor. Written down before, called with no transaction open, written down after.

A crash anywhere in between leaves a charge that the job finds again and calls with the same key: nothing is taken
twice, and nothing is called failed as long as the processor has not said so.
"""

import asyncio
from datetime import timedelta

from admitone.kit.db import Database
from admitone.kit.log import going_back_to
from admitone.payments import commands, repository
from admitone.payments.gateway import Declined, Gateway, OutcomeUnknown
from admitone.payments.model import VOIDED, Charge

DEADLINE_SECONDS = 10.0
IN_DOUBT_AFTER = timedelta(seconds=DEADLINE_SECONDS + 5)


async def authorize(db: Database, gateway: Gateway, charge: Charge) -> None:
    """Ask for the money to be set aside. Raises OutcomeUnknown, or TimeoutError: then it is asked again later."""
    try:
        stripe_id = await asyncio.wait_for(gateway.authorize(charge), DEADLINE_SECONDS)
    except Declined as declined:
        async with db.transaction() as tx:
            await commands.note_failed(tx, charge.charge_id, declined.code)
    else:
        async with db.transaction() as tx:
            await commands.note_authorized(tx, charge.charge_id, stripe_id)


async def capture(db: Database, gateway: Gateway, charge: Charge) -> None:
    """Take the money of an order that is complete."""
    await asyncio.wait_for(gateway.capture(charge), DEADLINE_SECONDS)
    async with db.transaction() as tx:
        await commands.note_captured(tx, charge.charge_id)


async def void(db: Database, gateway: Gateway, charge: Charge) -> None:
    """Give the money of an order that was cancelled back."""
    await asyncio.wait_for(gateway.void(charge), DEADLINE_SECONDS)
    async with db.transaction() as tx:
        await commands.note_failed(tx, charge.charge_id, VOIDED)


async def settle(db: Database, gateway: Gateway) -> int:
    """Capture, void and ask again wherever the state calls for it; returns how many are still open after that.

    It follows the state, not an event: so no order of events and no crash can leave money hanging.
    """
    async with db.reading() as tx:
        work = [
            *((capture, charge) for charge in await repository.to_settle(tx, "complete")),
            *((void, charge) for charge in await repository.to_settle(tx, "cancelled")),
            *((authorize, charge) for charge in await repository.in_doubt(tx, tx.now - IN_DOUBT_AFTER)),
        ]
    still_open = 0
    for step, charge in work:
        try:
            with going_back_to(charge.correlation_id):
                await step(db, gateway, charge)
        except (OutcomeUnknown, TimeoutError):
            still_open += 1
    return still_open
