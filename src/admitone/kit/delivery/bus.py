"""One service's connection to the stream, which may lose, repeat and reorder messages.

relay.py publishes the service's outbox to it; consumer.py consumes from it.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

import asyncpg
import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from admitone.kit.delivery.connection import connect
from admitone.kit.delivery.sender import Outgoing, Sender, StreamError
from admitone.kit.marketplace import ForeignMarketplace
from admitone.kit.observe.log import log

STREAM = "ADMITONE"
MARKETPLACE = "marketplace"
"""The stream's metadata have the marketplace's name under this key."""
REQUEST_TIMEOUT_SECONDS = 2.0
REPORT_EVERY_SECONDS = 30.0

WITHOUT_JETSTREAM = (10008, 10039, 10076)
STORAGE_FULL = (10023, 10028, 10047, 10077)
"""Codes of JetStream's errors; https://github.com/nats-io/nats-server/blob/main/server/errors.json has all of them."""

BUS_ERRORS = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)
"""Errors of a bus that is unavailable or failing: the same call may succeed when it is retried."""


class _StreamSettings(msgspec.Struct):
    metadata: dict[str, str] = {}


class _StreamInfo(msgspec.Struct):
    created: str = ""
    config: _StreamSettings = msgspec.field(default_factory=_StreamSettings)
    error: StreamError | None = None


class BusClosed(Exception):
    """The connection to the stream is closed for good, for instance because the credentials are wrong."""


class Bus:
    """Reconnects for ever. Errors are logged at most every 30 s, and `state` shows them."""

    def __init__(self, service: str, url: str, replicas: int = 1, marketplace: str | None = None) -> None:
        """`replicas`: on how many servers the stream is kept, if it has to be created. `marketplace`: whose stream it has to be."""
        self.service = service
        self.url = url
        self.replicas = replicas
        self.marketplace = marketplace
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
        """Create the stream if it is missing; the settings of an existing one are left as they are. Raises ForeignMarketplace."""
        while True:
            try:
                if not await self._stream_exists():
                    await self._create_stream()
                return
            except BUS_ERRORS as error:
                with contextlib.suppress(*BUS_ERRORS):
                    if isinstance(error, nats.js.errors.BadRequestError) and await self._stream_exists():
                        return  # Somebody was faster, with other settings.
                self.report_error(error)
                await asyncio.sleep(1)

    async def _stream_exists(self) -> bool:
        with contextlib.suppress(nats.js.errors.NotFoundError):
            await self.stream_created()
            return True
        return False

    async def _create_stream(self) -> None:
        await self.stream.add_stream(
            StreamConfig(
                name=STREAM,
                num_replicas=self.replicas,
                subjects=["events.>"],
                storage=StorageType.FILE,
                retention=RetentionPolicy.LIMITS,
                discard=DiscardPolicy.NEW,
                allow_direct=True,
                metadata={MARKETPLACE: self.marketplace} if self.marketplace else None,
            )
        )

    async def publish(self, messages: Sequence[Outgoing]) -> list[int | Exception]:
        """Send messages to the stream, all at once; each one's number there, or why it has none. Raises BUS_ERRORS."""
        return await self._sender.send(messages)

    async def stream_created(self) -> str:
        """When the stream was created. A different time than before means a different stream. Raises BUS_ERRORS, ForeignMarketplace.

        Not by stream_info of nats-py, which builds objects of all that the stream has to say of itself.
        """
        answer = await self.client.request(f"$JS.API.STREAM.INFO.{STREAM}", timeout=REQUEST_TIMEOUT_SECONDS)
        info = msgspec.json.decode(answer.data, type=_StreamInfo)
        if info.error is not None:
            kind = nats.js.errors.NotFoundError if info.error.code == 404 else nats.js.errors.APIError
            raise kind(code=info.error.code, err_code=info.error.err_code, description=info.error.description)
        theirs = info.config.metadata.get(MARKETPLACE, self.marketplace)  # A stream of an older version has no name.
        if self.marketplace is not None and theirs != self.marketplace:
            raise ForeignMarketplace(f"The stream {STREAM} of the event bus", str(theirs), self.marketplace)
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
            cause = known_cause(error) or "a call to the event bus has failed"
            log.warning("bus_error", message=f"{cause}; it is retried", service=self.service, error=repr(error))


def known_cause(error: BaseException) -> str | None:
    """What is wrong with the bus or the database, in words, where a person has to do something about it."""
    if isinstance(error, asyncpg.DiskFullError):
        return "the database can't store any more: its volume is full"
    code = error.err_code if isinstance(error, nats.js.errors.APIError) else None
    if isinstance(error, nats.errors.NoRespondersError | nats.js.errors.ServiceUnavailableError) or code in WITHOUT_JETSTREAM:
        return "the event bus has no JetStream, or no majority of its servers: start nats-server with jetstream in its settings"
    if code in STORAGE_FULL:
        return "the event bus can't store any more: its volume, or a limit of it, is full"
    return None
