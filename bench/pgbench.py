"""The first yardstick: what PostgreSQL alone can do of the transaction that an order is, by pgbench, in the same server."""

import asyncio
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from bench.stage import BenchError, Stage

from admitone.runtime.programs import postgres_programs

DATABASE = "pgbench"
CLIENTS = 16
SCRIPT = Path(__file__).with_name("pgbench.sql")
TABLES = """
    CREATE TABLE orders (
        order_id uuid PRIMARY KEY, ticket_id uuid NOT NULL, user_id uuid NOT NULL, status text NOT NULL, title text NOT NULL,
        price_cents bigint NOT NULL, currency text NOT NULL, lock integer NOT NULL, expires_at timestamptz NOT NULL,
        cancel_at timestamptz NOT NULL, created_at timestamptz NOT NULL,
        holds_ticket boolean GENERATED ALWAYS AS (status <> 'cancelled') STORED
    ) WITH (autovacuum_enabled = off);
    CREATE UNIQUE INDEX one_holding_order_per_ticket ON orders (ticket_id) WHERE holds_ticket;
    CREATE TABLE outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id uuid NOT NULL UNIQUE, event text NOT NULL, data jsonb NOT NULL,
        correlation_id uuid NOT NULL, created_at timestamptz NOT NULL
    ) WITH (autovacuum_enabled = off);
"""
"""They are emptied for every round. A vacuum of them afterwards would be counted as a cost of what is measured then."""


async def prepare_pgbench(stage: Stage) -> None:
    """A database of its own, with orders and their outbox, simplified."""
    administrator = await asyncpg.connect(stage.engines.database_url)
    await administrator.execute(f"CREATE DATABASE {DATABASE}")
    await administrator.close()
    connection = await asyncpg.connect(_url(stage))
    await connection.execute(TABLES)
    await connection.close()


async def run_pgbench(stage: Stage, seconds: float) -> tuple[float, int]:
    """Transactions per second, and how many there were. The tables are emptied first: each round finds the same."""
    connection = await asyncpg.connect(_url(stage))
    await connection.execute("TRUNCATE orders, outbox")
    await connection.close()
    url = urlsplit(stage.engines.database_url)
    process = await asyncio.create_subprocess_exec(
        str(postgres_programs() / "pgbench"),
        *("-h", "127.0.0.1", "-p", str(url.port), "-U", str(url.username), "-n", "-M", "prepared", "-f", str(SCRIPT)),
        *("-c", str(CLIENTS), "-j", "1", "-T", str(max(1, round(seconds))), DATABASE),
        env=os.environ | {"PGPASSWORD": str(url.password)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode(errors="replace")
    rate = re.search(r"tps = ([0-9.]+)", output)
    count = re.search(r"transactions actually processed: ([0-9]+)", output)
    if process.returncode or rate is None or count is None:
        raise BenchError(f"pgbench failed: {output.strip()[-500:]}")
    return float(rate[1]), int(count[1])


def _url(stage: Stage) -> str:
    return stage.engines.database_url.rpartition("/")[0] + f"/{DATABASE}"
