"""Sales while everything about money goes wrong, and then every cent counted on both sides. A benchmark, not a test.

Run it with `make money-soak [SALES=1000]`. Six processes on engines and data of its own: a fifth of the card processor's calls
misbehave, a fifth of its webhooks is lost or comes twice, payments is killed again and again, buyers change their minds.
It fails when the books of payments, the processor, orders and tickets do not agree in the end, and when too little went wrong.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.house import House, Json, Person, eventually
from support.ledgers import Books, disagreements, settled

from admitone import config
from admitone.config import DATABASES, TEST_PROCESSOR, own_database_url, owner_database_url
from admitone.kit.data.migrations import migrate_at
from admitone.ops import payments as money
from admitone.payments.model import NothingToRefund
from admitone.payments.processors import test as test_processor
from admitone.runtime.engines import Engines
from admitone.runtime.provisioning import create_databases
from admitone.services import SERVICES

BUYERS, SELLERS = 30, 4
SETTLED_WITHIN_SECONDS = 180
TRIES_AGAIN_FOR_SECONDS = 30
SETTINGS = {
    "ADMITONE_ORDER_WINDOW_SECONDS": "8",
    "ADMITONE_SETTLE_SECONDS": "12",
    "ADMITONE_MAX_OPEN_ORDERS": "100",
    "ADMITONE_FEE_PERCENT": "2.5",
}
CALLS = ("authorize", "look", "capture", "void", "refund")
FAULTS = {
    **{call: {"timeout_before": 0.05, "timeout_after": 0.06, "error": 0.05, "slow": 0.03, "hang": 0.01} for call in CALLS},
    "webhook": {"lose": 0.1, "repeat": 0.1},
}
FAULTS["capture"] |= {"error": 0.04, "refuse": 0.01}
PLANS = {
    "pays": 32,
    "pays in two tabs at once": 10,
    "is declined": 12,
    "confirms at the bank": 12,
    "refuses at the bank": 6,
    "leaves the bank": 5,
    "cancels": 12,
    "pays at the last moment": 8,
    "leaves": 3,
}
REFUNDED, RELISTED = 0.15, 0.5
"""The share of those who have paid that get it back, and the share of those whose ticket goes on sale again."""

COUNT_CALLS = """
    ALTER TABLE faults DROP CONSTRAINT faults_fault_check;
    CREATE TABLE drawn (call text NOT NULL, fault text NOT NULL);
    CREATE FUNCTION count_call() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO drawn VALUES (NEW.call, NEW.fault); RETURN NULL; END $$;
    CREATE TRIGGER count_calls AFTER UPDATE ON faults FOR EACH ROW EXECUTE FUNCTION count_call();
"""
"""A call to which nothing happens draws the fault `none`, so that every call is counted."""
COUNT_DOUBTS = """
    CREATE TABLE resolved (charge_id uuid NOT NULL);
    CREATE FUNCTION count_doubt() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO resolved VALUES (NEW.charge_id); RETURN NULL; END $$;
    CREATE TRIGGER count_doubts AFTER UPDATE ON charges FOR EACH ROW
        WHEN (OLD.status = 'created' AND OLD.stripe_id IS NULL AND (NEW.status <> 'created' OR NEW.stripe_id IS NOT NULL)
              AND clock_timestamp() > OLD.begun_at + interval '15 seconds')
        EXECUTE FUNCTION count_doubt();
"""
"""A charge is in doubt when nothing is known of it once the processor's deadline is over."""


