"""What is killed, frozen or loses its data, and is well again: the bus, the database, a service, the whole process."""

import asyncio
import contextlib
import shutil
from functools import partial

import nats
import nats.js.errors
from support.house import House, Json, Person, eventually
from support.till import paid


async def opened(house: House) -> tuple[Person, Json]:
    """Somebody, and somebody else's ticket, in one process at rest."""
    await house.start()
    ann, bob = await house.people("ann", "bob")
    ticket = await ann.lists("Front row", 30)
    await house.at_rest()
    return bob, ticket


async def test_a_frozen_bus_stops_no_order_and_all_is_well_when_it_is_back(own_house: House) -> None:
    bob, ticket = await opened(own_house)
    own_house.freeze_bus()
    order = await bob.orders(ticket)
    assert order["status"] == "created"
    own_house.thaw_bus()
    await bob.sees_order(order, "awaiting:payment")
    await eventually(partial(paid, bob, order), seconds=30)


async def test_a_killed_bus_stops_no_order_and_all_is_well_when_it_is_back(own_house: House) -> None:
    bob, ticket = await opened(own_house)
    own_house.kill_bus()
    order = await bob.orders(ticket)
    own_house.start_bus()
    await bob.sees_order(order, "awaiting:payment")
    await eventually(partial(paid, bob, order), seconds=30)


async def test_a_bus_whose_data_is_lost_loses_nothing_for_good(own_house: House) -> None:
    bob, ticket = await opened(own_house)
    own_house.kill_bus()
    order = await bob.orders(ticket)
    shutil.rmtree(own_house.folder / "nats" / "data")
    own_house.start_bus()
    await bob.sees_order(order, "awaiting:payment")
    await eventually(partial(paid, bob, order), seconds=30)
    await own_house.at_rest()
    await _everything_said_is_in_the_stream(own_house)


async def test_no_event_is_lost_when_everything_dies_before_publishing(own_house: House) -> None:
    bob, ticket = await opened(own_house)
    own_house.freeze_bus()
    order = await bob.orders(ticket)
    unpublished = "SELECT event FROM outbox WHERE published_at IS NULL"
    assert [row["event"] for row in await own_house.rows("orders", unpublished)] == ["OrderCreated"]
    stuck = own_house.admitone("journey", order["id"])
    assert stuck.stdout.endswith("Missing: order created (2) is not published yet, so not heard by tickets, expiration, payments.\n")
    assert "Expected next: tickets confirms the lock; no timer is set." in stuck.stdout
    own_house.kill()
    own_house.thaw_bus()
    await own_house.start()
    await bob.sees_order(order, "awaiting:payment")
    await eventually(partial(paid, bob, order), seconds=30)


async def test_repeated_kills_repeat_no_effect_and_lose_no_answered_write(own_house: House) -> None:
    await own_house.start()
    ann, bob = await own_house.people("ann", "bob")
    tickets = [await ann.lists(f"Seat {number}", 30) for number in range(4)]
    await own_house.at_rest()  # What a killed process was about to acknowledge comes again only after a while.
    orders: list[Json] = []
    for ticket in tickets:
        orders.append(await bob.orders(ticket))
        paying = asyncio.create_task(bob.pays(orders[-1]))
        await asyncio.wait([paying], timeout=0.02)
        own_house.kill()
        await asyncio.gather(paying, return_exceptions=True)
        await own_house.start()
    for order in orders:
        found = await bob.order(order)
        assert found["ticket"] == order["ticket"]
        await eventually(partial(paid, bob, order), seconds=30)  # If it was not before: it may be any moment.
    await own_house.at_rest()
    captured = await own_house.rows("testgateway", "SELECT order_id FROM intents WHERE status = 'captured'")
    assert len(captured) == len(orders)
    versions = await own_house.rows("orders", "SELECT version FROM orders WHERE status = 'complete'")
    assert [row["version"] for row in versions] == [3] * len(orders)


async def test_a_service_that_was_down_catches_up(own_house: House) -> None:
    await own_house.start_six()
    ann, bob = await own_house.people("ann", "bob")
    ticket = await ann.lists("Front row", 30)
    await own_house.at_rest()
    own_house.kill("payments")
    own_house.kill("tickets")
    order = await bob.orders(ticket)
    assert (await bob.pays(order)).status_code == 503
    own_house.begin_one("tickets")
    own_house.begin_one("payments")
    await own_house.ready()
    await bob.sees_order(order, "awaiting:payment")
    await eventually(partial(paid, bob, order), seconds=30)
    await bob.sees_ticket(ticket, "sold")


async def _everything_said_is_in_the_stream(house: House) -> None:
    """Soon: a relay that had nothing to say looks after its stream every few seconds."""
    client = await nats.connect(house.engines.nats_url)
    stream = client.jetstream()

    async def all_there() -> bool:
        for service in ("auth", "tickets", "orders", "expiration", "payments"):
            for row in await house.rows(service, "SELECT event_id, seq FROM outbox"):
                with contextlib.suppress(nats.js.errors.NotFoundError):
                    message = await stream.get_msg("ADMITONE", row["seq"]) if row["seq"] else None
                    if message and (message.headers or {})["Nats-Msg-Id"] == str(row["event_id"]):
                        continue
                return False
        return True

    try:
        await eventually(all_there, seconds=20)
    finally:
        await client.close()


async def test_events_emitted_during_an_outage_hide_none_that_the_bus_has_lost(own_house: House) -> None:
    """It leaves before we hear that the bus is back, and takes a number that was lost: the rows before it must not pass for sent."""
    await own_house.start()
    ann, bob = await own_house.people("ann", "bob")
    await ann.lists("Kept", 30)
    await own_house.at_rest()
    own_house.kill_bus()
    data, older = own_house.folder / "nats" / "data", own_house.folder / "nats" / "older"
    shutil.copytree(data, older)
    own_house.start_bus()
    lost = await ann.lists("Lost", 30)
    await own_house.at_rest()

    own_house.kill_bus()
    shutil.rmtree(data)
    older.rename(data)
    await ann.lists("Said while it was away", 30)
    own_house.start_bus()
    await own_house.at_rest()
    await _everything_said_is_in_the_stream(own_house)
    await bob.buys(lost)


async def test_a_stream_that_is_made_anew_under_a_running_system_is_filled_again(own_house: House) -> None:
    await own_house.start()
    [ann] = await own_house.people("ann")
    await ann.lists("Front row", 30)
    await own_house.at_rest()
    client = await nats.connect(own_house.engines.nats_url)
    await client.jetstream().delete_stream("ADMITONE")
    await client.close()

    async def refilled() -> bool:
        try:
            await _everything_said_is_in_the_stream(own_house)
        except (AssertionError, KeyError, nats.js.errors.Error):
            return False
        return True

    await eventually(refilled, seconds=30)


async def test_a_frozen_database_is_said_to_be_away_and_is_used_again_when_it_is_back(own_house: House) -> None:
    await own_house.start()
    [ann] = await own_house.people("ann")
    own_house.freeze_database()
    answers = await asyncio.gather(*(ann.ask("GET", "/api/tickets") for _ in range(12)))
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["retry-after"] for answer in answers} == {"2"}
    own_house.thaw_database()

    async def answers_again() -> bool:
        return (await ann.ask("GET", "/api/tickets")).status_code == 200

    await eventually(answers_again)
    assert own_house.processes["all"].exitcode is None
