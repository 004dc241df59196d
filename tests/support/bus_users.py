"""The event bus as one service's user, and what the server refuses it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client

from admitone.kit.delivery.connection import connect
from admitone.kit.event import LISTENERS
from admitone.runtime.nats_users import USERS

ANOTHERS = {name: next(other for other in USERS if other != name and LISTENERS and other not in ("auth", "web")) for name in USERS}
"""For each user another one that has a consumer."""
REFUSED_WITHIN_SECONDS = 5


class As:
    """A connection as one service's user, and what the server refuses it."""

    def __init__(self) -> None:
        self.client = Client()
        self.refused: asyncio.Queue[str] = asyncio.Queue()

    async def on_error(self, error: Exception) -> None:
        if "ermissions" in str(error):
            self.refused.put_nowait(str(error).lower())  # As it spells the subject, too.

    async def is_refused(self) -> str:
        """What the server says of the last thing that was tried."""
        await self.client.flush()
        async with asyncio.timeout(REFUSED_WITHIN_SECONDS):
            return await self.refused.get()


@asynccontextmanager
async def as_user(url: str, name: str) -> AsyncIterator[As]:
    it = As()
    inbox = f"_INBOX_{name}".encode()
    await connect(it.client, url, name=name, inbox_prefix=inbox, error_cb=it.on_error, allow_reconnect=False)
    try:
        yield it
    finally:
        await it.client.close()
