"""Runs of neighbouring events are handled together, to the same effect as one by one."""

from collections.abc import Sequence
from random import Random
from uuid import UUID, uuid4

import pytest
from conftest import Rehearse
from support.facts import order_cancelled, order_created, order_extended, order_reserved, ticket_created, ticket_updated

from admitone import expiration, orders, payments, tickets
from admitone.events import OrderCancelled, OrderCreated
from admitone.kit.data.db import Tx
from admitone.kit.delivery.inbox import split_into_runs
from admitone.kit.event import Event
from admitone.kit.service import Delivered, Handlers, Service

TICKETS = [UUID(int=number) for number in range(1, 5)]


def delivered(*events: Event) -> list[Delivered]:
    return [Delivered(event, uuid4(), uuid4()) for event in events]


def test_a_run_ends_with_another_handler_and_before_a_row_that_it_has() -> None:
    handlers = Handlers("tickets")

    @handlers.on_runs(OrderCreated, row="ticket_id")
    async def together(run: Sequence[Delivered], tx: Tx) -> None: ...

    @handlers.on(OrderCancelled)
    async def alone(event: OrderCancelled, tx: Tx) -> None: ...

    one, two = order_created(ticket_id=TICKETS[0]), order_created(ticket_id=TICKETS[1])
    other = order_cancelled(ticket_id=TICKETS[2])
    found = [[delivery.event for delivery in run] for run in split_into_runs(handlers, delivered(one, two, one, other, other, two))]
    assert found == [[one, two], [one], [other], [other], [two]]


def history(chance: Random) -> list[Event]:
    """Events about a few tickets and orders, in an order that chance has made, some of them twice."""
    events: list[Event] = []
    for number, ticket_id in enumerate(TICKETS):
        order_id = UUID(int=100 + number)
        events += [
            ticket_created(ticket_id=ticket_id),
            ticket_updated(ticket_id=ticket_id, version=2, order_id=order_id),
            ticket_updated(ticket_id=ticket_id, version=3),
            *(
                kind(order_id=order_id, ticket_id=ticket_id, lock=1)
                for kind in (order_created, order_reserved, order_extended, order_cancelled)
            ),
            order_created(order_id=UUID(int=200 + number), ticket_id=ticket_id, lock=2),
        ]
    events += chance.sample(events, 6)
    chance.shuffle(events)
    return events


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("service", "look"),
    [
        (orders.service, "SELECT * FROM ticket_copies ORDER BY ticket_id"),
        (payments.service, "SELECT * FROM order_copies ORDER BY order_id"),
        (expiration.service, "SELECT order_id, version, due FROM timers ORDER BY order_id"),
        (tickets.service, "SELECT * FROM tickets ORDER BY ticket_id"),
    ],
    ids=lambda value: value.name if isinstance(value, Service) else "",
)
async def test_runs_have_the_same_effect_as_their_events_one_by_one(rehearse: Rehearse, service: Service, look: str, seed: int) -> None:
    assert service.handlers is not None
    heard = [event for event in history(Random(seed)) if type(event) in service.handlers.by_event]
    found = []
    for together in (True, False):
        async with rehearse(service) as it:
            if service is tickets.service:
                async with it.transaction() as tx:
                    for ticket_id in TICKETS:
                        await tickets_insert(tx, ticket_id)
            async with it.transaction() as tx:
                for run in split_into_runs(service.handlers, delivered(*heard)):
                    runs = service.handlers.of_runs.get(type(run[0].event))
                    if together and runs is not None:
                        await runs.handler(run, tx)
                    else:
                        for delivery in run:
                            await service.handlers.by_event[type(delivery.event)](delivery.event, tx)
            said = [(type(event).__name__, event) for event in await it.said()]
            found.append((await it.rows(look), sorted(said, key=str)))
    assert found[0] == found[1]


async def tickets_insert(tx: Tx, ticket_id: UUID) -> None:
    ticket = ticket_created(ticket_id=ticket_id)
    await tickets.repository.insert(tx, ticket_id, ticket.seller_id, ticket.title, ticket.price_cents, ticket.currency, tx.now)


async def test_what_follows_from_an_event_of_a_run_names_that_event_as_its_cause(rehearse: Rehearse) -> None:
    async with rehearse(tickets.service) as it:
        run = delivered(*(order_created(order_id=uuid4(), ticket_id=ticket_id) for ticket_id in TICKETS))
        async with it.transaction() as tx:
            for ticket_id in TICKETS:
                await tickets_insert(tx, ticket_id)
        assert tickets.service.handlers is not None
        async with it.transaction() as tx:
            await tickets.service.handlers.of_runs[OrderCreated].handler(run, tx)
        rows = await it.rows(
            "SELECT data ->> 'order_id' AS order_id, causation_id, correlation_id FROM outbox WHERE causation_id IS NOT NULL"
        )
        assert {(row["order_id"], row["causation_id"], row["correlation_id"]) for row in rows} == {
            (str(delivery.event.order_id), delivery.event_id, delivery.correlation_id) for delivery in run
        }
