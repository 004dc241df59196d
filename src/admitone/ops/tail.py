"""The stream as it happens: each event a line, for whoever sits in front of the terminal.

An ordered consumer that leaves nothing behind: it belongs to this one connection, acknowledges nothing, and is made anew from
where we were whenever something is missing.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from admitone.apidocs.markdown import NAMES
from admitone.kit.delivery.bus import BUS_ERRORS, REQUEST_TIMEOUT_SECONDS, STREAM, BusClosed
from admitone.kit.delivery.pull import pull_batches
from admitone.kit.delivery.relay import STREAM_NOT_FOUND
from admitone.kit.event import Message
from admitone.kit.observe.log import printable
from admitone.ops.format import in_short

CONNECT_SECONDS = 3
LAPSES_AFTER_SECONDS = 30.0
"""When the stream forgets a consumer of ours whose process was killed."""
COLOURS = dict(zip(NAMES, cycle(("magenta", "cyan", "yellow", "blue", "green", "white")), strict=False))
IDS = ("order_id", "ticket_id", "user_id", "charge_id")
WIDEST_EVENT = 18
NO_STREAM = "There is no stream yet; it is waited for."


class BusUnreachable(Exception):
    """There is no event bus where the settings say."""


class WrongPattern(Exception):
    """No subject of ours can be like this."""


class Heard:
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

    def speaks_of(self, id_begins: str) -> bool:
        """Whether any id in it begins like this."""
        if self.message is None:
            return False
        envelope = (self.message.event_id, self.message.correlation_id, self.message.causation_id)
        ids = [*map(str, envelope), *(value for name, value in self.message.data.items() if name.endswith("_id"))]
        return any(isinstance(value, str) and value.startswith(id_begins) for value in ids)

    def line(self, coloured: bool) -> str:
        """For a person. Times are in UTC, as `admitone journey` has them."""
        said = f"{self.owner:<10}  {self.event:<{WIDEST_EVENT}}"
        said = click.style(printable(said), fg=COLOURS.get(self.owner)) if coloured else printable(said)
        time = f"{self.time:%H:%M:%S}.{self.time.microsecond // 1000:03}"
        if self.message is None:
            return f"{time}  {said}  {len(self.data)} bytes that are no event of ours"
        data = self.message.data
        ids = " ".join(f"{name.removesuffix('_id')} {str(data[name])[:8]}" for name in IDS if data.get(name))
        short = printable(f"{in_short(self.event, data):<29}  {ids}")
        return f"{time}  {said}  {short}  correlation {str(self.message.correlation_id)[:8]}"

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


async def heard(url: str, pattern: str, from_beginning: bool, say: Callable[[str], None]) -> AsyncGenerator[Heard, None]:
    """Every message, in order, for ever; from now on unless from the beginning. What is amiss meanwhile is told to `say`, once.

    Raises BusUnreachable when there is no bus at the start, BusClosed when it will not have us any more.
    """
    async with _connected(url, say) as client:
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
                async with pull_batches(client, stream, _from(position + 1, pattern)) as batches:
                    expected = 1
                    async for batch in batches:
                        for message in batch:
                            number = message.metadata.sequence
                            if number.consumer != expected:
                                raise nats.errors.Error("something was lost on its way")
                            expected, position = expected + 1, number.stream
                            yield Heard(message.subject, message.data, _arrived(message))
            except nats.js.errors.NotFoundError as error:
                if error.err_code == STREAM_NOT_FOUND:
                    waited_for = _say_once(say, waited_for, NO_STREAM)
            except BUS_ERRORS as error:
                if client.is_closed:
                    raise BusClosed("The event bus has closed the connection for good; are the credentials right?") from error
                if made is None:
                    waited_for = _say_once(say, waited_for, "The event bus gives no answer yet; it is waited for.")
            await asyncio.sleep(0.25)


def _from(position: int, pattern: str) -> ConsumerConfig:
    return ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=position,
        ack_policy=AckPolicy.NONE,
        mem_storage=True,
        inactive_threshold=LAPSES_AFTER_SECONDS,
        filter_subject=pattern,
    )


def _arrived(message: Msg) -> datetime:
    return message.metadata.timestamp.astimezone(UTC)


def _say_once(say: Callable[[str], None], before: str, sentence: str) -> str:
    if sentence != before:
        say(sentence)
    return sentence


@contextlib.asynccontextmanager
async def _connected(url: str, say: Callable[[str], None]) -> AsyncIterator[Client]:
    """Once it was there, it is waited for whenever it is away."""
    connected = False
    trouble: Exception | None = None

    async def keep(error: Exception) -> None:
        nonlocal trouble
        trouble = error

    async def away() -> None:
        if connected and not client.is_closed:
            say("The event bus is away; what happens meanwhile is shown when it is back.")

    async def back() -> None:
        say("The event bus is back.")

    client = Client()
    try:
        await client.connect(
            url,
            name="admitone events",
            connect_timeout=CONNECT_SECONDS,
            allow_reconnect=False,  # Not until we are in: the first time, no is an answer.
            max_reconnect_attempts=1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type]
            ping_interval=2,
            max_outstanding_pings=2,
            disconnected_cb=away,
            reconnected_cb=back,
            error_cb=keep,
        )
        client.options["allow_reconnect"] = connected = True
        client.options["max_reconnect_attempts"] = -1
        yield client
    except BUS_ERRORS as error:
        if connected:
            raise
        where = urlsplit(url).netloc.rpartition("@")[2]
        why = trouble or error
        told = "it gives no answer" if isinstance(why, TimeoutError) else str(why) or repr(why)
        raise BusUnreachable(f"The event bus at {where} can't be reached: {told}.") from error
    finally:
        connected = False
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.close(), 1)
