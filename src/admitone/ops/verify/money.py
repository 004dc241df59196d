"""Money (I2): what payments has written down, against orders, the ledger and the processor."""

from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from asyncpg import Record

from admitone.config import TEST_PROCESSOR
from admitone.ops.format import amount
from admitone.ops.verify.report import Line
from admitone.ops.verify.snapshot import Snapshot, merge_by_key
from admitone.payments.model import SETTLED_WITHIN, VOIDED

TAKEN_ONCE = ("captured", "refunded")
OPEN_INTENTS = ("needs_confirmation", "authorized")
OF_TEST_PROCESSOR = "pi_test_"
ORDERS_OF: dict[str, tuple[str, ...]] = {
    "created": ("awaiting:payment",),  # While its buyer is at the bank.
    "failed": ("created", "awaiting:payment", "complete", "cancelled", "refunded"),
    "completed": ("complete",),
    "uncollected": ("complete",),
    "refunded": ("refunded",),
}
"""At rest: the states of an order that go with a charge's. None goes with one that is approved and neither taken nor given back."""
SAID_OF: dict[str, list[list[str]]] = {
    "created": [[]],
    "authorized": [["PaymentAuthorized"]],
    "failed": [["PaymentFailed"], ["PaymentAuthorized", "PaymentFailed"]],
    "completed": [["PaymentAuthorized", "PaymentCreated"]],
    "uncollected": [["PaymentAuthorized", "PaymentUncollected"]],
    "refunded": [
        ["PaymentAuthorized", "PaymentCreated", "PaymentRefunded"],
        ["PaymentAuthorized", "PaymentUncollected", "PaymentRefunded"],
    ],
}
"""What payments has said of a charge, however it came to its state."""


