"""What two people do at the same instant, on the real services: the known ways in which a ticket is sold twice."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import httpx
from support.house import House, Json, Person, eventually

Result = TypeVar("Result")


async def at_once(*doing: Awaitable[Result]) -> list[Result]:
    return list(await asyncio.gather(*doing))


async def test_two_buyers_who_ask_at_the_same_instant_do_not_both_get_it(house: House) -> None:
    ann, *buyers = await house.people("ann", *(f"buyer{number}" for number in range(8)))
    for _ in range(5):
        ticket = await ann.lists("One of a kind", 20)
        await buyers[0].ask("GET", f"/api/tickets/{ticket['id']}")
        answers = await at_once(*(buyer.tries_to_buy(ticket) for buyer in buyers))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
        winner = next(answer for answer in answers if answer.status_code == 201)
        buyer = buyers[answers.index(winner)]
        assert (await buyer.cancels(winner.json())).status_code == 204


async def test_a_user_gets_no_more_open_orders_than_allowed_even_at_the_same_instant(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    tickets = [await ann.lists(f"Seat {number}", 10) for number in range(12)]
    answers = await at_once(*(bob.tries_to_buy(ticket) for ticket in tickets))
    assert [answer.status_code for answer in answers].count(201) == 8
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert {problem["title"] for problem in refused} == {"Too many open orders"}


async def test_a_paid_order_cannot_be_cancelled_and_its_ticket_does_not_come_back(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    ticket = await ann.lists("Front row", 30)
    order = await bob.buys(ticket)
    assert (await bob.pays(order)).status_code == 201
    refused = await bob.cancels(order)
    assert (refused.status_code, refused.json()["title"]) == (409, "Order complete")
    await ann.sees_ticket(ticket, "sold")
    assert (await ann.tries_to_buy(ticket)).status_code == 409


async def test_the_late_timer_of_a_cancelled_order_does_not_free_the_next_buyers_ticket(house: House) -> None:
    ann, bob, eve = await house.people("ann", "bob", "eve")
    ticket = await ann.lists("Front row", 30)
    first = await bob.buys(ticket)
    await bob.cancels(first)
    second = await eve.buys(ticket)

    # As if expiration had never heard of the cancellation, and its clock were far ahead.
    timers = "UPDATE timers SET due = $2, rung_at = NULL WHERE order_id = $1 RETURNING order_id"
    [cancelled] = await house.rows("orders", "SELECT order_id, created_at FROM orders WHERE order_id::text = $1", first["id"])
    assert await house.rows("expiration", timers, cancelled["order_id"], cancelled["created_at"])

    async def rung() -> Any:
        return await house.rows(
            "orders",
            "SELECT true FROM inbox WHERE event_id IN (SELECT unnest($1::uuid[]))",
            [
                row["event_id"]
                for row in await house.rows("expiration", "SELECT event_id FROM outbox WHERE data ->> 'order_id' = $1", first["id"])
            ],
        )

    await eventually(rung)
    assert (await eve.order(second))["status"] == "awaiting:payment"
    held = await ann.ticket(ticket)
    assert (held["status"], held["orderId"]) == ("locked", second["id"])
    assert (await eve.pays(second)).status_code == 201


async def test_paying_twice_takes_money_once(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 30))
    body = {"orderId": order["id"], "token": "tok_visa"}
    clicks = await at_once(
        *(bob.pays(order) for _ in range(6)), *(bob.ask("POST", "/api/payments", body, **{"Idempotency-Key": "k"}) for _ in range(3))
    )
    assert {answer.status_code for answer in clicks} <= {201, 409}
    assert 201 in {answer.status_code for answer in clicks}
    assert (await bob.pays(order)).status_code == 409
    retried = [await bob.ask("POST", "/api/payments", body, **{"Idempotency-Key": "another"}) for _ in range(2)]
    assert [answer.json()["title"] for answer in retried] == ["Paid already", "Paid already"]
    await eventually(lambda: _captured(house, order))
    assert len(await _captured(house, order)) == 1


async def test_a_retry_with_the_same_key_gets_the_same_answer_and_takes_money_once(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 30))
    body = {"orderId": order["id"], "token": "tok_visa"}
    answers = await at_once(*(bob.ask("POST", "/api/payments", body, **{"Idempotency-Key": "click"}) for _ in range(4)))
    answers.append(await bob.ask("POST", "/api/payments", body, **{"Idempotency-Key": "click"}))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    await eventually(lambda: _captured(house, order))
    assert len(await _captured(house, order)) == 1


async def test_a_price_edit_that_races_the_lock_ends_in_exactly_one_of_two_outcomes(house: House) -> None:
    ann, *buyers = await house.people("ann", "bob", "eve", "joe", "zoe")
    outcomes = []
    for turn in range(20):
        ticket = await ann.lists("Front row", 100)
        buyer = buyers[turn % len(buyers)]
        await buyer.ask("GET", "/api/tickets")
        edit, bought = await at_once(ann.edits(ticket, "Front row", 1000), _buys_at(buyer, ticket, 100))
        outcomes.append(await _outcome_of_price_race(ann, buyer, ticket, edit, bought))
    assert set(outcomes) <= {"the order stands at 100", "the edit stands at 1000"}


async def _outcome_of_price_race(seller: Person, buyer: Person, ticket: Json, edit: httpx.Response, bought: httpx.Response) -> str:
    if bought.status_code != 201:
        assert bought.status_code == 409
        assert edit.status_code == 200, "neither the edit nor the order was accepted"
        return "the edit stands at 1000"
    order = await eventually(lambda: _decided(buyer, bought.json()))
    if order["status"] == "cancelled":
        assert (order["reason"], edit.status_code) == ("price_changed", 200)
        assert (await seller.ticket(ticket))["price"] == 1000
        return "the edit stands at 1000"
    assert edit.status_code == 409, "both the edit and the order were accepted"
    assert (await seller.ticket(ticket))["price"] == order["ticket"]["price"] == 100
    await buyer.cancels(order)
    return "the order stands at 100"


async def _decided(buyer: Person, order: Json) -> Json:
    found = await buyer.order(order)
    return found if found["status"] != "created" else {}


def _buys_at(buyer: Person, ticket: Json, price: float) -> Awaitable[httpx.Response]:
    return buyer.ask("POST", "/api/orders", {"ticketId": ticket["id"], "price": price})


async def _captured(house: House, order: Json) -> list[Json]:
    return await house.rows("testgateway", "SELECT id FROM intents WHERE status = 'captured' AND order_id = $1", order["id"])
