"""docs/from-the-course.md: the statuses that its table promises to a client of the reference system."""

import re
from pathlib import Path
from uuid import uuid4

import httpx
from support.house import House
from support.sales import buys

PAGE = (Path(__file__).parents[2] / "docs/from-the-course.md").read_text()


def promised(row: str) -> int:
    """The status that we give, as the row of the table says."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {row} |")]
    return int(re.findall(r"\d{3}", line.split(" | ")[2])[0])


async def test_the_statuses_are_those_of_the_table(house: House) -> None:
    ann, bob, eve = await house.people("ann", "bob", "eve")
    stranger = httpx.AsyncClient(base_url=house.url)
    known = {"email": ann.email, "password": "correct horse"}
    assert (await stranger.post("/api/users/signup", json=known)).status_code == promised("POST /api/users/signup, address known")
    ticket = {"title": "Front row", "price": 30}
    assert (await stranger.post("/api/tickets", json=ticket)).status_code == promised(
        "POST /api/tickets, /api/orders and so on, not signed in"
    )
    await stranger.aclose()

    listed = await ann.lists("Front row", 30)
    path = f"/api/tickets/{listed['id']}"
    assert (await bob.client.put(path, json=ticket)).status_code == promised("PUT /api/tickets/:id of somebody else")
    order = await buys(bob, listed)
    await ann.sees_ticket(listed, "locked")
    assert (await ann.client.put(path, json=ticket)).status_code == promised("PUT /api/tickets/:id while it is reserved")
    assert (await eve.tries_to_buy(listed)).status_code == promised("POST /api/orders, ticket reserved")
    others = promised("GET or DELETE /api/orders/:id of somebody else")
    for method in ("GET", "DELETE"):
        assert (await eve.client.request(method, f"/api/orders/{order['id']}")).status_code == others
    assert (await eve.pays(order)).status_code == promised("POST /api/payments, order of somebody else")
    assert (await bob.pays(order, "tok_chargeDeclined")).status_code == promised("POST /api/payments, card declined")
    assert (await bob.pays(order)).status_code == promised("POST /api/payments right after the order")

    cancelled = await buys(bob, await ann.lists("Second row", 30))
    assert (await bob.cancels(cancelled)).status_code == 204
    await bob.sees_order(cancelled, "cancelled")
    assert (await bob.pays(cancelled)).status_code == promised("POST /api/payments, order cancelled")
    assert (await bob.client.get("/api/orders/none")).status_code == promised("an id that is none")
    assert (await bob.client.get(f"/api/orders/{uuid4()}")).status_code == promised("an id that is none")
    assert (await bob.client.post("/api/tickets", json={"title": " "})).status_code == promised("any wrong field")


async def test_a_client_finds_the_members_that_it_knows(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    ticket = (await ann.ask("POST", "/api/tickets", {"title": "Front row", "price": "49.90"})).json()
    assert ticket["price"] == 49.9
    assert {"id", "title", "price", "userId", "orderId", "version"} <= ticket.keys()
    order = await buys(bob, ticket)
    assert {"id", "userId", "status", "expiresAt", "ticket", "ticketId", "version"} <= order.keys()
    assert order["ticketId"] == order["ticket"]["id"] == ticket["id"]
    payment = (await bob.pays(order)).json()
    assert {"id", "orderId", "stripeId"} <= payment.keys()
    (tried,) = (await bob.client.get("/api/payments", params={"orderId": order["id"]})).json()
    assert {"stripeId", "stripeRefundId"} <= tried.keys()
    assert tried["stripeId"] == payment["stripeId"]
    assert (await bob.client.get("/api/users/currentuser")).json()["currentUser"]["email"] == bob.email
