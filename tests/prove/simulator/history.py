"""One history: so many steps of what the seed draws, and then everything comes to rest and is looked at."""

import asyncio
import contextlib
import hashlib
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

import structlog
from prove.simulator import rest
from prove.simulator.clients import Clients, Request
from prove.simulator.ground import Ground
from prove.simulator.wires import Activity, Crash
from prove.simulator.world import LISTENERS, STEPS, Line, Node, Violation, World

from admitone.expiration import jobs as expiration_jobs
from admitone.kit.http import app as web
from admitone.orders import jobs as order_jobs
from admitone.orders.jobs import SWEEP_SECONDS
from admitone.payments import jobs as payment_jobs
from admitone.payments import routes as payment_routes
from admitone.payments import settlement as processing

Do = Callable[[], Awaitable[None]]
MAX_REST_ROUNDS = 1200
"""Rounds after which a marketplace that has not come to rest never will."""


@dataclass(frozen=True)
class Outcome:
    seed: int
    steps: int
    violations: list[Violation]
    sometimes: Counter[str]
    lines: list[Line]
    names: dict[Any, str]

    @property
    def trace(self) -> str:
        """A hash of everything that happened."""
        text = "\n".join(f"{line.at.isoformat()} {line.who}: {line.text}" for line in self.lines)
        return hashlib.sha256(text.encode()).hexdigest()


async def play(ground: Ground, seed: int, steps: int = STEPS) -> Outcome:
    """The history of this seed, cut off after so many steps."""
    await ground.empty()
    world = World(ground, seed)
    with simulated(world):
        history = History(world)
        await history.run(steps)
        for node in world.nodes.values():
            await world.stop(node, 0)
    return Outcome(seed, world.step, world.violations, world.sometimes, world.lines, world.names)


@contextlib.contextmanager
def simulated(world: World) -> Iterator[None]:
    """In place of what is not drawn from a seed: random ids, the wall clock, and waiting for real."""
    monotonic = SimpleNamespace(monotonic=lambda: world.now.timestamp())
    with contextlib.ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("admitone.") and hasattr(module, "uuid4"):
                stack.enter_context(mock.patch.object(module, "uuid4", world.uuid))
        stack.enter_context(mock.patch("admitone.kit.delivery.relay.time", monotonic))
        stack.enter_context(mock.patch.object(processing, "DEADLINE_SECONDS", 1e6))
        stack.enter_context(mock.patch.object(payment_routes, "ANSWER_WITHIN_SECONDS", 0.0))
        stack.enter_context(mock.patch.object(web.eventually, "__kwdefaults__", {"seconds": 0.0}))
        before = structlog.get_config()
        structlog.configure(processors=[_drop])
        try:
            yield
        finally:
            structlog.configure(**before)


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent


