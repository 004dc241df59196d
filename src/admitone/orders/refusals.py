"""Counts refused attempts to buy, by reason.

They are counted in memory and added to the database every few seconds. When thousands want one ticket, no request waits for a row
that all of them would update.
"""

from collections import Counter

from admitone.kit.data.db import Database
from admitone.kit.http.problem import Problem
from admitone.orders import repository
from admitone.orders.model import REFUSALS, Refusal


class RefusalCounter:
    """Refusals that this process has counted and not stored yet. A process that is killed loses those of a few seconds."""

    def __init__(self) -> None:
        self.counted = Counter[Refusal]()

    def count(self, refusal: Problem) -> None:
        """Count a refusal by its reason. An unknown ticket is not counted: it is no attempt to buy one."""
        if type(refusal) in REFUSALS:
            self.counted[REFUSALS[type(refusal)]] += 1

    async def store(self, db: Database) -> None:
        """Add the counts since the last call to the database. When that fails, they are kept for the next call."""
        counted, self.counted = self.counted, Counter[Refusal]()
        if not counted:
            return
        try:
            async with db.transaction() as tx:
                await repository.add_refusals(tx, counted)
        except BaseException:
            self.counted += counted
            raise
