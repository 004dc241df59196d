"""At 200 orders a second: how long until every consumer has acknowledged everything that an order has led to.

NATS is listened to: an acknowledgement names its consumer and the event's number in the stream. Which event is about which order is
looked up afterwards, in the stream.
"""

import json
import re
import statistics
import time

import nats
from bench.arrivals import open_loop, pool
from bench.book import cost_of
from bench.people import list_tickets
from bench.run import Run
from bench.stage import BenchError
from nats.aio.client import Client
from nats.aio.msg import Msg

from admitone.kit.delivery.bus import STREAM
from admitone.kit.delivery.pull import ordered

RATE = 200
ACKNOWLEDGED = re.compile(r"\$JS\.ACK\.(?:[^.]+\.[^.]+\.)?" + STREAM + r"\.(?P<consumer>[^.]+)\.\d+\.(?P<number>\d+)\.\d+\.\d+\.\d+")


async def lag(run: Run) -> None:
    tickets = await list_tickets(run.stage, int(RATE * run.options.seconds))
    requests = run.people.orders(tickets)
    acknowledged: dict[int, float] = {}
    """The event's number in the stream -> when the last of its consumers acknowledged it."""

    async def on_acknowledgement(message: Msg) -> None:
        if found := ACKNOWLEDGED.match(message.subject):
            acknowledged[int(found["number"])] = time.perf_counter()

    listener = await nats.connect(run.stage.engines.nats_url)
    try:
        first = (await listener.jetstream().stream_info(STREAM)).state.last_seq + 1
        await listener.subscribe("$JS.ACK.>", cb=on_acknowledgement)
        await listener.flush()
        due: dict[str, float] = {}
        begun = time.perf_counter()
        async with pool(run.stage.url) as connections:

            async def order(position: int) -> None:
                async with connections.connection() as connection:
                    answer = await connection.ask(requests[position])
                if answer.status != 201:
                    raise BenchError(f"An order was answered with {answer.status}.")
                due[answer.json["id"]] = begun + position / RATE

            with run.stage.meter.measure() as used:
                await open_loop(len(requests), RATE, order)
                await run.watch.until_quiet()
        ended = await _last_acknowledgement(listener, first, acknowledged)
    finally:
        await listener.close()
    seconds = [ended[order_id] - at for order_id, at in due.items() if order_id in ended]
    if len(seconds) < len(requests):
        raise BenchError(f"Of {len(requests)} orders, only {len(seconds)} were acknowledged by anybody.")
    hundredths = statistics.quantiles(seconds, n=100)
    cost = cost_of(used, len(requests), run.idle_cores)
    run.book.add("lag_p50", hundredths[49] * 1000, used, cost)
    run.book.add("lag_p99", hundredths[98] * 1000, used, cost)


async def _last_acknowledgement(listener: Client, first: int, acknowledged: dict[int, float]) -> dict[str, float]:
    """Order -> when the last consumer of any event about it acknowledged that."""
    ended: dict[str, float] = {}
    jetstream = listener.jetstream()
    last = (await jetstream.stream_info(STREAM)).state.last_seq
    async with ordered(listener, jetstream, ["events.>"], first) as messages:
        async for message in messages:
            number = message.metadata.sequence.stream
            order_id = json.loads(message.data)["data"].get("order_id")
            if order_id and number in acknowledged:
                ended[order_id] = max(ended.get(order_id, 0.0), acknowledged[number])
            if number >= last:
                break
    return ended
