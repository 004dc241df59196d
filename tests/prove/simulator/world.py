"""A simulated marketplace: real services on a real PostgreSQL; their clocks, their carrier and all that goes wrong come from one seed."""

import asyncio
import contextvars
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, cast
from uuid import UUID

import asyncpg
from prove.simulator.book import Book
from prove.simulator.carrier import Bus, Carrier, Message
from prove.simulator.ground import Ground
from prove.simulator.processor import Processor
from prove.simulator.wires import ACTIVITY, Activity, Crash, Pool, Real, Said, Wire

from admitone import auth, expiration, orders, payments, tickets
from admitone.config import Settings
from admitone.events import OrderEvent
from admitone.kit.data.db import TRANSIENT, Database
from admitone.kit.delivery.bus import BUS_ERRORS
from admitone.kit.delivery.consumer import ACK_WAIT_SECONDS, Consumer
from admitone.kit.delivery.relay import CHECK_STREAM_SECONDS, Relay
from admitone.kit.service import Service
from admitone.kit.testing import NOON
from admitone.orders.buying import order_batcher
from admitone.payments import routes as payment_routes

SERVICES = (auth.service, tickets.service, orders.service, expiration.service, payments.service)
LISTENERS = ("tickets", "orders", "expiration", "payments")
FAULTS = {
    "delay": "events come up to an hour late",
    "repeat": "events come again, up to an hour later",
    "reorder": "events come in another order",
    "tail": "the stream loses its tail, or all it has",
    "publish": "publishing times out, before or after its effect",
    "crash": "processes are killed: before and after a commit, after publishing, before acknowledging",
    "answer": "the answer to a COMMIT is lost",
    "gateway": "the card processor times out, before or after its effect",
    "refuse": "the card processor refuses to capture what it had approved",
    "clocks": "the clocks of the services differ by up to six minutes",
    "down": "a service is down for up to an hour",
    "prune": "inboxes forget",
    "poison": "messages that nobody can read or handle, and forged ones",
}
STEPS = 110


@dataclass(frozen=True)
class Violation:
    rule: str
    sentence: str
    about: tuple[UUID, ...]
    step: int


@dataclass(frozen=True)
class Line:
    """Something that happened: a line of the trace."""

    at: datetime
    who: str
    text: str
    about: frozenset[UUID]


class Process:
    """One run of a service's process; killed, it is replaced by another that knows nothing but what is in its database."""

    def __init__(self, node: "Node") -> None:
        self.node = node
        self.world = node.world
        self.dead = False
        self.db = Database(node.name, cast("Any", Pool(node.connections[:-1], self)), self.clock)
        self.bus = Bus(self)
        self.relay_wire = Wire(node.connections[-1], self)
        self.consumer: Consumer | None = None
        if node.service.handlers is not None:
            self.consumer = Consumer(node.service.handlers, self.db, cast("Any", self.bus))
        self.orders = order_batcher(node.world.settings, self.db)
        self.busy: set[UUID] = set()
        """Charges that the job has in hand."""
        self.begin_relay()

    def begin_relay(self) -> None:
        self.relay = Relay(self.db, cast("Any", self.bus), "")

    async def clock(self, _connection: object) -> datetime:
        return self.node.now

    def check(self) -> None:
        if self.dead:
            raise Crash

    def before_commit(self) -> None:
        self.check()
        if self.world.chance("crash", 0.015):
            self.world.saw("a crash before a commit")
            self.world.crash(self, "before a commit")

    def after_commit(self) -> None:
        self.node.look_wanted = True
        if self.world.chance("crash", 0.01):
            self.world.saw("a crash after a commit")
            self.world.crash(self, "after a commit")
        if self.world.chance("answer", 0.02):
            self.world.saw("the answer to a COMMIT was lost")
            self.world.tell(self.node.name, f"the answer to the COMMIT of {self.world.label} is lost")
            self.world.disturb()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


class Node:
    """Where a service runs. It outlives its processes."""

    def __init__(self, world: "World", service: Service, connections: list[Real], skew: timedelta) -> None:
        self.world = world
        self.service = service
        self.name = service.name
        self.connections = connections
        self.skew = skew
        self.up_at: datetime | None = None
        """When it starts again; None while it runs."""
        self.up_since = world.now - timedelta(days=1)
        self.bus_back_at: datetime | None = None
        self.relay_wanted = True
        self.look_wanted = True
        self.next_look = world.now
        self.process: Process
        self.parked: list[Activity] = []

    @property
    def now(self) -> datetime:
        """By the clock of its own database."""
        return self.world.now + self.skew

    @property
    def up(self) -> bool:
        return self.up_at is None

    @property
    def looks_at_stream(self) -> datetime | None:
        """When its relay, idle or not, will find that the stream is another one; None while it is the one that it knows."""
        relay = self.process.relay
        if relay._stream_created in (None, str(self.world.carrier.made)):
            return None
        return NOON + timedelta(seconds=relay._checked_at - NOON.timestamp() + CHECK_STREAM_SECONDS + 0.001)


