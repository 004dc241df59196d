"""What is expected next of an order, for each place where it can be stuck."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.facts import (
    CANCEL_AT,
    A,
    order_cancelled,
    order_completed,
    order_created,
    order_refunded,
    order_reserved,
    payment_authorized,
    payment_created,
    payment_failed,
    payment_refunded,
    payment_uncollected,
)

from admitone.kit.event import OWNERS, Event
from admitone.ops.journey.status import order_statuses, over
from admitone.ops.journey.story import OpenCharge, Step, Story, Subject, Timer

AT = datetime(2030, 1, 1, 12, 20, tzinfo=UTC)


def story_of(*events: Event, asking: OpenCharge | None = None, away: str = "") -> Story:
    order_id = str(A)
    steps = [
        Step(
            event_id=UUID(int=number),
            event=type(event).__name__,
            service=OWNERS[type(event)],
            time=AT,
            correlation_id=UUID(int=0),
            causation_id=None,
            data=msgspec.to_builtins(event),
            published_at=AT,
            heard={},
            parked={},
            dropped={},
            missing=[],
            order_id=order_id,
        )
        for number, event in enumerate(events)
        if OWNERS[type(event)] != away
    ]
    return Story(
        about=Subject("order", order_id),
        steps=steps,
        timers={order_id: Timer(order_id, CANCEL_AT, None)},
        asking={order_id: asking} if asking else {},
        away={away: "no answer"} if away else {},
    )


def asking(status: str, **changes: Any) -> OpenCharge:
    plain = {"at_the_bank": False, "failed_attempts": 0, "last_error": None}
    return OpenCharge(order_id=str(A), attempt=1, status=status, next_attempt_at=AT, **{**plain, **changes})


RESERVED = (order_created(), order_reserved())
COMPLETE = (*RESERVED, payment_authorized(), order_completed())
IN_VAIN = {"failed_attempts": 3, "last_error": "no answer"}
RINGS = "; the timer rings at 12:15:30"
STUCK: dict[str, tuple[Story, str | None]] = {
    "not confirmed": (story_of(order_created()), f"tickets confirms the lock{RINGS}"),
    "unpaid": (story_of(*RESERVED), f"the buyer pays, until 12:15:00{RINGS}"),
    "at the bank": (story_of(*RESERVED, asking=asking("created", at_the_bank=True)), f"the buyer confirms the payment at the bank{RINGS}"),
    "in doubt": (
        story_of(*RESERVED, asking=asking("created", **IN_VAIN)),
        f"payments learns whether the card is charged: asked 3 times in vain (no answer), again at 12:20:00{RINGS}",
    ),
    "approved": (story_of(*RESERVED, payment_authorized()), f"orders hears that the bank has approved{RINGS}"),
    "not taken": (story_of(*COMPLETE, asking=asking("authorized")), "payments takes the approved money"),
    "not taken yet": (
        story_of(*COMPLETE, asking=asking("authorized", failed_attempts=1)),
        "payments takes the approved money: asked once in vain, again at 12:20:00",
    ),
    "taken": (story_of(*COMPLETE, payment_created()), None),
    "uncollected": (story_of(*COMPLETE, payment_uncollected()), None),
    "refund asked for": (
        story_of(*COMPLETE, payment_created(), asking=asking("completed")),
        "payments gives the money back, as it was asked to",
    ),
    "refunded": (story_of(*COMPLETE, payment_created(), payment_refunded(), order_refunded()), None),
    "cancelled": (story_of(*RESERVED, order_cancelled()), None),
    "cancelled and approved": (story_of(*RESERVED, payment_authorized(), order_cancelled()), "payments gives the approval back"),
    "cancelled and voided": (story_of(*RESERVED, payment_authorized(), order_cancelled(), payment_failed(1)), None),
    "cancelled in doubt": (
        story_of(*RESERVED, order_cancelled(), asking=asking("created")),
        "payments learns whether the card is charged, and gives it back",
    ),
    "payments away": (story_of(*COMPLETE, away="payments"), "not known, as payments can't be asked about its money"),
}


@pytest.mark.parametrize("where", STUCK)
def test_what_is_expected_next_is_said_until_an_order_has_ended(where: str) -> None:
    story, expected = STUCK[where]
    (order_status,) = order_statuses(story)
    assert order_status.expected == expected
    assert order_status.ended is (expected is None)
    assert over(story) is (expected is None)


def test_with_orders_away_nothing_is_known_and_nothing_is_over() -> None:
    story = story_of(*COMPLETE, payment_created(), away="orders")
    (order_status,) = order_statuses(story)
    assert (order_status.status, order_status.ended, over(story)) == (None, False, False)
