"""Every order in which events can arrive, each of them twice.

for arrival in every_order(one, another, a_third):
    async with heard(it, arrival):
        assert await it.rows("SELECT ...") == expected
"""

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterable

from admitone.kit.event import Event
from admitone.kit.testing import Rehearsal


def every_order(*events: Event) -> Iterable[tuple[Event, ...]]:
    """All arrivals there can be; in each, everything comes a second time, backwards."""
    return ((*arrival, *reversed(arrival)) for arrival in itertools.permutations(events))


@contextlib.asynccontextmanager
async def heard(it: Rehearsal, arrival: Iterable[Event]) -> AsyncIterator[None]:
    """The service has heard this, for as long as the block runs. Then it is taken back."""
    savepoint = it.tx.connection.transaction()
    await savepoint.start()
    try:
        await it.hears(*arrival)
        yield
    finally:
        await savepoint.rollback()
