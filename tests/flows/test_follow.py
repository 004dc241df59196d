"""`admitone events --follow`: the stream as it happens, and a bus that comes and goes."""

import asyncio
import json
import os
import pty
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import nats
import pytest
from click.testing import CliRunner
from nats.js.client import JetStreamContext
from support import processes
from support.facts import BOB, CHARGE, TICKET, A, order_created, payment_failed, ticket_updated
from support.house import House, eventually

from admitone.cli import main
from admitone.kit.delivery.bus import STREAM, Bus
from admitone.kit.event import Event, Message, subject
from admitone.kit.testing import NOON
from admitone.ops.tail import NO_STREAM, StreamMessage, WrongPattern, follow_stream, pattern_of
from admitone.runtime.programs import free_port

REQUEST = CHARGE


def message_of(event: Event) -> StreamMessage:
    message = Message(
        event_id=A, event=type(event).__name__, time=NOON, correlation_id=REQUEST, causation_id=None, data=msgspec.to_builtins(event)
    )
    return StreamMessage(subject(type(event)), msgspec.json.encode(message), datetime.now(UTC))


@asynccontextmanager
async def stream_of(house: House) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(house.engines.nats_url)
    try:
        yield client.jetstream()
    finally:
        await client.close()


def test_a_line_says_when_who_what_and_about_whom() -> None:
    for event, short, ids in (
        (order_created(), "created, 49.90 USD", f"order {str(A)[:8]} ticket {str(TICKET)[:8]} user {str(BOB)[:8]}"),
        (ticket_updated(order_id=A), "locked, 49.90 USD", f"order {str(A)[:8]} ticket {str(TICKET)[:8]}"),
        (payment_failed(2), "try 2, card_declined", f"order {str(A)[:8]} charge {str(CHARGE)[:8]}"),
    ):
        message = message_of(event)
        line = message.line(coloured=False)
        assert line.startswith(f"12:00:00.000  {message.owner:<10}  {type(event).__name__} ")
        assert short in line
        assert ids in line
        assert line.endswith(f"correlation {str(REQUEST)[:8]}")
        assert "\x1b" not in line
        assert click.unstyle(message.line(coloured=True)) == line
        assert message.line(coloured=True) != line


def test_a_message_that_is_no_event_is_a_safe_line_all_the_same() -> None:
    message = StreamMessage("events.orders.Order\x1b[31m", b"\xff\n", NOON)
    assert message.line(coloured=False) == "12:00:00.000  orders      Order\\u001b[31m          2 bytes that are no event of ours"
    assert json.loads(message.json()) == {"subject": "events.orders.Order\x1b[31m", "unreadable": "\\xff\n"}
    assert not message.mentions("1")


@pytest.mark.parametrize("pattern", ["orders.>", "events", "events.>.x", "events..x", "events.a b", ">", "events.o*", ""])
def test_a_pattern_that_matches_no_subject_is_refused(pattern: str) -> None:
    with pytest.raises(WrongPattern, match="matches no subject"):
        pattern_of(pattern, None)


async def test_what_happens_is_shown_as_it_happens_and_ctrl_c_leaves_nothing_behind(house: House, tmp_path: Path) -> None:
    [ann] = await house.people("ann")
    before = await ann.lists("Before", 20)
    await house.at_rest()
    async with stream_of(house) as stream:

        async def viewers() -> int:
            return sum(not info.config.durable_name for info in await stream.consumers_info(STREAM))

        others = await viewers()
        shown, amiss = tmp_path / "shown", tmp_path / "amiss"
        follow = ["events", "--follow", "--service", "tickets"]
        process = processes.begin(follow, {**os.environ, **house.settings}, shown, amiss)

        async def watches() -> bool:
            return await viewers() > others

        await eventually(watches)
        ticket = await ann.lists("Now", 30)
        line = await eventually(lambda: asyncio.sleep(0, shown.read_text()))
        assert f"tickets     TicketCreated       available, 30.00 USD           ticket {ticket['id'][:8]}" in line
        assert "\x1b" not in line
        os.kill(process.pid or 0, signal.SIGINT)
        await asyncio.to_thread(process.join)
        assert (process.exitcode, shown.read_text().splitlines(), amiss.read_text()) == (0, [line.rstrip()], "")
        assert await viewers() == others

    read: list[str] = []
    async with asyncio.timeout(10), aclosing(follow_stream(house.engines.nats_url, "events.tickets.*", True, read.append)) as messages:
        async for message in messages:
            read += [message.json()] if message.mentions(before["id"][:8]) or message.mentions(ticket["id"]) else []
            if len(read) == 2:
                break
    assert [json.loads(line)["data"]["title"] for line in read] == ["Before", "Now"]
    assert json.loads(read[0])["subject"] == "events.tickets.TicketCreated"


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)], ids=["colour", "no colour"])
async def test_a_terminal_is_given_colours_unless_it_wants_none(house: House, no_color: str, coloured: bool, tmp_path: Path) -> None:
    [ann] = await house.people("ann")
    ours, theirs = pty.openpty()
    settings = {**os.environ, **house.settings, "NO_COLOR": no_color}
    amiss = tmp_path / "amiss"
    process = processes.begin(["events", "--follow", "--from-beginning", "--id", ann.id], settings, Path(os.ttyname(theirs)), amiss)
    with open(ours, "rb") as screen:
        try:
            line = await asyncio.wait_for(asyncio.to_thread(screen.readline), 10)
        finally:
            process.kill()
            os.close(theirs)
    assert b"UserCreated" in line, amiss.read_text()
    assert (b"\x1b[" in line) == coloured


