"""What the services' own databases know of a story. One that is unreachable is done without."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from admitone.apidocs.markdown import NAMES
from admitone.kit.event import CATALOGUE
from admitone.ops.journey.story import Handling, Listed, OpenCharge, Step, Story, Subject, Timer, User
from admitone.ops.reach import Databases, recording_services


async def story_of(databases: Databases, about: Subject) -> Story:
    """Every event about an order (its listing too), about a ticket, or of a request, and what each of them caused."""
    match about.kind:
        case "order":
            said = await _published(databases, "data ->> 'order_id' = $1", about.id)
            ticket_id = next((step.data["ticket_id"] for step in said if step.data.get("ticket_id")), None)
            said += await _published(databases, "event = 'TicketCreated' AND data ->> 'ticket_id' = $1", ticket_id)
        case "ticket":
            said = await _published(databases, "data ->> 'ticket_id' = $1", about.id)
            said += await _published(databases, "data ->> 'order_id' = ANY($1)", _orders_in(said))
        case _:
            said = await _published(databases, "correlation_id = $1", UUID(about.id))
    found: dict[UUID, Step] = {}
    while said:  # What was caused by what we have, until there is no more.
        new = {step.event_id: step for step in said if step.event_id not in found}
        found |= new
        said = await _published(databases, "causation_id = ANY($1)", list(new)) if new else []
    await _add_handling(databases, found)
    steps = _causes_first(found)
    orders = _orders_in(steps)
    rows = await databases.rows("expiration", "SELECT * FROM timers WHERE order_id = ANY($1::text[]::uuid[])", orders)
    timers = {str(row["order_id"]): Timer(str(row["order_id"]), row["due"], row["rung_at"]) for row in rows}
    asking = {row["order_id"]: OpenCharge(**row) for row in await databases.rows("payments", OPEN_CHARGES, orders)}
    return Story(about=about, steps=steps, timers=timers, asking=asking, away=dict(databases.unreachable))


OPEN_CHARGES = """
SELECT order_id::text, attempt, status, status = 'created' AND redirect_url IS NOT NULL AS at_the_bank,
       failed_attempts, last_error, next_attempt_at
FROM charges
WHERE order_id = ANY($1::text[]::uuid[]) AND (status IN ('created', 'authorized') OR status = 'completed' AND refund_asked_at IS NOT NULL)
"""


async def _published(databases: Databases, where: str, value: object) -> list[Step]:
    return [
        Step(
            event_id=row["event_id"],
            event=row["event"],
            service=service,
            time=row["created_at"],
            correlation_id=row["correlation_id"],
            causation_id=row["causation_id"],
            data=row["data"],
            published_at=row["published_at"],
            heard={},
            parked={},
            dropped={},
            missing=[],
            order_id=row["data"].get("order_id"),
        )
        for service, row in await databases.rows_of_all(f"SELECT * FROM outbox WHERE {where}", value)
        if row["event"] in CATALOGUE
    ]


async def _add_handling(databases: Databases, found: dict[UUID, Step]) -> None:
    for service, row in await databases.rows_of_all("SELECT event_id, handled_at FROM inbox WHERE event_id = ANY($1)", list(found)):
        found[row["event_id"]].heard[service] = _handling(found[row["event_id"]], row["handled_at"])
    parked = "SELECT event_id, parked_at, tries, split_part(error, E'\\n', 1) AS error FROM parked WHERE event_id = ANY($1)"
    for service, row in await databases.rows_of_all(parked, list(found)):
        heard = _handling(found[row["event_id"]], row["parked_at"])
        heard.tries, heard.error = row["tries"], row["error"]
        found[row["event_id"]].parked[service] = heard
    for service, row in await databases.rows_of_all("SELECT event_id, reason FROM dropped WHERE event_id = ANY($1)", list(found)):
        found[row["event_id"]].dropped[service] = row["reason"]
        found[row["event_id"]].heard.pop(service, None)  # The inbox has it, so that it is not handled.
    for step in found.values():
        done = {*step.heard, *step.parked, *step.dropped, *databases.unreachable}
        step.missing = [name for name in recording_services(step.event) if name not in done]


def _handling(step: Step, at: datetime) -> Handling:
    published_at = step.published_at or step.time
    return Handling(at=at, milliseconds=_between(step.time, at), from_published_milliseconds=max(0.0, _between(published_at, at)))


def _between(start: datetime, end: datetime) -> float:
    return round((end - start).total_seconds() * 1000, 1)


def _causes_first(found: dict[UUID, Step]) -> list[Step]:
    """By time; but where the clocks of two databases disagree, an effect still comes after its cause."""

    def place(step: Step) -> tuple[datetime, int]:
        cause = found.get(step.causation_id) if step.causation_id else None
        if cause is None:
            return step.time, 0
        moment, depth = place(cause)
        step.order_id = step.order_id or cause.order_id
        return max(moment, step.time), depth + 1

    return sorted(found.values(), key=lambda step: (*place(step), NAMES.index(step.service)))


def _orders_in(steps: Iterable[Step]) -> list[str]:
    """The orders that a story speaks of, the first one first."""
    return list(dict.fromkeys(step.order_id for step in steps if step.order_id))


async def user_of(databases: Databases, about: Subject) -> User:
    """What a user has listed and ordered, oldest first."""
    user_id = UUID(about.id)
    known = await databases.rows("auth", "SELECT email, created_at FROM users WHERE user_id = $1", user_id)
    listed = await databases.rows(
        "tickets",
        """
        SELECT ticket_id AS id, created_at AS at, title, price_cents, currency,
               CASE WHEN sold THEN 'sold' WHEN withdrawn THEN 'withdrawn' WHEN order_id IS NULL THEN 'available' ELSE 'locked' END AS status
        FROM tickets WHERE seller_id = $1 ORDER BY created_at, ticket_id
        """,
        user_id,
    )
    ordered = await databases.rows(
        "orders",
        """
        SELECT order_id AS id, created_at AS at, title, price_cents, currency, ticket_id, status || coalesce(': ' || reason, '') AS status
        FROM orders WHERE user_id = $1 ORDER BY created_at, order_id
        """,
        user_id,
    )
    return User(
        about=about,
        email=known[0]["email"] if known else None,
        signed_up_at=known[0]["created_at"] if known else None,
        listed=[Listed(**row) for row in listed],
        ordered=[Listed(**row) for row in ordered],
        away=dict(databases.unreachable),
    )