class World:
    """Everything there is, at one moment of a history."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self.ground = ground
        self.seed = seed
        self.dice = Random(f"{seed}: what happens")
        self._ids = Random(f"{seed}: ids")
        self.now = NOON
        self.settings = Settings(fee_basis_points=250, max_open_orders=Random(f"{seed}: settings").choice((1, 1, 2, 8)))
        draw = Random(f"{seed}: faults")
        calm = draw.random() < 0.15
        self.faults = {fault: not calm and draw.random() < 0.35 for fault in FAULTS}
        self.prompt = draw.random() < 0.4
        """Whether what can be done is done at once: then the promises about how long things take are checked, too."""
        if self.prompt:
            self.faults |= {"delay": False, "reorder": False, "repeat": self.faults["repeat"] and draw.random() < 0.3}
        self.settling = False
        self.step = 0
        self.label = ""
        self.lines: list[Line] = []
        self.violations: list[Violation] = []
        self.sometimes: Counter[str] = Counter()
        self.names: dict[UUID, str] = {}
        self.poison: dict[str, str] = {}
        """Message id -> subject, of what nobody can handle."""
        self._disturbed_at = self.now - timedelta(days=1)
        self.begun: dict[UUID, datetime] = {}
        """Per charge: when the buyer began it."""
        self.carrier = Carrier(self)
        self.book = Book(self)
        self.processor = Processor(self)
        self.nodes: dict[str, Node] = {}
        self.known_calls: set[asyncio.Task[None]] = set()
        for service in SERVICES:
            skew = timedelta(seconds=draw.uniform(-180, 180)) if self.faults["clocks"] else timedelta()
            node = self.nodes[service.name] = Node(self, service, ground.connections[service.name], skew)
            if service.handlers is not None:
                self.carrier.subscribe(service.name, service.handlers)
            node.process = Process(node)
        self.carrier.make()

    # What the seed decides

    def uuid(self) -> UUID:
        return UUID(int=self._ids.getrandbits(128), version=4)

    def chance(self, fault: str, probability: float) -> bool:
        """Whether this goes wrong now; never once everything settles, and never where the seed has it switched off."""
        return self.faults[fault] and not self.settling and self.dice.random() < probability

    def arrival(self) -> datetime:
        """When a message that was put in the stream just now reaches somebody."""
        if self.prompt or self.settling:
            return self.now + timedelta(milliseconds=self.dice.randrange(2, 40))
        if self.chance("delay", 0.2):
            return self.now + timedelta(seconds=self.dice.choice((5, 60, 600, 1200, 3600)) * self.dice.random())
        return self.now + timedelta(seconds=self.dice.random())

    # What is noted

    def tell(self, who: str, text: str, *about: UUID | None) -> None:
        self.lines.append(Line(self.now, who, text, frozenset(one for one in about if one is not None)))

    def saw(self, what: str) -> None:
        self.sometimes[what] += 1

    def broken(self, rule: str, sentence: str, *about: UUID | None) -> None:
        known = tuple(one for one in about if one is not None)
        self.violations.append(Violation(rule, sentence, known, self.step))
        self.tell("!", f"{rule}: {sentence}", *known)

    def name(self, of: UUID | None) -> str:
        return self.names.get(of, str(of)[:8]) if of is not None else "nobody"

    def call(self, of: UUID, kind: str) -> None:
        """Give a short name to whatever is new."""
        if of not in self.names:
            self.names[of] = f"{kind}{sum(name.startswith(kind) for name in self.names.values()) + 1}"

    def disturb(self) -> None:
        self._disturbed_at = max(self._disturbed_at, self.now)

    def quiet_for(self, seconds: float) -> bool:
        """Whether everything was prompt, nobody was away and nothing went wrong for so long."""
        return self.prompt and (self.now - self._disturbed_at).total_seconds() >= seconds

    def up_for(self, service: str) -> float:
        """In seconds; 0 while it is down."""
        node = self.nodes[service]
        return (self.now - node.up_since).total_seconds() if node.up else 0.0

    def under_way(self) -> set[UUID]:
        """Orders about which the processor is being asked."""
        return {activity.order_id for activity in self.nodes["payments"].parked if activity.order_id is not None}

    def lost_to_expiry(self, charge_id: UUID, order: OrderEvent) -> bool:
        """Whether a payment that was begun in time is approved, or about to be, and its order has expired all the same."""
        begun = self.begun.get(charge_id)
        return (
            begun is not None
            and begun < order.expires_at
            and order.reason == "expired"
            and not (self.faults["gateway"] or self.faults["clocks"])
            and self.quiet_for((self.now - begun).total_seconds() + 60)
        )

    # What the wires report

    def committed(self, process: Process, said: list[Said], heard: list[tuple[UUID, bool]]) -> None:
        about: set[UUID] = set()
        parts = []
        for event_id, handled in heard:
            if event_id in self.book.events:
                parts.append(f"hears {self.in_short(event_id)}" if handled else f"has heard {self.in_short(event_id)} before")
                about |= self.ids_of(event_id)
            self.book.hear(process.node.name, event_id, handled)
        for one in said:
            for field, kind in (("user_id", "U"), ("ticket_id", "T"), ("order_id", "O"), ("charge_id", "P")):
                if one.data.get(field):
                    self.call(UUID(one.data[field]), kind)
        line = len(self.lines)
        self.tell(process.node.name, "")
        for one in said:
            self.book.enter(process.node.name, one)
            parts.append(f"says {self.in_short(one.event_id)}")
            about |= self.ids_of(one.event_id)
        text = f"{self.label}: {', '.join(parts)}" if parts else self.label
        self.lines[line] = Line(self.now, process.node.name, text, frozenset(about))
        if said:
            process.node.relay_wanted = True

    def publishing(self, process: Process, event_id: str) -> None:
        if UUID(event_id) not in self.book.events:
            self.broken("I7", f"{process.node.name} publishes an event that was never committed")

    def ids_of(self, event_id: UUID) -> set[UUID]:
        data = self.book.events[event_id][2].data
        return {UUID(data[field]) for field in ("order_id", "ticket_id") if data.get(field)}

    def in_short(self, event_id: UUID) -> str:
        _, _, said = self.book.events[event_id]
        data = said.data
        words = [self.name(UUID(data[field])) for field in ("order_id", "ticket_id") if data.get(field)]
        words += [f"v{data['version']}"] if "version" in data else []
        words += [str(data[field]) for field in ("status", "reason", "decline_code") if data.get(field)]
        words += [f"{field[:-6]} {data[field]}" for field in ("price_cents", "amount_cents") if data.get(field) is not None]
        words += [f"lock {data['lock']}"] if "lock" in data else []
        words += [field for field in ("withdrawn", "sold", "extended", "relist") if data.get(field)]
        return f"{said.event}({' '.join(words)})"

    # What goes wrong at large

    def crash(self, process: Process, when: str) -> None:
        process.dead = True
        self.tell(process.node.name, f"is killed {when} ({self.label})")
        self.disturb()
        raise Crash

    def lose_tail(self) -> None:
        carrier = self.carrier
        if self.dice.random() < 0.15 or not carrier.messages:
            carrier.exists = False
            lost = len(carrier.messages)
            carrier.lose(lost)
            self.saw("the stream was lost as a whole")
        else:
            lost = min(len(carrier.messages), self.dice.randrange(1, 7))
            carrier.lose(lost)
        self.tell("the stream", f"loses its last {lost} messages")
        for node in self.nodes.values():
            self.cut_off(node)

    def cut_off(self, node: Node) -> None:
        node.bus_back_at = self.now + timedelta(seconds=self.dice.choice((0.1, 0.5, 2, 10)) * self.dice.random())
        self._disturbed_at = max(self._disturbed_at, node.bus_back_at)
        node.process.bus.epoch += 1

    async def stop(self, node: Node, seconds: float) -> None:
        """It is gone with all that it had in hand, and starts again after so many seconds."""
        node.process.dead = True
        self.disturb()
        for activity in node.parked:
            assert activity.task is not None
            activity.task.cancel()
        await asyncio.gather(*(activity.task for activity in node.parked if activity.task), return_exceptions=True)
        node.parked.clear()
        node.up_at = self.now + timedelta(seconds=seconds)
        self._disturbed_at = max(self._disturbed_at, node.up_at)
        for delivery in self.carrier.queues.get(node.name, []):
            delivery.visible_at = max(delivery.visible_at, self.now + timedelta(seconds=ACK_WAIT_SECONDS))

    async def come_back(self) -> None:
        """What was away until now is here again."""
        for node in self.nodes.values():
            if node.up_at is not None and (self.settling or node.up_at <= self.now):
                node.up_at, node.up_since = None, self.now
                if node.name in self.ground.forgets:
                    await self.ground.looking[node.name].execute(self.ground.forgets[node.name])
                node.process = Process(node)
                node.relay_wanted = node.look_wanted = True
                self.disturb()
                self.tell(node.name, "starts again")
            if node.bus_back_at is not None and (self.settling or node.bus_back_at <= self.now):
                node.bus_back_at = None
                node.process.bus.epoch += 1
                node.relay_wanted = True
                self.disturb()

    # Doing one thing to its end

    def begin(self, label: str, work: Coroutine[Any, Any, Any], is_request: bool = False, stall_at: int | None = None) -> Activity:
        activity = Activity(label, is_request, stall_at=stall_at)
        context = contextvars.copy_context()
        context.run(ACTIVITY.set, activity)
        activity.task = asyncio.get_running_loop().create_task(work, context=context)
        activity.task.add_done_callback(lambda _: activity.signal.set())
        return activity

    async def do(self, node: Node, label: str, work: Coroutine[Any, Any, Any], is_request: bool = False) -> Activity:
        """Until it has ended, or is parked in a call to the processor."""
        self.label = label
        activity = self.begin(label, work, is_request)
        await activity.signal.wait()
        await self.after(node, activity)
        return activity

    async def resume(self, node: Node, activity: Activity) -> None:
        """The processor is reached, or its answer is: on it goes."""
        assert activity.parked is not None
        self.label = activity.label
        node.parked.remove(activity)
        parked, activity.parked = activity.parked, None
        activity.signal.clear()
        parked.set_result(None)
        await activity.signal.wait()
        await self.after(node, activity)

    async def after(self, node: Node, activity: Activity) -> None:
        """If that has killed its process, it is taken away. Whatever else went wrong is the product's own trouble, or a bug."""
        task = activity.task
        if task is not None and task.done() and not task.cancelled():
            error = task.exception()
            if error is not None and not isinstance(error, (Crash, *TRANSIENT, *BUS_ERRORS)):
                self.broken("error", f"{activity.label} of {node.name} failed with {error!r}")
        if node.process.dead and node.up:
            await self.stop(node, self.dice.choice((1, 5, 30, 120)) * self.dice.random())

    async def pause(self, order_id: UUID, until: datetime) -> None:
        """Called by the processor: the call is under way until the scheduler lets it arrive."""
        node = self.nodes["payments"]
        node.process.check()
        activity = ACTIVITY.get()
        if activity.is_request:  # The call goes on beside the request that began it.
            if activity.child is None:
                (task,) = payment_routes._under_way - self.known_calls
                self.known_calls.add(task)
                activity.child = child = Activity(activity.label, task=task)
                task.add_done_callback(lambda _: child.signal.set())
            activity = activity.child
        activity.parked = asyncio.get_running_loop().create_future()
        activity.order_id, activity.ready_at = order_id, until
        node.parked.append(activity)
        activity.signal.set()
        await activity.parked
        node.process.check()

    # What the machines do, one turn each

    async def relay(self, node: Node) -> None:
        await self.do(node, "the relay", self.relaying(node))

    async def relaying(self, node: Node) -> None:
        process = node.process
        epoch = process.bus.epoch
        try:
            if not await process.relay.once(cast("Any", process.relay_wire)):
                node.relay_wanted = process.bus.epoch != epoch
        except TRANSIENT + BUS_ERRORS as error:
            self.disturb()
            await process.relay.recover(error)
            process.begin_relay()

    async def consume(self, node: Node) -> None:
        batch = self.batch_of(node)
        if batch:
            await self.do(node, "the consumer", self.handling(node, batch))

    def batch_of(self, node: Node) -> list[Message]:
        queue = [delivery for delivery in self.carrier.queues[node.name] if delivery.visible_at <= self.now]
        if self.chance("reorder", 0.5):
            self.dice.shuffle(queue)
        if not self.prompt:
            queue = queue[: self.dice.choice((1, 2, 5, 100))]
        return [Message(delivery, node.process) for delivery in queue]

    async def handling(self, node: Node, batch: list[Message]) -> None:
        consumer = node.process.consumer
        assert consumer is not None
        await consumer.handle_batch(cast("Any", batch))
