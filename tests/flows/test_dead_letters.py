"""`admitone parked`, as a person uses it beside the running system."""

import os
from datetime import UTC, datetime
from subprocess import CompletedProcess
from uuid import UUID, uuid4

import asyncpg
import msgspec
from support import processes
from support.facts import reservation_refused
from support.house import House, Json, eventually

from admitone.config import own_database_url
from admitone.kit.event import Message
from admitone.runtime.programs import free_port


async def park(house: House, order: Json, reason: str) -> UUID:
    """As orders does with an event that it could not handle; the consumer takes half a minute for it."""
    event = reservation_refused(order_id=UUID(order["id"]), ticket_id=UUID(order["ticket"]["id"]), reason=reason)
    event_id = uuid4()
    message = Message(
        event_id=event_id,
        event="ReservationRefused",
        time=datetime.now(UTC),
        correlation_id=uuid4(),
        causation_id=None,
        data=msgspec.to_builtins(event),
    )
    await change(
        house,
        "INSERT INTO parked VALUES ($1, 'ReservationRefused', $2, 'ValueError: no', 5, now())",
        event_id,
        msgspec.json.encode(message),
    )
    return event_id


async def change(house: House, sql: str, *args: object) -> None:
    connection = await asyncpg.connect(own_database_url(house.engines.database_url, "orders"))
    await connection.execute(sql, *args)
    await connection.close()


async def test_an_event_that_fails_again_stays_and_when_it_is_mended_its_effects_spread(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    ticket = await ann.lists("Front row", 30)
    order = await bob.buys(ticket)
    poison = await park(house, order, "nonsense")
    (locked,) = await house.rows("tickets", "SELECT event_id FROM outbox WHERE data ->> 'order_id' = $1", order["id"])
    half = locked["event_id"]
    await change(house, "INSERT INTO parked VALUES ($1, 'TicketUpdated', 'half of', 'Unreadable: no', 1, now())", half)
    listed = house.admitone("parked")
    assert listed.returncode == 0
    assert f"orders      ReservationRefused  {str(poison)[:8]}" in listed.stdout
    assert "5 tries  ValueError: no" in listed.stdout
    shown = house.admitone("parked", "show", str(poison)[:13])
    assert shown.returncode == 0
    assert f'"event_id": "{poison}"' in shown.stdout
    assert '"reason": "nonsense"' in shown.stdout

    failed = house.admitone("parked", "replay", "--all", "--service", "orders")
    assert failed.returncode == 1
    assert f"orders: ReservationRefused {poison} has failed again and stays parked: CheckViolationError" in failed.stdout
    assert await house.rows("orders", "SELECT tries FROM parked WHERE event_id = $1", poison) == [{"tries": 6}]

    mend = "UPDATE parked SET message = replace(convert_from(message, 'UTF8'), 'nonsense', 'withdrawn')::bytea WHERE event_id = $1"
    await change(house, mend, poison)
    some = house.admitone("parked", "replay", "--all", "--service", "orders")
    assert some.returncode == 1, "one of them fails again"
    assert f"{poison} is handled." in some.stdout
    assert f"TicketUpdated {half} can't be read and stays parked" in some.stdout
    assert (await bob.sees_order(order, "cancelled"))["status"] == "cancelled"
    await ann.sees_ticket(ticket, "available")

    dropped = house.admitone("parked", "drop", str(half), "--reason", "the lock was heard of")
    assert (dropped.returncode, dropped.stdout) == (0, f"orders: TicketUpdated {half} is dropped.\n")
    journey = house.admitone("journey", order["id"]).stdout
    assert "dropped by orders: the lock was heard of" in journey
    assert "PARKED" not in journey
    assert "Nothing is missing." in journey


async def test_an_unreadable_message_can_be_listed_shown_and_dropped(house: House) -> None:
    noise = b"\xff\x1b[31m{ this is no event " + uuid4().hex.encode()
    await house.publish_bytes("events.orders.OrderCreated", noise)
    where = "SELECT event_id FROM parked WHERE message = $1"
    for service in ("payments", "expiration", "tickets"):
        (found,) = await eventually(lambda name=service: house.rows(name, where, noise))  # type: ignore[misc]
    event_id = str(found["event_id"])
    shown = house.admitone("parked", "show", event_id)
    assert shown.stdout.count("no JSON: 57 bytes\n  \\xff\\u001b[31m{ this is no event ") == 3
    replayed = house.admitone("parked", "replay", event_id)
    assert replayed.returncode == 1
    assert f"expiration: OrderCreated {event_id} can't be read and stays parked: Unreadable" in replayed.stdout
    assert replayed.stderr == ""
    dropped = house.admitone("parked", "drop", event_id, "--reason", "noise on the line")
    assert (dropped.returncode, dropped.stdout.count("is dropped")) == (0, 3)
    kept = house.admitone("parked", "--dropped")
    assert kept.returncode == 0
    assert kept.stdout.count("noise on the line") == 3


async def test_what_can_not_be_meant_is_one_sentence(house: House) -> None:
    nothing = str(uuid4())
    for arguments, sentence in (
        (["show", nothing], f"Nothing is parked under {nothing}."),
        (["show", "%"], "'%' is no id, nor the beginning of one"),
        (["replay", nothing, "--all"], "Say which: an event's id, or --all."),
        (["replay", nothing, "--service", "web"], "There is no service named 'web' with a database"),
        (["drop", nothing, "--reason", " "], "--reason must have 1 to 500 characters."),
    ):
        told = house.admitone("parked", *arguments)
        assert (told.returncode, told.stdout) == (1, ""), arguments
        assert sentence in told.stderr
        assert len(told.stderr.splitlines()) == 1


async def test_a_database_that_is_down_is_named_and_the_others_are_shown(house: House) -> None:
    noise = uuid4().hex.encode()
    await house.publish_bytes("events.orders.OrderReserved", noise)
    (found,) = await eventually(lambda: house.rows("payments", "SELECT event_id FROM parked WHERE message = $1", noise))
    settings = house.settings | {"ADMITONE_TICKETS_DATABASE_URL": f"postgresql://tickets:secret@127.0.0.1:{free_port()}/tickets"}

    def admitone(*arguments: str) -> CompletedProcess[str]:
        return processes.run(list(arguments), {**os.environ, **settings})

    listed = admitone("parked")
    assert listed.returncode == 1
    assert str(found["event_id"])[:8] in listed.stdout
    assert listed.stderr.startswith("admitone: The database of tickets (")
    assert len(listed.stderr.splitlines()) == 1
    assert "secret" not in listed.stderr
    unknown = admitone("parked", "show", str(uuid4()))
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "elsewhere" in unknown.stderr
    dropped = admitone("parked", "drop", str(found["event_id"]), "--reason", "a test")
    assert (dropped.returncode, dropped.stdout.count("is dropped")) == (1, 1)