class History:
    def __init__(self, world: World) -> None:
        self.world = world
        self.clients = Clients(world)
        self.next_sweep = world.now + timedelta(seconds=SWEEP_SECONDS)

    async def run(self, steps: int) -> None:
        world = self.world
        world.settling = True  # Nothing goes wrong before there is anybody.
        for request in self.clients.sign_ups():
            await self.ask(request)
        world.settling = False
        while world.step < steps and not world.violations:
            world.step += 1
            await self.one_step()
        if not world.violations:
            await self.come_to_rest()

    # What happens

    async def one_step(self) -> None:
        world = self.world
        dice = world.dice
        await self.time_passes(timedelta(milliseconds=dice.randrange(1, 20) if world.prompt else dice.randrange(1, 600)))
        await world.come_back()
        machines = self.machines()
        if machines and dice.random() < (0.95 if world.prompt else 0.78):
            for _ in range(dice.choice((1, 2, 6))):
                if machines:
                    await dice.choice(machines)()
                    machines = self.machines()
            return
        others: dict[Do, float] = {self.somebody_asks: 10.0, self.somebody_races: 2.0, self.a_while_passes: 2.0}
        if self.clients.free():
            others[self.an_edit_is_overtaken] = 0.8
        if world.faults["down"]:
            others[self.one_is_down] = 0.35
        if world.faults["tail"]:
            others[self.the_stream_loses] = 0.7
        if world.faults["prune"]:
            others[self.an_inbox_forgets] = 1.0
        if world.faults["poison"]:
            others[self.poison_comes] = 0.5
        await dice.choices(list(others), list(others.values()))[0]()

    def machines(self) -> list[Do]:
        """Every turn that a machine could take now."""
        world, turns = self.world, list[Do]()
        for node in world.nodes.values():
            if not node.up:
                continue
            looks = node.looks_at_stream
            if node.bus_back_at is None and (node.relay_wanted or (looks is not None and looks <= world.now)):
                turns += [_call(world.relay, node)] * 2
            if (
                node.bus_back_at is None
                and world.carrier.exists
                and any(delivery.visible_at <= world.now for delivery in world.carrier.queues.get(node.name, []))
            ):
                turns += [_call(world.consume, node)] * 2
            ready = [activity for activity in node.parked if activity.ready_at and activity.ready_at <= world.now]
            turns += [_call(self.resume, node, activity) for activity in ready]
        timers, money = world.nodes["expiration"], world.nodes["payments"]
        if timers.up and (timers.look_wanted or timers.next_look <= world.now):
            turns.append(self.ring)
        if money.up and (money.look_wanted or money.next_look <= world.now):
            turns += [self.reconcile_charges] * 2
        if money.up and world.processor.notices:
            turns.append(self.a_notice_comes)
        return turns

    async def resume(self, node: Node, activity: Activity) -> None:
        await self.world.resume(node, activity)

    async def ring(self) -> None:
        node = self.world.nodes["expiration"]
        node.look_wanted = False

        async def turn() -> None:
            wait = await expiration_jobs.ring_or_wait(node.process.db)
            node.next_look = self.world.now + (timedelta(hours=1) if wait is None else timedelta(seconds=wait))

        await self.world.do(node, "the timers", turn())

    async def reconcile_charges(self) -> None:
        """The job of payments looks once; what it finds goes on by itself."""
        world, node = self.world, self.world.nodes["payments"]
        process = node.process
        node.look_wanted = False
        due: list[Any] = []

        async def turn() -> None:
            due.extend(await payment_jobs.due_charges(process.db, process.busy))

        await world.do(node, "the job looks for charges", turn())
        for charge in due:
            if not process.dead:
                await world.do(node, "the job", payment_jobs.settle(process.db, world.processor, charge, process.busy))
        if not due:
            soonest = await world.ground.looking["payments"].fetchval(
                "SELECT min(next_attempt_at) FROM charges WHERE next_attempt_at > $1 AND (status IN ('created', 'authorized')"
                " OR status IN ('completed', 'uncollected') AND refund_asked_at IS NOT NULL)",
                node.now,
            )
            node.next_look = soonest - node.skew if soonest is not None else world.now + timedelta(hours=1)

    async def sweep(self) -> None:
        node = self.world.nodes["orders"]
        await self.world.do(node, "the sweep", order_jobs.sweep(node.process.db))

    async def a_notice_comes(self) -> None:
        await self.ask(self.clients.notice())

    async def somebody_asks(self) -> None:
        request = self.clients.draw()
        if request is not None:
            await self.ask(request)
            if self.world.dice.random() < 0.1:
                self.world.saw("somebody clicked twice")
                await self.ask(request)

    async def an_edit_is_overtaken(self) -> None:
        """The ticket is changed, and ordered before orders has heard of that."""
        ticket_id = self.world.dice.choice(self.clients.free())
        await self.ask(self.clients.edit(ticket_id))
        await self.ask(self.clients.buy(ticket_id))

    async def ask(self, request: Request) -> None:
        node = self.world.nodes[request.service]
        if not node.up:
            self.world.tell("a client", f"{request.label} -> {node.name} is down")
            return
        await self.world.do(node, request.label, request.run(node.process), request.pays)

    async def somebody_races(self) -> None:  # noqa: PLR0912
        """Two at once, on two connections: one is held in the middle of its transaction until the other is done, or waits for it."""
        world, dice = self.world, self.world.dice
        requests = self.clients.rivals()
        if len(requests) < 2 or requests[0].service != requests[1].service or not world.nodes[requests[0].service].up:
            return
        node = world.nodes[requests[0].service]
        process = node.process
        first, second = requests
        world.label = f"{first.label}, and meanwhile"
        a = world.begin(first.label, first.run(process), first.pays, stall_at=dice.randrange(1, 6))
        await a.signal.wait()
        assert a.task is not None
        if a.task.done():
            a.stall_at = None  # A call that goes on beside it is not held either.
            await world.after(node, a)
            return
        if dice.random() < 0.3 and process.consumer is not None and not process.bus.away and (batch := world.batch_of(node)):
            rival = world.handling(node, batch)
            world.label = "the consumer"
        else:
            rival = second.run(process)
            world.label = second.label
        others = [(world.label, rival, second.pays)]
        if "buys" in world.label and dice.random() < 0.5:
            others.append(("who was faster cancels", self.clients.cancel_newest(process), False))
        elif world.label != "the consumer" and dice.random() < 0.6:
            if dice.random() < 0.6 and node.bus_back_at is None:
                others.append(("the relay", world.relaying(node), False))
            elif node.name == "orders" and (request := self.clients.cancel()) is not None:
                others.append((request.label, request.run(process), False))
        world.tell(node.name, f"{first.label} is held, and meanwhile: {', then '.join(label for label, *_ in others)}")
        waiting = []
        for world.label, work, pays in others:
            activity = world.begin(world.label, work, pays)
            if await self._is_blocked(node, activity):
                world.saw("one transaction waited for another")
                activity.hold = asyncio.Event()
            waiting.append(activity)
        world.label = first.label
        a.go.set()
        await self._is_blocked(node, a)  # By one that is held itself, if at all: that one goes on now.
        for activity in waiting:
            if activity.hold is not None:
                world.label = activity.label
                activity.hold.set()
                await self._is_blocked(node, activity)
        for activity in (a, *waiting):
            await activity.task_done()
        for activity in (a, *waiting):
            await world.after(node, activity)

    async def _is_blocked(self, node: Node, activity: Activity) -> bool:
        """Whether it waits for a lock that somebody else has; otherwise it has ended. PostgreSQL knows."""
        assert activity.task is not None
        while not activity.task.done():
            await asyncio.wait({activity.task}, timeout=0.005)
            if not activity.task.done() and activity.backend is not None:
                blocked = await self.world.ground.looking[node.name].fetchval(
                    "SELECT cardinality(pg_blocking_pids($1)) > 0", activity.backend
                )
                if blocked:
                    return True
        return False

    async def a_while_passes(self) -> None:
        world, dice = self.world, self.world.dice
        open_orders = world.book.find(lambda order: order.status in ("created", "awaiting:payment"))
        if open_orders and dice.random() < 0.5:  # To about the moment at which something is decided.
            payable = self.clients.payable()
            order = dice.choice(payable or open_orders)
            if payable and dice.random() < 0.7:
                await self._until(order.expires_at - timedelta(seconds=dice.choice((0.1, 1, 3, 20))))
                await self.ask(self.clients.pay_for(order, "tok_visa"))
            else:
                await self._until(dice.choice((order.expires_at, order.cancel_at)) + timedelta(seconds=dice.choice((-2, -0.1, 0.1, 2, 20))))
        else:
            await self._until(world.now + timedelta(seconds=dice.choice((1, 5, 15, 60, 300)) * dice.random()))

    async def _until(self, moment: datetime) -> None:
        """Where everything is prompt, what there is to be done until then is done."""
        world = self.world
        for _ in range(300):
            if world.now >= moment or world.violations:
                return
            await world.come_back()
            if world.prompt and (machines := self.machines()):
                await world.dice.choice(machines)()
                world.now += timedelta(milliseconds=1)
            else:
                await self.time_passes(moment - world.now)

    async def one_is_down(self) -> None:
        world = self.world
        node = world.dice.choice(list(world.nodes.values()))
        if node.up:
            seconds = world.dice.choice((60, 600, 3600)) * world.dice.random()
            world.saw("a service was down for many minutes" if seconds > 600 else "a service was down for a while")
            world.tell(node.name, f"is down for {seconds:.0f} s")
            await world.stop(node, seconds)

    async def the_stream_loses(self) -> None:
        world = self.world
        if world.dice.random() < 0.2 and world.carrier.exists:  # Made anew by somebody, while everybody is connected.
            world.carrier.exists = False
            world.carrier.make()
            world.saw("the stream was made anew while everybody was connected")
            world.tell("the stream", "is made anew")
            world.disturb()
            for node in world.nodes.values():
                node.relay_wanted = True
        else:
            world.lose_tail()

    async def an_inbox_forgets(self) -> None:
        node = self.world.nodes[self.world.dice.choice(LISTENERS)]
        await self.world.ground.looking[node.name].execute("DELETE FROM inbox")
        self.world.saw("an inbox forgot")
        self.world.tell(node.name, "forgets what it has heard")

    async def poison_comes(self) -> None:
        world = self.world
        if not world.carrier.exists:
            return
        event_id, subject = str(world.uuid()), world.dice.choice(("events.orders.OrderCreated", "events.tickets.TicketUpdated"))
        world.poison[event_id] = subject
        messages = [b"{", rest.unbearable(event_id, subject)]
        if payable := self.clients.payable():
            messages.append(rest.forged(event_id, world.dice.choice(payable)))
        data = world.dice.choice(messages)
        if b"PaymentAuthorized" in data:
            world.saw("somebody forged a payment")
        world.carrier.put(subject, data, event_id)
        world.tell("somebody", f"puts a message into the stream that nobody can handle: {subject}")

    # How time goes by

    async def time_passes(self, by: timedelta) -> None:
        """Never past a sweep that has something to do; where everything is prompt, never past anything that could be done."""
        world, to = self.world, self.world.now + by
        if world.prompt or world.settling:
            moments = [moment for moment in self._moments() if moment > world.now]
            to = min([to, *moments])
        orders = world.nodes["orders"]
        undecided = world.book.find(lambda order: order.status in ("created", "awaiting:payment"))
        deadlines = [order.cancel_at - orders.skew for order in undecided]
        soonest = min(deadlines, default=None)
        while self.next_sweep <= to:
            if orders.up and soonest is not None and soonest <= self.next_sweep:
                world.now = max(world.now, self.next_sweep)
                self.next_sweep += timedelta(seconds=SWEEP_SECONDS)
                await self.sweep()
                return
            self.next_sweep += timedelta(seconds=SWEEP_SECONDS)
        world.now = to

    def _moments(self) -> list[datetime]:
        """When something will be there to be done, by the one clock of the simulation."""
        world = self.world
        moments = [node.next_look for node in (world.nodes["expiration"], world.nodes["payments"]) if node.up]
        for node in world.nodes.values():
            moments += [moment for moment in (node.up_at, node.bus_back_at, node.looks_at_stream) if moment is not None]
            moments += [activity.ready_at for activity in node.parked if activity.ready_at is not None]
        for queue in world.carrier.queues.values():
            moments += [delivery.visible_at for delivery in queue]
        return moments

    # How it ends

    async def come_to_rest(self) -> None:
        """Nothing goes wrong any more, nobody asks for anything, and time goes on until nothing is left to do."""
        world = self.world
        world.settling = True
        world.dice.seed(f"{world.seed}: rest")
        await world.come_back()
        world.disturb()
        for _ in range(MAX_REST_ROUNDS):
            await world.come_back()
            while turns := self.machines():
                if world.violations:
                    return
                await turns[0]()
                world.now += timedelta(milliseconds=1)
            if not await self._more_to_come():
                await self.relays_look()
                if not self.machines() and not await self._more_to_come():
                    break
            await self.time_passes(timedelta(minutes=10))
        else:
            world.broken("rest", "it never comes to rest")
        if not world.violations:
            await rest.check(world, self.clients)

    async def relays_look(self) -> None:
        """As they do every second."""
        await self.time_passes(timedelta(seconds=6))
        for node in self.world.nodes.values():
            node.relay_wanted = True
        for node in self.world.nodes.values():
            while node.relay_wanted and not self.world.violations:
                await self.world.relay(node)

    async def _more_to_come(self) -> bool:
        world = self.world
        waiting = any(world.carrier.queues.values()) or any(node.parked or node.looks_at_stream for node in world.nodes.values())
        undecided = world.book.find(lambda order: order.status in ("created", "awaiting:payment"))
        return waiting or bool(undecided) or world.nodes["payments"].next_look < world.now + timedelta(minutes=30)


def _call(do: Callable[..., Awaitable[None]], *args: Any) -> Do:
    async def called() -> None:
        await do(*args)

    return called


__all__ = ["Crash", "History", "Outcome", "play"]
