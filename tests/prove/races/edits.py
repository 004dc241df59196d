"""A seller changes a ticket at the moment somebody buys it: the order stands at what the ticket is when locked, or not at all."""

import asyncio
import random
from typing import Any
from uuid import UUID

import msgspec
from prove.races.outcome import Outcome, Say
from support.databases import OwnDatabase
from support.facts import ANN, BOB

from admitone.config import Settings
from admitone.events import ReservationRefused, TicketEvent
from admitone.kit.event import CATALOGUE, Event
from admitone.kit.service import Handlers
from admitone.orders import commands as buying
from admitone.orders.handlers import handlers as orders_hears
from admitone.orders.model import AnotherPrice, Order
from admitone.tickets import commands as selling
from admitone.tickets.handlers import handlers as tickets_hears
from admitone.tickets.model import TicketLocked

AT_ONCE = 6
"""So many rounds go on side by side: each is held up by the others, never at the same place."""
SETTINGS = Settings(max_open_orders=1_000_000)


async def edits(tickets: OwnDatabase, orders: OwnDatabase, say: Say, rounds: int = 2000, seed: int = 1) -> Outcome:
    """Each round has a ticket of its own, an edit or two, and an order."""
    outcome = Outcome()
    turns = iter(range(rounds))

    async def one_after_the_other() -> None:
        for turn in turns:
            await _Round(tickets, orders, random.Random(f"{seed}/{turn}"), outcome).plays()
            say(sum(outcome.counted[end] for end in ENDS))

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    for end in ENDS[:2]:
        outcome.must(outcome.counted[end] > rounds // 20, f"too little of a race: {outcome.counted[end]} of {rounds} orders {end}")
    return outcome


STOOD, REFUSED, ANOTHER_PRICE = ENDS = ("stood", "were refused by tickets", "met another price at once")


class _Round:
    def __init__(self, tickets: OwnDatabase, orders: OwnDatabase, chance: random.Random, outcome: Outcome) -> None:
        self.tickets = tickets
        self.orders = orders
        self.chance = chance
        self.outcome = outcome
        self.ticket_id = UUID(int=0)
        self.ordered = asyncio.Event()
        self.handed_on = 0

    async def plays(self) -> None:
        async with self.tickets.db.transaction() as tx:
            self.ticket_id = (await selling.list_ticket(tx, ANN, "Front row", 1000, "USD", tx.now)).ticket_id
        await self.orders_hears()
        doing = [self.sells(), self.buys()]
        self.chance.shuffle(doing)
        await asyncio.gather(*doing)
        await self.orders_hears()
        await self.is_judged()

    async def sells(self) -> None:
        """Maybe one edit before there is an order, and one at the moment when the order is to be locked."""
        if self.chance.random() < 0.3:
            await self.edits("Front row", 1100)
            await self.orders_hears()
        await self.ordered.wait()
        await self.hesitates()
        await self.edits(*self.chance.choice((("Front row", 1200), ("Back row", 1000), ("Back row", 1200))))

    async def edits(self, title: str, price_cents: int) -> None:
        try:
            async with self.tickets.db.transaction() as tx:
                await selling.edit_ticket(tx, self.ticket_id, ANN, title, price_cents)
            self.outcome.counted["edits taken"] += 1
        except TicketLocked:
            self.outcome.counted["edits told that it is locked"] += 1

    async def buys(self) -> None:
        for _ in range(self.chance.randrange(6)):
            await self.said(self.tickets)  # It is looked at first: sometimes for so long that its price is another one by then.
        try:
            async with self.orders.db.transaction() as tx:
                await buying.create_order(tx, BOB, self.ticket_id, self.chance.choice((None, 1000)), SETTINGS)
        except AnotherPrice:
            pass
        orders = await self.said(self.orders)
        self.ordered.set()
        await self.hesitates()
        for order in orders:
            await self.tells(self.tickets, tickets_hears, order)

    async def hesitates(self) -> None:
        """For no time at all: the other may come first."""
        for _ in range(self.chance.randrange(3)):
            await asyncio.sleep(0)

    async def orders_hears(self) -> None:
        """What tickets has said since the last time."""
        news = (await self.said(self.tickets))[self.handed_on :]
        self.handed_on += len(news)
        for event in news:
            await self.tells(self.orders, orders_hears, event)

    async def tells(self, listener: OwnDatabase, hears: Handlers, event: Event) -> None:
        async with listener.db.transaction() as tx:
            await hears.by_event[type(event)](event, tx)

    async def said(self, speaker: OwnDatabase) -> list[Any]:
        rows = await speaker.rows("SELECT event, data FROM outbox WHERE data ->> 'ticket_id' = $1 ORDER BY id", str(self.ticket_id))
        return [msgspec.convert(row["data"], CATALOGUE[row["event"]]) for row in rows]

    async def is_judged(self) -> None:
        said = await self.said(self.tickets)
        states = [event for event in said if isinstance(event, TicketEvent)]
        refusals = [event for event in said if isinstance(event, ReservationRefused)]
        async with self.orders.db.reading() as tx:
            order = await tx.one(Order, "SELECT * FROM orders WHERE ticket_id = $1", self.ticket_id)
        self.must([state.version for state in states] == list(range(1, len(states) + 1)), "its versions have gaps")
        last = states[-1]
        if order is None:
            self.outcome.counted[ANOTHER_PRICE] += 1
            cost_else = any(state.price_cents != 1000 for state in states)
            self.must(cost_else and last.order_id is None, "its buyer was told of another price, and it never had one")
            return
        self.must(
            (order.title, order.price_cents) in {(state.title, state.price_cents) for state in states}, "it never was what its order says"
        )
        if refusals:
            self.outcome.counted[REFUSED] += 1
            self.must(len(refusals) == 1 and all(state.order_id is None for state in states), "it was locked and refused")
            self.must((order.status, order.reason) == ("cancelled", "price_changed"), f"refused, and its order is {order.status}")
            self.must((order.title, order.price_cents) != (last.title, last.price_cents), "it is what its order says, and was refused")
            return
        self.outcome.counted[STOOD] += 1
        locked = [state for state in states if state.order_id is not None]
        self.must(bool(locked) and locked[0] == last, "it was changed once it was locked")
        self.must(order.status == "awaiting:payment", f"it is locked, and its order is {order.status}")
        self.must((order.title, order.price_cents) == (last.title, last.price_cents), "it was locked as something else than its order says")

    def must(self, holds: bool, otherwise: str) -> None:
        self.outcome.must(holds, f"ticket {self.ticket_id}: {otherwise}")
