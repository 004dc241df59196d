"""The carrier of events in place of NATS: it delays, repeats, reorders and loses, as its history says."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import nats.errors
import nats.js.errors

from admitone.kit.delivery.consumer import ACK_WAIT_SECONDS
from admitone.kit.delivery.sender import Outgoing
from admitone.kit.event import AGGREGATES, subject
from admitone.kit.event import Message as Envelope

if TYPE_CHECKING:
    from prove.simulator.world import Process, World

FORGETS_IDS_AFTER = timedelta(seconds=120)
"""As JetStream does: a repetition that comes later is kept a second time."""
NO_MESSAGE, NO_STREAM = 10037, 10059


@dataclass(eq=False)
class Stored:
    subject: str
    data: bytes
    event_id: str
    at: datetime
    about: str | None = None
    """The id of the ticket, order or user that the event is about."""
    version: int = 0


def _about(data: bytes) -> tuple[str | None, int]:
    """What an event is about, and the version that it has then; nothing for one that has none, or can't be read."""
    try:
        message = msgspec.json.decode(data, type=Envelope)
        return str(message.data[AGGREGATES[message.event]]), int(message.data["version"])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        return None, 0


@dataclass(eq=False)
class Delivery:
    """A message on its way to one service."""

    stored: Stored
    seq: int
    visible_at: datetime


class Carrier:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.messages: list[Stored] = []
        self.made = 0
        """How often the stream was made; 0 while there is none."""
        self.exists = False
        self.queues: dict[str, list[Delivery]] = {}
        self.filters: dict[str, set[str]] = {}
        self.lost_numbers: dict[int, str] = {}
        self.ever: set[str] = set()
        """The ids of all messages that it has had."""

    def subscribe(self, service: str, handlers: Any) -> None:
        self.filters[service] = {subject(event) for event in handlers.by_event}
        self.queues[service] = []

    def make(self) -> None:
        if not self.exists:
            self.exists = True
            self.made += 1
            self.messages = []
            for queue in self.queues.values():
                queue.clear()

    def put(self, subject: str, data: bytes, event_id: str) -> int:
        """Kept, and on its way to all who hear it; its number."""
        stored = Stored(subject, data, event_id, self.world.now, *_about(data))
        if stored.about is not None and event_id not in self.ever:  # What the stream has lost may well come after something newer.
            newer = [one.version for one in self.messages if one.about == stored.about and one.version > stored.version]
            if newer:
                what = self.world.in_short(UUID(event_id))
                self.world.broken("I8", f"{what} comes to the stream after version {newer[0]}", *self.world.ids_of(UUID(event_id)))
        self.ever.add(event_id)
        self.messages.append(stored)
        seq = len(self.messages)
        if seq in self.lost_numbers and self.lost_numbers[seq] != subject.split(".")[1]:
            self.world.saw("a lost number was taken by another service")
        self.lost_numbers.pop(seq, None)
        for service, filters in self.filters.items():
            if subject in filters:
                self.queues[service].append(Delivery(stored, seq, self.world.arrival()))
        return seq

    def lose(self, how_many: int) -> None:
        """The newest messages are gone, and nobody who has not had them yet will have them."""
        for seq in range(len(self.messages) - how_many + 1, len(self.messages) + 1):
            self.lost_numbers[seq] = self.messages[seq - 1].subject.split(".")[1]
        lost = set(map(id, self.messages[len(self.messages) - how_many :]))
        del self.messages[len(self.messages) - how_many :]
        for queue in self.queues.values():
            queue[:] = [delivery for delivery in queue if id(delivery.stored) not in lost]

    def find(self, event_id: str) -> int | None:
        """The number of a message with this id, if the stream would still know that it has it."""
        for seq in range(len(self.messages), 0, -1):
            stored = self.messages[seq - 1]
            if stored.event_id == event_id:
                return seq if self.world.now - stored.at < FORGETS_IDS_AFTER else None
        return None


