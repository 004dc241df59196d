"""How operators' tools print amounts, times and messages."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID


def amount(cents: float, currency: str | None) -> str:
    """1,234.50 USD"""
    return f"{cents / 100:,.2f} {currency}"


def short_id(id: UUID | str) -> str:
    """As much of an id as a person needs to tell it from others."""
    return str(id)[:8]


def clock(at: datetime) -> str:
    """The time of day in UTC, as log lines have it."""
    return f"{at.astimezone(UTC):%H:%M:%S}"


def exact_clock(at: datetime) -> str:
    """The time of day in UTC, with milliseconds."""
    return f"{clock(at)}.{at.microsecond // 1000:03}"


def moment(at: datetime) -> str:
    """Day and time in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def first_line(text: str) -> str:
    """The sentence of an error that has a trace below it."""
    return text.split("\n", 1)[0][:200]


def in_short(event: str, data: dict[str, Any]) -> str:
    """What a message says, in a few words: a state, a price, a reason. Also of one that this version does not know."""
    price = next((amount(data[name], data.get("currency")) for name in ("price_cents", "amount_cents") if _is_number(data, name)), "")
    state = data.get("reason") or data.get("status")
    match event:
        case "TicketCreated" | "TicketUpdated":
            state = next((name for name in ("sold", "withdrawn") if data.get(name)), "locked" if data.get("order_id") else "available")
        case "PaymentFailed":
            state = f"try {data.get('attempt')}, {data.get('decline_code')}"
    return ", ".join(str(part) for part in (state, price) if part)


def _is_number(data: dict[str, Any], name: str) -> bool:
    return isinstance(data.get(name), int | float)
