"""What the services' databases hold when everything is over."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prove.chaos.stage import Stage

from admitone.config import SERVICES_WITH_A_DATABASE

Row = dict[str, Any]
"""Ids are texts, and times seconds since 1970, as in the history."""


@dataclass(kw_only=True)
class Ending:
    users: dict[str, Row] = field(default_factory=dict)
    """By id, as all that follow."""
    tickets: dict[str, Row] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """By ticket."""
    orders: dict[str, Row] = field(default_factory=dict)
    charges: dict[str, Row] = field(default_factory=dict)
    said_of_tickets: list[Row] = field(default_factory=list)
    """What the owner has said, in that order: event, at, data."""
    said_of_orders: list[Row] = field(default_factory=list)

    @classmethod
    async def of(cls, stage: Stage) -> "Ending":
        async def rows(service: str, sql: str) -> list[Row]:
            connection = await stage.connected(service)
            try:
                return [{name: _plain(value) for name, value in row.items()} for row in await connection.fetch(sql)]
            finally:
                await connection.close()

        async def by_id(service: str, table: str, key: str) -> dict[str, Row]:
            return {row[key]: row for row in await rows(service, f"SELECT * FROM {table}")}

        said = "SELECT event, created_at AS at, data FROM outbox WHERE data ->> 'version' IS NOT NULL ORDER BY id"
        return cls(
            users=await by_id("auth", "users", "user_id"),
            tickets=await by_id("tickets", "tickets", "ticket_id"),
            notes={row["ticket_id"]: row["note"] for row in await rows("tickets", "SELECT * FROM notes")},
            orders=await by_id("orders", "orders", "order_id"),
            charges=await by_id("payments", "charges", "charge_id"),
            said_of_tickets=await rows("tickets", said),
            said_of_orders=await rows("orders", said),
        )


@dataclass
class Deliveries:
    """How events came, over all services."""

    handled: int = 0
    repeated: int = 0
    """Came again, after they had been handled."""
    repeated_after_crash: int = 0
    """Those of them between whose two comings this service, PostgreSQL or NATS was killed."""
    parked: list[str] = field(default_factory=list)

    @classmethod
    async def of(cls, stage: Stage, killed: list[tuple[str, float]]) -> "Deliveries":
        """`killed`: each part that was, and when in seconds since 1970."""
        found = cls()
        for service in SERVICES_WITH_A_DATABASE:
            crashes = [at for part, at in killed if part in (service, "postgres", "nats")]
            connection = await stage.connected(service)
            try:
                found.handled += await connection.fetchval("SELECT count(*) FROM inbox")
                again = await connection.fetch(
                    """
                    SELECT handled_at, at FROM deliveries JOIN inbox USING (event_id)
                    WHERE (event_id, at) NOT IN (SELECT event_id, min(at) FROM deliveries GROUP BY event_id)
                    """
                )
                parked = await connection.fetch("SELECT event, event_id, error FROM parked")
            finally:
                await connection.close()
            found.repeated += len(again)
            found.repeated_after_crash += sum(
                any(row["handled_at"].timestamp() < at < row["at"].timestamp() for at in crashes) for row in again
            )
            found.parked += [f"{service} has parked {row['event']} {row['event_id']}: {row['error'][:300]}" for row in parked]
        return found


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.timestamp()
        case None | bool() | int() | float() | dict():
            return value
    return str(value)