class Bus:
    """What a process takes for its connection to the stream: kit/delivery/relay.py and consumer.py use no more of it than this."""

    def __init__(self, process: "Process") -> None:
        self.process = process
        self.carrier = process.world.carrier
        self.service = process.node.name
        self.epoch = 0
        self._reconnects = Random(f"{process.world.seed}: reconnects of {self.service}")
        self.stream = self

    @property
    def away(self) -> bool:
        return self.process.node.bus_back_at is not None

    async def publish(self, messages: Sequence[Outgoing]) -> list[int | Exception]:
        """Each by itself may get lost, or its acknowledgement; the others are under way already."""
        if len(messages) > 1:
            self.process.world.saw("several events were on their way to the stream at once")
        numbers: list[int | Exception] = []
        for message in messages:
            try:
                numbers.append(self._publish(*message))
            except nats.errors.Error as error:
                numbers.append(error)
        return numbers

    def _publish(self, subject: str, payload: bytes, event_id: str) -> int:
        self.process.check()
        self._reach()
        world = self.process.world
        world.publishing(self.process, event_id)
        if world.chance("publish", 0.03):
            raise nats.errors.TimeoutError
        seq = self.carrier.find(event_id)
        if seq is None:
            seq = self.carrier.put(subject, payload, event_id)
        else:
            world.saw("the stream dropped a repetition by its id")
        if world.chance("publish", 0.03):
            world.saw("the stream's acknowledgement was lost")
            raise nats.errors.TimeoutError
        if world.chance("tail", 0.02):
            world.lose_tail()
            world.saw("the stream lost its tail while somebody published")
            if self._reconnects.random() < 0.5:
                self.process.node.bus_back_at = None
                world.saw("a client reconnected in mid-batch, and no call failed")
        if world.chance("crash", 0.02):
            world.saw("a crash between publishing and marking")
            world.crash(self.process, "between publishing and marking")
        return seq

    async def get_msg(self, stream: str, seq: int) -> Any:
        self.process.check()
        self._reach()
        if not 1 <= seq <= len(self.carrier.messages):
            raise nats.js.errors.NotFoundError(code=404, err_code=NO_MESSAGE, description="no message found")
        return SimpleNamespace(headers={"Nats-Msg-Id": self.carrier.messages[seq - 1].event_id})

    async def stream_created(self) -> str:
        self._reach()
        return str(self.carrier.made)

    async def ensure_stream(self) -> None:
        self.process.check()
        if not self.away:
            self.carrier.make()

    def report_error(self, error: Exception) -> None:
        pass

    def _reach(self) -> None:
        if self.away:
            raise nats.errors.ConnectionClosedError
        if not self.carrier.exists:
            raise nats.js.errors.NotFoundError(code=404, err_code=NO_STREAM, description="stream not found")


class Message:
    """A delivery, as a consumer has it in hand."""

    def __init__(self, delivery: Delivery, process: "Process") -> None:
        self.delivery = delivery
        self.process = process
        self.data = delivery.stored.data
        self.subject = delivery.stored.subject
        self.headers = {"Nats-Msg-Id": delivery.stored.event_id}
        self.metadata = SimpleNamespace(sequence=SimpleNamespace(stream=delivery.seq))

    async def ack(self) -> None:
        world, queue = self.process.world, self.process.world.carrier.queues[self.process.node.name]
        self.process.check()
        if world.chance("crash", 0.02):
            world.saw("a crash between handling and acknowledging")
            world.crash(self.process, "between handling and acknowledging")
        if self.delivery in queue:
            queue.remove(self.delivery)
            if world.chance("repeat", 0.2):
                again = world.dice.choice((ACK_WAIT_SECONDS, 30.0, 150.0, 3000.0))
                queue.append(Delivery(self.delivery.stored, self.delivery.seq, world.now + timedelta(seconds=again)))

    async def nak(self, delay: float) -> None:
        self.process.check()
        self.delivery.visible_at = self.process.world.now + timedelta(seconds=delay)
        self.process.world.disturb()
