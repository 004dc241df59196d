"""A whole sale while the event bus may be slow, for instance because a server of it was just killed.

A service that has not heard yet of what it is asked for answers 404: then it is asked again.
"""

import httpx
from support.house import Json, Person, eventually

SECONDS = 40.0


async def sells(seller: Person, buyer: Person) -> Json:
    """The complete order."""
    ticket = await seller.lists("Front row", 30)
    order = await buys(buyer, ticket)
    await pays(buyer, order)
    await seller.sees_ticket(ticket, "sold", SECONDS)
    return await buyer.sees_order(order, "complete", SECONDS)


async def buys(buyer: Person, ticket: Json) -> Json:
    """The order, once it may be paid."""

    async def ordered() -> Json:
        return _known(await buyer.tries_to_buy(ticket), 201)

    return await buyer.sees_order(await eventually(ordered, SECONDS), "awaiting:payment", SECONDS)


async def pays(buyer: Person, order: Json) -> None:
    async def paid() -> Json:
        return _known(await buyer.pays(order), 201, 202)

    await eventually(paid, SECONDS)


def _known(answer: httpx.Response, *good: int) -> Json:
    assert answer.status_code in (*good, 404), answer.text
    body: Json = answer.json()
    return body if answer.status_code in good else {}
