"""`admitone verify`: does everything hold that must always hold? It reads databases, stream and the test processor's books, and
changes nothing.

snapshot  every database and the stream: of a system that runs, or of one that is stopped
events    I7 and I13: what was published is in the stream, and was handled or is parked
sales     I1, I3 to I6, I8, I9: every order and every ticket, and all that ever happened to them (tickets, orders, rows)
money     I2: charges against orders, the ledger and the processor
keys      I12: one effect per idempotency key
report    a line for each, and the rows that break it
publish   what of it everybody may read, at /proof
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TextIO

from admitone.config import SERVICES_WITH_A_DATABASE, Settings
from admitone.ops.verify.events import check_handled, check_stream, find_excluded
from admitone.ops.verify.keys import check_one_effect
from admitone.ops.verify.money import Money, unfinished_payments
from admitone.ops.verify.publish import proof_of, publish
from admitone.ops.verify.report import Report, UnderWay, as_json, format_report
from admitone.ops.verify.sales import Sales
from admitone.ops.verify.snapshot import Snapshot, engines_of, take_snapshot

__all__ = ["as_json", "check", "format_report", "progress", "verify"]

LOOK_AGAIN_SECONDS = 0.5
QUIET_SECONDS = 1.0
"""What takes no longer needs no progress to be told."""


async def verify(
    settings: Settings, *, wait_seconds: float, published_as: str | None, say: Callable[[str], None], note: Callable[[str], None]
) -> Report:
    """What is found, at rest if it comes to rest within that time; then it is published, if there is a command to name there.

    `say` is told what a person has to know meanwhile, `note` how far we are. Raises EngineError, WrongSettings.
    """
    async with engines_of(settings, say) as reachable:
        deadline = asyncio.get_running_loop().time() + wait_seconds
        while True:
            async with take_snapshot(reachable, note) as snapshot:
                left = deadline - asyncio.get_running_loop().time()
                last = left <= 0 or not snapshot.at_work_since  # What nobody runs comes to no rest.
                report = await check(snapshot) if last or not await _quick_look(snapshot) else None
                proof = await proof_of(snapshot, report, published_as) if published_as and report and report.exit_code != 2 else None
            if report is not None and (last or not report.under_way):
                if proof is not None:
                    await publish(reachable, proof)
                return report
            note("waiting until all is at rest")
            await asyncio.sleep(min(max(left, 0), LOOK_AGAIN_SECONDS))


async def _quick_look(snapshot: Snapshot) -> UnderWay:
    """What can be seen to be under way without reading everything."""
    said = {
        name: await snapshot.databases[name].fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")
        for name in SERVICES_WITH_A_DATABASE
    }
    return UnderWay(
        unpublished=Counter(said),
        unheard=Counter(snapshot.waiting),
        payments=await unfinished_payments(snapshot),
        overdue=await _overdue(snapshot),
    )


async def check(snapshot: Snapshot) -> Report:
    """Every line, about this snapshot. What is under way is found out first: the rest hangs on it."""
    i13 = await find_excluded(snapshot)
    await check_handled(snapshot, i13)
    i7 = await check_stream(snapshot)
    snapshot.under_way.payments = await unfinished_payments(snapshot)
    snapshot.under_way.overdue = await _overdue(snapshot)
    sales = Sales(snapshot)
    await sales.check()
    money = Money(snapshot, sales.i8, sales.i9)
    await money.check()
    i12 = await check_one_effect(snapshot)
    lines = [sales.i1, money.line, sales.i3, sales.i4, sales.i5, sales.i6, i7, sales.i8, sales.i9, i12, i13]
    return Report(lines=lines, under_way=snapshot.under_way, parked=i13.counted["parked"])


async def _overdue(snapshot: Snapshot) -> int:
    """Orders to be ended, and timers to ring, at once."""
    orders: int = await snapshot.databases["orders"].fetchval(
        "SELECT count(*) FROM orders WHERE is_open AND cancel_at <= $1", snapshot.began["orders"]
    )
    timers: int = await snapshot.databases["expiration"].fetchval(
        "SELECT count(*) FROM timers WHERE due <= $1 AND rung_at IS NULL", snapshot.began["expiration"]
    )
    return max(orders, timers)


@contextlib.contextmanager
def progress(terminal: TextIO) -> Iterator[Callable[[str], None]]:
    """One line of a terminal that says how far we are, and is gone at the end. Nothing where there is no terminal."""
    begun = told_at = time.monotonic()

    def note(what: str) -> None:
        nonlocal told_at
        now = time.monotonic()
        if terminal.isatty() and now - begun > QUIET_SECONDS and now - told_at > 0.1:
            told_at = now
            terminal.write(f"\r\x1b[K{now - begun:.0f} s: {what} ...")
            terminal.flush()

    try:
        yield note
    finally:
        if told_at != begun:
            terminal.write("\r\x1b[K")
            terminal.flush()
