"""Deliberate mistakes. Each replaces a piece of the product's own text; one that finds the text gone fails loudly."""

import contextlib
import importlib
import inspect
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from prove.simulator.ground import Ground

from admitone.kit.delivery.sender import Outgoing


class Stale(Exception):
    """A mistake can't be planted any more: the text that it replaces is not there, or not only once."""


@dataclass(frozen=True)
class Edit:
    where: str
    """module:function, or module:Class.method."""
    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    name: str
    sentence: str
    edits: tuple[Edit, ...] = ()
    schema: tuple[tuple[str, str, str], ...] = ()
    """A service, what is done to its tables, and what undoes it."""
    forgets: dict[str, str] = field(default_factory=dict)
    """What a service loses whenever its process starts: what a mistake keeps in memory, or does not keep."""


ORDERS, TICKETS, PAYMENTS = "admitone.orders.repository", "admitone.tickets.repository", "admitone.payments.repository"
RELAY, CONSUMER = "admitone.kit.delivery.relay:Relay", "admitone.kit.delivery.consumer:Consumer"
FORGET_UNPUBLISHED = "UPDATE outbox SET published_at = created_at, seq = 0 WHERE published_at IS NULL"
NO_HOLDING_INDEX = (
    "orders",
    "DROP INDEX one_holding_order_per_ticket",
    "CREATE UNIQUE INDEX one_holding_order_per_ticket ON orders (ticket_id) WHERE holds_ticket",
)
NO_LOCK_INDEX = (
    "orders",
    "ALTER TABLE orders DROP CONSTRAINT one_fencing_token_per_order",
    "ALTER TABLE orders ADD CONSTRAINT one_fencing_token_per_order UNIQUE (ticket_id, lock)",
)