class Soak:
    """What goes on, and what was counted."""

    def __init__(self, house: House, sales: int, seed: int) -> None:
        self.house = house
        self.sales = sales
        self.seed = seed
        self.settings = config.load(house.settings)
        self.begun = self.done = self.kills = 0
        self.plans = Counter[str]()
        self.answers = Counter[str]()
        self.unexpected: list[str] = []
        self.refunding: set[asyncio.Task[None]] = set()
        self.relisted: list[Json] = []
        self.few_at_once = asyncio.Semaphore(4)

    async def sells(self) -> None:
        sellers = await self.house.people(*(f"seller{number}" for number in range(SELLERS)))
        buyers = await self.house.people(*(f"buyer{number}" for number in range(BUYERS)))
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(self.kills_payments())
            async with asyncio.TaskGroup() as busy:
                for buyer in buyers:
                    busy.create_task(self.keeps_buying(buyer, sellers))
            killing.cancel()

    async def kills_payments(self) -> None:
        """kill -9, two to five seconds after it was ready again."""
        chance = random.Random(f"{self.seed}/kills")
        try:
            while True:
                await asyncio.sleep(chance.uniform(2, 5))
                self.house.kill("payments")
                self.kills += 1
                self.house.begin_one("payments", **SETTINGS)
                await eventually(self.payments_is_ready, seconds=120)
        finally:
            self.progress(end="\n")

    async def payments_is_ready(self) -> bool:
        assert self.house.processes["payments"].exitcode is None, self.house.log("payments")
        with suppress(httpx.HTTPError):
            async with httpx.AsyncClient(verify=False) as client:
                return (await client.get(f"http://127.0.0.1:{self.house.ports['payments']}/readyz")).is_success
        return False

    async def keeps_buying(self, buyer: Person, sellers: list[Person]) -> None:
        while self.begun < self.sales:
            self.begun += 1
            chance = random.Random(f"{self.seed}/{self.begun}")
            await self.sale(buyer, chance.choice(sellers), chance)
            self.done += 1
            self.progress()

    def progress(self, end: str = "") -> None:
        if sys.stderr.isatty():
            bar = "#" * (40 * self.done // self.sales)
            print(
                f"\r[{bar:<40}] {self.done} of {self.sales} sales, payments killed {self.kills} times", end=end, file=sys.stderr, flush=True
            )

    async def sale(self, buyer: Person, seller: Person, chance: random.Random) -> None:
        if self.relisted and chance.random() < 0.5:
            ticket = self.relisted.pop()
        else:
            offer = {"title": "Front row", "price": chance.randrange(50, 20_000) / 100}
            ticket = (await self.asks(seller.ask, "POST", "/api/tickets", offer)).json()
        bought = await self.asks(buyer.tries_to_buy, ticket)
        if bought.status_code != 201:
            return
        order: Json = bought.json()
        [plan] = chance.choices([*PLANS], [*PLANS.values()])
        self.plans[plan] += 1
        if chance.random() < REFUNDED:
            self.refunding.add(asyncio.create_task(self.refunds(buyer, order, relist=chance.random() < RELISTED)))
        await self.follows(plan, buyer, order, chance)

    async def follows(self, plan: str, buyer: Person, order: Json, chance: random.Random) -> None:
        match plan:
            case "pays":
                await self.pays(buyer, order)
            case "pays in two tabs at once":
                await asyncio.gather(self.pays(buyer, order), self.pays(buyer, order, "tok_mastercard"))
            case "is declined":
                for _ in range(chance.randint(1, 3)):
                    answer = await self.pays(buyer, order, "tok_chargeDeclined")
                if answer.status_code == 402 and answer.json()["triesLeft"]:
                    await self.pays(buyer, order)
            case "confirms at the bank":
                await self.goes_to_bank(buyer, order, "approval", comes_back=chance.random() < 0.6)
            case "refuses at the bank":
                await self.goes_to_bank(buyer, order, "refusal", comes_back=chance.random() < 0.8)
                await self.pays(buyer, order)
            case "leaves the bank":
                await self.pays(buyer, order, "tok_threeDSecure2Required")
            case "cancels":
                paying = asyncio.create_task(self.pays(buyer, order, chance.choice(("tok_visa", "tok_threeDSecure2Required"))))
                await asyncio.sleep(chance.choice((0, chance.uniform(0, 0.3), chance.uniform(0, 6))))
                await self.asks(buyer.cancels, order)
                await paying
            case "pays at the last moment":
                await asyncio.sleep(int(SETTINGS["ADMITONE_ORDER_WINDOW_SECONDS"]) - chance.uniform(0, 0.4))
                await self.pays(buyer, order)

    async def pays(self, buyer: Person, order: Json, token: str = "tok_visa") -> httpx.Response:
        """As often as it takes to be told anything; a payment that came too early, before payments knew the order, is made again."""
        deadline = time.monotonic() + TRIES_AGAIN_FOR_SECONDS
        while True:
            answer = await self.asks(buyer.pays, order, token)
            title = answer.json().get("title", "")
            self.answers[f"{answer.status_code} {title}".strip()] += 1
            if title not in ("Not payable yet", "Order not found") or time.monotonic() > deadline:
                return answer
            await asyncio.sleep(0.2)

    async def goes_to_bank(self, buyer: Person, order: Json, says: str, comes_back: bool) -> None:
        answer = await self.pays(buyer, order, "tok_threeDSecure2Required")
        url = answer.json().get("redirectUrl")
        if url is not None:
            answered = await self.asks(buyer.ask, "POST", f"{urlsplit(url).path}/{says}")
            if comes_back:
                await self.asks(buyer.ask, "GET", answered.headers["location"])

    async def asks(self, what: Callable[..., Awaitable[httpx.Response]], *arguments: object) -> httpx.Response:
        """Again while nobody is there, as a person with a browser does."""
        deadline = time.monotonic() + TRIES_AGAIN_FOR_SECONDS
        while True:
            with suppress(httpx.TransportError):
                answer = await what(*arguments)
                if answer.status_code < 500:
                    return answer
                if answer.status_code not in (502, 503):
                    self.unexpected.append(f"{what.__name__} was answered with {answer.status_code} {answer.text[:200]}")
            assert time.monotonic() < deadline, f"{what.__name__}: nobody answers"
            await asyncio.sleep(0.3)

    async def refunds(self, buyer: Person, order: Json, relist: bool) -> None:
        """By the same command as `admitone refund`, if the order is ever complete."""
        status = order["status"]
        while status in ("created", "awaiting:payment"):
            await asyncio.sleep(0.5)
            status = (await self.asks(buyer.ask, "GET", f"/api/orders/{order['id']}")).json()["status"]
        deadline = time.monotonic() + TRIES_AGAIN_FOR_SECONDS
        async with self.few_at_once:
            while status == "complete" and time.monotonic() < deadline:
                with suppress(NothingToRefund):  # Payments may not have heard yet that it is complete.
                    status = (await money.refund(self.settings, UUID(order["id"]), "changed their mind", relist)).status
                    break
                await asyncio.sleep(0.5)
        if status == "refunded" and relist:
            self.relisted.append(order["ticket"])

    async def misbehaves(self) -> None:
        await self._run(TEST_PROCESSOR, COUNT_CALLS)
        await self._run("payments", COUNT_DOUBTS)
        for call, faults in FAULTS.items():
            left = 1.0  # The rows are tried one after the other.
            for fault, share in {**faults, "none": 1 - sum(faults.values())}.items():
                sql = "INSERT INTO faults (call, fault, share) VALUES ($1, $2, $3)"
                await self.house.rows(TEST_PROCESSOR, sql, call, fault, min(share / left, 1.0))
                left -= share

    async def behaves_again(self) -> None:
        await self._run(TEST_PROCESSOR, "DELETE FROM faults")

    async def _run(self, service: str, script: str) -> None:
        connection = await asyncpg.connect(own_database_url(self.house.engines.database_url, service))
        try:
            await connection.execute(script)
        finally:
            await connection.close()

    async def settles(self) -> float:
        """How long it takes, from the end of the faults, until every order has ended and all is settled. Raises AssertionError."""
        begun = time.monotonic()
        await asyncio.gather(*self.refunding)

        async def all_ended() -> bool:
            return not await self.house.rows("orders", "SELECT true FROM orders WHERE status IN ('created', 'awaiting:payment') LIMIT 1")

        await eventually(all_ended, SETTLED_WITHIN_SECONDS)
        await settled(self.house, SETTLED_WITHIN_SECONDS)
        return time.monotonic() - begun

    async def late_webhooks(self) -> int:
        """Those that have waited for their turn come now, long after it matters; how many these were. They must not change anything."""
        late = await self.house.rows(
            TEST_PROCESSOR, "UPDATE webhooks SET send_at = made_at, tries = 0 WHERE send_at IS NOT NULL RETURNING true"
        )

        async def all_sent() -> bool:
            return not await self.house.rows(TEST_PROCESSOR, "SELECT true FROM webhooks WHERE send_at IS NOT NULL LIMIT 1")

        await eventually(all_sent, SETTLED_WITHIN_SECONDS)
        await self.house.at_rest()
        return len(late)

    async def report(self, selling: float, settling: float) -> list[str]:
        """Prints what happened; returns what did not, and should have."""
        books = await Books.of(self.house)
        drawn = {call: Counter[str]() for call in FAULTS}
        for row in await self.house.rows(TEST_PROCESSOR, "SELECT call, fault, count(*) FROM drawn GROUP BY call, fault"):
            drawn[row["call"]][row["fault"]] = row["count"]
        [doubts] = await self.house.rows("payments", "SELECT count(*) FROM resolved")
        orders = Counter(f"{order['status']} {order['reason'] or ''}".strip() for order in books.orders)
        charges = Counter(charge["status"] for charge in books.charges)
        payments = Counter(intent["status"] for intent in books.intents)
        refunds = [charge for charge in books.charges if charge["status"] == "refunded"]
        happened = {
            "killed": self.kills,
            "timeouts after the effect": sum(faults["timeout_after"] for faults in drawn.values()),
            "in doubt, and resolved by the same call again": doubts["count"],
            "expired": orders["cancelled expired"],
            "voided": payments["voided"],
            "refunded, the ticket stays sold": sum(not charge["relist"] for charge in refunds),
            "refunded, the ticket on sale again": sum(charge["relist"] for charge in refunds),
            "uncollected": sum(order["uncollected"] for order in books.orders),
        }
        print(
            f"{len(books.orders)} orders by {BUYERS} buyers in {selling:.0f} s, seed {self.seed}; settled {settling:.1f} s after the last"
        )
        _print("what buyers did", self.plans)
        _print("what they were told", self.answers)
        _print("how orders ended", orders)
        _print("charges", charges)
        _print("payments at the processor", payments)
        _print("what happened", happened)
        print("\ncalls of the processor    all  " + "".join(f"{fault:>15}" for fault in (*FAULTS["capture"], *FAULTS["webhook"])))
        for call, faults in drawn.items():
            numbers = "".join(f"{faults[fault] or '':>15}" for fault in (*FAULTS["capture"], *FAULTS["webhook"]))
            print(f"  {call:<18} {faults.total():8}  {numbers}   {(faults.total() - faults['none']) / (faults.total() or 1):6.1%}")
        all_calls = sum((drawn[call] for call in CALLS), Counter[str]())
        print(f"  {'all but webhooks':<18} {all_calls.total():8}  {'':105}   {1 - all_calls['none'] / all_calls.total():6.1%} misbehaved")
        taken = sum(intent["captured_cents"] for intent in books.intents)
        given_back = sum(intent["refunded_cents"] for intent in books.intents)
        ours = [entry for entry in books.entries if entry["account"] == "processor"]
        our_taken = sum(entry["amount_cents"] for entry in ours if entry["amount_cents"] > 0)
        our_given_back = -sum(entry["amount_cents"] for entry in ours if entry["amount_cents"] < 0)
        print("\nin cents              our ledger     the processor")
        for name, one, other in (
            ("captured", our_taken, taken),
            ("refunded", our_given_back, given_back),
            ("held", our_taken - our_given_back, taken - given_back),
        ):
            print(f"  {name:<14} {one:15} {other:17}")
        return [f"nothing was {name}, so nothing was tried" for name, times in happened.items() if not times and self.sales >= 200]


def _print(title: str, counted: Counter[str] | dict[str, int]) -> None:
    print(f"\n{title}")
    for name, times in sorted(counted.items(), key=lambda item: -item[1]):
        print(f"  {times:8}  {name}")


@asynccontextmanager
async def six_processes(folder: Path) -> AsyncIterator[House]:
    """A marketplace with nothing in it."""
    folder.chmod(0o755)
    prepared = folder / "prepared"
    prepared.mkdir()
    engines = Engines(prepared, lambda line: None, durable=False)
    try:
        engines.start()
        await engines.ready()
        await create_databases(engines.database_url, DATABASES)
        for service in SERVICES:
            if service.has_database:
                await migrate_at(owner_database_url(engines.database_url, service.name), service.name)
        await migrate_at(own_database_url(engines.database_url, TEST_PROCESSOR), TEST_PROCESSOR, test_processor.MIGRATIONS)
    finally:
        engines.stop()
    (folder / "house").mkdir()
    async with House(folder / "house", prepared) as house:
        await house.start_six(**SETTINGS)
        try:
            yield house
        except BaseException:
            keep_logs(house)
            raise


def keep_logs(house: House) -> None:
    kept = Path(tempfile.mkdtemp(prefix="money-soak-"))
    for file in house.folder.glob("*.out"):
        (kept / file.name).write_bytes(file.read_bytes())
    print(f"What the processes said is in {kept}.", file=sys.stderr)


async def main(sales: int, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="admitone-") as folder:
        async with six_processes(Path(folder)) as house:
            soak = Soak(house, sales, seed)
            await soak.misbehaves()
            begun = time.monotonic()
            await soak.sells()
            selling = time.monotonic() - begun
            await soak.behaves_again()
            await house.ready()
            wrong: list[str] = []
            settling = float(SETTLED_WITHIN_SECONDS)
            came_late = 0
            try:
                settling = await soak.settles()
                came_late = await soak.late_webhooks()
            except AssertionError as late:
                wrong.append(str(late))
            lines = await disagreements(house)
            untried = await soak.report(selling, settling)
            wrong += [line for line in lines if line not in "\n".join(wrong)] + untried + soak.unexpected
            print(f"\nwebhooks that came after that: {came_late}\ndisagreements: {len(lines)}")
            print("\n".join(wrong), end="\n" if wrong else "")
            if wrong:
                keep_logs(house)
            return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sales", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.sales, given.seed)))
