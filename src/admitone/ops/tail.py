"""The stream as it happens: each event a line, for whoever sits in front of the terminal.

An ordered consumer that leaves nothing behind: it belongs to this one connection, acknowledges nothing, and is made anew from
where we were whenever something is missing.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

import click
import msgspec
import nats.js.errors
from nats.aio.msg import Msg

from admitone.apidocs.markdown import NAMES
from admitone.kit.delivery.bus import BUS_ERRORS, REQUEST_TIMEOUT_SECONDS, STREAM, BusClosed
from admitone.kit.delivery.pull import ordered
from admitone.kit.delivery.relay import STREAM_NOT_FOUND
from admitone.kit.event import Message
from admitone.kit.observe.log import printable
from admitone.ops.format import exact_clock, in_short, short_id
from admitone.ops.reach import connect_to_bus

COLOURS = dict(zip(NAMES, cycle(("magenta", "cyan", "yellow", "blue", "green", "white")), strict=False))
IDS = ("order_id", "ticket_id", "user_id", "charge_id")
EVENT_WIDTH = 18
NO_STREAM = "There is no stream yet; it is waited for."


class WrongPattern(Exception):
    """No subject of ours can be like this."""


class StreamMessage:
    """One message of the stream; `message` is None when it is no event."""

    def __init__(self, subject: str, data: bytes, arrived: datetime) -> None:
        self.subject = subject
        self.data = data
        _, self.owner, self.event = [*subject.split(".", 2), "", ""][:3]
        try:
            self.message: Message | None = msgspec.json.decode(data, type=Message)
            self.time = self.message.time.astimezone(UTC)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
            self.message = None
            self.time = arrived

    def mentions(self, id_begins: str) -> bool:
        """Whether any id in it begins like this."""
        if self.message is None:
            return False
        envelope = (self.message.event_id, self.message.correlation_id, self.message.causation_id)
        ids = [*map(str, envelope), *(value for name, value in self.message.data.items() if name.endswith("_id"))]
        return any(isinstance(value, str) and value.startswith(id_begins) for value in ids)

    def line(self, coloured: bool) -> str:
        """For a person. Times are in UTC, as `admitone journey` has them."""
        source = f"{self.owner:<10}  {self.event:<{EVENT_WIDTH}}"
        source = click.style(printable(source), fg=COLOURS.get(self.owner)) if coloured else printable(source)
        time = exact_clock(self.time)
        if self.message is None:
            return f"{time}  {source}  {len(self.data)} bytes that are no event of ours"
        data = self.message.data
        ids = " ".join(f"{name.removesuffix('_id')} {short_id(data[name])}" for name in IDS if data.get(name))
        short = printable(f"{in_short(self.event, data):<29}  {ids}")
        return f"{time}  {source}  {short}  correlation {short_id(self.message.correlation_id)}"

    def json(self) -> str:
        """For a program: the message as it is, and its subject; of what is no JSON object, its text."""
        try:
            whole: Any = msgspec.json.decode(self.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            whole = None
        if not isinstance(whole, dict):
            whole = {"unreadable": self.data.decode("utf-8", "backslashreplace")}
        return msgspec.json.encode({"subject": self.subject, **whole}).decode()


def pattern_of(pattern: str | None, service: str | None) -> str:
    """The subjects to ask the stream for. Raises WrongPattern."""
    if pattern is None:
        return f"events.{service}.>" if service else "events.>"
    if not re.fullmatch(r"events(\.([A-Za-z0-9_-]+|\*))*(\.>)?", pattern) or pattern == "events":
        raise WrongPattern(
            f"{printable(pattern)!r} matches no subject: one looks like events.orders.OrderCreated, with * for one part and > for the rest."
        )
    return pattern


async def follow_stream(url: str, pattern: str, from_beginning: bool, say: Callable[[str], None]) -> AsyncGenerator[StreamMessage, None]:
    """Every message, in order, for ever; from now on unless from the beginning. Problems meanwhile go to `say`, each once.

    Raises BusUnreachable when there is no bus at the start, BusClosed when it will not have us any more.
    """
    async with connect_to_bus(url, "events", say) as client:
        stream = client.jetstream(timeout=REQUEST_TIMEOUT_SECONDS)
        made: datetime | None = None
        position = 0
        waited_for = ""
        while True:
            try:
                info = await stream.stream_info(STREAM)
                if made is None:
                    position = 0 if from_beginning or waited_for == NO_STREAM else info.state.last_seq
                elif made != info.created:
                    position = 0
                    say("The stream was made anew; what the services send again is shown again.")
                made, waited_for = info.created, ""
                position = min(position, info.state.last_seq)  # It may have lost its tail.
                async with ordered(client, stream, [pattern], position + 1) as messages:
                    async for message in messages:
                        position = message.metadata.sequence.stream
                        yield StreamMessage(message.subject, message.data, _arrived(message))
            except nats.js.errors.NotFoundError as error:
                if error.err_code == STREAM_NOT_FOUND:
                    waited_for = _say_once(say, waited_for, NO_STREAM)
            except BUS_ERRORS as error:
                if client.is_closed:
                    raise BusClosed("The event bus has closed the connection for good; are the credentials right?") from error
                if made is None:
                    waited_for = _say_once(say, waited_for, "The event bus gives no answer yet; it is waited for.")
            await asyncio.sleep(0.25)


def _arrived(message: Msg) -> datetime:
    return message.metadata.timestamp.astimezone(UTC)


def _say_once(say: Callable[[str], None], before: str, sentence: str) -> str:
    if sentence != before:
        say(sentence)
    return sentence
