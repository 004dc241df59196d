"""What the history and the databases say about each other. Nothing here knows what was killed when.

Nothing that was answered with yes is missing (I14); nobody holds a ticket that somebody else has (I1); one wish has one effect (I12);
what is read does not go back in time; and nobody is told anything that can't be meant for them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Any

from prove.chaos.ending import Ending, Row
from prove.chaos.history import Asked

CLOCKS_DIFFER_SECONDS = 0.01
LIVE = ("created", "awaiting:payment", "complete")
EXPECTED = {
    "sign up": (201, 409),
    "sign in": (200,),
    "refresh": (200,),
    "list": (201,),
    "edit": (200, 409),
    "withdraw": (204, 409),
    "write note": (200,),
    "read note": (200,),
    "browse": (200, 404),
    "see ticket": (200, 404),
    "see order": (200,),
    "buy": (201, 404, 409),
    "cancel": (204, 409),
    "extend": (200, 409),
    "pay": (201, 202, 402, 404, 409),
}
"""What anybody may be told; 404 while the news of a ticket or an order has not got there, or when a ticket is withdrawn."""


@dataclass(frozen=True)
class Violation:
    sentence: str
    about: tuple[str, ...] = ()
    """The ids of tickets, orders or users."""


@dataclass
class Verdict:
    violations: list[Violation]
    answered: int
    """Writes that were answered with yes."""
    unclear: int
    """Writes without a clear answer."""
    unclear_done: dict[str, int]
    """Those of them that were done all the same, by why they were unclear; 503: of a service that did not know it itself."""


def judge(history: list[Asked], ending: Ending) -> Verdict:
    """Everything."""
    judging = _Judging(history, ending)
    violations = [
        *judging.answers_nobody_may_get(),
        *judging.users_and_tickets(),
        *judging.notes(),
        *judging.orders(),
        *judging.payments(),
        *judging.views(),
        *judging.holders_by_the_log(),
        *judging.holders_by_the_history(),
        *judging.keys(),
        *judging.unasked(),
    ]
    writes = [asked for asked in history if asked.do in WRITES]
    return Verdict(
        violations,
        answered=sum(asked.done for asked in writes),
        unclear=sum(asked.unclear is not None for asked in writes),
        unclear_done=dict(Counter(str(asked.unclear) for asked in judging.unclear_and_done())),
    )


def clear_shares(history: list[Asked], failing: list[tuple[float, float]]) -> dict[bool, tuple[int, int]]:
    """How many writes were answered clearly, of how many: those asked while at most one part failed, and all others.

    `failing`: from when to when each fault was, until its part answered again.
    """
    found = {True: (0, 0), False: (0, 0)}
    for asked in history:
        if asked.do in WRITES:
            calm = sum(since <= asked.began <= until for since, until in failing) <= 1
            clear, of = found[calm]
            found[calm] = clear + (asked.unclear is None), of + 1
    return found


WRITES = ("sign up", "list", "edit", "withdraw", "write note", "buy", "cancel", "extend", "pay")


@dataclass
class _Judging:
    history: list[Asked]
    ending: Ending
    by_do: dict[str, list[Asked]] = field(default_factory=lambda: defaultdict(list))
    tickets_at: dict[tuple[str, int], Row] = field(default_factory=dict)
    """What was said of a ticket at each version of it."""
    orders_at: dict[tuple[str, int], Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for asked in self.history:
            self.by_do[asked.do].append(asked)
        self.tickets_at = {(row["data"]["ticket_id"], row["data"]["version"]): row for row in self.ending.said_of_tickets}
        self.orders_at = {(row["data"]["order_id"], row["data"]["version"]): row for row in self.ending.said_of_orders}

    def done(self, *dos: str) -> Iterator[Asked]:
        return (asked for do in dos for asked in self.by_do[do] if asked.done)

    def answers_nobody_may_get(self) -> Iterator[Violation]:
        for asked in self.history:
            if asked.status is None or asked.status in EXPECTED[asked.do] or asked.unclear == "503":
                continue
            yield Violation(f"{_name(asked)} was answered with {asked.status} {asked.answer}", _about(asked))

    def users_and_tickets(self) -> Iterator[Violation]:
        for asked in self.done("sign up"):
            user = self.ending.users.get(asked.answer["id"])
            if user is None or user["email"] != asked.body["email"]:
                yield Violation(f"{_name(asked)} was answered with yes, and this user is not there: {asked.answer}")
        emails = {user["email"] for user in self.ending.users.values()}
        for asked in self.by_do["sign up"]:  # Asked again after an answer that was unclear.
            if asked.status == 409 and asked.body["email"] not in emails:
                yield Violation(f"{_name(asked)} was told that the address is taken, and it is not")
        for asked in self.done("withdraw"):
            ticket = self.ending.tickets.get(asked.ticket or "")
            if ticket is None or not ticket["withdrawn"]:
                yield Violation(f"{_name(asked)} was answered with yes, and the ticket is not withdrawn: {ticket}", _about(asked))
        for asked in self.done("list", "edit"):
            ticket = self.ending.tickets.get(asked.answer["id"])
            if ticket is None or ticket["version"] < asked.answer["version"] or ticket["seller_id"] != asked.who:
                yield Violation(f"{_name(asked)} was answered with {asked.answer}, and this is there: {ticket}", _about(asked))
            elif (asked.answer["title"], asked.answer["price"]) != (asked.body["title"], asked.body["price"]):
                yield Violation(f"{_name(asked)} asked for {asked.body}, and was answered with {asked.answer}", _about(asked))

    def notes(self) -> Iterator[Violation]:
        """The note is one that was written and not overwritten: some write of it was not over before another one began that was done."""
        writes: dict[str, list[tuple[Asked, str]]] = defaultdict(list)
        for asked in self.by_do["list"]:
            if asked.done:
                writes[asked.answer["id"]].append((asked, asked.body.get("note", "")))
        for asked in self.by_do["write note"]:
            if asked.done or asked.unclear:
                writes[asked.ticket or ""].append((asked, asked.body["note"]))
        for ticket, all_of_it in writes.items():
            possible = {note for asked, note in all_of_it if not any(later.done and later.began > asked.ended for later, _ in all_of_it)}
            if self.ending.notes.get(ticket, "") not in possible:
                yield Violation(
                    f"the note of ticket {ticket} is {self.ending.notes.get(ticket)!r}, and may be {sorted(possible)}", (ticket,)
                )

    def orders(self) -> Iterator[Violation]:
        for asked in self.done("buy"):
            order = self.ending.orders.get(asked.answer["id"])
            if order is None or order["ticket_id"] != asked.ticket or order["user_id"] != asked.who:
                yield Violation(f"{_name(asked)} was answered with {asked.answer}, and this is there: {order}", _about(asked))
            elif asked.body.get("price") not in (None, order["price_cents"] / 100):
                yield Violation(f"{_name(asked)} was for {asked.body}, and the order is {order}", _about(asked))
        for asked in self.done("cancel"):
            if (order := self.ending.orders.get(asked.order or "")) is None or order["status"] != "cancelled":
                yield Violation(f"{_name(asked)} was answered with yes, and the order is {order}", _about(asked))
        for asked in self.done("extend"):
            order = self.ending.orders.get(asked.order or "")
            if order is None or not order["extended"] or not _same_moment(order["expires_at"], _moment(asked.answer["expiresAt"])):
                yield Violation(f"{_name(asked)} was answered with {asked.answer}, and the order is {order}", _about(asked))

    def payments(self) -> Iterator[Violation]:
        declined: dict[str, set[str | int]] = defaultdict(set)
        for asked in self.by_do["pay"]:
            order = self.ending.orders.get(asked.order or "") or {"status": "missing"}
            if asked.done:
                charge = self.ending.charges.get(asked.answer["id"])
                if charge is None or charge["order_id"] != asked.order:
                    yield Violation(f"{_name(asked)} was answered with {asked.answer}, and this charge is there: {charge}", _about(asked))
            if (asked.status == 201 or asked.title == "Paid already") and order["status"] not in ("complete", "refunded"):
                yield Violation(f"{_name(asked)} was told that it is paid, and the order is {order}", _about(asked))
            if asked.status == 402:
                declined[asked.order or ""].add(asked.key or asked.n)
        for asked in self.by_do["cancel"]:
            if asked.title == "Order complete" and self.ending.orders[asked.order or ""]["status"] not in ("complete", "refunded"):
                yield Violation(f"{_name(asked)} was told that it is complete, and it is not", _about(asked))
        charges: dict[str, list[Row]] = defaultdict(list)
        for charge in self.ending.charges.values():
            charges[charge["order_id"]].append(charge)
        for order_id, times in declined.items():
            failed = sum(charge["status"] == "failed" for charge in charges[order_id])
            if failed < len(times):
                yield Violation(f"order {order_id} was declined {len(times)} times, and has {failed} failed charges", (order_id,))
        for order_id, of_order in charges.items():
            if sum(charge["status"] != "failed" for charge in of_order) > 1:
                yield Violation(f"order {order_id} has more than one live charge: {of_order}", (order_id,))

    def views(self) -> Iterator[Violation]:
        """Whatever version of a ticket or an order anybody was shown, its owner has said just that of it; nobody is shown an older one."""
        newest: dict[str, list[Asked]] = defaultdict(list)
        for asked in self.done("list", "edit", "see ticket"):
            view = asked.answer
            said = self.tickets_at.get((view["id"], view["version"]))
            if said is None or not _same_ticket(view, said["data"]):
                yield Violation(f"{_name(asked)} was answered with {view}, and tickets has said {said}", (view["id"],))
            newest[view["id"]].append(asked)
        for asked in self.done("buy", "extend", "see order"):
            view = asked.answer
            said = self.orders_at.get((view["id"], view["version"]))
            if said is None or not _same_order(view, said["data"]):
                yield Violation(f"{_name(asked)} was answered with {view}, and orders has said {said}", (view["id"], view["ticket"]["id"]))
            newest[view["id"]].append(asked)
        for id, views in newest.items():
            highest, ended = 0, sorted(views, key=lambda asked: asked.ended)
            number = 0
            for asked in sorted(views, key=lambda asked: asked.began):
                while number < len(ended) and ended[number].ended < asked.began:
                    highest = max(highest, ended[number].answer["version"])
                    number += 1
                if asked.do.startswith("see") and asked.answer["version"] < highest:
                    yield Violation(
                        f"{_name(asked)} was shown version {asked.answer['version']} of {id}, after somebody had {highest}", (id,)
                    )

    def holders_by_the_log(self) -> Iterator[Violation]:
        """Orders has never said that somebody has a ticket before it said that who had it before has not."""
        holder: dict[str, str] = {}
        for said in self.ending.said_of_orders:
            order, ticket = said["data"]["order_id"], said["data"]["ticket_id"]
            if said["event"] == "OrderCreated":
                if ticket in holder:
                    yield Violation(f"ticket {ticket} was held by order {holder[ticket]} when order {order} was created", (ticket, order))
                holder[ticket] = order
            ended = said["event"] == "OrderCancelled" or (said["event"] == "OrderRefunded" and said["data"].get("relist"))
            if ended and holder.get(ticket) == order:
                del holder[ticket]

    def holders_by_the_history(self) -> Iterator[Violation]:
        """From the answer that made an order until it may have ended, its buyer has the ticket for sure; for ever, once it is paid."""
        may_have_ended: dict[str, float] = defaultdict(lambda: inf)
        paid = set[str]()
        for asked in self.history:
            if asked.do == "pay" and asked.order and (asked.status == 201 or asked.title == "Paid already"):
                paid.add(asked.order)
            if asked.do == "cancel" and asked.order and (asked.done or asked.unclear):
                may_have_ended[asked.order] = min(may_have_ended[asked.order], asked.began)
        expires: dict[str, float] = {}
        for asked in self.done("buy", "extend"):
            expires[asked.answer["id"]] = max(expires.get(asked.answer["id"], 0), _moment(asked.answer["expiresAt"]))
        spans: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
        for asked in self.done("buy"):
            id = asked.answer["id"]
            order = self.ending.orders.get(id)
            until = min(may_have_ended[id], expires[id])
            if order is not None and order["reason"] in ("price_changed", "withdrawn", "payment_failed"):
                until = 0  # Nobody was told when.
            if id in paid:
                until = inf
            if asked.ended < until:
                spans[asked.ticket or ""].append((asked.ended, until, id))
        for ticket, held in spans.items():
            held.sort()
            last_until, last_order = 0.0, ""
            for since, until, id in held:
                if since < last_until and id != last_order:
                    yield Violation(f"ticket {ticket} was held by order {last_order} and by order {id} at once", (ticket, last_order, id))
                if until > last_until:
                    last_until, last_order = until, id

    def keys(self) -> Iterator[Violation]:
        """The same Idempotency-Key has the same answer; that of a payment follows one charge."""
        first: dict[tuple[Any, ...], Asked] = {}
        for asked in self.history:
            if asked.key is None or not asked.done:
                continue
            known = first.setdefault((asked.who, asked.do, asked.path, asked.key), asked)
            same = known.answer.get("id") == asked.answer.get("id") if asked.do == "pay" else known.answer == asked.answer
            if not same:
                yield Violation(
                    f"{_name(asked)} was answered with {asked.answer}, and the same key before with {known.answer}", _about(asked)
                )

    def unasked(self) -> Iterator[Violation]:
        """Nothing is there that nobody asked for, and no wish was granted twice."""
        wishes: dict[tuple[Any, ...], set[str | int]] = defaultdict(set)
        for asked in self.history:
            if asked.done or asked.unclear or asked.do == "pay":  # Whoever has lost a race has begun a charge, too.
                match asked.do:
                    case "list":
                        wishes["ticket", asked.who, asked.body["title"]].add(asked.key or asked.n)
                    case "buy":
                        wishes["order", asked.who, asked.ticket].add(asked.key or asked.n)
                    case "pay":
                        wishes["charge", asked.who, asked.order].add(asked.key or asked.n)
        granted: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        first_titles = {id: row["data"]["title"] for (id, version), row in self.tickets_at.items() if version == 1}
        for id, ticket in self.ending.tickets.items():
            granted["ticket", ticket["seller_id"], first_titles.get(id)].append(id)
        for id, order in self.ending.orders.items():
            granted["order", order["user_id"], order["ticket_id"]].append(id)
        for id, charge in self.ending.charges.items():
            buyer = self.ending.orders.get(charge["order_id"], {}).get("user_id")
            granted["charge", buyer, charge["order_id"]].append(id)
        for wish, ids in granted.items():
            if len(ids) > len(wishes[wish]):
                times = {0: "never", 1: "once"}.get(len(wishes[wish]), f"{len(wishes[wish])} times")
                yield Violation(f"{wish[0]}s {ids} are there, and were wished for {times}", (*ids, str(wish[2])))

    def unclear_and_done(self) -> list[Asked]:
        """What nobody could tell from its answer, and the databases show to be done: it is of no time at which a clear answer did it."""
        made: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        for user in self.ending.users.values():
            made["sign up", user["email"]].append(user["created_at"])
        for row in self.ending.said_of_tickets:
            data = row["data"]
            if row["event"] == "TicketCreated":
                made["list", data["title"]].append(row["at"])
            elif data["order_id"] is None:
                made["edit", data["ticket_id"], data["title"]].append(row["at"])
        for order in self.ending.orders.values():
            made["buy", order["user_id"], order["ticket_id"]].append(order["created_at"])
        for row in self.ending.said_of_orders:
            data = row["data"]
            if row["event"] == "OrderCancelled" and data["reason"] == "by_buyer":
                made["cancel", data["order_id"]].append(row["at"])
            elif row["event"] == "OrderExtended":
                made["extend", data["order_id"]].append(row["at"])
        for charge in self.ending.charges.values():
            made["pay", charge["order_id"]].append(charge["begun_at"])
        for asked in sorted(self.history, key=lambda asked: asked.unclear is not None):
            times = made.get(_wish(asked), [])
            at = next((at for at in times if asked.began - CLOCKS_DIFFER_SECONDS <= at <= asked.ended + CLOCKS_DIFFER_SECONDS), None)
            if at is not None and (asked.done or asked.unclear):
                times.remove(at)
                if asked.unclear:
                    made["unclear", asked.n] = []
        return [asked for asked in self.history if ("unclear", asked.n) in made]


def _wish(asked: Asked) -> tuple[Any, ...]:
    match asked.do:
        case "sign up":
            return asked.do, asked.body["email"]
        case "list":
            return asked.do, asked.body["title"]
        case "edit":
            return asked.do, asked.ticket, asked.body["title"]
        case "buy":
            return asked.do, asked.who, asked.ticket
    return asked.do, asked.order


def _same_ticket(view: dict[str, Any], said: Row) -> bool:
    status = "sold" if said["sold"] else "withdrawn" if said["withdrawn"] else "locked" if said["order_id"] else "available"
    return (view["title"], round(view["price"] * 100), view["userId"], view["orderId"], view["status"]) == (
        *(said["title"], said["price_cents"], said["seller_id"], said["order_id"]),
        status,
    )


def _same_order(view: dict[str, Any], said: Row) -> bool:
    return (
        *(view["status"], view["reason"], view["userId"], view["extended"], view["ticket"]["id"], view["ticket"]["title"]),
        round(view["ticket"]["price"] * 100),
    ) == (
        *(said["status"], said["reason"], said["user_id"], said["extended"], said["ticket_id"], said["title"]),
        said["price_cents"],
    ) and _same_moment(_moment(view["expiresAt"]), _moment(said["expires_at"]))


def _same_moment(one: float, other: float) -> bool:
    """People are shown milliseconds."""
    return abs(one - other) < 0.0015


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _name(asked: Asked) -> str:
    return f"request {asked.n} ({asked.do} by {asked.who})"


def _about(asked: Asked) -> tuple[str, ...]:
    ids = (asked.ticket, asked.order, str(asked.answer.get("id", "")) if asked.done and asked.do in ("list", "buy") else None)
    return tuple(id for id in ids if id)
