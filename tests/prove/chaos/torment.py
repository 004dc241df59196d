"""Which part fails when and how, and how long each needs to be back."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from prove.chaos.stage import PARTS, Stage

from admitone.config import SERVICES_WITH_A_DATABASE
from admitone.kit.delivery.bus import STREAM

BACK_WITHIN_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.05
MAX_AT_ONCE = 3
"""So many parts may be down, frozen or starting at the same time: with more, there would be nobody left to be tormented."""


@dataclass(frozen=True)
class Fault:
    part: str
    how: str
    """killed, frozen, data lost (killed, and its data folder removed), slow (stops for a moment again and again), or schema changed."""

    def __str__(self) -> str:
        return f"{self.part} {self.how}"


DECK = (
    *(Fault(part, how) for how in ("killed", "frozen") for part in PARTS),
    *(Fault("nats", "data lost"), Fault("postgres", "slow"), Fault("postgres", "schema changed")) * 2,
)
"""24: shuffled anew whenever it is used up, so that no luck leaves one out."""


@dataclass
class Inflicted:
    """A fault that was, and what came of it. Times are seconds since 1970."""

    fault: Fault
    at: float
    over: float | None = None
    """When it was started again or thawed."""
    back_after: float | None = None
    """How many seconds after that it answered; None if it never did."""
    in_hand: int = 0
    """Events that the killed process had been given and had not acknowledged: they come again to the next one."""


@dataclass
class Torment:
    """For so many cycles, each of them one fault."""

    stage: Stage
    cycles: int
    chance: random.Random
    note: Callable[[Inflicted], None]
    """Is told of each when it begins, and when the part is back."""
    inflicted: list[Inflicted] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _deck: list[Fault] = field(default_factory=list)
    _suffering: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Every second or two something fails that is well. It ends when all of that is over."""
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client, asyncio.TaskGroup() as faults:
            for _ in range(self.cycles):
                if await self._stops_within(self.chance.uniform(1, 2)):
                    return
                while (fault := self._draw()) is None:
                    if await self._stops_within(0.1):
                        return
                self._suffering.add(fault.part)
                faults.create_task(self._inflict(fault, client))

    async def _stops_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), seconds)
        return self.stopped.is_set()

    def _draw(self) -> Fault | None:
        """The next fault of a part that is well, unless enough others are not."""
        if len(self._suffering) >= MAX_AT_ONCE:
            return None
        if not self._deck:
            self._deck = self.chance.sample(DECK, len(DECK))
        found = next((fault for fault in self._deck if fault.part not in self._suffering), None)
        if found is not None:
            self._deck.remove(found)
        return found

    async def _inflict(self, fault: Fault, client: httpx.AsyncClient) -> None:
        down_seconds = self.chance.uniform(0, 1)
        frozen_seconds = self.chance.uniform(6, 9) if self.chance.random() < 0.2 else self.chance.uniform(0.5, 3)
        inflicted = Inflicted(fault, time.time())
        self.inflicted.append(inflicted)
        self.note(inflicted)
        if fault.how == "frozen":
            self.stage.freeze(fault.part)
            await asyncio.sleep(frozen_seconds)
            self.stage.thaw(fault.part)
        elif fault.how == "slow":
            await self._slow_down(fault.part)
        elif fault.how == "schema changed":
            await self.stage.change_schemas()
        else:
            self.stage.kill(fault.part)
            if fault.how == "data lost":
                self.stage.lose_data()
            inflicted.in_hand = await self._in_hand_of(fault.part)
            await asyncio.sleep(down_seconds)
            self.stage.begin(fault.part)
        inflicted.over, over = time.time(), time.monotonic()
        while time.monotonic() < over + BACK_WITHIN_SECONDS:
            if await self.stage.answers(fault.part, client):
                inflicted.back_after = time.monotonic() - over
                self.note(inflicted)
                break
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        self._suffering.discard(fault.part)

    async def _slow_down(self, part: str) -> None:
        """For some seconds it stops for up to two at a time and goes on for a moment; it takes new connections all the while."""
        for _ in range(self.chance.randint(2, 5)):
            self.stage.freeze(part, all_of_it=False)
            await asyncio.sleep(self.chance.uniform(0.2, 2))
            self.stage.thaw(part)
            await asyncio.sleep(self.chance.uniform(0.01, 0.2))

    async def _in_hand_of(self, service: str) -> int:
        """What the stream has given it and hears no more of."""
        if service not in SERVICES_WITH_A_DATABASE:
            return 0
        bus = Client()
        try:
            async with asyncio.timeout(0.5):
                await bus.connect(self.stage.engines.nats_url, allow_reconnect=False, connect_timeout=1, error_cb=_quiet)
                return (await bus.jetstream(timeout=0.5).consumer_info(STREAM, service)).num_ack_pending or 0
        except (nats.errors.Error, nats.js.errors.Error, OSError):  # It is down, too, or there is no such consumer.
            return 0
        finally:
            with contextlib.suppress(nats.errors.Error, OSError):
                await asyncio.wait_for(bus.close(), 0.5)


async def _quiet(_error: Exception) -> None:
    pass
