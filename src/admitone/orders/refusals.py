"""How often an attempt to buy is told no, and why. Counted in memory and added to the database every few seconds: when thousands want
one ticket, none of them is to wait for a row that all of them write.
"""

from collections import Counter

from admitone.kit.data.db import Database
from admitone.kit.http.problem import Problem
from admitone.orders import repository
from admitone.orders.model import REFUSALS, Refusal


class Tally:
    """What this process has counted and not written down yet. A process that is killed loses that: a few seconds' worth."""

    def __init__(self) -> None:
        self.counted = Counter[Refusal]()

    def count(self, refusal: Problem) -> None:
        """An attempt to buy was told no. An id that is no ticket's is no attempt to buy one, and is not counted."""
        if type(refusal) in REFUSALS:
            self.counted[REFUSALS[type(refusal)]] += 1

    async def write_down(self, db: Database) -> None:
        """Add what was counted since the last time. When that fails, it is counted still."""
        counted, self.counted = self.counted, Counter[Refusal]()
        if not counted:
            return
        try:
            async with db.transaction() as tx:
                await repository.add_refusals(tx, counted)
        except BaseException:
            self.counted += counted
            raise
