"""`admitone doctor` and /metrics: what is well is said to be well, and what is not is named, whatever else is down."""

import json
import os
from dataclasses import replace
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import processes
from support.house import House

from admitone import config
from admitone.config import SERVICES_WITH_A_DATABASE
from admitone.ops.doctor import collect, examine, render
from admitone.ops.doctor.checks import Line
from admitone.runtime.programs import free_port
from admitone.services import SERVICES

States = dict[tuple[str, str | None], str]


async def test_a_healthy_marketplace_is_all_ok(house: House) -> None:
    await house.at_rest()
    seen = house.admitone("doctor")
    assert (seen.returncode, seen.stderr) == (0, ""), seen.stdout
    assert "Everything is as it should be." in seen.stdout
    assert {line.split()[0] for line in seen.stdout.splitlines() if line} == {"ok", "Everything"}
    assert "\x1b" not in seen.stdout
    assert "ok    outbox      0 unpublished                       auth tickets orders expiration payments" in seen.stdout
    assert f"ok    ready       ready                               {' '.join(service.name for service in SERVICES)}" in seen.stdout


async def test_a_service_that_does_not_answer_is_bad_and_the_others_are_ok(house: House) -> None:
    await house.at_rest()
    seen = house.admitone("doctor", "--json", ADMITONE_PAYMENTS_URL=f"http://127.0.0.1:{free_port()}")
    assert (seen.returncode, seen.stderr) == (1, "")
    told = json.loads(seen.stdout)
    assert told["worst"] == "bad"
    assert {key: state for key, state in states(told["lines"]).items() if state != "ok"} == {("ready", "payments"): "bad"}


async def test_everything_that_needs_a_person_is_bad_and_says_what_to_do(own_house: House) -> None:
    """Nobody runs the services: nothing is done about any of this while we look."""
    for service, sql in WRONG.items():
        await own_house.rows(service, sql)
    await own_house.rows("tickets", "UPDATE migrations SET checksum = 'another' WHERE name = 'tickets/0001_tickets.sql'")
    await own_house.rows("auth", "DELETE FROM migrations WHERE name = 'auth/0001_users.sql'")
    seen = own_house.admitone("doctor", "--json")
    assert (seen.returncode, seen.stderr) == (1, "")
    lines = {(line["check"], line["service"]): line for line in json.loads(seen.stdout)["lines"]}
    assert {key: line["value"] for key, line in lines.items() if key in FOUND} == FOUND
    assert {lines[key]["state"] for key in FOUND} == {"bad"}
    for well in (("postgresql", None), ("nats", None), ("database", "orders"), ("parked", "auth"), ("outbox", "orders"), ("clocks", None)):
        assert lines[well]["state"] == "ok", lines[well]
    assert all(line["advice"] for line in lines.values() if line["state"] != "ok")
    assert secrets_of(own_house) & set(seen.stdout.split('"')) == set()

    shown = own_house.admitone("doctor")
    assert shown.returncode == 1
    assert "bad   parked      1 parked                            tickets\n" in shown.stdout
    assert "`admitone money` lists them" in shown.stdout


WRONG = {
    "auth": """
        INSERT INTO outbox (event_id, event, data, correlation_id, created_at)
        VALUES (gen_random_uuid(), 'UserCreated', '{}', gen_random_uuid(), now() - interval '1 hour')""",
    "tickets": """
        INSERT INTO parked (event_id, event, message, error, tries, parked_at)
        VALUES (gen_random_uuid(), 'OrderCreated', '', 'ValueError', 5, now())""",
    "orders": """
        INSERT INTO orders (order_id, version, ticket_id, user_id, status, title, price_cents, currency, lock, expires_at, cancel_at,
                            created_at)
        SELECT gen_random_uuid(), 1, gen_random_uuid(), gen_random_uuid(), status, 'Row 1', 100, 'USD', 1, now(),
            now() - make_interval(secs => late), now()
        FROM (VALUES ('created', 90), ('awaiting:payment', 3600), ('created', 20), ('complete', 3600)) AS made (status, late)""",
    "expiration": """
        INSERT INTO timers (order_id, version, due, rung_at, correlation_id)
        SELECT gen_random_uuid(), 1, now() - make_interval(secs => late), rung_at, gen_random_uuid()
        FROM (VALUES (60, NULL), (60, now()), (-60, NULL)) AS made (late, rung_at)""",
    "payments": """
        WITH known AS (
            INSERT INTO order_copies (order_id, version, user_id, status, price_cents, currency, expires_at)
            SELECT gen_random_uuid(), 1, gen_random_uuid(), 'complete', 100, 'USD', now() FROM generate_series(1, 3) RETURNING order_id)
        INSERT INTO charges (charge_id, order_id, attempt, status, amount_cents, currency, payment_token, idempotency_key, begun_at,
                             changed_at, next_attempt_at, correlation_id)
        SELECT gen_random_uuid(), order_id, 1, (ARRAY['created', 'authorized', 'completed'])[row_number() OVER ()], 100, 'USD', 'tok_visa',
            order_id, begun, begun, begun, gen_random_uuid()
        FROM known, (SELECT now() - interval '2 minutes' AS begun) AS made""",
}
"""Per service, what is wrong in its database."""
FOUND = {
    ("outbox", "auth"): "1 unpublished, the oldest for 60 min",
    ("parked", "tickets"): "1 parked",
    ("orders", "orders"): "2 overdue",
    ("timers", "expiration"): "1 overdue",
    ("charges", "payments"): "2 unsettled, 1 of them in doubt",
    ("ledger", "payments"): "charges that disagree: 1",
    ("database", "tickets"): "edited: tickets/0001_tickets.sql",
    ("database", "auth"): "missing: auth/0001_users.sql",
    ("relay", "orders"): "nobody publishes",
    ("stream", None): "is not there",
    ("consumer", "orders"): "unknown",
}


