"""`admitone events --emit`: a message of one's own, in test mode."""

import json
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.house import House

TICKET = {
    "ticket_id": str(uuid4()),
    "version": 1,
    "seller_id": str(uuid4()),
    "title": "Out of a file",
    "price_cents": 4990,
    "currency": "USD",
    "order_id": None,
    "withdrawn": False,
    "sold": False,
}


def emitted(house: House, folder: Path, message: Any, **settings: str) -> subprocess.CompletedProcess[str]:
    file = folder / "message.json"
    file.write_text(message if isinstance(message, str) else json.dumps(message))
    return house.admitone("events", "--emit", str(file), **settings)


async def test_a_message_of_ones_own_is_consumed_once(own_house: House, tmp_path: Path) -> None:
    await own_house.start()
    message = {"event": "TicketCreated", "event_id": str(uuid4()), "data": TICKET}
    for _ in range(2):
        done = emitted(own_house, tmp_path, message)
        assert done.returncode == 0, done.stderr
        assert f"TicketCreated {message['event_id']} is message" in done.stdout
    await own_house.at_rest(seconds=20)
    assert await own_house.rows("orders", "SELECT title FROM ticket_copies") == [{"title": "Out of a file"}]
    for service in ("orders", "payments"):
        assert await own_house.rows(service, "SELECT event FROM parked") == []


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("nonsense", "this is no message"),
        ("[]", "this is no message"),
        ({"event": "TicketCreated"}, "`data`"),
        ({"event": "TicketEaten", "data": {}}, "there is no event 'TicketEaten'"),
        ({"event": "TicketCreated", "data": {}}, "TicketCreated: Object missing required field `ticket_id`"),
        ({"event": "TicketCreated", "data": TICKET, "colour": "red"}, "colour"),
        ({"event": "TicketCreated", "data": TICKET | {"price_cents": "much"}}, "price_cents"),
    ],
)
def test_what_is_no_event_is_refused_in_a_sentence(house: House, tmp_path: Path, message: Any, said: str) -> None:
    done = emitted(house, tmp_path, message)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_where_cards_are_charged_nothing_is_emitted(house: House, tmp_path: Path) -> None:
    keys = {"STRIPE_SECRET_KEY": "sk_test_swordfish1", "STRIPE_WEBHOOK_SECRET": "whsec_swordfish1"}
    done = emitted(house, tmp_path, {"event": "TicketCreated", "data": TICKET}, **keys)
    assert done.returncode == 1
    assert "--emit is for test mode" in done.stderr
