"""The test processor's own messages: signed, sent at least once, to the same endpoint that Stripe's are sent to."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import msgspec
from msgspec import Struct

from admitone.kit.data.db import TRANSIENT, Database, Tx, wait_for_signal
from admitone.kit.observe.log import log
from admitone.payments.processors.test import faults

if TYPE_CHECKING:
    from admitone.payments.processors.test.processor import TestProcessor

TYPES = {
    "needs_confirmation": "payment_intent.requires_action",
    "authorized": "payment_intent.amount_capturable_updated",
    "declined": "payment_intent.payment_failed",
    "captured": "payment_intent.succeeded",
    "voided": "payment_intent.canceled",
    "refunded": "charge.refunded",
}
"""What Stripe calls them: https://docs.stripe.com/api/events/types"""
MAX_TRIES = 10
LEASE = timedelta(seconds=10)
"""How long one process has for sending, before another takes over."""


class Webhook(Struct, frozen=True, kw_only=True):
    webhook_id: int
    type: str
    intent_id: str
    charge_id: UUID
    tries: int

    def body(self) -> bytes:
        about = {"id": self.intent_id, "object": "payment_intent", "metadata": {"charge_id": self.charge_id}}
        return msgspec.json.encode({"id": f"evt_test_{self.webhook_id}", "object": "event", "type": self.type, "data": {"object": about}})


async def queue(tx: Tx, intent_id: str, charge_id: UUID, status: str) -> None:
    """Tell about a payment's new status, as soon as this transaction has committed."""
    await tx.run(
        "INSERT INTO webhooks (type, intent_id, charge_id, made_at, send_at) VALUES ($1, $2, $3, $4, $4)",
        TYPES[status],
        intent_id,
        charge_id,
        tx.now,
    )


@contextlib.asynccontextmanager
async def sending_webhooks(processor: "TestProcessor", address: str) -> AsyncIterator[None]:
    """For as long as the block runs, what is queued is sent there."""
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client, asyncio.TaskGroup() as loops:
        sending = loops.create_task(_send_for_ever(processor, client, address))
        try:
            yield
        finally:
            sending.cancel()


async def _send_for_ever(processor: "TestProcessor", client: httpx.AsyncClient, address: str) -> None:
    while True:
        committed = processor.books.committed.next()
        try:
            await asyncio.gather(*(_send(processor, client, address, webhook) for webhook in await _take(processor.books)))
        except TRANSIENT as error:
            log.debug("webhooks_delayed", message="the test processor's messages are sent as soon as its books are back", error=repr(error))
        await wait_for_signal(committed, 1.0)


async def _take(books: Database) -> list[Webhook]:
    """What is due; nobody else sends it for a while, and it is tried again after that unless it was taken."""
    async with books.reading() as tx:
        return await tx.all(
            Webhook,
            """
            UPDATE webhooks SET tries = tries + 1, send_at = CASE WHEN tries + 1 < $3 THEN $1 + (tries + 1) * $2::interval END
            WHERE webhook_id IN (SELECT webhook_id FROM webhooks WHERE send_at <= $1 ORDER BY send_at LIMIT 5 FOR UPDATE SKIP LOCKED)
            RETURNING webhook_id, type, intent_id, charge_id, tries
            """,
            tx.now,
            LEASE,
            MAX_TRIES,
        )


async def _send(processor: "TestProcessor", client: httpx.AsyncClient, address: str, webhook: Webhook) -> None:
    """One that is lost on the way was sent, as far as we know."""
    fault = await faults.draw(processor.books, "webhook")
    taken = fault == "lose"
    body = webhook.body()
    for _ in range({"lose": 0, "repeat": 2}.get(fault or "", 1)):
        headers = {"Stripe-Signature": processor.signature(body, int(time.time())), "Content-Type": "application/json"}
        with contextlib.suppress(httpx.HTTPError):
            taken = (await client.post(address, content=body, headers=headers)).is_success
    if taken:
        await processor.books.pool.execute("UPDATE webhooks SET send_at = NULL WHERE webhook_id = $1", webhook.webhook_id)
