"""The same Idempotency-Key: the same answer, and one effect."""

import asyncio
from uuid import UUID, uuid4

import httpx
from support.house import House, Json, Person


def key() -> dict[str, str]:
    return {"Idempotency-Key": f"a key: {uuid4()}"}


async def listed(house: House) -> tuple[Person, Person, Json]:
    ann, bob = await house.people("ann", "bob")
    return ann, bob, await ann.lists(f"Row {uuid4()}", 49.90)


def same(one: httpx.Response, another: httpx.Response) -> bool:
    kind = "content-type"
    return (one.status_code, one.json(), one.headers[kind]) == (another.status_code, another.json(), another.headers[kind])


async def test_a_ticket_is_listed_once(house: House) -> None:
    (ann,) = await house.people("ann")
    body, headers = {"title": f"Row {uuid4()}", "price": 5}, key()
    first = await ann.ask("POST", "/api/tickets", body, **headers)
    again = await ann.ask("POST", "/api/tickets", body, **headers)
    assert first.status_code == 201
    assert same(first, again)
    assert len((await ann.ask("GET", "/api/tickets/mine")).json()) == 1
    said = await house.rows("tickets", "SELECT 1 FROM outbox WHERE data ->> 'seller_id' = $1", ann.id)
    assert len(said) == 1


async def test_an_order_is_made_once_and_answered_the_same_later(house: House) -> None:
    _, bob, ticket = await listed(house)
    body, headers = {"ticketId": ticket["id"], "price": 49.90}, key()
    first = await bob.ask("POST", "/api/orders", body, **headers)
    await bob.sees_order(first.json(), "awaiting:payment")
    assert same(first, await bob.ask("POST", "/api/orders", body, **headers))
    await bob.cancels(first.json())
    assert same(first, await bob.ask("POST", "/api/orders", body, **headers))
    assert len((await bob.ask("GET", "/api/orders")).json()) == 1


async def test_more_time_is_answered_the_same_later(house: House) -> None:
    _, bob, ticket = await listed(house)
    order, headers = await bob.buys(ticket), key()
    path = f"/api/orders/{order['id']}/extension"
    first = await bob.ask("POST", path, **headers)
    assert (first.status_code, first.json()["extended"]) == (200, True)
    await bob.pays(order)
    assert same(first, await bob.ask("POST", path, **headers))


async def test_a_payment_is_taken_once(house: House) -> None:
    _, bob, ticket = await listed(house)
    order = await bob.sees_order(await bob.buys(ticket), "awaiting:payment")
    body, headers = {"orderId": order["id"], "token": "tok_visa"}, key()
    answers = [await bob.ask("POST", "/api/payments", body, **headers) for _ in range(3)]
    assert answers[0].status_code == 201
    assert all(same(answers[0], answer) for answer in answers)
    assert len(await house.rows("payments", "SELECT 1 FROM charges WHERE order_id = $1", UUID(order["id"]))) == 1


async def test_a_declined_payment_is_remembered_and_costs_one_try(house: House) -> None:
    _, bob, ticket = await listed(house)
    order = await bob.sees_order(await bob.buys(ticket), "awaiting:payment")
    body, headers = {"orderId": order["id"], "token": "tok_chargeDeclined"}, key()
    answers = [await bob.ask("POST", "/api/payments", body, **headers) for _ in range(4)]
    assert answers[0].status_code == 402
    assert answers[0].headers["content-type"].startswith("application/problem+json")
    assert all(same(answers[0], answer) for answer in answers)
    assert (await bob.pays(order)).status_code == 201


