"""One service's connection to the stream, which may lose, repeat and reorder messages.

relay.py publishes the service's outbox to it; consumer.py consumes from it.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from admitone.kit.delivery.connection import connect
from admitone.kit.delivery.sender import Outgoing, Sender, StreamError
from admitone.kit.observe.log import log

STREAM = "ADMITONE"
REQUEST_TIMEOUT_SECONDS = 2.0
REPORT_EVERY_SECONDS = 30.0

BUS_ERRORS = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)
"""Errors of a bus that is unavailable or failing: the same call may succeed when it is retried."""


class _StreamInfo(msgspec.Struct):
    created: str = ""
    error: StreamError | None = None


class BusClosed(Exception):
    """The connection to the stream is closed for good, for instance because the credentials are wrong."""


class Bus:
    """Reconnects for ever. Errors are logged at most every 30 s, and `state` shows them."""

    def __init__(self, service: str, url: str, replicas: int = 1) -> None:
        """`replicas`: on how many servers the stream is kept, if it has to be created."""
        self.service = service
        self.url = url
        self.replicas = replicas
        self.epoch = 0
        """Incremented on every disconnect, reconnect or stream loss; the relay repairs the stream when it changes."""
        self.client = Client()
        self.stream: JetStreamContext = self.client.jetstream(timeout=REQUEST_TIMEOUT_SECONDS)
        self._sender = Sender(self.client)
        self._closed = False
        self._failed_at = self._reported_at = -REPORT_EVERY_SECONDS

    @property
    def state(self) -> str:
        """`ready`, `away`, or `troubled`: connected, but what is asked of it fails."""
        if not self.client.is_connected:
            return "away"
        return "troubled" if time.monotonic() - self._failed_at < 5 else "ready"

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator["Bus"]:
        """Waits for the server for as long as it takes."""

        async def disconnected() -> None:
            self.epoch += 1  # Now, not only when it is back: what was buffered leaves before we hear of that.
            if not self.client.is_closed:
                log.warning(
                    "bus_unavailable",
                    message="the event bus is unavailable; events are kept and published later",
                    service=self.service,
                )

        async def reconnected() -> None:
            self.epoch += 1
            log.info("bus_reconnected", message="the event bus is back", service=self.service)

        async def closed() -> None:
            self._closed = True

        introduced = False

        async def on_error(error: Exception) -> None:
            # Whether the client calls itself closed says nothing here: it does so between two tries to connect, too.
            if not introduced and "Authorization Violation" in str(error):
                raise self._closed_for_good()
            self._log_error(error)

        await connect(
            self.client,
            self.url,
            name=self.service,
            inbox_prefix=f"_INBOX_{self.service}".encode(),
            connect_timeout=2,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,
            ping_interval=10,
            max_outstanding_pings=2,
            disconnected_cb=disconnected,
            reconnected_cb=reconnected,
            closed_cb=closed,
            error_cb=on_error,
        )
        introduced = True
        try:
            await self.ensure_stream()
            yield self
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.client.close(), 1)

    async def ensure_stream(self) -> None:
        """Create the stream if it is missing; the settings of an existing one are left as they are."""
        while True:
            try:
                with contextlib.suppress(nats.js.errors.NotFoundError):
                    await self.stream_created()
                    return
                await self.stream.add_stream(
                    StreamConfig(
                        name=STREAM,
                        num_replicas=self.replicas,
                        subjects=["events.>"],
                        storage=StorageType.FILE,
                        retention=RetentionPolicy.LIMITS,
                        discard=DiscardPolicy.NEW,
                        allow_direct=True,
                    )
                )
                return
            except nats.js.errors.BadRequestError:  # Somebody was faster, with other settings.
                return
            except BUS_ERRORS as error:
                self.report_error(error)
                await asyncio.sleep(1)

    async def publish(self, messages: Sequence[Outgoing]) -> list[int | Exception]:
        """Send messages to the stream, all at once; each one's number there, or why it has none. Raises BUS_ERRORS."""
        return await self._sender.send(messages)

    async def stream_created(self) -> str:
        """When the stream was created. A different time than before means a different stream. Raises BUS_ERRORS.

        Not by stream_info of nats-py, which builds objects of all that the stream has to say of itself.
        """
        answer = await self.client.request(f"$JS.API.STREAM.INFO.{STREAM}", timeout=REQUEST_TIMEOUT_SECONDS)
        info = msgspec.json.decode(answer.data, type=_StreamInfo)
        if info.error is not None:
            raise nats.js.errors.NotFoundError(code=info.error.code, err_code=info.error.err_code, description=info.error.description)
        return info.created

    def report_error(self, error: Exception) -> None:
        """Log an error, at most every 30 s. Raises BusClosed when the connection is closed for good."""
        if self._closed or self.client.is_closed:
            raise self._closed_for_good()
        self._log_error(error)

    def _closed_for_good(self) -> BusClosed:
        return BusClosed(f"{self.service}: the event bus has closed the connection for good; are the credentials right?")

    def _log_error(self, error: Exception) -> None:
        self._failed_at = time.monotonic()
        if self._failed_at - self._reported_at > REPORT_EVERY_SECONDS:
            self._reported_at = self._failed_at
            log.warning("bus_error", message="a call to the event bus has failed; it is retried", service=self.service, error=repr(error))
