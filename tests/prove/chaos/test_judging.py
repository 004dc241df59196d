"""The judge of the chaos run, on histories that somebody has made up: each kind of thing that must not happen is seen."""

import json
from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest
from prove.chaos import history
from prove.chaos.ending import Ending, Row
from prove.chaos.history import Asked
from prove.chaos.judging import clear_shares, judge
from prove.chaos.report import Piece, unanswered

TICKET, ANN, BOB, EVE = "ticket", "ann", "bob", "eve"
EXPIRES = 1000.0


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


class Scene:
    """Ann's ticket for 30.00; what everybody asks, and what becomes of it."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.ending = Ending()
        self.lists()

    def asks(self, who: str, do: str, at: float, status: int | None, answer: Row | None = None, **about: Any) -> Asked:
        """Answered a second later; without a status, it is unclear."""
        unclear = "timed out" if status is None else None
        asked = Asked(n=len(self.asked) + 1, who=who, do=do, began=at, status=status, answer=answer or {}, unclear=unclear, **about)
        asked.ended = inf if unclear else at + 1
        self.asked.append(asked)
        return asked

    def lists(self) -> None:
        ticket = {"ticket_id": TICKET, "version": 1, "seller_id": ANN, "title": "Row A", "price_cents": 3000, "order_id": None}
        ticket |= {"withdrawn": False, "sold": False}
        self.ending.tickets[TICKET] = ticket
        self.ending.said_of_tickets.append({"event": "TicketCreated", "at": 1.5, "data": ticket})
        view = {"id": TICKET, "title": "Row A", "price": 30.0, "userId": ANN, "orderId": None, "status": "available", "version": 1}
        self.asks(ANN, "list", 1, 201, view, body={"title": "Row A", "price": 30.0})

    def is_made(self, order: str, who: str, at: float) -> Row:
        """Orders has it, whatever anybody was told."""
        data = {"order_id": order, "version": 1, "ticket_id": TICKET, "user_id": who, "status": "created", "reason": None}
        data |= {"title": "Row A", "price_cents": 3000, "extended": False, "expires_at": moment(EXPIRES)}
        self.ending.said_of_orders.append({"event": "OrderCreated", "at": at, "data": data})
        self.ending.orders[order] = data | {"expires_at": EXPIRES, "created_at": at}
        return data

    def ends(self, order: str, at: float, reason: str = "by_buyer") -> None:
        said = self.ending.said_of_orders[-1]["data"] | {"version": 2, "status": "cancelled", "reason": reason}
        self.ending.said_of_orders.append({"event": "OrderCancelled", "at": at, "data": said})
        self.ending.orders[order] |= {"version": 2, "status": "cancelled", "reason": reason}

    def buys(self, order: str, who: str, at: float, key: str | None = None) -> Asked:
        """Asked, done and answered."""
        return self.is_told_of(self.is_made(order, who, at + 0.5), at, key)

    def is_told_of(self, order: Row, at: float, key: str | None = None) -> Asked:
        view = {"id": order["order_id"], "version": 1, "status": "created", "reason": None, "userId": order["user_id"], "extended": False}
        view |= {"ticket": {"id": TICKET, "title": "Row A", "price": 30.0}, "expiresAt": moment(EXPIRES)}
        return self.asks(order["user_id"], "buy", at, 201, view, body={"ticketId": TICKET}, ticket=TICKET, key=key)

    def sees(self, asked: Asked, at: float) -> Asked:
        """That view, once more."""
        return self.asks(asked.who or "", "see order", at, 200, asked.answer, ticket=TICKET, order=asked.answer["id"])

    def cancels(self, order: str, who: str, at: float, status: int | None = 204) -> Asked:
        return self.asks(who, "cancel", at, status, ticket=TICKET, order=order)

    def pays(self, order: str, who: str, at: float) -> Asked:
        self.ending.charges["c" + order] = {"order_id": order, "status": "completed", "begun_at": at + 0.5}
        self.ending.orders[order] |= {"status": "complete"}
        return self.asks(who, "pay", at, 201, {"id": "c" + order}, ticket=TICKET, order=order)

    def violations(self) -> list[str]:
        return [violation.sentence for violation in judge(self.asked, self.ending).violations]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_history_in_which_all_is_well_is_not_complained_about(scene: Scene) -> None:
    scene.buys("1", BOB, 10)
    scene.cancels("1", BOB, 20)
    scene.ends("1", 20.5)
    scene.buys("2", EVE, 30)
    scene.pays("2", EVE, 40)
    assert scene.violations() == []


def test_the_judge_finds_a_ticket_that_two_buyers_were_told_is_theirs(scene: Scene) -> None:
    scene.buys("1", BOB, 10)
    scene.buys("2", EVE, 20)
    scene.cancels("1", BOB, 30)
    scene.ending.said_of_orders.clear()  # As if orders had never said so.
    assert f"ticket {TICKET} was held by order 1 and by order 2 at once" in scene.violations()


def test_a_ticket_sold_twice_according_to_the_published_events_is_found(scene: Scene) -> None:
    scene.asks(BOB, "buy", 10, None, body={"ticketId": TICKET}, ticket=TICKET)
    scene.asks(EVE, "buy", 10, None, body={"ticketId": TICKET}, ticket=TICKET)
    scene.is_made("1", BOB, 10.1)
    scene.is_made("2", EVE, 10.2)
    assert f"ticket {TICKET} was held by order 1 when order 2 was created" in scene.violations()


def test_an_order_that_was_answered_with_yes_and_is_gone_is_found(scene: Scene) -> None:
    scene.buys("1", BOB, 10)
    del scene.ending.orders["1"]
    assert any("and this is there: None" in sentence for sentence in scene.violations())


def test_a_cancellation_that_was_answered_with_yes_and_is_forgotten_is_found(scene: Scene) -> None:
    scene.buys("1", BOB, 10)
    scene.cancels("1", BOB, 20)
    assert any("was answered with yes, and the order is" in sentence for sentence in scene.violations())


def test_a_payment_that_was_answered_with_yes_is_found_when_its_order_is_not_paid(scene: Scene) -> None:
    scene.buys("1", BOB, 10)
    scene.pays("1", BOB, 20)
    scene.ending.orders["1"]["status"] = "cancelled"
    assert any("was told that it is paid" in sentence for sentence in scene.violations())


def test_an_edit_and_a_note_that_were_answered_with_yes_and_are_forgotten_are_found(scene: Scene) -> None:
    scene.asks(ANN, "write note", 10, 200, {"note": "Door 2"}, body={"note": "Door 2"}, ticket=TICKET)
    view = scene.asked[0].answer | {"title": "Row B", "version": 2}
    scene.asks(ANN, "edit", 10, 200, view, body={"title": "Row B", "price": 30.0}, ticket=TICKET)
    note, edit, *_ = sorted(scene.violations())[::-1]
    assert note.startswith(f"the note of ticket {TICKET} is None")
    assert edit.startswith("request 3 (edit by ann)")


@pytest.mark.parametrize("done", [True, False])
def test_what_was_unclear_may_have_been_done_or_not(scene: Scene, done: bool) -> None:
    scene.asks(BOB, "buy", 10, None, body={"ticketId": TICKET}, ticket=TICKET)
    scene.asks(ANN, "write note", 10, None, body={"note": "Door 2"}, ticket=TICKET)
    if done:
        scene.is_made("1", BOB, 10.5)
        scene.ending.notes[TICKET] = "Door 2"
    verdict = judge(scene.asked, scene.ending)
    assert verdict.violations == []
    assert (verdict.unclear, verdict.unclear_done) == (2, {"timed out": 1} if done else {})


def test_a_key_that_has_two_effects_is_found(scene: Scene) -> None:
    scene.buys("1", BOB, 10, key="k")
    scene.ends("1", 15)
    scene.buys("2", BOB, 20, key="k")
    assert any("the same key before" in sentence for sentence in scene.violations())
    assert "orders ['1', '2'] are there, and were wished for once" in scene.violations()


def test_an_order_that_nobody_asked_for_is_found(scene: Scene) -> None:
    scene.is_made("1", BOB, 10)
    assert scene.violations() == ["orders ['1'] are there, and were wished for never"]


def test_a_view_that_is_older_than_what_was_seen_before_is_found(scene: Scene) -> None:
    first = scene.buys("1", BOB, 10)
    scene.ends("1", 15)
    newer = scene.sees(first, 20)
    newer.answer = first.answer | {"version": 2, "status": "cancelled", "reason": "by_buyer"}
    assert scene.violations() == []
    scene.sees(first, 30)
    assert scene.violations() == ["request 4 (see order by bob) was shown version 1 of 1, after somebody had 2"]


def test_an_error_of_ours_is_found_and_an_engine_that_is_away_is_none(scene: Scene) -> None:
    for status in (503, 500):
        scene.asks(BOB, "browse", 10, None).status = status
        scene.asked[-1].unclear = str(status)
    assert scene.violations() == ["request 3 (browse by bob) was answered with 500 {}"]


def test_clear_answers_are_counted_apart_while_one_part_fails_at_most(scene: Scene) -> None:
    """Ann's listing was answered."""
    scene.buys("1", BOB, 10)
    scene.asks(EVE, "buy", 11, None, body={"ticketId": TICKET}, ticket=TICKET)
    scene.asks(EVE, "browse", 11, None)
    scene.asks(EVE, "buy", 20, None, body={"ticketId": TICKET}, ticket=TICKET)
    assert clear_shares(scene.asked, [(5, 25), (15, inf)]) == {True: (2, 3), False: (0, 1)}


def test_a_run_that_says_503_to_too_many_fails() -> None:
    def told(clear: int) -> list[str]:
        counts: dict[str, Any] = {name: 0 for name in Piece.__dataclass_fields__}
        return unanswered([Piece(**counts | {"calm_writes": 100, "calm_clear": clear})])

    assert told(99) == []
    assert told(10) == ["only 10% of the writes asked while at most one part failed were answered clearly, not 60%"]


def test_a_history_that_was_broken_off_leaves_its_last_request_unclear() -> None:
    asked, told = (
        {"n": 1, "at": 1.0, "who": BOB, "do": "buy", "method": "POST", "path": "/", "body": {}},
        {"n": 1, "at": 2.0, "status": 201},
    )
    [whole] = history.read([json.dumps(asked), json.dumps(told)])
    assert (whole.done, whole.ended) == (True, 2.0)
    [broken] = history.read([json.dumps(asked)])
    assert (broken.done, broken.unclear) == (False, "broken off")
