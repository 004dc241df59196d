"""How the orders of a story stand: what is missing, what is expected next, and whether it is over."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from admitone.kit.event import words
from admitone.kit.observe.log import printable
from admitone.ops.format import clock
from admitone.ops.journey.story import OpenCharge, Step, Story, Timer

ENDS_OF_A_CHARGE = ("PaymentFailed", "PaymentCreated", "PaymentUncollected", "PaymentRefunded")


class OrderStatus(Struct, frozen=True, kw_only=True):
    """One order, as the newest event of orders has it."""

    order_id: str
    status: str | None
    """None where orders has said nothing of it, or can't be asked."""
    reason: str | None
    ended: bool
    """Nothing more is expected of anybody."""
    expected: str | None
    """What comes next."""


def order_statuses(story: Story) -> list[OrderStatus]:
    """The orders that a story is about, the first one first. A request is only a part of its order's story: it has none."""
    if story.about.kind == "request":
        return []
    order_ids = dict.fromkeys(step.order_id for step in story.steps if step.order_id)
    return [_order_status(story, order_id) for order_id in order_ids]


def _order_status(story: Story, order_id: str) -> OrderStatus:
    steps = [step for step in story.steps if step.order_id == order_id]
    said = [step.data for step in steps if step.service == "orders" and isinstance(step.data.get("version"), int)]
    if not said:
        return OrderStatus(order_id=order_id, status=None, reason=None, ended=False, expected=None)
    newest = max(said, key=lambda data: int(data["version"]))
    expected = _expected(story, order_id, steps, newest["status"], newest["expires_at"])
    return OrderStatus(order_id=order_id, status=newest["status"], reason=newest["reason"], ended=expected is None, expected=expected)


def _expected(story: Story, order_id: str, steps: list[Step], status: str, expires_at: str) -> str | None:
    approved = {step.data["charge_id"] for step in steps if step.event == "PaymentAuthorized"}
    ended = {step.data["charge_id"] for step in steps if step.event in ENDS_OF_A_CHARGE}
    charge = story.asking.get(order_id)
    match status:
        case "created":
            return f"tickets confirms the lock; {_timer(story, order_id)}"
        case "awaiting:payment" if approved - ended:
            return f"orders hears that the bank has approved; {_timer(story, order_id)}"
        case "awaiting:payment" if charge and charge.at_the_bank:
            return f"the buyer confirms the payment at the bank; {_timer(story, order_id)}"
        case "awaiting:payment" if charge and charge.status == "created":
            return f"payments learns whether the card is charged{_asked(charge)}; {_timer(story, order_id)}"
        case "awaiting:payment":
            return f"the buyer pays, until {clock(datetime.fromisoformat(expires_at))}; {_timer(story, order_id)}"
        case "complete" | "cancelled" if "payments" in story.away:
            return "not known, as payments can't be asked about its money"
        case "complete" if not ended & approved:
            return f"payments takes the approved money{_asked(charge)}"
        case "complete" if charge and charge.status == "completed":
            return f"payments gives the money back, as it was asked to{_asked(charge)}"
        case "cancelled" if approved - ended:
            return f"payments gives the approval back{_asked(charge)}"
        case "cancelled" if charge:
            return f"payments learns whether the card is charged, and gives it back{_asked(charge)}"
    return None


def _asked(charge: OpenCharge | None) -> str:
    """How often the card processor was asked in vain."""
    if charge is None or not charge.failed_attempts:
        return ""
    times = "once" if charge.failed_attempts == 1 else f"{charge.failed_attempts} times"
    error = f" ({printable(charge.last_error)})" if charge.last_error else ""
    return f": asked {times} in vain{error}, again at {clock(charge.next_attempt_at)}"


def _timer(story: Story, order_id: str) -> str:
    match story.timers.get(order_id):
        case Timer(rung_at=datetime() as at):
            return f"the timer rang at {clock(at)}"
        case Timer(due=datetime() as at):
            return f"the timer rings at {clock(at)}"
        case _:
            return "expiration can't be asked for its timer" if "expiration" in story.away else "no timer is set"


def missing(story: Story, numbers: dict[UUID, int]) -> list[str]:
    """What has not happened yet though it should: a line for each event that is under way."""
    lines = []
    for step in story.steps:
        name = f"{words(step.event)} ({numbers[step.event_id]})"
        if step.published_at is None:
            lines.append(f"{name} is not published yet" + (f", so not heard by {', '.join(step.missing)}" if step.missing else ""))
        elif step.missing:
            lines.append(f"{name} is published, but not heard by {', '.join(step.missing)} yet")
    return lines


def over(story: Story) -> bool:
    """Everything said has been heard or given up, and what the story is about has ended."""
    if story.away or any(step.missing or step.published_at is None for step in story.steps):
        return False
    match story.about.kind:
        case "order":
            return all(order.ended for order in order_statuses(story))
        case "ticket":
            states = [step.data for step in story.steps if step.service == "tickets" and isinstance(step.data.get("version"), int)]
            newest = max(states, key=lambda data: int(data["version"]), default={})
            gone = newest.get("sold") or newest.get("withdrawn")
            return bool(gone) and all(order.ended for order in order_statuses(story))
        case _:
            return True