async def test_a_bus_that_is_away_is_waited_for_and_so_is_a_stream(own_house: House) -> None:
    url, said, seen = own_house.engines.nats_url, list[str](), list[str]()

    async def follow() -> None:
        async with aclosing(follow_stream(url, "events.>", False, said.append)) as messages:
            async for message in messages:
                seen.append(message.event)

    async def told(sentence: str) -> None:
        await eventually(lambda: asyncio.sleep(0, any(sentence in line for line in said)), seconds=30)

    async def sees(*events: str) -> None:
        await eventually(lambda: asyncio.sleep(0, seen == list(events)), seconds=30)

    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow())
        await told(NO_STREAM)
        async with Bus("tickets", url).connected():
            await own_house.publish(order_created())
            await sees("OrderCreated")
        own_house.kill_bus()
        await told("The event bus is away")
        own_house.start_bus()
        await told("The event bus is back.")
        await own_house.publish(payment_failed(1))
        await sees("OrderCreated", "PaymentFailed")

        async with stream_of(own_house) as stream:
            await stream.delete_stream(STREAM)
        async with Bus("tickets", url).connected():
            await own_house.publish(ticket_updated())
            await sees("OrderCreated", "PaymentFailed", "TicketUpdated")
        following.cancel()
    assert [sentence for sentence in said if not sentence.endswith("it is waited for.")] == [
        "The event bus is away; what happens meanwhile is shown when it is back.",
        "The event bus is back.",
        "The stream was made anew; what the services send again is shown again.",
    ]


def test_what_can_not_be_followed_is_one_sentence() -> None:
    nowhere = {"DATABASE_URL": "postgresql://a:b@127.0.0.1/x", "NATS_URL": f"nats://me:secret@127.0.0.1:{free_port()}"}
    for arguments, sentence in (
        (["--follow"], "The event bus at 127.0.0.1:"),
        (["--follow", "--service", "nobody"], "there is no service named 'nobody'"),
        (["--follow", "--id", "front row"], "'front row' is no id, nor the beginning of one"),
        (["--follow", "--subject", "orders.>"], "'orders.>' matches no subject"),
        (["--json"], "need --follow"),
    ):
        told = CliRunner(env=nowhere).invoke(main, ["events", *arguments])
        assert (told.exit_code, told.stdout) == (1, "")
        assert sentence in told.stderr
        assert len(told.stderr.splitlines()) == 1
        assert "secret" not in told.stderr


@pytest.mark.parametrize("command", ["parked", "events --follow --from-beginning"])
async def test_a_reader_who_has_seen_enough_ends_it_quietly(house: House, command: str, tmp_path: Path) -> None:
    await house.people("ann")
    pipe, amiss = tmp_path / "pipe", tmp_path / "amiss"
    os.mkfifo(pipe)
    process = processes.begin(command.split(), {**os.environ, **house.settings}, pipe, amiss)
    with await asyncio.to_thread(pipe.open):
        pass
    await asyncio.to_thread(process.join, 10)
    assert (process.exitcode, amiss.read_text()) == (0, "")
