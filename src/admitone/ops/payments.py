"""What a person asks about money, and does about it: the report, a refund, a decision, the balances."""

import asyncio
from datetime import timedelta
from uuid import UUID

from admitone.config import Settings
from admitone.ops.format import amount
from admitone.ops.reach import open_database
from admitone.payments import commands, ledger, repository
from admitone.payments.model import SETTLED_WITHIN, Charge, DueCharge

LOOK_FOR_SECONDS = 15.0


async def unsettled(settings: Settings) -> list[str]:
    """A line for everything about money that is older than a minute and not settled, or booked other than it should be."""
    async with open_database(settings, "payments") as db, db.reading() as tx:
        charges = await repository.unsettled(tx, tx.now - SETTLED_WITHIN)
        unlike = await ledger.unlike_charges(tx)
        now = tx.now
    lines = [_row(charge, now - charge.changed_at) for charge in charges]
    return lines + [f"charge {charge_id}  the ledger does not say what its status says" for charge_id in unlike]


async def refund(settings: Settings, order_id: UUID, reason: str, relist: bool) -> Charge:
    """Ask for a refund, and wait a while for payments to make it; returns the charge as it is then. Raises NothingToRefund."""
    async with open_database(settings, "payments") as db:
        async with db.transaction() as tx:
            charge = await commands.ask_for_refund(tx, order_id, reason, relist, tx.now)
        deadline = asyncio.get_running_loop().time() + LOOK_FOR_SECONDS
        while charge.status != "refunded" and not charge.failed_attempts and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.1)
            async with db.reading() as tx:
                charge = await repository.charge(tx, charge.charge_id) or charge
    return charge


async def settle(settings: Settings, order_id: UUID, reason: str) -> Charge:
    """Note what was decided about an uncollected payment. Raises NothingToSettle."""
    async with open_database(settings, "payments") as db, db.transaction() as tx:
        return await commands.settle_uncollected(tx, order_id, reason)


async def balances(settings: Settings, by_seller: bool) -> tuple[list[str], bool]:
    """The ledger's accounts, a line each, and whether they sum to zero in every currency and agree with the charges."""
    async with open_database(settings, "payments") as db, db.reading() as tx:
        found = await ledger.balances(tx)
        unlike = await ledger.unlike_charges(tx)
    lines = []
    sums: dict[str, int] = {}
    sellers: dict[str, list[int]] = {}
    for balance in found:
        sums[balance.currency] = sums.get(balance.currency, 0) + balance.amount_cents
        if balance.account != "seller":
            lines.append(_line(balance.account, balance.amount_cents, balance.currency))
        elif by_seller:
            lines.append(_line(f"seller {balance.seller_id or 'unknown'}", balance.amount_cents, balance.currency))
        else:
            sellers.setdefault(balance.currency, []).append(balance.amount_cents)
    for currency, shares in sellers.items():
        lines.append(_line(f"sellers ({len(shares)})", sum(shares), currency))
    for currency, total in sums.items():
        lines.append(_line("sum", total, currency))
    lines += [f"charge {charge_id}: the ledger does not say what its status says" for charge_id in unlike]
    return lines or ["Nothing was ever paid."], not unlike and not any(sums.values())


def _row(charge: DueCharge, age: timedelta) -> str:
    return f"order {charge.order_id}  {amount(charge.amount_cents, charge.currency):>14}  since {_ago(age):>7}  {_what(charge)}"


def _what(charge: DueCharge) -> str:
    order, error = charge.order_status, f": {charge.last_error}" if charge.last_error else ""
    match charge.status:
        case "created":
            return f"in doubt (its order: {order}); asked again with the same key{error}"
        case "authorized" if order in ("complete", "cancelled"):
            return f"approved, and not {'taken' if order == 'complete' else 'given back'} yet{error}"
        case "authorized":
            return f"approved, and orders has not decided yet (its order: {order}){error}"
        case "uncollected":
            return f"uncollected{error}: `admitone refund` undoes the sale, `admitone settle` says it was settled otherwise"
        case _:
            return f"refund asked for, and not made yet{error}"


def _line(name: str, cents: int, currency: str) -> str:
    return f"{name:<44} {amount(cents, currency):>20}"


def _ago(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