class Money:
    """I2, and what the log of payments adds up to (I8) and orders keeps of it (I9)."""

    def __init__(self, snapshot: Snapshot, i8: Line, i9: Line) -> None:
        self.snapshot = snapshot
        self.line = Line(
            name="I2",
            claim="captured minus refunded is the price of a complete order, and nothing of any other",
            counted=Counter(charges=0),
        )
        self.i8, self.i9 = i8, i9
        self.has_books = TEST_PROCESSOR in snapshot.databases
        self.elsewhere = 0
        """Charges at a processor whose books we don't have."""

    async def check(self) -> None:
        """All of it."""
        rows = self.snapshot.rows
        orders = rows("orders", "SELECT order_id, orders AS row FROM orders ORDER BY order_id", what="orders")
        charges = rows(
            "payments",
            "SELECT order_id, array_agg(charges ORDER BY attempt) AS charges FROM charges GROUP BY order_id ORDER BY order_id",
            what="orders",
        )
        said = rows(
            "payments",
            """
            SELECT (data ->> 'order_id')::uuid AS order_id, array_agg(event ORDER BY id) AS events,
                array_agg(data ->> 'charge_id' ORDER BY id) AS charges
            FROM outbox GROUP BY 1 ORDER BY 1
            """,
            what="orders",
        )
        booked = rows(
            "payments",
            """
            SELECT order_id, array_agg(ledger ORDER BY entry_id) AS entries
            FROM ledger JOIN charges USING (charge_id) GROUP BY order_id ORDER BY order_id
            """,
            what="orders",
        )
        streams = [orders, charges, said, booked]
        if self.has_books:
            streams.append(
                rows(
                    TEST_PROCESSOR,
                    "SELECT order_id, array_agg(intents ORDER BY made_at) AS intents FROM intents GROUP BY order_id ORDER BY order_id",
                    what="orders",
                )
            )
        async for order_id, (order, charged, spoken, entries, *processor) in merge_by_key(*streams):
            row = order["row"] if order else None
            of_order = charged["charges"] if charged else []
            events: dict[str, list[str]] = {}
            for event, charge_id in zip(spoken["events"], spoken["charges"], strict=True) if spoken else ():
                events.setdefault(charge_id, []).append(event)
            intents = processor[0]["intents"] if processor and processor[0] else []
            self._charges(of_order, events, entries["entries"] if entries else [])
            if self.snapshot.at_rest and not self.snapshot.is_excluded(order_id, row and row["ticket_id"]):
                self._order(order_id, row, of_order)
                if self.has_books:
                    self._processor(row, of_order, intents)
            self._stuck(of_order)
        self._notes()

    def _charges(self, charges: list[Record], events: Mapping[str, list[str]], entries: list[Record]) -> None:
        """Within payments: a charge is what was said of it, and its money is booked as it stands."""
        accounts: Counter[tuple[UUID, str, UUID | None, str]] = Counter()
        postings: Counter[tuple[str, str]] = Counter()
        for entry in entries:
            accounts[entry["charge_id"], entry["account"], entry["seller_id"], entry["currency"]] += entry["amount_cents"]
            postings[entry["posting"], entry["currency"]] += entry["amount_cents"]
        for (posting, currency), cents in postings.items():
            if cents:
                self.line.broken(f"posting {posting} sums to {amount(cents, currency)}")
        should: Counter[tuple[UUID, str, UUID | None, str]] = Counter()
        known = set()
        for charge in charges:
            charge_id, price, fee, currency = (charge[name] for name in ("charge_id", "amount_cents", "fee_cents", "currency"))
            known.add(str(charge_id))
            self.line.counted["charges"] += 1
            self.i8.counted["rows"] += 1
            if charge["status"] == "completed":
                should[charge_id, "processor", None, currency] = price
                should[charge_id, "seller", charge["seller_id"], currency] = fee - price
                should[charge_id, "fees", None, currency] = -fee
            said = events.get(str(charge_id), [])
            self.i8.counted["events"] += len(said)
            if said not in SAID_OF[charge["status"]]:
                self.i8.broken(f"{_named(charge)} is not what the log of payments adds up to: {', '.join(said) or 'nothing'}")
        for charge_id in events.keys() - known:
            self.i8.broken(f"charge {charge_id} is in the log of payments, and not there")
        for account in {**should, **accounts}:
            if accounts[account] != should[account]:
                self.line.broken(
                    f"charge {account[0]} has {amount(accounts[account], account[3])} in the account {account[1]}, "
                    f"and should have {amount(should[account], account[3])}"
                )

    def _order(self, order_id: UUID, order: Record | None, charges: list[Record]) -> None:
        """Across the services: a charge goes with its order's state and price."""
        for charge in charges:
            if order is None:
                self.line.broken(f"{_named(charge)} is for no order")
            elif order["status"] not in ORDERS_OF.get(charge["status"], ()):
                self.line.broken(f"{_named(charge)}, and its order is {order['status']}")
            elif (charge["amount_cents"], charge["currency"]) != (order["price_cents"], order["currency"]):
                self.line.broken(
                    f"{_named(charge)} is over {_money(charge)}, and its order costs {order['price_cents']} {order['currency']}"
                )
        if order is None:
            return
        self.i9.counted["orders"] += 1
        live = [charge for charge in charges if charge["status"] != "failed"]
        if order["status"] in ("complete", "refunded") and len(live) != 1:
            self.line.broken(f"order {order_id} is {order['status']}, and has {len(live)} payments")
            return
        paid = live[0] if live and order["status"] in ("complete", "refunded") else None
        uncollected = paid is not None and (
            paid["status"] == "uncollected" or (paid["status"] == "refunded" and not paid["stripe_refund_id"])
        )
        taken = paid["charge_id"] if paid is not None and not uncollected else None
        should = (taken, uncollected, order["status"] == "refunded" and paid is not None and paid["relist"])
        found = (order["charge_id"], order["uncollected"], order["relist"])
        if found != should:
            kept, wanted = (", ".join(map(str, what)) for what in (found, should))
            self.i9.broken(f"order {order_id} keeps of its payment (charge, uncollected, relisted): {kept}; it should be: {wanted}")

    def _processor(self, order: Record | None, charges: list[Record], intents: list[Record]) -> None:
        """What the test processor has taken is what payments says."""
        by_key = {intent["idempotency_key"]: intent for intent in intents}
        for charge in charges:
            if charge["stripe_id"] is not None and not charge["stripe_id"].startswith(OF_TEST_PROCESSOR):
                self.elsewhere += 1
                continue
            intent = by_key.pop(charge["idempotency_key"], None)
            if intent is None:
                if charge["status"] != "created":
                    self.line.broken(f"{_named(charge)}, and the processor knows nothing of it")
                continue
            state = (intent["status"], intent["code"])
            if state != _intent_of(charge) and charge["status"] != "created":
                self.line.broken(f"{_named(charge)}, and at the processor it is {intent['status']}")
            if (charge["amount_cents"], charge["currency"]) != (intent["amount_cents"], intent["currency"]):
                self.line.broken(f"{_named(charge)} is over {_money(charge)}, and at the processor over {_money(intent)}")
            if charge["stripe_id"] not in (intent["id"], None) or charge["stripe_refund_id"] != intent["refund_id"]:
                self.line.broken(f"{_named(charge)}: the processor has other ids for it")
        for intent in by_key.values():
            self.line.broken(f"payment {intent['id']} ({intent['status']}) at the processor is of no charge of ours")
        for intent in intents:
            self.line.counted["payments at the processor"] += 1
            held = intent["captured_cents"] - intent["refunded_cents"]
            should = intent["amount_cents"] if intent["status"] == "captured" else 0
            if held != should:
                self.line.broken(
                    f"payment {intent['id']} is {intent['status']}, and the processor holds {amount(held, intent['currency'])}"
                )
            if intent["status"] in OPEN_INTENTS and (order is None or order["status"] != "awaiting:payment"):
                self.line.broken(
                    f"payment {intent['id']} is {intent['status']}, and its order is {order['status'] if order else 'not there'}"
                )

    def _stuck(self, charges: list[Record]) -> None:
        """What payments has not touched for a minute, although it runs, it has forgotten."""
        now, since = self.snapshot.began["payments"], self.snapshot.at_work_since.get("payments")
        if since is None or since > now - SETTLED_WITHIN:
            return
        for charge in charges:
            if charge["status"] == "authorized" and not charge["failed_attempts"] and charge["changed_at"] < now - SETTLED_WITHIN:
                self.line.broken(f"{_named(charge)} was approved at {charge['changed_at']}, and neither taken nor given back since")

    def _notes(self) -> None:
        if not self.snapshot.at_rest:
            self.line.notes.append("charges were compared with the ledger alone: the rest needs everything at rest")
        if not self.has_books:
            self.line.notes.append("no books of the test processor are here: what a processor holds was not compared")
        if self.elsewhere:
            self.line.notes.append(
                f"{self.elsewhere:,} {'charge is' if self.elsewhere == 1 else 'charges are'} at Stripe, whose own books were not compared"
            )


