"""All the books of a house at rest, compared: payments, the card processor, orders and tickets.

assert await disagreements(house) == []
await settled(house, seconds=60)
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from support.house import House, Json

from admitone.ops.verify.money import ORDERS_OF

LIVE_INTENTS = ("needs_confirmation", "authorized")
TAKEN_ONCE = ("captured", "refunded")


@dataclass
class Books:
    """What each side has written down."""

    charges: list[Json]
    entries: list[Json]
    intents: list[Json]
    orders: list[Json]
    tickets: list[Json]

    @classmethod
    async def of(cls, house: House) -> "Books":
        return cls(
            charges=await house.rows("payments", "SELECT * FROM charges ORDER BY order_id, attempt"),
            entries=await house.rows("payments", "SELECT * FROM ledger ORDER BY entry_id"),
            intents=await house.rows("testgateway", "SELECT * FROM intents ORDER BY id"),
            orders=await house.rows("orders", "SELECT * FROM orders ORDER BY created_at"),
            tickets=await house.rows("tickets", "SELECT * FROM tickets ORDER BY created_at"),
        )

    def only(self, orders: set[UUID]) -> "Books":
        """What is written down about these orders."""
        charges = {charge["charge_id"] for charge in self.charges if charge["order_id"] in orders}
        tickets = {order["ticket_id"] for order in self.orders if order["order_id"] in orders}
        return Books(
            charges=[row for row in self.charges if row["order_id"] in orders],
            entries=[row for row in self.entries if row["charge_id"] in charges],
            intents=[row for row in self.intents if row["order_id"] in orders],
            orders=[row for row in self.orders if row["order_id"] in orders],
            tickets=[row for row in self.tickets if row["ticket_id"] in tickets],
        )

    def disagreements(self) -> list[str]:
        """A sentence for each."""
        return [*self._charges(), *self._intents(), *self._orders(), *self._ledger(), *self._tickets()]

    def _charges(self) -> Iterator[str]:
        orders = {order["order_id"]: order for order in self.orders}
        intents = {intent["idempotency_key"]: intent for intent in self.intents}
        for charge in self.charges:
            name, order, intent = _charge(charge), orders.get(charge["order_id"]), intents.get(charge["idempotency_key"])
            if order is None:
                yield f"{name} is for no order"
            else:
                if order["status"] not in ORDERS_OF.get(charge["status"], ()):
                    yield f"{name}, and its order is {order['status']}"
                if (charge["amount_cents"], charge["currency"]) != (order["price_cents"], order["currency"]):
                    yield f"{name} is over {_money(charge)}, and its order costs {order['price_cents']} {order['currency']}"
            if charge["status"] in ("completed", "uncollected") and charge["refund_asked_at"] is not None:
                yield f"{name} is to be given back, and was not yet"
            if intent is None:
                yield f"{name}, and the processor knows nothing of it"
                continue
            if (intent["status"], intent["code"]) != _intent_of(charge):
                yield f"{name}, and at the processor it is {intent['status']} ({intent['code']})"
            if (charge["amount_cents"], charge["currency"]) != (intent["amount_cents"], intent["currency"]):
                yield f"{name} is over {_money(charge)}, and at the processor over {_money(intent)}"
            if charge["stripe_id"] not in (intent["id"], None) or charge["stripe_refund_id"] != intent["refund_id"]:
                yield f"{name}: the processor has other ids for it"

    def _intents(self) -> Iterator[str]:
        keys = {charge["idempotency_key"] for charge in self.charges}
        orders = {order["order_id"]: order["status"] for order in self.orders}
        for intent in self.intents:
            name = f"intent {intent['id']} ({intent['status']})"
            if intent["idempotency_key"] not in keys:
                yield f"{name} is of no charge of ours"
            if intent["status"] in LIVE_INTENTS and orders.get(intent["order_id"]) != "awaiting:payment":
                yield f"{name} is open, and its order is {orders.get(intent['order_id'])}"
            taken = intent["amount_cents"] if intent["status"] in TAKEN_ONCE else 0
            given_back = intent["amount_cents"] if intent["status"] == "refunded" else 0
            if (intent["captured_cents"], intent["refunded_cents"]) != (taken, given_back):
                yield f"{name}: {intent['captured_cents']} taken and {intent['refunded_cents']} given back, of {_money(intent)}"
        taken_for = Counter(intent["order_id"] for intent in self.intents if intent["status"] in TAKEN_ONCE)
        for order_id, times in taken_for.items():
            if times > 1:
                yield f"order {order_id} was paid {times} times"

    def _orders(self) -> Iterator[str]:
        charges: dict[UUID, list[Json]] = {}
        for charge in self.charges:
            if charge["status"] != "failed":
                charges.setdefault(charge["order_id"], []).append(charge)
        for order in self.orders:
            name, live = f"order {order['order_id']} ({order['status']})", charges.get(order["order_id"], [])
            if order["status"] in ("complete", "refunded"):
                if len(live) != 1:
                    yield f"{name} has {len(live)} payments"
                    continue
                [charge] = live
                taken = any(entry["charge_id"] == charge["charge_id"] for entry in self.entries)
                if order["charge_id"] != (charge["charge_id"] if taken else None):
                    yield f"{name} keeps {order['charge_id']} as its charge, and {_charge(charge)} was {'' if taken else 'never '}taken"
                if order["uncollected"] is taken:
                    yield f"{name} is called {'uncollected' if taken else 'collected'}, which it is not"
                if order["relist"] != (charge["relist"] and order["status"] == "refunded"):
                    yield f"{name} says relist={order['relist']}, and its refund says {charge['relist']}"
            elif order["charge_id"] is not None or order["uncollected"] or order["relist"]:
                yield f"{name} speaks of money, and was never paid"
            elif order["status"] == "cancelled" and live:
                yield f"{name} has a payment: {_charge(live[0])}"

    def _ledger(self) -> Iterator[str]:
        postings = Counter[tuple[str, str]]()
        accounts = Counter[tuple[Any, ...]]()
        for entry in self.entries:
            postings[entry["posting"], entry["currency"]] += entry["amount_cents"]
            accounts[entry["charge_id"], entry["account"], entry["seller_id"], entry["currency"]] += entry["amount_cents"]
        yield from (f"posting {posting} sums to {cents} {currency}" for (posting, currency), cents in postings.items() if cents)
        if sum(postings.values()):
            yield f"the ledger sums to {sum(postings.values())}"
        wanted = Counter[tuple[Any, ...]]()
        for charge in self.charges:
            if charge["status"] == "completed":
                charge_id, amount, fee, currency = (charge[name] for name in ("charge_id", "amount_cents", "fee_cents", "currency"))
                wanted[charge_id, "processor", None, currency] = amount
                wanted[charge_id, "seller", charge["seller_id"], currency] = fee - amount
                wanted[charge_id, "fees", None, currency] = -fee
        for account in {**wanted, **accounts}:
            if accounts[account] != wanted[account]:
                yield f"charge {account[0]} has {accounts[account]} {account[3]} in the account {account[1]}, and not {wanted[account]}"
        for currency, (held, kept) in self.totals().items():
            if held != kept:
                yield f"the ledger says that {held} {currency} are held, and the processor holds {kept}"

    def totals(self) -> dict[str, tuple[int, int]]:
        """Per currency, in cents: what the ledger says that the processor holds, and what the processor holds."""
        held, kept = Counter[str](), Counter[str]()
        for entry in self.entries:
            held[entry["currency"]] += entry["amount_cents"] if entry["account"] == "processor" else 0
        for intent in self.intents:
            kept[intent["currency"]] += intent["captured_cents"] - intent["refunded_cents"]
        return {currency: (held[currency], kept[currency]) for currency in {**held, **kept}}

    def _tickets(self) -> Iterator[str]:
        holding: dict[UUID, list[UUID]] = {}
        for order in self.orders:
            if order["status"] == "complete" or (order["status"] == "refunded" and not order["relist"]):
                holding.setdefault(order["ticket_id"], []).append(order["order_id"])
        for ticket in self.tickets:
            orders = holding.get(ticket["ticket_id"], [])
            if orders != ([ticket["order_id"]] if ticket["sold"] else []):
                sold = "sold" if ticket["sold"] else "not sold"
                yield f"ticket {ticket['ticket_id']} is {sold}, and holds {ticket['order_id']}; it was sold to {orders}"


def _charge(charge: Json) -> str:
    return f"charge {charge['charge_id']} ({charge['status']}, attempt {charge['attempt']} of order {charge['order_id']})"


def _intent_of(charge: Json) -> tuple[str, str | None]:
    """How the payment has to stand at the processor, and why: a charge never failed but the processor said so."""
    match charge:
        case {"status": "created"}:
            return "needs_confirmation", None
        case {"status": "failed", "failure": "voided"} | {"status": "uncollected"} | {"status": "refunded", "stripe_refund_id": None}:
            return "voided", None
        case {"status": "failed"}:
            return "declined", charge["failure"]
        case {"status": "completed"}:
            return "captured", None
        case {"status": "refunded"}:
            return "refunded", None
    return "captured or voided", None


def _money(row: Json) -> str:
    return f"{row['amount_cents']} {row['currency']}"


async def disagreements(house: House) -> list[str]:
    """A sentence for each thing on which the two sides, the orders and the tickets don't agree. Meant for a house at rest."""
    return (await Books.of(house)).disagreements()


async def settled(house: House, seconds: float) -> None:
    """Wait until everything said is heard, nothing about money is open, and all books agree."""
    deadline = time.monotonic() + seconds
    while True:
        await house.at_rest(seconds)
        lines = await disagreements(house)
        if not lines:
            return
        assert time.monotonic() < deadline, "\n".join([f"not settled within {seconds} s:", *lines])
        await asyncio.sleep(0.2)  # Each look is a lot of work for the server.
