"""The figures of a service, where they can be had and where they can't."""

import asyncio
import time

from support.databases import own_database

from admitone import orders
from admitone.kit.delivery.bus import Bus
from admitone.kit.observe.exposition import Board
from admitone.kit.observe.gauges import Figures, of_service
from admitone.runtime.engines import Engines, free_port


async def test_what_can_not_be_had_is_left_out_and_never_an_error() -> None:
    nowhere = free_port()
    bus = Bus("orders", f"nats://127.0.0.1:{nowhere}")
    found = await of_service("orders", f"postgresql://orders:x@127.0.0.1:{nowhere}/orders", orders.service.figures, bus, hears=True)
    assert found == {"database_up": 0.0, "bus_up": 0.0}


async def test_engines_that_accept_and_never_answer_hold_nobody_up_for_long() -> None:
    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            writer.close()

    mute = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    began = time.monotonic()
    found = await of_service("orders", f"postgresql://orders:x@127.0.0.1:{port}/orders", (), Bus("orders", ""), hears=False)
    assert found["database_up"] == 0
    assert time.monotonic() - began < 5
    mute.close()


async def test_a_table_that_is_not_there_costs_no_other_figure(engines: Engines) -> None:
    async with own_database(engines, "orders") as own:
        await own.db.pool.execute("DROP TABLE parked")
        found = await of_service("orders", own.url, orders.service.figures, Bus("orders", ""), hears=True)
    assert "parked_events" not in found
    assert (found["database_up"], found["outbox_unpublished_events"], found["overdue_orders"]) == (1, 0, 0)


async def test_gauges_that_are_read_at_once_are_computed_once() -> None:
    asked = 0

    async def source() -> Figures:
        nonlocal asked
        asked += 1
        return {"parked_events": float(asked)}

    board = Board()
    board.add("orders", (), source)
    texts = await asyncio.gather(*(board.text() for _ in range(5)))
    assert asked == 1
    assert all(b'admitone_parked_events{service="orders"} 1.0' in text for text in texts)