async def test_the_same_key_with_another_body_is_refused(house: House) -> None:
    ann, bob, ticket = await listed(house)
    headers = key()
    await ann.ask("POST", "/api/tickets", {"title": f"Row {uuid4()}", "price": 5}, **headers)
    answer = await ann.ask("POST", "/api/tickets", {"title": "Another", "price": 5}, **headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert len((await ann.ask("GET", "/api/tickets/mine")).json()) == 2

    order = await bob.sees_order(await bob.buys(ticket), "awaiting:payment")
    assert (await bob.ask("POST", "/api/payments", {"orderId": order["id"], "token": "tok_chargeDeclined"}, **headers)).status_code == 402
    assert (await bob.ask("POST", "/api/payments", {"orderId": order["id"], "token": "tok_visa"}, **headers)).status_code == 422


async def test_a_refusal_is_not_remembered(house: House) -> None:
    _ann, bob, ticket = await listed(house)
    (eve,) = await house.people("eve")
    order = await eve.buys(ticket)
    headers = key()
    refused = await bob.ask("POST", "/api/orders", {"ticketId": ticket["id"]}, **headers)
    assert refused.status_code == 409
    await eve.cancels(order)
    assert (await bob.ask("POST", "/api/orders", {"ticketId": ticket["id"]}, **headers)).status_code == 201


async def test_a_key_belongs_to_its_user_and_its_route(house: House) -> None:
    ann, bob, ticket = await listed(house)
    headers, body = key(), {"title": f"Row {uuid4()}", "price": 5}
    anns = await ann.ask("POST", "/api/tickets", body, **headers)
    bobs = await bob.ask("POST", "/api/tickets", body, **headers)
    assert (anns.status_code, bobs.status_code) == (201, 201)
    assert anns.json()["id"] != bobs.json()["id"]
    for person, first in [(ann, anns), (bob, bobs)]:  # Each gets their own answer again, and nobody that of the other.
        assert (await person.ask("POST", "/api/tickets", body, **headers)).json() == first.json()
    assert (await ann.ask("POST", "/api/orders", {"ticketId": ticket["id"]}, **headers)).status_code == 201


async def test_a_key_lives_for_a_day(house: House) -> None:
    (ann,) = await house.people("ann")
    headers, body = key(), {"title": f"Row {uuid4()}", "price": 5}
    first = await ann.ask("POST", "/api/tickets", body, **headers)
    await house.rows("tickets", "UPDATE idempotency SET created_at = created_at - interval '25 hours' WHERE user_id = $1", UUID(ann.id))
    later = await ann.ask("POST", "/api/tickets", {**body, "price": 6}, **headers)
    assert (later.status_code, later.json()["id"] == first.json()["id"]) == (201, False)


async def test_of_ten_requests_with_one_key_at_once_one_has_an_effect(house: House) -> None:
    ann, bob, ticket = await listed(house)
    headers, body = key(), {"title": f"Row {uuid4()}", "price": 5}
    answers = await asyncio.gather(*(ann.ask("POST", "/api/tickets", body, **headers) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1

    order = await bob.sees_order(await bob.buys(ticket), "awaiting:payment")
    pay = {"orderId": order["id"], "token": "tok_visa"}
    answers = await asyncio.gather(*(bob.ask("POST", "/api/payments", pay, **headers) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    charges = await house.rows("payments", "SELECT status FROM charges WHERE order_id = $1", UUID(order["id"]))
    assert len(charges) == 1


async def test_without_a_key_a_double_click_still_takes_the_money_once(house: House) -> None:
    _, bob, ticket = await listed(house)
    clicks = await asyncio.gather(*(bob.tries_to_buy(ticket) for _ in range(5)))
    assert sorted(answer.status_code for answer in clicks) == [201, 409, 409, 409, 409]
    order = next(answer.json() for answer in clicks if answer.status_code == 201)
    await bob.sees_order(order, "awaiting:payment")
    payments = await asyncio.gather(*(bob.pays(order) for _ in range(5)))
    assert sorted(answer.status_code for answer in payments) == [201, 409, 409, 409, 409]
    assert len(await house.rows("payments", "SELECT 1 FROM charges WHERE order_id = $1", UUID(order["id"]))) == 1


async def test_signing_up_knows_no_keys(house: House) -> None:
    headers = key()
    async with httpx.AsyncClient(base_url=house.url, verify=False) as client:
        for _ in range(2):
            answer = await client.post(
                "/api/users/signup", json={"email": f"{uuid4().hex}@example.com", "password": "correct horse"}, headers=headers
            )
            assert answer.status_code == 201
