"""Continuous JetStream pull: sends a new pull request when the previous one is used up.

PullSubscription.fetch of nats-py is not used: it collects one batch per call, for as long as its timeout lasts. Here one subscription
stays open, and a batch is whatever has arrived. Heartbeats reveal a lost request or a dead server within 2.5 s.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from admitone.kit.delivery.bus import BUS_ERRORS, STREAM

BATCH = 100
PULL_SECONDS = 5.0
HEARTBEAT_SECONDS = 1.0
LAPSES_AFTER_SECONDS = 30.0
"""When the stream forgets the consumer of a reader whose process was killed."""


class RequestEnded(nats.errors.Error):
    """The server has ended the pull request, for instance because the consumer was deleted. Create the consumer again."""


@contextlib.asynccontextmanager
async def pull_batches(client: Client, stream: JetStreamContext, config: ConsumerConfig) -> AsyncIterator[AsyncIterator[list[Msg]]]:
    """Batches from this consumer, which is created if it is missing; a consumer that is not durable is deleted after the block.

    Raises BUS_ERRORS; NotFoundError when the stream or the consumer is gone.
    """
    consumer = (await stream.add_consumer(STREAM, config)).name
    queue: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await client.subscribe(client.new_inbox(), cb=queue.put)
    try:
        yield _batches(client, consumer, queue, subscription.subject)
    finally:
        with contextlib.suppress(*BUS_ERRORS):
            await subscription.unsubscribe()
            if config.ack_policy != AckPolicy.NONE:
                await give_back([queue.get_nowait() for _ in range(queue.qsize())])
            if config.durable_name is None and client.is_connected:
                await stream.delete_consumer(STREAM, consumer)


@contextlib.asynccontextmanager
async def ordered(
    client: Client, stream: JetStreamContext, subjects: Sequence[str], from_position: int = 1
) -> AsyncIterator[AsyncIterator[Msg]]:
    """The messages of these subjects from that position on, in order and without acknowledgement.

    Raises what the bus raises, also when a message was lost on its way: begin again after the last one.
    """
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=from_position,
        ack_policy=AckPolicy.NONE,
        mem_storage=True,
        inactive_threshold=LAPSES_AFTER_SECONDS,
        filter_subjects=list(subjects),
    )
    async with pull_batches(client, stream, config) as batches:
        yield _without_gaps(batches)


async def give_back(messages: Sequence[Msg]) -> None:
    """For another replica, or for later: otherwise the stream would wait for an acknowledgement before it delivers them again."""
    with contextlib.suppress(*BUS_ERRORS):
        for message in messages:
            if message.reply.startswith("$JS.ACK."):
                await message.nak()


async def _without_gaps(batches: AsyncIterator[list[Msg]]) -> AsyncIterator[Msg]:
    expected = 1
    async for batch in batches:
        for message in batch:
            if message.metadata.sequence.consumer != expected:
                raise nats.errors.Error("a message was lost")
            expected += 1
            yield message


async def _batches(client: Client, consumer: str, queue: asyncio.Queue[Msg], inbox: str) -> AsyncIterator[list[Msg]]:
    """All messages that have arrived, as soon as there is one. Requests more when the last request is used up or silent."""
    pull = msgspec.json.encode({"batch": BATCH, "expires": int(PULL_SECONDS * 1e9), "idle_heartbeat": int(HEARTBEAT_SECONDS * 1e9)})
    wanted = 0
    while True:
        if wanted <= 0:
            await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{consumer}", pull, reply=inbox)
            wanted = BATCH
        try:
            async with asyncio.timeout(2.5 * HEARTBEAT_SECONDS):
                arrived = [await queue.get()]
        except TimeoutError:  # Not even a heartbeat: the request is lost, or the bus is.
            wanted = 0
            continue
        while not queue.empty():
            arrived.append(queue.get_nowait())
        batch = []
        for message in arrived:
            match (message.headers or {}).get("Status"):
                case None:
                    batch.append(message)
                    wanted -= 1
                case "100":
                    pass
                case "404" | "408":
                    wanted = 0
                case "503":
                    raise nats.js.errors.NotFoundError(code=503, description="the consumer is gone")
                case _:  # 409
                    raise RequestEnded("the stream has ended the request")
        if batch:
            yield batch
