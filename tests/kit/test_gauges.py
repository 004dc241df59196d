"""The gauges of a service, with and without working engines."""

import asyncio
import time

from support.databases import own_database

from admitone import orders
from admitone.kit.delivery.bus import Bus
from admitone.kit.observe.exposition import Exposition
from admitone.kit.observe.gauges import GaugeValues, service_gauges
from admitone.runtime.engines import Engines
from admitone.runtime.programs import free_port


async def test_what_can_not_be_had_is_left_out_and_never_an_error() -> None:
    nowhere = free_port()
    bus = Bus("orders", f"nats://127.0.0.1:{nowhere}")
    found = await service_gauges("orders", f"postgresql://orders:x@127.0.0.1:{nowhere}/orders", orders.service.gauges, bus, hears=True)
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
    found = await service_gauges("orders", f"postgresql://orders:x@127.0.0.1:{port}/orders", (), Bus("orders", ""), hears=False)
    assert found["database_up"] == 0
    assert time.monotonic() - began < 5
    mute.close()


async def test_a_table_that_is_not_there_costs_no_other_gauge(engines: Engines) -> None:
    async with own_database(engines, "orders") as own:
        await own.db.pool.execute("DROP TABLE parked")
        found = await service_gauges("orders", own.url, orders.service.gauges, Bus("orders", ""), hears=True)
    assert "parked_events" not in found
    assert (found["database_up"], found["outbox_unpublished_events"], found["overdue_orders"]) == (1, 0, 0)


async def test_gauges_that_are_read_at_once_are_computed_once() -> None:
    asked = 0

    async def source() -> GaugeValues:
        nonlocal asked
        asked += 1
        return {"parked_events": float(asked)}

    exposition = Exposition()
    exposition.add("orders", (), source)
    texts = await asyncio.gather(*(exposition.text() for _ in range(5)))
    assert asked == 1
    assert all(b'admitone_parked_events{service="orders"} 1.0' in text for text in texts)
