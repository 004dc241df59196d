"""What goes on in the demo: people list, change their minds, buy, pay, and now and then somebody is faster."""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from random import Random
from uuid import UUID

from admitone.kit.http.amount import money
from admitone.kit.observe.log import printable
from admitone.ops.demo.filling import GOOD_CARD, NoTestCards, buy, pay
from admitone.ops.demo.people import Company, Person
from admitone.ops.demo.wares import HALLS, THEATRES, Ware
from admitone.web.answers import Order, OrderedTicket, Ticket
from admitone.web.api import Away, Refused
from admitone.web.form import new_key

DECLINED_CARD = "tok_chargeDeclined"
MAX_HELD = 5
"""Orders under way: whatever is more is paid or given back first."""


@dataclass
class Scene:
    company: Company
    new_wares: Iterator[Ware]
    dice: Random
    takes_test_cards: bool
    seller_of: dict[UUID, Person] = field(default_factory=dict)
    """By the user's id, as tickets have it."""
    held: deque[tuple[Person, Order]] = field(default_factory=deque)


async def happenings(company: Company, new_wares: Iterator[Ware], takes_test_cards: bool, dice: Random) -> AsyncIterator[str]:
    """For ever a line for each thing that was done; it is done when the line is asked for."""
    scene = Scene(company, new_wares, dice, takes_test_cards)
    while True:
        try:
            line = await _happens(scene)
        except Refused as refused:  # A visitor was faster: that is life.
            line = f"Somebody is told: {refused.detail or refused}"
        except Away:
            line = "The marketplace does not answer; the demo waits for it."
        except NoTestCards:
            scene.takes_test_cards = False
            line = "Cards are Stripe's business here: nothing is bought from now on."
        if line:
            yield f"{datetime.now():%H:%M:%S}  {printable(line)}"  # noqa: DTZ005  (the clock on the wall of whoever looks)


async def _happens(scene: Scene) -> str:
    for person in scene.company.all:
        await person.stays()
    if not scene.seller_of:
        await _know_each_other(scene)
    chances = {_lists: 25, _changes_price: 20, _withdraws: 6}
    if scene.takes_test_cards:
        chances |= {_buys: 35, _decides: 35} if len(scene.held) < MAX_HELD else {_decides: 70}
    [act] = scene.dice.choices(list(chances), list(chances.values()))
    return await act(scene)


async def _know_each_other(scene: Scene) -> None:
    """Who sold what is known by its tickets; what is held from before, by its orders."""
    for seller in scene.company.sellers:
        for ticket in (await seller.api.my_tickets("")).items[:1]:
            scene.seller_of[ticket.user_id] = seller
    for buyer in scene.company.buyers:
        for order in (await buyer.api.my_orders("")).items:
            if order.status == "awaiting:payment" and order.seconds_left:
                scene.held.append((buyer, order))


async def _lists(scene: Scene) -> str:
    seller, ware = scene.dice.choice(scene.company.sellers), next(scene.new_wares)
    ticket = await seller.api.list_ticket(ware.title, ware.price, new_key())
    return f"{seller.name} lists {_named(ticket)} for {_price(ticket)}"


async def _changes_price(scene: Scene) -> str:
    found = await _something_for_sale(scene)
    if found is None:
        return ""
    ticket, seller = found
    new = max(Decimal(1), round(ticket.price * scene.dice.choice((80, 85, 90, 95, 110, 120)) / 100, 0))
    if new == ticket.price:
        return ""
    await seller.api.edit_ticket(ticket.id, ticket.title, str(new), None)
    return f"{seller.name} asks for {_money(new, ticket)} instead of {_price(ticket)} for {_named(ticket)}"


async def _withdraws(scene: Scene) -> str:
    found = await _something_for_sale(scene)
    if found is None:
        return ""
    ticket, seller = found
    await seller.api.withdraw(ticket.id)
    return f"{seller.name} goes after all, and withdraws {_named(ticket)}"


async def _buys(scene: Scene) -> str:
    found = await _something_for_sale(scene)
    if found is None:
        return ""
    ticket, _ = found
    buyer = scene.dice.choice(scene.company.buyers)
    order = await buy(buyer.api, ticket)
    scene.held.append((buyer, order))
    return f"{buyer.name} clicks Buy: {_named(ticket)} is held at {_price(ticket)}"


async def _decides(scene: Scene) -> str:
    """Whoever has held a ticket for longest pays, or gives it back; or the card is declined, and there will be another try."""
    if not scene.held:
        return ""
    buyer, order = scene.held.popleft()
    match scene.dice.choices(("pays", "gives back", "is declined"), (60, 25, 15))[0]:
        case "pays":
            await pay(buyer.api, order, GOOD_CARD)
            return f"{buyer.name} pays: {_named(order.ticket)} is sold"
        case "gives back":
            await buyer.api.cancel(order.id)
            return f"{buyer.name} gives {_named(order.ticket)} back: it is for sale again"
    try:
        await pay(buyer.api, order, DECLINED_CARD)
    except Refused as refused:
        if refused.kind != "card-declined":
            raise
    scene.held.append((buyer, order))
    return f"{buyer.name}’s card is declined for {_named(order.ticket)}"


async def _something_for_sale(scene: Scene) -> tuple[Ticket, Person] | None:
    """One of the demo's own, found as visitors find theirs: on the front page, among the cheapest, or in some town."""
    town = scene.dice.choice((*HALLS, *THEATRES)).rpartition(", ")[2]
    wanted: dict[str, str] = scene.dice.choice(({}, {}, {"sort": "cheapest"}, {"q": town}))
    found = (await scene.company.buyers[0].api.search(wanted)).items
    ours = [ticket for ticket in found if ticket.user_id in scene.seller_of]
    if not ours:
        return None
    ticket = scene.dice.choice(ours)
    return ticket, scene.seller_of[ticket.user_id]


def _named(ticket: Ticket | OrderedTicket) -> str:
    """What it is and where; that is enough for a line."""
    return f"“{', '.join(ticket.title.split(', ')[:2])[:70]}”"


def _price(ticket: Ticket) -> str:
    return _money(ticket.price, ticket)


def _money(amount: Decimal, ticket: Ticket) -> str:
    return money(amount, ticket.currency)
