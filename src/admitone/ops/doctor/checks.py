"""ok, look or bad: what was found, against what is expected of a healthy system, and what to do when it is otherwise."""

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

from admitone.ops.doctor.collect import Bus, Database, Found, Ready
from admitone.ops.reach import server_of
from admitone.services import SERVICES

State = Literal["ok", "look", "bad"]

MIN_POSTGRES = 15
MIN_NATS = (2, 12)
"""What the marketplace is tested with, and not less."""
OUTBOX_LOOK_SECONDS = 5
"""The relay polls every second and comes back from a lost connection within a few."""
OUTBOX_BAD_SECONDS = 30
"""As long as an order waits for a payment begun in time: from here on, buyers notice."""
WAITING_LOOK = 100
"""A batch: a consumer at work has up to that many in hand."""
WAITING_BAD = 1000
"""As many as the stream hands out without an answer; then it hands out no more."""
CLOCK_LOOK_SECONDS = 1.0
"""The same machine, or NTP, is far better; half of what a question takes is the error of measurement."""
CLOCK_BAD_SECONDS = 10.0
"""A third of the time that a payment begun in time is waited for: the rest is needed for other things."""
DISK_LOOK_BYTES = 2_000_000_000
"""PostgreSQL keeps up to 1 GB of log for a recovery, and as much again may be growing."""
DISK_BAD_BYTES = 500_000_000
"""An engine that can't write ends."""
STREAM_LOOK_SHARE = 0.8
STREAM_BAD_SHARE = 0.95
"""Of what its operator lets the stream hold. A full one refuses what is new."""

MEND_THE_DATABASE = "Nothing more is known until its database answers."
MEND_THE_BUS = "Nothing more is known until the event bus answers."


