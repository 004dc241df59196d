"""How the test processor misbehaves when it is told to, by rows in its table `faults`:

INSERT INTO faults (call, fault, times) VALUES ('capture', 'timeout_after', 1);
INSERT INTO faults (call, fault, share) VALUES ('authorize', 'error', 0.2);
"""

import asyncio
import os
import signal

from admitone.kit.data.db import Database
from admitone.payments.processors.protocol import OutcomeUnknown

SLOW_SECONDS = 2.0
HANG_SECONDS = 60.0


async def draw(books: Database, call: str) -> str | None:
    """What goes wrong with this call, if anything does."""
    async with books.transaction() as tx:
        fault: str | None = await tx.value(
            """
            UPDATE faults SET times = times - 1
            WHERE fault_id = (
                SELECT fault_id FROM faults WHERE call = $1 AND (times IS NULL OR times > 0) AND random() < share
                ORDER BY fault_id LIMIT 1 FOR UPDATE)
            RETURNING fault
            """,
            call,
        )
    return fault


async def before(fault: str | None) -> None:
    """What goes wrong before the call has had any effect."""
    match fault:
        case "timeout_before":
            raise OutcomeUnknown("timed out (before the effect)")
        case "error":
            raise OutcomeUnknown("the processor answered 500")
        case "slow":
            await asyncio.sleep(SLOW_SECONDS)
        case "hang":
            await asyncio.sleep(HANG_SECONDS)
        case "crash_before":
            os.kill(os.getpid(), signal.SIGKILL)


async def after(fault: str | None) -> None:
    """What goes wrong once the call has had its effect."""
    match fault:
        case "timeout_after":
            raise OutcomeUnknown("timed out (after the effect)")
        case "crash_after":
            os.kill(os.getpid(), signal.SIGKILL)
