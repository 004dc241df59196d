"""The first tickets of the demo, and what some buyers have done with them by the time somebody looks."""

import asyncio
import math
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TypeVar

import click

from admitone.ops.demo.people import Company, Person
from admitone.ops.demo.wares import SEED, Ware, wares
from admitone.web.answers import Order, Ticket
from admitone.web.api import Api, Refused
from admitone.web.form import new_key

AT_ONCE = 8
SOLD_ONE_IN, HELD_ONE_IN, GIVEN_BACK_ONE_IN = 25, 125, 250
GOOD_CARD = "tok_visa"
NOT_HEARD_OF_YET = ("ticket-unknown", "order-not-found", "not-payable-yet")
TRIES = 10

Answer = TypeVar("Answer")


class NoTestCards(Exception):
    """This marketplace has another card processor than the one for tests."""


@dataclass
class Filled:
    listed: int = 0
    there_already: int = 0
    sold: int = 0
    held: int = 0
    takes_test_cards: bool = True
    titles: set[str] = field(default_factory=set)
    """All that the company has ever listed."""


async def fill(company: Company, wanted: int, takes_test_cards: bool) -> Filled:
    """List those of the first wares that are not there yet; some of them are bought at once. A second time changes nothing."""
    titles = {title for listed in await asyncio.gather(*(_titles(seller) for seller in company.sellers)) for title in listed}
    first = list(islice(wares(), wanted))
    missing = [ware for ware in first if ware.title not in titles]
    filled = Filled(
        len(missing), len(first) - len(missing), takes_test_cards=takes_test_cards, titles=titles | {ware.title for ware in first}
    )
    tickets = await _list(company, missing)
    await _buy_some(company, tickets, filled)
    return filled


async def _titles(seller: Person) -> set[str]:
    found, cursor = set[str](), ""
    while True:
        page = await seller.api.my_tickets(cursor)
        found |= {ticket.title for ticket in page.items}
        if page.cursor is None:
            return found
        cursor = page.cursor


async def _list(company: Company, missing: list[Ware]) -> list[Ticket]:
    """The first ware last, so that it is the newest and stands on top of the page."""
    if not missing:
        return []
    tickets: list[Ticket] = []
    work = zip(reversed(missing), cycle(company.sellers), strict=False)
    with click.progressbar(length=len(missing), label="Listing tickets", file=sys.stderr) as bar:

        async def list_them() -> None:
            for ware, seller in work:
                tickets.append(await seller.api.list_ticket(ware.title, ware.price, new_key()))
                bar.update(1)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(list_them())
    return tickets


async def _buy_some(company: Company, tickets: list[Ticket], filled: Filled) -> None:
    dice, buyers = random.Random(SEED), cycle(company.buyers)
    sold, held, given_back = (math.ceil(len(tickets) / one_in) for one_in in (SOLD_ONE_IN, HELD_ONE_IN, GIVEN_BACK_ONE_IN))
    chosen = dice.sample(tickets, min(len(tickets), sold + held + given_back))
    if not chosen or not filled.takes_test_cards:
        return
    with click.progressbar(chosen, label="Buying some of them", file=sys.stderr) as bar:
        for number, ticket in enumerate(bar):
            api = next(buyers).api
            try:
                order = await buy(api, ticket)
                if number < sold:
                    await pay(api, order, GOOD_CARD)
                    filled.sold += 1
                elif number < sold + held:
                    filled.held += 1
                else:
                    await api.cancel(order.id)
            except NoTestCards:
                filled.takes_test_cards = False
                return
            except Refused as refused:
                if refused.status != 409:  # A visitor was faster; or too many are held from an earlier time.
                    raise


async def buy(api: Api, ticket: Ticket) -> Order:
    return await _patiently(lambda: api.buy(ticket.id, f"{ticket.price:.2f}", new_key()))


async def pay(api: Api, order: Order, token: str) -> None:
    """Raises NoTestCards, and has given the ticket back; or Refused, as when the card is declined."""
    try:
        await _patiently(lambda: api.pay(order.id, token, new_key()))
    except Refused as refused:
        if refused.kind != "unknown-token":
            raise
        await api.cancel(order.id)
        raise NoTestCards from refused


async def _patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """A busy marketplace may need more than the second that it waits by itself until everybody has heard of a ticket or an order."""
    for _ in range(TRIES):
        try:
            return await ask()
        except Refused as refused:
            if refused.kind not in NOT_HEARD_OF_YET:
                raise
    return await ask()


def summary(filled: Filled, company: Company, url: str) -> str:
    """What there is now, and how to sign in."""
    lines = [f"{_tickets(filled.listed)} listed." if filled.listed else "Nothing had to be listed."]
    if filled.sold or filled.held:
        lines.append(f"{_are(filled.sold, ' of them')} sold, {_are(filled.held)} being paid for.")
    if filled.there_already:
        was = "was" if filled.there_already == 1 else "were"
        lines.append(f"{_tickets(filled.there_already)} of the demo {was} there already.")
    if not filled.takes_test_cards:
        lines.append("Nothing is bought: cards are Stripe's business here, and there are no test tokens for the demo to pay with.")
    people = [f"  {person.email:<24} {person.password:<26} {person.does}" for person in company.all]
    return "\n".join([" ".join(lines), "", f"Sign in at {url}/signin as any of these:", "", *people])


def _tickets(number: int) -> str:
    return f"{number} ticket{'' if number == 1 else 's'}"


def _are(number: int, of_what: str = "") -> str:
    return f"{number}{of_what} {'is' if number == 1 else 'are'}"
