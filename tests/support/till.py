"""A whole house at its till: sales, a bank that asks, a processor that misbehaves.

bob, order = await sale(house)
await misbehaves(house, "capture", "timeout_after")
await bob.pays(order)
await is_paid(house, order)
"""

from urllib.parse import urljoin
from uuid import UUID

import httpx
from support.house import House, Json, Person, eventually

from admitone import config
from admitone.ops import payments as money
from admitone.payments.model import Charge

NEEDS_BANK = "tok_threeDSecure2Required"


async def misbehaves(house: House, call: str, fault: str, times: int | None = 1) -> None:
    """The next so many calls of that name go wrong in that way; None: all of them."""
    await house.rows("testgateway", "INSERT INTO faults (call, fault, times) VALUES ($1, $2, $3)", call, fault, times)


async def behaves(house: House) -> None:
    """From now on nothing goes wrong."""
    await house.rows("testgateway", "DELETE FROM faults")


async def unused_faults(house: House) -> list[Json]:
    return await house.rows("testgateway", "SELECT call, fault, times FROM faults WHERE times > 0")


async def lets_doubt_pass(house: House) -> None:
    """The first call has had its fifteen seconds."""
    await house.rows("payments", "UPDATE charges SET next_attempt_at = now() WHERE status = 'created'")


async def sales(house: House, *prices: float) -> tuple[Person, list[Json]]:
    """Somebody new, with orders of new tickets that may be paid."""
    ann, bob = await house.people("ann", "bob")
    return bob, [await bob.buys(await ann.lists("Front row", price)) for price in prices]


async def sale(house: House) -> tuple[Person, Json]:
    """Somebody new, with just one order."""
    bob, [order] = await sales(house, 30)
    return bob, order


async def goes_to_bank(bob: Person, order: Json) -> str:
    """Pays with a card that needs a confirmation; where that is asked for."""
    answer = await bob.pays(order, NEEDS_BANK)
    assert answer.status_code == 202, answer.text
    url: str = answer.json()["redirectUrl"]
    return url


async def answers_bank(bob: Person, url: str, answer: str) -> httpx.Response:
    """Looks at the bank's page and sends its form: `approval` or `refusal`."""
    page = await bob.client.get(url)
    assert "Your bank asks" in page.text
    of_a_form = {"Origin": str(bob.client.base_url).rstrip("/"), "Content-Type": "application/x-www-form-urlencoded"}
    answered = await bob.client.post(f"{url}/{answer}", headers=of_a_form)
    assert answered.status_code == 303, answered.text
    return answered


async def comes_back(bob: Person, url: str, answered: httpx.Response) -> str:
    """Follows the bank's answer; where that ends."""
    back = await bob.client.get(urljoin(url, answered.headers["location"]))
    assert back.status_code == 303, back.text
    location: str = back.headers["location"]
    return location


async def paid(bob: Person, order: Json) -> bool:
    """Payments may hear a moment later than orders that it may be paid."""
    answer = await bob.pays(order)
    return answer.status_code == 201 or answer.json().get("title") == "Paid already"


async def is_paid(house: House, order: Json) -> None:
    """Wait until the money was taken, not only approved."""
    sql = "SELECT true FROM charges WHERE order_id::text = $1 AND status = 'completed'"
    await eventually(lambda: house.rows("payments", sql, order["id"]))


async def refunds(house: House, order: Json, relist: bool = False) -> Charge:
    """What `admitone refund` does, without a process of its own."""
    return await money.refund(config.load(house.settings), UUID(order["id"]), "asked for", relist)


async def intents(house: House, order: Json) -> list[str]:
    rows = await house.rows("testgateway", "SELECT status FROM intents WHERE order_id::text = $1 ORDER BY made_at", order["id"])
    return [row["status"] for row in rows]
