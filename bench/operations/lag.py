"""At 200 orders a second: how long until every consumer has acknowledged everything that an order has led to.

NATS is listened to: an acknowledgement names its consumer and the event's number in the stream. Which event is about which order is
looked up afterwards, in the stream.
"""

import json
import re
import statistics
import time
from bisect import bisect_left
from collections import defaultdict
from fnmatch import fnmatchcase

import nats
from bench.arrivals import open_loop, pool
from bench.book import cost_of
from bench.people import list_tickets
from bench.run import Run
from bench.stage import BenchError
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerInfo

from admitone.kit.delivery.bus import STREAM
from admitone.kit.delivery.pull import ordered

RATE = 200
ACKNOWLEDGED = re.compile(r"\$JS\.ACK\.(?:[^.]+\.[^.]+\.)?" + STREAM + r"\.(?P<consumer>[^.]+)\.\d+\.(?P<number>\d+)\.\d+\.\d+\.\d+")


class Acknowledgements:
    """Which consumer has acknowledged which events, and when."""

    def __init__(self) -> None:
        self.seen: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        """By consumer: numbers in the stream, and the time of each."""

    async def note(self, message: Msg) -> None:
        if found := ACKNOWLEDGED.match(message.subject):
            self.seen[found["consumer"]].append((int(found["number"]), time.perf_counter()))

    def sort(self) -> None:
        """Once they are all there, before they are looked up."""
        for seen in self.seen.values():
            seen.sort()

    def when(self, consumer: ConsumerInfo, number: int) -> float | None:
        """None when it was not seen. An acknowledgement may stand for all events before it, too."""
        seen = self.seen[consumer.name]
        place = bisect_left(seen, (number, 0.0))
        if place == len(seen) or (consumer.config.ack_policy != AckPolicy.ALL and seen[place][0] != number):
            return None
        return seen[place][1]


async def lag(run: Run) -> None:
    """Orders come at their rate, whether the ones before were answered or not."""
    tickets = await list_tickets(run.stage, int(RATE * run.options.seconds))
    requests, acknowledgements = run.people.orders(tickets), Acknowledgements()
    listener = await nats.connect(run.stage.engines.nats_url)
    try:
        first = (await listener.jetstream().stream_info(STREAM)).state.last_seq + 1
        await listener.subscribe("$JS.ACK.>", cb=acknowledgements.note)
        await listener.flush()
        due: dict[str, float] = {}
        async with pool(run.stage.url) as connections:

            async def order(position: int) -> None:
                async with connections.connection() as connection:
                    answer = await connection.ask(requests[position])
                if answer.status != 201:
                    raise BenchError(f"An order was answered with {answer.status}.")
                due[answer.json["id"]] = begun + position / RATE

            with run.stage.meter.measure() as used:
                begun = time.perf_counter()
                await open_loop(len(requests), RATE, order)
                await run.watch.until_quiet()
        acknowledgements.sort()
        ended = await _last_acknowledgements(listener, first, acknowledgements)
    finally:
        await listener.close()
    seconds = [ended[order_id] - at for order_id, at in due.items() if order_id in ended]
    if len(seconds) < len(requests):
        raise BenchError(f"Of {len(requests)} orders, only {len(seconds)} were acknowledged by anybody.")
    hundredths = statistics.quantiles(seconds, n=100)
    cost = cost_of(used, len(requests), run.idle_cores)
    run.book.add("lag_p50", hundredths[49] * 1000, used, cost)
    run.book.add("lag_p99", hundredths[98] * 1000, used, cost)


async def _last_acknowledgements(listener: Client, first: int, acknowledgements: Acknowledgements) -> dict[str, float]:
    """Order -> when the last consumer of any event about it acknowledged that."""
    ended: dict[str, float] = {}
    jetstream = listener.jetstream()
    last = (await jetstream.stream_info(STREAM)).state.last_seq
    consumers = [info for info in await jetstream.consumers_info(STREAM) if info.config.durable_name]
    async with ordered(listener, jetstream, ["events.>"], first) as messages:
        async for message in messages:
            number, order_id = message.metadata.sequence.stream, json.loads(message.data)["data"].get("order_id")
            for consumer in consumers if order_id else ():
                at = acknowledgements.when(consumer, number) if _listens(consumer, message.subject) else None
                if at is not None:
                    ended[order_id] = max(ended.get(order_id, 0.0), at)
            if number >= last:
                break
    return ended


def _listens(consumer: ConsumerInfo, subject: str) -> bool:
    filters = consumer.config.filter_subjects or [consumer.config.filter_subject or ">"]
    return any(fnmatchcase(subject, one.replace(">", "*")) for one in filters)