async def test_an_engine_that_is_frozen_or_gone_hides_nothing_else(own_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config.load(own_house.settings)
    own_house.freeze_bus()
    with monkeypatch.context() as impatient:  # With what is frozen, only.
        impatient.setattr(collect, "BUS_SECONDS", 1.0)
        without_bus = states(await examine(settings))
    own_house.thaw_bus()
    own_house.freeze_database()
    with monkeypatch.context() as impatient:
        impatient.setattr(collect, "DATABASE_SECONDS", 1.0)
        without_database = states(await examine(settings))
    own_house.thaw_database()
    own_house.kill_bus()
    bus_gone = states(await examine(settings))
    assert without_bus == bus_gone
    for service in SERVICES_WITH_A_DATABASE:
        for check in ("database", "parked", "outbox"):
            assert without_bus[check, service] == "ok"
            assert without_database[check, service] == "bad"
    assert (without_bus["nats", None], without_bus["stream", None], without_bus["postgresql", None]) == ("bad", "bad", "ok")
    assert (without_database["nats", None], without_database["postgresql", None]) == ("ok", "bad")


async def test_a_database_or_bus_that_nothing_names_is_said_and_the_rest_is_shown(house: House) -> None:
    settings = config.load(house.settings)
    lines = states(await examine(replace(settings, nats_url=None, own_nats_urls={})))
    assert lines["nats", None] == lines["consumer", "orders"] == "bad"
    assert lines["database", "orders"] == lines["relay", "orders"] == "ok"
    own = await examine(replace(settings, database_url=None, own_database_urls={"orders": settings.database_url_of("orders")}))
    assert {line.service for line in own} == {"orders", None}
    assert render.worst(own) == "ok"


async def test_what_nobody_runs_is_one_sentence(tmp_path: Any) -> None:
    seen = processes.run(["doctor"], {**os.environ, "ADMITONE_DATA": str(tmp_path)})
    assert seen.returncode == 1
    assert seen.stderr.startswith(f"admitone: Nothing runs in {tmp_path}")
    assert len(seen.stderr.splitlines()) == 1


async def test_the_metrics_are_prometheus_text_and_hold_the_figures(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 30))
    assert (await bob.pays(order, "tok_chargeDeclined")).status_code == 402
    assert (await bob.pays(order)).status_code == 201
    await house.at_rest()
    found = await metrics(house)
    for service in SERVICES_WITH_A_DATABASE:
        for up in ("database_up", "bus_up", "relay_at_work"):
            assert found[f"admitone_{up}", service] == 1
        for nothing in ("outbox_unpublished_events", "outbox_oldest_seconds", "parked_events"):
            assert found[f"admitone_{nothing}", service] == 0
        assert abs(found["admitone_clock_difference_seconds", service]) < 1
    assert found["admitone_overdue_timers", "expiration"] == found["admitone_overdue_orders", "orders"] == 0
    assert found["admitone_unsettled_charges", "payments"] == found["admitone_charges_in_doubt", "payments"] == 0
    assert ("admitone_consumer_waiting_events", "orders") in found
    assert ("admitone_consumer_waiting_events", "auth") not in found
    assert found["admitone_handler_seconds_count", "OrderCreated", "payments"] >= 1
    assert found["admitone_events_handled_total", "OrderCreated", "payments"] >= 1
    for call, outcome in (("authorize", "declined"), ("authorize", "ok"), ("capture", "ok")):
        assert found["admitone_processor_call_seconds_count", call, outcome] >= 1


def states(lines: list[Line] | list[dict[str, Any]]) -> States:
    found = [(line.check, line.service, line.state) if isinstance(line, Line) else (line["check"], line["service"], line["state"])
             for line in lines]  # fmt: skip
    return {(check, service): state for check, service, state in found}


def secrets_of(house: House) -> set[str]:
    return set(house.engines.passwords.values())


async def metrics(house: House) -> dict[tuple[str, ...], float]:
    """By name and the values of its labels, which are sorted by their names."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{house.url}/metrics")
    assert answer.status_code == 200
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for sample in samples}
