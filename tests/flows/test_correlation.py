"""A request's id goes through everything that follows from it, and comes back in the answer."""

import json
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from support.facts import reservation_refused
from support.house import House, Json, eventually

from admitone.runtime.gateway import Gateway

HEADER = "X-Correlation-Id"


async def test_every_event_of_a_sale_goes_back_to_the_request_that_caused_it(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    listing, buying, paying = (str(uuid4()) for _ in range(3))
    listed = await ann.ask("POST", "/api/tickets", {"title": "Front row", "price": 30}, **{HEADER: listing})
    ordered = await bob.ask("POST", "/api/orders", {"ticketId": listed.json()["id"]}, **{HEADER: buying})
    await bob.sees_order(ordered.json(), "awaiting:payment")
    paid = await bob.ask("POST", "/api/payments", {"orderId": ordered.json()["id"], "token": "tok_visa"}, **{HEADER: paying})
    assert [answer.headers[HEADER] for answer in (listed, ordered, paid)] == [listing, buying, paying]

    said = "SELECT event, correlation_id FROM outbox WHERE data ->> 'order_id' = $1 OR data ->> 'ticket_id' = $2"
    taken = "SELECT 1 FROM outbox WHERE event = 'PaymentCreated' AND correlation_id = $1"
    await eventually(lambda: house.rows("payments", taken, UUID(paying)))
    await house.at_rest()
    found = {(service, row["event"], str(row["correlation_id"]))
             for service in ("tickets", "orders", "expiration", "payments")
             for row in await house.rows(service, said, ordered.json()["id"], listed.json()["id"])}  # fmt: skip
    assert found == {
        ("tickets", "TicketCreated", listing),
        ("orders", "OrderCreated", buying),
        ("tickets", "TicketUpdated", buying),
        ("orders", "OrderReserved", buying),
        ("payments", "PaymentAuthorized", paying),
        ("orders", "OrderCompleted", paying),
        ("payments", "PaymentCreated", paying),
        ("tickets", "TicketUpdated", paying),
    }
    published = [line["correlation"] for line in lines(house) if line.get("message", "").startswith("order completed ->")]
    assert paying in published


async def test_the_log_of_a_handler_that_fails_has_the_whole_id(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 30))
    request = uuid4()
    event = await house.publish(reservation_refused(order_id=UUID(order["id"]), reason="nonsense"), correlation_id=request)

    async def failed() -> list[Json]:
        return [line for line in lines(house) if line.get("correlation") == str(request)]

    (line, *_) = await eventually(failed)
    assert line["event"] == "handler_failed"
    assert line["message"].startswith("orders could not handle ReservationRefused")
    await bob.cancels(order)  # By then there is nothing to refuse, and the event does no more harm.
    await eventually(lambda: house.rows("orders", "SELECT 1 FROM inbox WHERE event_id = $1", event))


MALFORMED = {"empty": "", "short": "12", "wrong": "x" * 36, "long": "a" * 5000, "latin": "é" * 36}


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED)
async def test_an_id_that_is_none_is_replaced(house: House, malformed: str) -> None:
    header = [(HEADER.encode(), malformed.encode("latin-1"))]
    async with httpx.AsyncClient(base_url=house.url) as client:
        given = (await client.get("/api/tickets", headers=header)).headers.get_list(HEADER)
    assert len(given) == 1
    assert str(UUID(given[0])) == given[0] != malformed


async def test_the_gateway_gives_an_id_to_what_has_none_also_when_it_answers_by_itself() -> None:
    class Elsewhere(httpx.AsyncBaseTransport):
        """A service at the other end: it says which id has reached it, or is not there."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path == "/api/orders":
                raise httpx.ConnectError("down")
            return httpx.Response(200, stream=httpx.ByteStream(json.dumps(request.headers.get_list(HEADER)).encode()))

    urls = {"tickets": "http://tickets", "orders": "http://orders"}
    async with httpx.AsyncClient(transport=Elsewhere()) as inside:
        gateway: Any = Gateway(urls, inside, ())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway), base_url="http://here") as client:
            mine = str(uuid4())
            assert (await client.get("/api/tickets", headers={HEADER: mine})).json() == [mine]
            (made,) = (await client.get("/api/tickets", headers={HEADER: "nonsense"})).json()
            assert UUID(made)
            away = await client.get("/api/orders", headers={HEADER: mine})
            assert (away.status_code, away.headers.get_list(HEADER)) == (503, [mine])
            assert UUID((await client.get("/nowhere")).headers[HEADER])


def lines(house: House) -> list[Json]:
    """What the services have logged: JSON, as nobody watches them at a terminal."""
    return [json.loads(line) for line in house.log().splitlines() if line.startswith("{") and line.endswith("}")]
