"""The one clock of a service is its database's: two replicas then never disagree about what is late."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from admitone.kit.data.connection import Connection

Clock = Callable[[Connection], Awaitable[datetime]]


async def database_clock(connection: Connection) -> datetime:
    """The time at this moment, in UTC. It is read once at the start of a transaction."""
    now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return now
