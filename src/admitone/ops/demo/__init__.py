"""`admitone demo`: something to look at for whoever sees the marketplace for the first time.

wares     what is listed: invented, endlessly many, the same each time
people    the few who list and buy it; anybody may sign in as one of them
filling   the first few hundred tickets, some of them bought
living    what goes on then, a line each

It uses the public HTTP API alone, by the client that the pages have.
"""

import asyncio
import random
from collections.abc import Callable

from admitone.config import Settings
from admitone.ops.demo import filling, living, people, wares
from admitone.web.api import client_of

PAUSE_SECONDS = (0.4, 2.4)
"""Between two happenings: as much as a person can read."""


async def show(settings: Settings, tickets: int, live: bool, say: Callable[[str], object]) -> None:
    """Fill the marketplace at `services_url`; live, go on until somebody ends it. Raises NoDemo."""
    url = settings.services_url
    async with client_of(settings, None) as client:
        with people.told_in_a_sentence(url):
            await people.is_open(client)
            company = await people.company(client)
            filled = await filling.fill(company, tickets, takes_test_cards=settings.stripe_secret_key is None)
        say(filling.summary(filled, company, url))
        if not live:
            return
        say("\nWhat goes on (Ctrl-C ends it):\n")
        dice = random.Random()
        async for line in living.happenings(company, wares.others_than(filled.titles), filled.takes_test_cards, dice):
            say(line)
            await asyncio.sleep(dice.uniform(*PAUSE_SECONDS))
