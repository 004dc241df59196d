"""Two replicas of everything behind nginx: each is taken out, stopped and started anew while people go on buying."""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from support.house import House, Person, eventually
from support.nginx import nginx
from support.sales import sells
from support.side_by_side import all_services

from admitone.config import SERVICES_WITH_A_DATABASE

PAIRS = 3
DRAIN = {"ADMITONE_DRAIN_SECONDS": "20"}


class Counted(Person):
    """Notes the status of every answer, and every connection that was cut."""

    answers: Counter[int | str]

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        try:
            answer = await super().ask(method, path, body, **headers)
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1
            raise
        self.answers[answer.status_code] += 1
        return answer


async def sells_on(seller: Person, buyer: Person, sold: list[str]) -> None:
    """Until it is cancelled. A sale whose connection was cut is given up."""
    while True:
        with contextlib.suppress(httpx.TransportError):
            sold.append((await sells(seller, buyer))["id"])


async def test_a_drained_roll_is_seen_by_nobody(own_house: House, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as replicas:
        one = await replicas.enter_async_context(_replica(own_house, "one"))
        two = await replicas.enter_async_context(_replica(own_house, "two"))
        async with nginx(tmp_path, one.url, two.url) as ingress:
            own_house.url = ingress.url
            answers, sold = Counter[int | str](), list[str]()
            people = [await Counted.signed_up(ingress.url, f"person{number}") for number in range(2 * PAIRS)]
            for person in people:
                assert isinstance(person, Counted)
                person.answers = answers
            async with asyncio.TaskGroup() as market:
                pairs = zip(people[::2], people[1::2], strict=True)
                selling = [market.create_task(sells_on(seller, buyer, sold)) for seller, buyer in pairs]
                for replica, other in ((one, two), (two, one)):
                    before = len(sold)
                    await ingress.routes_to(other.url)
                    await replica.restart()
                    await ingress.routes_to(one.url, two.url)
                    await eventually(lambda: asyncio.sleep(0, len(sold) > before), seconds=30)  # noqa: B023
                for task in selling:
                    task.cancel()
            statuses = {status for status in answers if isinstance(status, int)}
            assert not {status for status in statuses if status >= 500}, answers
            cut = sum(number for status, number in answers.items() if isinstance(status, str))
            print(f"{len(sold)} sales, {sum(answers.values()) - cut} answers, {cut} connections cut")  # nginx may cut one as it reloads.
            for path in ("/metrics", "/readyz"):
                assert (await people[0].client.get(path)).status_code == 404
        await own_house.at_rest(seconds=30)
        checked = await asyncio.to_thread(own_house.admitone, "verify", "--wait")
        assert checked.returncode == 0, checked.stdout
    for service in SERVICES_WITH_A_DATABASE:
        assert await own_house.rows(service, "SELECT event, error FROM parked") == []


class Replica:
    """A process that can be stopped and started anew at the same address."""

    def __init__(self, house: House, name: str) -> None:
        self.house = house
        self.name = name
        self.url = ""
        self._running = contextlib.AsyncExitStack()

    async def start(self, port: int | None = None) -> None:
        self.url = await self._running.enter_async_context(all_services(self.house, self.name, port=port, settings=DRAIN))

    async def stop(self) -> None:
        """SIGTERM, and in good order."""
        await self._running.aclose()

    async def restart(self) -> None:
        await self.stop()
        await self.start(int(self.url.rpartition(":")[2]))


@contextlib.asynccontextmanager
async def _replica(house: House, name: str) -> Any:
    replica = Replica(house, name)
    await replica.start()
    try:
        yield replica
    finally:
        await replica.stop()