class Line(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    check: str
    service: str | None = None
    """None for what is about all of them."""
    state: State
    value: str
    figure: float | None = None
    """The value as a number, where it is one."""
    advice: str | None = None
    """What to do; None when it is ok."""


def judge(found: Found) -> list[Line]:
    """A line for everything, whether it could be looked at or not."""
    return [
        *_postgres(found),
        *(line for bus in found.buses for line in _bus(bus)),
        *(_database(name, database) for name, database in found.databases.items()),
        *(_ready(name, ready) for name, ready in found.ready.items()),
        *_keys(found.ready),
        *(line for name, database in found.databases.items() for line in _gauges(name, database)),
        *(_consumer(service, bus) for bus in found.buses for service in bus.services if _hears(service)),
        *_clocks(found),
        *_disk(found),
    ]


def _postgres(found: Found) -> Iterator[Line]:
    for server in dict.fromkeys(database.server for database in found.databases.values()):
        there = [database for database in found.databases.values() if database.server == server]
        versions = [database.version for database in there if database.version]
        if not versions:
            yield Line(
                check="postgresql",
                state="bad",
                value=f"{server}: {there[0].error}",
                advice="Start it, or mend the way to it. Nothing can be sold meanwhile; nothing is lost.",
            )
        elif int(versions[0].partition(".")[0].rstrip("abcdefghijklmnopqrstuvwxyz") or 0) < MIN_POSTGRES:
            advice = f"Upgrade it: {MIN_POSTGRES} is the oldest that is tested."
            yield Line(check="postgresql", state="look", value=f"{versions[0]} at {server}", advice=advice)
        else:
            yield Line(check="postgresql", state="ok", value=f"{versions[0]} at {server}")


def _bus(bus: Bus) -> Iterator[Line]:
    if not bus.version:
        yield Line(
            check="nats",
            state="bad",
            value=f"{bus.server}: {bus.error}" if bus.server else str(bus.error),
            advice="Start it, or mend the way to it. What happens meanwhile is kept in the outboxes, and is sent when it is back.",
        )
    elif tuple(int(part) for part in bus.version.split(".")[:2]) < MIN_NATS:
        advice = f"Upgrade it: {MIN_NATS[0]}.{MIN_NATS[1]} is the oldest that is tested."
        yield Line(check="nats", state="look", value=f"{bus.version} at {bus.server}", advice=advice)
    else:
        yield Line(check="nats", state="ok", value=f"{bus.version} at {bus.server}")
    yield _stream(bus)


def _stream(bus: Bus) -> Line:
    if bus.stream is None:
        if bus.error is not None:
            return Line(check="stream", state="bad", value=f"unknown: {bus.error}", advice=MEND_THE_BUS)
        advice = "A service that runs makes it again within seconds, and fills it from the outboxes: see whether one does."
        return Line(check="stream", state="bad", value="is not there", advice=advice)
    state = bus.stream.state
    value = f"{state.messages:,} message{'' if state.messages == 1 else 's'}, {_bytes(bus.storage_bytes)} stored"
    limits = ((state.messages, bus.stream.config.max_msgs), (state.bytes, bus.stream.config.max_bytes))
    share = max((held / most for held, most in limits if most is not None and most > 0), default=0.0)
    if share < STREAM_LOOK_SHARE:
        return Line(check="stream", state="ok", value=value, figure=float(state.messages))
    return Line(
        check="stream",
        state="bad" if share >= STREAM_BAD_SHARE else "look",
        value=f"{value}, {share:.0%} of its limit",
        figure=float(state.messages),
        advice="Raise the stream's limits: when it is full it takes no new event, and everything waits in the outboxes.",
    )


def _database(service: str, database: Database) -> Line:
    if database.migrations is None:
        advice = "See that this database runs, and that the service's name and password for it are right."
        return Line(check="database", service=service, state="bad", value=str(database.error), advice=advice)
    migrations = database.migrations
    if migrations.edited:
        advice = "Put the file back as it was when it was applied, and say the change in a new one: the service does not start like this."
        return Line(check="database", service=service, state="bad", value=f"edited: {', '.join(migrations.edited)}", advice=advice)
    if migrations.missing:
        advice = f"Run `admitone migrate {service}`, or start the service, which does it too."
        return Line(check="database", service=service, state="bad", value=f"missing: {', '.join(migrations.missing)}", advice=advice)
    if migrations.unknown:
        advice = "A newer version has been here. Finish the upgrade; or this is an old `admitone`."
        return Line(check="database", service=service, state="look", value=f"newer: {', '.join(migrations.unknown)}", advice=advice)
    return Line(check="database", service=service, state="ok", value="reachable, migrated")


def _ready(service: str, ready: Ready) -> Line:
    if ready.error is not None:
        advice = "Start it; if it does run, set ADMITONE_SERVICES_URL or ADMITONE_<SERVICE>_URL to where it listens."
        return Line(check="ready", service=service, state="bad", value=f"{server_of(ready.url)}: {ready.error}", advice=advice)
    if ready.ready is None:
        advice = "Set ADMITONE_<SERVICE>_URL to where it listens, or ADMITONE_SERVICES_URL to a gateway that knows it."
        return Line(check="ready", service=service, state="look", value=f"{server_of(ready.url)} does not know it", advice=advice)
    if not ready.ready:
        return Line(check="ready", service=service, state="bad", value="not ready", advice="Start it, or see in its log what it lacks.")
    if ready.bus != "ready":
        advice = "It can't reach the event bus: what it says is kept, and what others say does not reach it."
        return Line(check="ready", service=service, state="look", value=f"ready, but the bus is {ready.bus}", advice=advice)
    return Line(check="ready", service=service, state="ok", value="ready")


def _keys(ready: Mapping[str, Ready]) -> Iterator[Line]:
    """Sessions that auth makes are accepted by a service that has the same public keys."""
    of_auth = ready["auth"].key_ids if "auth" in ready else None
    for service, keys in ((service, one.key_ids) for service, one in ready.items()):
        if of_auth and keys is not None and keys != of_auth:
            state: State = "look" if keys & of_auth else "bad"
            value = f"knows {len(keys & of_auth)} of the {len(of_auth)} keys of auth"
            advice = "Give all services the same ADMITONE_PUBLIC_KEYS, and start it anew: it refuses whom auth has signed in."
            yield Line(check="keys", service=service, state=state, value=value, advice=advice)


def _gauges(service: str, database: Database) -> Iterator[Line]:
    gauges = database.gauges
    wanted = {
        "outbox": ("outbox_unpublished_events", "outbox_oldest_seconds"),
        "relay": ("relay_at_work",),
        "parked": ("parked_events",),
        "timers": ("overdue_timers",),
        "orders": ("overdue_orders",),
        "charges": ("unsettled_charges", "charges_in_doubt"),
    }
    own = {figure.name for each in SERVICES if each.name == service for figure in each.gauges}
    for check, names in wanted.items():
        if check in ("timers", "orders", "charges") and names[0] not in own:
            continue
        if any(name not in gauges for name in names):
            yield Line(check=check, service=service, state="bad", value="unknown", advice=MEND_THE_DATABASE)
        else:
            yield _gauge(check, service, *(gauges[name] for name in names))
    if "unsettled_charges" in own:
        yield _ledger(service, database.unlike)


def _gauge(check: str, service: str, figure: float, more: float = 0.0) -> Line:
    state: State = "bad" if figure else "ok"
    match check:
        case "outbox":
            state = "bad" if more > OUTBOX_BAD_SECONDS else "look" if more > OUTBOX_LOOK_SECONDS else "ok"
            value = f"{figure:,.0f} unpublished" + (f", the oldest for {_seconds(more)}" if figure else "")
            advice = "They leave as soon as a relay runs and the stream takes them: see the lines `relay`, `nats` and `stream`."
        case "relay":
            state = "ok" if figure else "bad"
            value = "at work" if figure else "nobody publishes"
            advice = "No process holds the lock of this relay: start the service; if it runs, its log says what it waits for."
        case "parked":
            value = f"{figure:,.0f} parked"
            advice = "`admitone parked` lists them, and says why; once that is mended, `admitone parked replay ID` handles them again."
        case "timers":
            value = f"{figure:,.0f} overdue"
            advice = "Expiration does not ring: see that it runs. Meanwhile the sweep of orders ends them, within half a minute."
        case "orders":
            value = f"{figure:,.0f} overdue"
            advice = "Their tickets are locked for nobody: see that orders runs, which ends them every half minute, and what its log says."
        case _:
            value = f"{figure:,.0f} unsettled" + (f", {more:,.0f} of them in doubt" if more else "")
            advice = "`admitone money` lists them, and says for each what it waits for."
    return Line(check=check, service=service, state=state, value=value, figure=figure, advice=None if state == "ok" else advice)


def _ledger(service: str, unlike: int | None) -> Line:
    if unlike is None:
        return Line(check="ledger", service=service, state="bad", value="unknown", advice=MEND_THE_DATABASE)
    if unlike:
        advice = "`admitone ledger` names them. Nothing repairs this by itself: compare with the card processor's own books."
        return Line(check="ledger", service=service, state="bad", value=f"charges that disagree: {unlike}", figure=unlike, advice=advice)
    return Line(check="ledger", service=service, state="ok", value="agrees with every charge", figure=0)


def _consumer(service: str, bus: Bus) -> Line:
    consumer = bus.consumers.get(service)
    if consumer is None:
        if bus.error is not None or bus.stream is None:
            return Line(check="consumer", service=service, state="bad", value="unknown", advice=MEND_THE_BUS)
        advice = "The service makes it when it starts: start it. It then hears everything that it has missed."
        return Line(check="consumer", service=service, state="bad", value="is not there", advice=advice)
    lag = float((consumer.num_pending or 0) + (consumer.num_ack_pending or 0))
    if not consumer.num_waiting:
        advice = "No process asks for its events: start the service; if it runs, its log says what it waits for."
        return Line(check="consumer", service=service, state="bad", value=f"{lag:,.0f} waiting, nobody listens", figure=lag, advice=advice)
    state: State = "bad" if lag > WAITING_BAD else "look" if lag > WAITING_LOOK else "ok"
    advice = "It does not keep up: look again in a minute. If it grows, its log says which event fails, or its database is too slow."
    return Line(
        check="consumer",
        service=service,
        state=state,
        value=f"{lag:,.0f} waiting",
        figure=lag,
        advice=None if state == "ok" else advice,
    )


def _hears(service: str) -> bool:
    return any(each.name == service and each.handlers is not None for each in SERVICES)


def _clocks(found: Found) -> Iterator[Line]:
    """This machine's is one of them, at 0."""
    differences = {
        name: database.gauges["clock_difference_seconds"]
        for name, database in found.databases.items()
        if "clock_difference_seconds" in database.gauges
    }
    if not differences:
        return
    between = [0.0, *differences.values()]
    widest = max(between) - min(between)
    farthest = max(differences, key=lambda name: abs(differences[name]))
    if widest < CLOCK_LOOK_SECONDS:
        yield Line(check="clocks", state="ok", value=f"within {max(widest, 0.001):.3f} s", figure=widest)
        return
    yield Line(
        check="clocks",
        state="bad" if widest >= CLOCK_BAD_SECONDS else "look",
        value=f"{widest:.1f} s apart; that of {farthest} is {differences[farthest]:+.1f} s from this machine's",
        figure=widest,
        advice="Let NTP set the clocks of all machines: what is late, each service decides by the clock of its own database.",
    )


def _disk(found: Found) -> Iterator[Line]:
    if found.free_bytes is None:
        return
    state: State = "bad" if found.free_bytes < DISK_BAD_BYTES else "look" if found.free_bytes < DISK_LOOK_BYTES else "ok"
    advice = "Make room on the disk of the data folder: an engine that can't write ends."
    yield Line(
        check="disk",
        state=state,
        value=f"{_bytes(found.free_bytes)} free",
        figure=float(found.free_bytes),
        advice=None if state == "ok" else advice,
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"