BUGS = (
    # Who has the ticket
    Bug(
        "check-then-insert",
        "Orders looks whether the ticket is free and then inserts; no unique index stands behind that.",
        (
            Edit(
                f"{ORDERS}:insert_orders",
                "WHERE NOT withdrawn",
                "WHERE NOT EXISTS (SELECT FROM orders WHERE ticket_id = ticket_copies.ticket_id"
                " AND status NOT IN ('cancelled', 'refunded')) AND NOT withdrawn",
            ),
        ),
        (NO_HOLDING_INDEX, NO_LOCK_INDEX),
    ),
    Bug(
        "token-drawn-apart",
        "The fencing token is drawn in a statement of its own before the order is inserted, and no index sees to it that it is new.",
        (
            Edit(
                f"{ORDERS}:insert_orders",
                "1 + coalesce((SELECT max(lock) FROM orders WHERE ticket_id = ticket_copies.ticket_id), 0)",
                "$10::integer",
            ),
            Edit(
                f"{ORDERS}:insert_orders",
                "        max_open,\n    )",
                "        max_open,\n"
                '        await tx.value("SELECT 1 + coalesce(max(lock), 0) FROM orders WHERE ticket_id = $1", wishes[0].ticket_id),\n    )',
            ),
        ),
        (NO_LOCK_INDEX,),
    ),
    Bug(
        "no-fencing",
        "Tickets locks for whatever order it hears of, however old its token is.",
        (
            Edit(
                f"{TICKETS}:lock",
                "AND tickets.lock < ordered.lock AND NOT",
                "AND tickets.order_id IS DISTINCT FROM ordered.order_id AND NOT",
            ),
        ),
    ),
    Bug(
        "unlock-any",
        "A cancelled order frees its ticket, whoever holds it by now.",
        (Edit(f"{TICKETS}:unlock", "AND lock <= $2 AND order_id IS NOT NULL", "AND order_id IS NOT NULL"),),
    ),
    Bug(
        "strictly-newer",
        "A cancellation counts only if its token is newer than the one that locked, as it does for a creation.",
        (Edit(f"{TICKETS}:unlock", "AND lock <= $2", "AND lock < $2"),),
    ),
    Bug(
        "cancellation-not-remembered",
        "A cancellation that overtakes its creation leaves nothing behind.",
        (
            Edit(
                "admitone.tickets.commands:unlock_ticket",
                "await repository.remember_fencing_token(tx, order.ticket_id, order.lock)",
                "pass",
            ),
        ),
    ),
    Bug(
        "silent-refusal",
        "Tickets says nothing when an order can't have its ticket.",
        (
            Edit(
                "admitone.tickets.commands:_refuse_lock",
                "tx.emit(ReservationRefused(order_id=order.order_id, ticket_id=order.ticket_id, reason=reason), delivered)",
                "_ = reason",
            ),
        ),
    ),
    Bug(
        "no-limit",
        "Two requests of one buyer may be at it at once, and each counts the open orders without the other's.",
        (
            Edit(
                f"{ORDERS}:serialize_users",
                "SELECT pg_advisory_xact_lock(hashtextextended(user_id, 0))",
                "SELECT user_id",
            ),
        ),
    ),
    # At which price
    Bug("edit-while-locked", "A ticket can be edited while somebody pays for it.", (Edit(f"{TICKETS}:edit", "AND order_id IS NULL ", ""),)),
    Bug(
        "withdraw-while-locked",
        "A ticket can be withdrawn while somebody pays for it.",
        (Edit(f"{TICKETS}:withdraw", "AND order_id IS NULL ", ""),),
    ),
    Bug(
        "price-not-compared",
        "Tickets locks whatever price and title the order was made at.",
        (
            Edit(
                f"{TICKETS}:lock",
                "AND tickets.title = ordered.title AND tickets.price_cents = ordered.price_cents AND tickets.currency = ordered.currency",
                "",
            ),
        ),
    ),
    # When it ends
    Bug(
        "unconditional-expiry",
        "Orders ends whatever expiration says is over, by whichever clock and for whichever deadline.",
        (
            Edit(
                f"{ORDERS}:expire",
                "AND cancel_at = $2 AND cancel_at <= $3",
                "AND $2::timestamptz IS NOT NULL AND $3::timestamptz IS NOT NULL",
            ),
        ),
    ),
    Bug(
        "too-early-is-dropped",
        "A deadline that comes too early by the clock of orders is taken for done.",
        (Edit("admitone.orders.commands:expire", "raise TooEarly((order.cancel_at - now).total_seconds() + 0.05)", "return"),),
    ),
    Bug(
        "timer-in-memory",
        "Expiration keeps its timers in memory.",
        forgets={"expiration": "DELETE FROM timers"},
    ),
    Bug(
        "timer-rings-on",
        "A timer that has rung is not marked.",
        (Edit("admitone.expiration.repository:ring", "due <= $1 AND rung_at IS NULL", "due <= $1"),),
    ),
    Bug(
        "no-sweep",
        "Orders relies on expiration alone to end what is overdue.",
        (Edit("admitone.orders.jobs:sweep", "await commands.expire_overdue(tx, tx.now)", "0"),),
    ),
    Bug(
        "no-settle-time",
        "An order is cancelled at the moment at which the last payment could begin.",
        (Edit("admitone.orders.commands:create_orders", "expires_at + timedelta(seconds=settings.settle_seconds)", "expires_at"),),
    ),
    Bug(
        "extended-twice",
        "A buyer may have five minutes more, and more, and more.",
        (Edit(f"{ORDERS}:extend", "AND NOT extended ", ""),),
    ),
    Bug(
        "completing-the-cancelled",
        "An approved payment completes its order, even if that was cancelled meanwhile.",
        (
            Edit(f"{ORDERS}:complete", "SET status = 'complete'", "SET status = 'complete', reason = NULL"),
            Edit(f"{ORDERS}:complete", "status = 'awaiting:payment'", "status IN ('awaiting:payment', 'cancelled')"),
        ),
    ),
    Bug(
        "cancelling-the-complete",
        "A cancellation ends an order, even if that is paid.",
        (Edit(f"{ORDERS}:cancel", "AND is_open", "AND (is_open OR status = 'complete')"),),
    ),
    # Copies and versions
    Bug(
        "no-version-on-tickets",
        "The copy that orders keeps of a ticket is whatever came last.",
        (Edit(f"{ORDERS}:upsert_ticket_copies", "WHERE copy.version < excluded.version", ""),),
    ),
    Bug(
        "no-version-on-orders",
        "The copy that payments keeps of an order is whatever came last.",
        (Edit(f"{PAYMENTS}:keep_newest", "WHERE copy.version < excluded.version", ""),),
    ),
    Bug(
        "version-without-event",
        "Orders raises the version of an order for a change that it tells nobody.",
        (Edit(f"{ORDERS}:record_charge", "SET charge_id = $2", "SET charge_id = $2, version = version + 1"),),
    ),
    # What was said, and heard
    Bug(
        "publish-before-commit",
        "An event leaves for the stream as soon as it is said, whether its transaction commits or not.",
        (
            Edit(
                "admitone.kit.data.db:Tx.write_outbox",
                "self._emitted.clear()",
                "self._emitted.clear()\n    from prove.simulator.bugs import publish_at_once\n    await publish_at_once(self.connection)",
            ),
        ),
    ),
    Bug(
        "no-outbox",
        "What was not published when a process ends is never published: it was only in memory.",
        forgets=dict.fromkeys(("auth", "tickets", "orders", "expiration", "payments"), FORGET_UNPUBLISHED),
    ),
    Bug(
        "cursor-relay",
        "The relay remembers the last number that it has published, and goes on behind it.",
        (
            Edit(
                f"{RELAY}.once",
                "WHERE published_at IS NULL ORDER",
                "WHERE published_at IS NULL AND id > coalesce((SELECT max(id) FROM outbox WHERE published_at IS NOT NULL), 0) ORDER",
            ),
        ),
    ),
    Bug(
        "mark-before-publish",
        "The relay marks events as published, and publishes them then.",
        (
            Edit(
                f"{RELAY}.once",
                "published: list[tuple[int, int]] = []",
                'published: list[tuple[int, int]] = []\n    await self._mark(connection, [(row["id"], 0) for row in rows])',
            ),
        ),
    ),
    Bug(
        "no-repair",
        "What the stream has lost stays lost.",
        (Edit(f"{RELAY}.once", "await repair(connection, self.bus.stream, self.db.service)", "pass"),),
    ),
    Bug(
        "repair-by-number",
        "An event counts as kept if the stream has anything under its number.",
        (
            Edit(
                "admitone.kit.delivery.relay:_still_there",
                'return (message.headers or {}).get("Nats-Msg-Id") == str(event_id)',
                "return True",
            ),
        ),
    ),
    Bug(
        "mark-without-a-look",
        "The relay marks what it has published without a look whether the stream is still the one it knows.",
        (Edit(f"{RELAY}.once", "if published and await self._is_same_stream():", "if published:"),),
    ),
    Bug(
        "no-break",
        "The relay goes on with its batch after the stream was renewed, and marks what it has lost.",
        (Edit(f"{RELAY}.once", "if self._repaired_epoch != self.bus.epoch:\n                break", "if False:\n                break"),),
    ),
    Bug(
        "two-versions-under-way",
        "The relay sends a version of something while the version before is on its way, and may get lost.",
        (
            Edit(
                "admitone.kit.delivery.relay:apart",
                "if group and (about is None or about in known or None in known):",
                "if group and False:",
            ),
        ),
    ),
    Bug(
        "batch-answers-mixed-up",
        "A batch gives its answers to its calls in another order.",
        (Edit("admitone.kit.data.batcher:Batcher._run", "zip(batch, answers, strict=True)", "zip(batch, reversed(answers), strict=True)"),),
    ),
    Bug(
        "any-subject-will-do",
        "An event counts on whatever subject it came.",
        (Edit("admitone.kit.delivery.inbox:envelope_of", "if event is not None and subject(event) != on_subject:", "if False:"),),
    ),
    Bug(
        "acknowledge-first",
        "A message is acknowledged, and handled then.",
        (
            Edit(
                f"{CONSUMER}.handle_batch",
                "    try:\n        async with",
                "    for message in batch:\n        await message.ack()\n    try:\n        async with",
            ),
        ),
    ),
    Bug(
        "inbox-apart",
        "That an event was handled is written down in a transaction of its own, before it is.",
        (
            Edit(
                "admitone.kit.delivery.inbox:handle",
                "    new = await record_handled(envelopes, tx)",
                "    async with tx.connection.process.db.transaction() as apart:\n        new = await record_handled(envelopes, apart)",
            ),
        ),
    ),
    Bug(
        "parked-at-once",
        "What could not be handled is parked at once, also when only the database was away for a moment.",
        (
            Edit(f"{CONSUMER}._handle_alone", "    except TRANSIENT:\n        await message.nak(delay=0.5)\n", ""),
            Edit(f"{CONSUMER}._failed", "if tries <= len(self.retry_delays) and not isinstance(error, Unreadable):", "if False:"),
        ),
    ),
    Bug(
        "never-parked",
        "What can't be handled is tried again for ever.",
        (
            Edit(f"{CONSUMER}._failed", "if tries <= len(self.retry_delays) and not isinstance(error, Unreadable):", "if True:"),
            Edit(f"{CONSUMER}._failed", "self.retry_delays[tries - 1]", "self.retry_delays[min(tries, 4) - 1]"),
        ),
    ),
    # Money
    Bug(
        "capture-when-approved",
        "Money is taken as soon as the bank has approved it.",
        (
            Edit(
                f"{PAYMENTS}:due",
                "charges.status = 'authorized' AND copy.status IN ('complete', 'cancelled')",
                "charges.status = 'authorized'",
            ),
        ),
    ),
    Bug(
        "void-when-time-is-up",
        "Payments gives an approval back when, by its own clock, the time to pay is over.",
        (
            Edit(
                f"{PAYMENTS}:due",
                "copy.status IN ('complete', 'cancelled')",
                "(copy.status IN ('complete', 'cancelled') OR copy.expires_at < $1)",
            ),
            Edit(
                "admitone.payments.settlement:_next_step",
                'DueCharge(status="authorized", order_status="cancelled")',
                'DueCharge(status="authorized", order_status="cancelled" | "awaiting:payment")',
            ),
        ),
    ),
    Bug(
        "no-void",
        "The approval for an order that was cancelled is left to lapse.",
        (Edit(f"{PAYMENTS}:due", "copy.status IN ('complete', 'cancelled')", "copy.status = 'complete'"),),
    ),
    Bug(
        "no-reconciler",
        "A charge whose outcome is unknown is never asked about again.",
        (Edit(f"{PAYMENTS}:due", "charges.status = 'created' AND (", "charges.status = 'created' AND false AND ("),),
    ),
    Bug(
        "new-key-per-retry",
        "The processor is asked again with another idempotency key.",
        (
            Edit(
                "admitone.payments.settlement:_next_step",
                "await _ask(db, processor.authorize, charge)",
                "import msgspec\n"
                '            again = f"{charge.idempotency_key}:{charge.failed_attempts}"\n'
                "            await _ask(db, processor.authorize, msgspec.structs.replace(charge, idempotency_key=again))",
            ),
        ),
    ),
    Bug(
        "unknown-is-failed",
        "A charge to which the processor gave no answer is called failed.",
        (
            Edit(
                "admitone.payments.settlement:reconcile_charge",
                'last_error = str(unknown) or "no answer"',
                "async with db.transaction() as tx:\n"
                '            await commands.record_failed(tx, charge.charge_id, "no_answer", tx.now)\n'
                "        return True",
            ),
        ),
    ),
    Bug(
        "two-live-charges",
        "No index sees to it that an order has one payment under way at most.",
        schema=(
            (
                "payments",
                "DROP INDEX one_live_charge_per_order",
                "CREATE UNIQUE INDEX one_live_charge_per_order ON charges (order_id) WHERE status <> 'failed'",
            ),
        ),
    ),
    Bug(
        "keys-forgotten",
        "An Idempotency-Key is taken, and stands for nothing.",
        (Edit("admitone.kit.http.idempotency:claim", "if not keys:", "if True:"),),
    ),
)
BY_NAME = {bug.name: bug for bug in BUGS}


