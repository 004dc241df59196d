"""How operators' tools print amounts and messages."""

from typing import Any


def in_short(event: str, data: dict[str, Any]) -> str:
    """What a message says, in a few words: a state, a price, a reason. Also of one that this version does not know."""
    price = next(
        (f"{data[name] / 100:.2f} {data.get('currency')}" for name in ("price_cents", "amount_cents") if _is_number(data, name)), ""
    )
    state = data.get("reason") or data.get("status")
    match event:
        case "TicketCreated" | "TicketUpdated":
            state = next((name for name in ("sold", "withdrawn") if data.get(name)), "locked" if data.get("order_id") else "available")
        case "PaymentFailed":
            state = f"try {data.get('attempt')}, {data.get('decline_code')}"
    return ", ".join(str(part) for part in (state, price) if part)


def _is_number(data: dict[str, Any], name: str) -> bool:
    return isinstance(data.get(name), int | float)