async def unfinished_payments(snapshot: Snapshot) -> int:
    """Payments that are still to be resolved, captured, voided or given back. One that its buyer is to confirm at the bank is at rest."""
    count: int = await snapshot.databases["payments"].fetchval(
        """
        SELECT count(*) FROM charges LEFT JOIN order_copies AS copy USING (order_id)
        WHERE (charges.status = 'created' AND NOT (redirect_url IS NOT NULL AND copy.status IS NOT DISTINCT FROM 'awaiting:payment'))
           OR charges.status = 'authorized'
           OR (charges.status IN ('completed', 'uncollected') AND refund_asked_at IS NOT NULL)
        """
    )
    return count


def _intent_of(charge: Record) -> tuple[str, str | None]:
    """How the payment has to stand at the processor, and why: a charge never failed but the processor said so."""
    status, failure, refund_id = charge["status"], charge["failure"], charge["stripe_refund_id"]
    if status == "uncollected" or (status, failure) == ("failed", VOIDED) or (status, refund_id) == ("refunded", None):
        return "voided", None
    return {"completed": "captured", "failed": "declined"}.get(status, status), failure if status == "failed" else None


def _named(charge: Record) -> str:
    return f"charge {charge['charge_id']} ({charge['status']}, attempt {charge['attempt']} of order {charge['order_id']})"


def _money(row: Any) -> str:
    return amount(row["amount_cents"], row["currency"])