@contextlib.asynccontextmanager
async def planted(bug: Bug | None, ground: Ground) -> AsyncIterator[None]:
    """The product makes that mistake for as long as the block runs. Raises Stale."""
    if bug is None:
        yield
        return
    await ground.empty()
    with edited(bug):
        for service, change, _ in bug.schema:
            await ground.looking[service].execute(change)
        ground.forgets = bug.forgets
        try:
            yield
        finally:
            ground.forgets = {}
            await ground.empty()
            for service, _, undo in reversed(bug.schema):
                await ground.looking[service].execute(undo)


@contextlib.contextmanager
def edited(bug: Bug) -> Iterator[None]:
    """With the bug's text in place of the product's. Raises Stale."""
    texts: dict[str, str] = {}
    for edit in bug.edits:
        text = texts.get(edit.where) or textwrap.dedent(inspect.getsource(getattr(*_found(edit.where))))
        if text.count(edit.old) != 1:
            raise Stale(f"{bug.name}: {edit.where} has {text.count(edit.old)} times and not once: {edit.old}")
        texts[edit.where] = text.replace(edit.old, edit.new)
    with contextlib.ExitStack() as stack:
        for where, text in texts.items():
            owner, name = _found(where)
            function = getattr(owner, name)
            made: dict[str, Any] = {}
            exec(compile(text, f"<{bug.name}>", "exec"), function.__globals__, made)
            for place in [owner, *_importers(function)]:
                stack.enter_context(mock.patch.object(place, name, made[name]))
        yield


def _importers(function: Any) -> list[Any]:
    """The modules that have imported a function by its name: they would not notice that it was replaced where it is at home."""
    name = function.__name__
    ours = [module for module in list(sys.modules.values()) if getattr(module, "__name__", "").startswith("admitone.")]
    return [module for module in ours if vars(module).get(name) is function and module.__name__ != function.__module__]


def _found(where: str) -> tuple[Any, str]:
    module, _, path = where.partition(":")
    *parents, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name


async def publish_at_once(wire: Any) -> None:
    """For publish-before-commit: what the transaction has said last goes to the stream as it is."""
    said = wire.said[-1]
    await wire.process.bus.publish([Outgoing(f"events.{wire.process.node.name}.{said.event}", b"{}", str(said.event_id))])
