"""Everything that talks to the card processor. Written down before, called with no transaction open, written down after.

A crash anywhere in between leaves a charge that the job finds again and calls with the same key: nothing is taken
twice, and nothing is called failed as long as the processor has not said so.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from prometheus_client import Histogram

from admitone.kit.data.db import TRANSIENT, Database
from admitone.kit.observe.log import correlation_scope, log
from admitone.payments import commands
from admitone.payments.model import Charge, DueCharge
from admitone.payments.processors.protocol import CardProcessor, OutcomeUnknown, ProcessorState, Refused

DEADLINE_SECONDS = 10.0
LOOK_AT_REFUSED_AGAIN_SECONDS = 600
PROCESSOR_CALLS = Histogram(
    "admitone_processor_call_seconds",
    "How long the card processor took: authorize, look, capture, void, refund; and what came of it: ok, declined, refused, unknown.",
    ("call", "outcome"),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


async def authorize(db: Database, processor: CardProcessor, charge: Charge) -> None:
    """Ask for the money to be set aside. Raises OutcomeUnknown: then the job asks again later, with the same key."""
    await _ask(db, processor.authorize, charge)


async def look(db: Database, processor: CardProcessor, charge: Charge) -> None:
    """Write down how the payment stands by now; one that came to life after we had called it failed is ended.

    Raises OutcomeUnknown, or Refused for a payment that the processor does not know.
    """
    reported = await _ask(db, processor.look, charge)
    if charge.status == "failed" and reported.state in ("authorized", "needs_confirmation"):
        await _ask(db, processor.void, charge)


async def _ask(db: Database, call: Callable[[Charge], Awaitable[ProcessorState]], charge: Charge) -> ProcessorState:
    """Whoever asks, what follows belongs to the story of the request that began the charge."""
    with correlation_scope(charge.correlation_id):
        reported = await _answer(call, charge)
        async with db.transaction() as tx:
            await commands.record(tx, charge, reported, tx.now)
    return reported


async def _answer(call: Callable[[Charge], Awaitable[ProcessorState]], charge: Charge) -> ProcessorState:
    """What the processor says. Raises OutcomeUnknown or Refused."""
    started, outcome = time.perf_counter(), "unknown"
    try:
        reported = await asyncio.wait_for(call(charge), DEADLINE_SECONDS)
        outcome = "declined" if reported.state == "declined" else "ok"
        return reported
    except TimeoutError as error:
        raise OutcomeUnknown(f"no answer within {DEADLINE_SECONDS:.0f} s") from error
    except Refused:
        outcome = "refused"
        raise
    finally:
        PROCESSOR_CALLS.labels(call.__name__, outcome).observe(time.perf_counter() - started)


async def reconcile_charge(db: Database, processor: CardProcessor, charge: DueCharge) -> bool:
    """Capture, void, refund or ask again, as the state of the charge and its order calls for; whether that is done now.

    It follows the state, not an event: so no order of events and no crash can leave money hanging.
    """
    last_error, delay = "", None
    try:
        await _next_step(db, processor, charge)
    except OutcomeUnknown as unknown:
        last_error = str(unknown) or "no answer"
    except Refused as refused:
        if charge.status == "authorized" and charge.order_status == "complete":
            log.error(
                "capture_refused",
                message="the money of a complete order can't be collected",
                order=str(charge.order_id),
                code=refused.code,
            )
            async with db.transaction() as tx:
                await commands.record_uncollected(tx, charge.charge_id, refused.code, tx.now)
            return True
        last_error, delay = f"refused: {refused.code}", LOOK_AT_REFUSED_AGAIN_SECONDS
    except TRANSIENT:
        raise  # Our own engines are away: the job says so.
    except Exception as error:
        last_error, delay = repr(error), LOOK_AT_REFUSED_AGAIN_SECONDS
        log.error("settlement_failed", message="a charge can't be settled; the others are", order=str(charge.order_id), exc_info=error)
    if not last_error:
        return True
    async with db.transaction() as tx:
        await commands.record_failed_attempt(tx, charge, last_error, tx.now, delay)
    return False


async def _next_step(db: Database, processor: CardProcessor, charge: DueCharge) -> None:
    match charge:
        case DueCharge(status="created", stripe_id=None):
            await _ask(db, processor.authorize, charge)
        case DueCharge(status="created", order_status="cancelled") | DueCharge(status="authorized", order_status="cancelled"):
            await _ask(db, processor.void, charge)
        case DueCharge(status="created"):
            await _ask(db, processor.look, charge)
        case DueCharge(status="authorized"):
            await _ask(db, processor.capture, charge)
        case DueCharge(status="completed"):
            await _ask(db, processor.refund, charge)
        case DueCharge(status="uncollected"):
            async with db.transaction() as tx:  # Nothing was taken, so nothing has to be given back.
                await commands.record_refunded(tx, charge.charge_id, None, tx.now)
