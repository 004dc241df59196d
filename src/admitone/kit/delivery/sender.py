"""Publishes messages to the stream without waiting for one acknowledgement before the next message is sent.

JetStreamContext.publish_async of nats-py is not used: an error answer never ends its future.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

TIMEOUT_SECONDS = 2.0


class Outgoing(NamedTuple):
    """A message for the stream. The stream drops a second one with the same id within two minutes."""

    subject: str
    data: bytes
    id: str


class StreamError(msgspec.Struct):
    """An error as the stream reports it."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    seq: int = 0
    error: StreamError | None = None


class Sender:
    """The stream answers each message on a subject of its own below one inbox, which is subscribed to once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = ""
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[int]] = {}

    async def send(self, messages: Sequence[Outgoing]) -> list[int | Exception]:
        """Send all messages, then wait for their acknowledgements; each one's number in the stream, or why it has none.

        Raises nats.errors.Error where not even sending is possible.
        """
        if not self._inbox:
            self._inbox = self._client.new_inbox()
            await self._client.subscribe(f"{self._inbox}.*", cb=self._answered)
        futures: dict[str, asyncio.Future[int]] = {}
        loop = asyncio.get_running_loop()
        try:
            for message in messages:
                reply = f"{self._inbox}.{next(self._numbers)}"
                futures[reply] = self._waiting[reply] = loop.create_future()
                await self._client.publish(message.subject, message.data, reply, {"Nats-Msg-Id": message.id})
            await asyncio.wait(futures.values(), timeout=TIMEOUT_SECONDS)
        finally:
            for reply in futures:
                del self._waiting[reply]  # An answer that comes later is nobody's.
        return [_outcome(future) for future in futures.values()]

    async def _answered(self, message: Msg) -> None:
        future = self._waiting.get(message.subject)
        if future is None or future.done():
            return
        if (message.headers or {}).get("Status") == "503":
            future.set_exception(nats.js.errors.NoStreamResponseError())
            return
        try:
            answer = msgspec.json.decode(message.data, type=_Answer)
        except msgspec.MsgspecError as unreadable:
            future.set_exception(nats.errors.Error(f"an acknowledgement that can't be read: {unreadable}"))
            return
        if (error := answer.error) is None:
            future.set_result(answer.seq)
        else:
            future.set_exception(nats.js.errors.APIError(code=error.code, err_code=error.err_code, description=error.description))


def _outcome(future: "asyncio.Future[int]") -> int | Exception:
    if not future.done():
        return nats.errors.TimeoutError()
    error = future.exception()
    if error is None:
        return future.result()
    return error if isinstance(error, Exception) else nats.errors.Error(repr(error))
