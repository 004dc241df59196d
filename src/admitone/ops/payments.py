"""What a person asks about money, and does about it: the report, a refund, a decision, the balances."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

from admitone.config import Settings
from admitone.kit.data.db import Database, connected
from admitone.payments import commands, ledger, repository
from admitone.payments.model import SETTLED_WITHIN, Charge, DueCharge

LOOK_FOR_SECONDS = 15.0


async def unsettled(settings: Settings) -> list[str]:
    """A line for everything about money that is older than a minute and not settled, or booked other than it should be."""
    async with _payments(settings) as db, db.reading() as tx:
        charges = await repository.unsettled(tx, tx.now - SETTLED_WITHIN)
        unlike = await ledger.unlike_charges(tx)
        now = tx.now
    lines = [_row(charge, now - charge.changed_at) for charge in charges]
    return lines + [f"charge {charge_id}  the ledger does not say what its status says" for charge_id in unlike]


async def refund(settings: Settings, order_id: UUID, reason: str, relist: bool) -> Charge:
    """Ask for a refund, and wait a while for payments to make it; returns the charge as it is then. Raises NothingToRefund."""
    async with _payments(settings) as db:
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
    async with _payments(settings) as db, db.transaction() as tx:
        return await commands.settle_uncollected(tx, order_id, reason)


async def balances(settings: Settings, by_seller: bool) -> tuple[list[str], bool]:
    """The ledger's accounts, a line each, and whether they sum to zero in every currency and agree with the charges."""
    async with _payments(settings) as db, db.reading() as tx:
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


@contextlib.asynccontextmanager
async def _payments(settings: Settings) -> AsyncIterator[Database]:
    async with connected("payments", settings.database_url_of("payments")) as db:
        yield db


def _row(charge: DueCharge, age: timedelta) -> str:
    return f"order {charge.order_id}  {_amount(charge.amount_cents, charge.currency):>14}  since {_ago(age):>7}  {_what(charge)}"


def _what(charge: DueCharge) -> str:
    order, trouble = charge.order_status, f": {charge.last_error}" if charge.last_error else ""
    match charge.status:
        case "created":
            return f"in doubt (its order: {order}); asked again with the same key{trouble}"
        case "authorized" if order in ("complete", "cancelled"):
            return f"approved, and not {'taken' if order == 'complete' else 'given back'} yet{trouble}"
        case "authorized":
            return f"approved, and orders has not decided yet (its order: {order}){trouble}"
        case "uncollected":
            return f"uncollected{trouble}: `admitone refund` undoes the sale, `admitone settle` says it was settled otherwise"
        case _:
            return f"refund asked for, and not made yet{trouble}"


def _line(name: str, cents: int, currency: str) -> str:
    return f"{name:<44} {_amount(cents, currency):>20}"


def _amount(cents: int, currency: str) -> str:
    return f"{cents / 100:,.2f} {currency}"


def _ago(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
