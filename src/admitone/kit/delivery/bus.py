"""One service's connection to the stream. The stream is a carrier that may lose, repeat and reorder.

relay.py brings to it what the service says; consumer.py brings from it what the service hears.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import datetime

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from admitone.kit.observe.log import log

STREAM = "ADMITONE"
REQUEST_TIMEOUT_SECONDS = 2.0
COMPLAIN_EVERY_SECONDS = 30.0

BUS_TROUBLE = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)
"""What the bus says when it is away or unwell: the same thing may work in a moment."""


class BusClosed(Exception):
    """The connection to the stream is closed for good, for instance because the credentials are wrong."""


class Bus:
    """It reconnects for ever; what goes wrong meanwhile is logged now and then, and shown by `state`."""

    def __init__(self, service: str, url: str) -> None:
        self.service = service
        self.url = url
        self.age = 0
        """Rises whenever what we know of the stream may have become untrue: it may have lost something."""
        self.client = Client()
        self.stream: JetStreamContext = self.client.jetstream(timeout=REQUEST_TIMEOUT_SECONDS)
        self._closed = False
        self._troubled_at = self._complained_at = -COMPLAIN_EVERY_SECONDS

    @property
    def state(self) -> str:
        """`ready`, `away`, or `troubled`: connected, but what is asked of it fails."""
        if not self.client.is_connected:
            return "away"
        return "troubled" if time.monotonic() - self._troubled_at < 5 else "ready"

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator["Bus"]:
        """Waits for the server for as long as it takes."""

        async def disconnected() -> None:
            self.age += 1  # Now, not only when it is back: what was buffered leaves before we hear of that.
            if not self.client.is_closed:
                log.warning("the event bus is away; what happens meanwhile is kept and sent later", service=self.service)

        async def reconnected() -> None:
            self.age += 1
            log.info("the event bus is back", service=self.service)

        async def closed() -> None:
            self._closed = True

        introduced = False

        async def note(error: Exception) -> None:
            # Whether the client calls itself closed says nothing here: it does so between two tries to connect, too.
            if not introduced and "Authorization Violation" in str(error):
                raise self._no_way_back()
            self._note(error)

        await self.client.connect(
            self.url,
            name=self.service,
            connect_timeout=2,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type]
            ping_interval=10,
            max_outstanding_pings=2,
            disconnected_cb=disconnected,
            reconnected_cb=reconnected,
            closed_cb=closed,
            error_cb=note,
        )
        introduced = True
        try:
            await self.ensure_stream()
            yield self
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.client.close(), 1)

    async def ensure_stream(self) -> None:
        """Create the stream where there is none; one that is there is left as its operator has set it."""
        while True:
            try:
                await self.stream.add_stream(
                    StreamConfig(
                        name=STREAM,
                        subjects=["events.>"],
                        storage=StorageType.FILE,
                        retention=RetentionPolicy.LIMITS,
                        discard=DiscardPolicy.NEW,
                        allow_direct=True,
                    )
                )
                return
            except nats.js.errors.BadRequestError:  # It exists, with other settings.
                return
            except BUS_TROUBLE as error:
                self.complain(error)
                await asyncio.sleep(1)

    async def stream_created(self) -> datetime | None:
        """When the stream was made: another answer than before means another stream."""
        return (await self.stream.stream_info(STREAM)).created

    def complain(self, error: Exception) -> None:
        """Log trouble, but not each time it is met again. Raises BusClosed when there is no way back."""
        if self._closed or self.client.is_closed:
            raise self._no_way_back()
        self._note(error)

    def _no_way_back(self) -> BusClosed:
        return BusClosed(f"{self.service}: the event bus has closed the connection for good; are the credentials right?")

    def _note(self, error: Exception) -> None:
        self._troubled_at = time.monotonic()
        if self._troubled_at - self._complained_at > COMPLAIN_EVERY_SECONDS:
            self._complained_at = self._troubled_at
            log.warning("the event bus does not do what it should; it is tried again", service=self.service, error=repr(error))
