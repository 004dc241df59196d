"""Who buys and what: sessions that are signed with the run's own key, and tickets that are listed before the clock runs."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from bench.client import Request
from bench.quiet import quiet
from bench.stage import Stage

from admitone.auth.tokens import Signer, read_key
from admitone.kit.data.db import connected
from admitone.tickets.commands import list_ticket

ORDERS_PER_BUYER = 8
"""As many as somebody may have open at a time. So every eighth request of a load brings a session that was not seen before."""
BATCH = 200
PRICE_CENTS = 4990


class People:
    """Makes sessions. Nobody of them is in auth's database: no other service asks there."""

    def __init__(self, stage: Stage) -> None:
        self._signer = Signer(read_key(stage.key_file))

    def session(self) -> str:
        """The token of somebody new; it is good for 15 minutes."""
        user_id = uuid4()
        return self._signer.token(user_id, f"{user_id.hex[:12]}@example.com", uuid4())

    def orders(self, tickets: Sequence[UUID], *, with_keys: bool = False) -> list[Request]:
        """A request for each ticket, from as many buyers as it takes."""
        requests, token = [], ""
        for position, ticket in enumerate(tickets):
            if position % ORDERS_PER_BUYER == 0:
                token = self.session()
            key = str(uuid4()) if with_keys else ""
            requests.append(Request.of("POST", "/api/orders", cookie=token, body={"ticketId": str(ticket)}, key=key))
        return requests


async def list_tickets(stage: Stage, number: int, *, wait: bool = True) -> list[UUID]:
    """New tickets for sale, by the very command of tickets; the relay has to run, or to come, to tell orders of them."""
    seller, found = uuid4(), list[UUID]()
    async with connected("tickets", stage.database_url("tickets")) as db:
        while len(found) < number:
            async with db.transaction() as tx:
                for place in range(len(found), min(number, len(found) + BATCH)):
                    ticket = await list_ticket(tx, seller, f"Row {place // 20}, seat {place % 20}", PRICE_CENTS, "USD", tx.now)
                    found.append(ticket.ticket_id)
    if wait:
        await quiet(stage)
    return found
