"""`admitone verify` says of each thing that must always hold when it does not, and which row breaks it."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
from ops.verify.conftest import Market
from support.frozen import CAME_LATER

from admitone.ops.verify.report import MAX_ROWS, format_report
from admitone.ops.verify.snapshot import Stored


async def test_all_holds_of_a_market_where_all_went_well(market: Market) -> None:
    report = await market.check()
    assert [line.rows for line in report.lines if line.violations] == []
    assert report.exit_code == 0, format_report(report)
    assert [line.name for line in report.lines] == ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I12", "I13"]
    assert format_report(report)[0] == "ok   I1   at most one live order per ticket, at any time: 6 tickets, 7 orders, 0 violations"
    assert format_report(report)[-1] == "All of them hold: I1 to I9, I12 and I13."
    assert all(count for line in report.lines for noun, count in line.counted.items() if noun not in ("sent twice", "parked"))


@dataclass(frozen=True)
class Break:
    """What somebody does to a database, and what is said about it: names in braces are ids of the scene."""

    line: str
    database: str
    sql: str
    said: str


ONE_LIVE_ORDER = "DROP INDEX one_holding_order_per_ticket; "
OPEN_LEDGER = "ALTER TABLE ledger DISABLE TRIGGER entries_stay; "
LOG_OF_SOLD = "data ->> 'order_id' = '{sold}'"
LOG_OF_TICKET = "data ->> 'ticket_id' = '{ticket}'"
BREAKS = {
    "two live orders of a ticket": Break(
        "I1", "orders", ONE_LIVE_ORDER + "UPDATE orders SET status = 'complete', reason = NULL WHERE order_id = '{expired}'",
        "ticket {held_ticket} has 2 live orders: {expired} (complete), {held} (awaiting:payment)",
    ),
    "a refunded order that keeps its ticket, and another": Break(
        "I1", "orders", ONE_LIVE_ORDER + "UPDATE orders SET relist = false WHERE order_id = '{refunded}'",
        "has 2 live orders: {refunded} (refunded), {again} (complete)",
    ),
    "two live orders at some time": Break(
        "I1", "orders",
        "UPDATE outbox SET id = DEFAULT WHERE event = 'OrderCancelled' AND data ->> 'order_id' = '{expired}'",
        "ticket {held_ticket} had 2 live orders once",
    ),
    "a payment that was taken and is not in the ledger": Break(
        "I2", "payments", OPEN_LEDGER + "DELETE FROM ledger WHERE charge_id = '{charge}' AND account = 'processor'",
        "charge {charge} has 0.00 USD in the account processor, and should have 49.90 USD",
    ),
    "a posting that does not sum to zero": Break(
        "I2", "payments",
        "SET CONSTRAINTS ALL DEFERRED; INSERT INTO ledger (posting, account, charge_id, amount_cents, currency, booked_at)"
        " VALUES ('by hand', 'fees', '{charge}', -1, 'USD', now())",
        "posting by hand sums to -0.01 USD",
    ),
    "a fee that is booked wrong": Break(
        "I2", "payments", "UPDATE charges SET fee_cents = fee_cents + 1 WHERE charge_id = '{charge}'", "in the account fees",
    ),
    "money taken twice at the processor": Break(
        "I2", "testgateway",
        "INSERT INTO intents SELECT id || '2', idempotency_key || '2', order_id, gen_random_uuid(), token, amount_cents, currency, status,"
        " code, captured_cents, refunded_cents, NULL, made_at FROM intents WHERE order_id = '{sold}'",
        "(captured) at the processor is of no charge of ours",
    ),
    "money that the processor does not have": Break(
        "I2", "testgateway", "UPDATE intents SET status = 'authorized', captured_cents = 0 WHERE charge_id = '{charge}'",
        "(completed, attempt 1 of order {sold}), and at the processor it is authorized",
    ),
    "an approval that was never given back": Break(
        "I2", "testgateway", "UPDATE intents SET status = 'authorized' WHERE charge_id = '{voided}'",
        "is authorized, and its order is cancelled",
    ),
    "a payment over another amount": Break(
        "I2", "testgateway",
        "UPDATE intents SET amount_cents = 1, captured_cents = 1 WHERE charge_id = '{charge}'",
        "is over 49.90 USD, and at the processor over 0.01 USD",
    ),
    "a complete order that nobody has paid": Break(
        "I2", "payments",
        OPEN_LEDGER + "DELETE FROM ledger WHERE charge_id = '{charge}'; DELETE FROM charges WHERE charge_id = '{charge}'",
        "order {sold} is complete, and has 0 payments",
    ),
    "a paid order that is cancelled": Break(
        "I2", "orders", "UPDATE orders SET status = 'cancelled', reason = 'by_buyer' WHERE order_id = '{sold}'",
        "charge {charge} (completed, attempt 1 of order {sold}), and its order is cancelled",
    ),
    "an order that came back to life": Break(
        "I3", "orders", "UPDATE outbox SET event = 'OrderCancelled' WHERE event = 'OrderReserved' AND " + LOG_OF_SOLD,
        "order {sold}: OrderCancelled led from created to awaiting:payment (version 2)",
    ),
    "a version that is left out": Break(
        "I3", "orders", "DELETE FROM outbox WHERE event = 'OrderReserved' AND " + LOG_OF_SOLD,
        "order {sold}: version 3 (OrderCompleted) follows 1",
    ),
    "an order that nobody has spoken of": Break(
        "I3", "orders", "DELETE FROM outbox WHERE " + LOG_OF_SOLD, "order {sold} is there, and not in the log",
    ),
    "an order that is gone": Break(
        "I3", "orders", "DELETE FROM payment_events; DELETE FROM orders WHERE order_id = '{sold}'",
        "order {sold} is in the log, and not there",
    ),
    "an order that expired too early": Break(
        "I4", "orders",
        "UPDATE outbox SET created_at = created_at - interval '10 minutes'"
        " WHERE event = 'OrderCancelled' AND data ->> 'order_id' = '{expired}'",
        "order {expired} was cancelled as expired at 2026-06-01 12:11:00+00:00, and its time is over at 2026-06-01T12:20:30Z",
    ),
    "a deadline that was moved": Break(
        "I4", "orders",
        "UPDATE outbox SET data = data || '{{\"cancel_at\": \"2026-06-01T13:00:00Z\"}}' WHERE event = 'OrderCompleted' AND " + LOG_OF_SOLD,
        "order {sold}: OrderCompleted moved its deadline",
    ),
    "a sold ticket that is free": Break(
        "I5", "tickets", "UPDATE tickets SET order_id = NULL, sold = false WHERE ticket_id = '{ticket}'",
        "ticket {ticket} is free, and should be sold to {sold}",
    ),
    "a ticket that is held for nobody": Break(
        "I5", "tickets", "UPDATE tickets SET order_id = '{nobody}' WHERE ticket_id = '{for_sale}'",
        "ticket {for_sale} is held by {nobody}, and should be free",
    ),
    "a ticket that is locked for too long": Break(
        "I5", "tickets", "UPDATE tickets SET locked_until = locked_until + interval '1 hour' WHERE ticket_id = '{held_ticket}'",
        "ticket {held_ticket} is locked until",
    ),
    "a token that is forgotten": Break(
        "I5", "tickets",
        "UPDATE tickets SET lock = 0 WHERE ticket_id = '{ticket}'",
        "remembers token 0, and the highest of its orders is 1",
    ),
    "a lock that a late event has stolen": Break(
        "I5", "tickets",
        "UPDATE outbox SET data = data || '{{\"order_id\": \"{expired}\"}}'"
        " WHERE data ->> 'order_id' = '{held}' AND data ->> 'ticket_id' = '{held_ticket}'",
        "was given to order {expired} in version 5 by token 1, after token 1",
    ),
    "an order that was never confirmed": Break(
        "I5", "orders",
        "UPDATE orders SET status = 'created' WHERE order_id = '{held}'",
        "order {held} has its ticket {held_ticket}, and was never told",
    ),
    "a price that was changed while it was locked": Break(
        "I6", "tickets",
        "UPDATE outbox SET data = data || '{{\"price_cents\": 100}}' WHERE (data ->> 'version')::integer = 2 AND " + LOG_OF_TICKET,
        "ticket {ticket}: price_cents changed with version 2, while it was not to be changed",
    ),
    "a seller that is another": Break(
        "I6", "tickets",
        "UPDATE outbox SET data = data || '{{\"seller_id\": \"{nobody}\"}}'"
        " WHERE event = 'TicketUpdated' AND data ->> 'ticket_id' = '{for_sale}'",
        "seller_id changed with version 2",
    ),
    "an order over a price that the ticket never had": Break(
        "I6", "orders", "UPDATE orders SET price_cents = 1 WHERE order_id = '{sold}'",
        "order {sold} is over ('Row 1', 1, 'USD'), which ticket {ticket} never cost or was called",
    ),
    "an order whose price changed": Break(
        "I6", "orders",
        "UPDATE outbox SET data = data || '{{\"price_cents\": 1}}' WHERE event = 'OrderCompleted' AND " + LOG_OF_SOLD,
        "order {sold}: price_cents changed with version 3",
    ),
    "a row that its log knows otherwise": Break(
        "I8", "orders", "UPDATE orders SET user_id = '{nobody}' WHERE order_id = '{sold}'",
        "order {sold} is not what its log adds up to: user_id",
    ),
    "a ticket that its log knows otherwise": Break(
        "I8", "tickets", "UPDATE tickets SET title = 'Another row' WHERE ticket_id = '{for_sale}'",
        "ticket {for_sale} is not what its log adds up to: title",
    ),
    "a ticket with two events of one version": Break(
        "I8", "tickets",
        "UPDATE outbox SET data = data || '{{\"version\": 1}}' WHERE event = 'TicketUpdated' AND data ->> 'ticket_id' = '{for_sale}'",
        "ticket {for_sale} has two events of one version",
    ),
    "a charge that nobody has spoken of": Break(
        "I8", "payments", "DELETE FROM outbox WHERE event = 'PaymentCreated' AND data ->> 'charge_id' = '{charge}'",
        "is not what the log of payments adds up to: PaymentAuthorized",
    ),
    "a user that its log knows otherwise": Break(
        "I8", "auth", "UPDATE users SET email = 'else@example.com'", "is not what the log of auth adds up to",
    ),
    "a copy that its owner's log knows otherwise": Break(
        "I8", "payments", "UPDATE order_copies SET status = 'cancelled' WHERE order_id = '{sold}'",
        "the copy of order {sold} in payments is not what the log of orders adds up to: status",
    ),
    "a copy of an order": Break(
        "I9", "payments", "UPDATE order_copies SET version = 2 WHERE order_id = '{sold}'",
        "the copy of order {sold} in payments differs in version",
    ),
    "a copy of an order that is gone": Break(
        "I9", "payments", "DELETE FROM order_copies WHERE order_id = '{expired}'", "the copy of order {expired} in payments is not there",
    ),
    "a copy of a ticket": Break(
        "I9", "orders", "UPDATE ticket_copies SET price_cents = 1 WHERE ticket_id = '{for_sale}'",
        "the copy of ticket {for_sale} in orders differs in price_cents",
    ),
    "a timer that is armed still": Break(
        "I9", "expiration",
        "UPDATE timers SET due = now() + interval '1 year' WHERE order_id = '{sold}'",
        "the timer of order {sold} is of version 3, due",
    ),
    "a purchase of somebody else": Break(
        "I9", "tickets", "UPDATE purchases SET user_id = '{nobody}' WHERE order_id = '{sold}'",
        "the purchase that tickets keeps of order {sold} is",
    ),
    "a charge that orders has forgotten": Break(
        "I9", "orders", "UPDATE orders SET charge_id = NULL WHERE order_id = '{sold}'",
        "order {sold} keeps of its payment (charge, uncollected, relisted): None, False, False; it should be: {charge}, False, False",
    ),
    "a key that stands for somebody else's order": Break(
        "I12", "orders", "UPDATE idempotency SET user_id = '{nobody}' WHERE body ->> 'id' = '{sold}'",
        "stands for {sold}, which is not theirs or not there",
    ),
    "two keys for one order": Break(
        "I12", "orders",
        "INSERT INTO idempotency SELECT user_id, route, 'again', body_hash, created_at, status, body"
        " FROM idempotency WHERE body ->> 'id' = '{sold}'",
        "orders: {sold} is the effect of 2 keys",
    ),
    "two live charges of an order": Break(
        "I12", "payments",
        "DROP INDEX one_live_charge_per_order; UPDATE charges SET status = 'completed', failure = NULL WHERE order_id = '{given_back}'",
        "order {given_back} has 2 charges that have not failed",
    ),
    "an order that was paid twice": Break(
        "I12", "testgateway",
        "UPDATE intents SET status = 'captured', captured_cents = amount_cents, code = NULL WHERE order_id = '{given_back}'",
        "order {given_back} was paid 2 times at the processor",
    ),
    "an event that was never heard": Break(
        "I13", "tickets", "DELETE FROM inbox WHERE event = 'OrderCompleted'",
        "tickets has never heard orders's OrderCompleted",
    ),
    "an event that nobody has said": Break(
        "I13", "tickets", "INSERT INTO inbox VALUES ('{nobody}', 'OrderCreated', '2026-06-01')",
        "tickets has handled {nobody}, which is in nobody's log",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
async def test_what_is_broken_is_said_with_its_row(market: Market, name: str) -> None:
    broken = BREAKS[name]
    for statement in broken.sql.split("; "):
        await market.run(broken.database, statement)
    report = await market.check()
    line = next(line for line in report.lines if line.name == broken.line)
    said = broken.said.format(**market.ids)
    assert [row for row in line.rows if said in row], f"{said!r} is not in {line.rows}"
    assert report.exit_code == 1
    shown = format_report(report)
    assert any(shown_line.startswith(f"BAD  {broken.line}") for shown_line in shown)
    assert any(said in shown_line for shown_line in shown)
    assert shown[-1].startswith("Broken: ")


async def test_a_field_that_came_later_has_not_changed(market: Market) -> None:
    """The order was created before the upgrade, and the ticket too."""
    for database, event, of in (("orders", "OrderCreated", LOG_OF_SOLD), ("tickets", "TicketCreated", LOG_OF_TICKET)):
        later = sorted(CAME_LATER[event])
        await market.run(database, f"UPDATE outbox SET data = data - '{{{{{','.join(later)}}}}}'::text[] WHERE event = '{event}' AND {of}")
    lines = {line.name: line.rows for line in (await market.check()).lines if line.violations and line.name != "I7"}
    assert lines == {}  # I7 compares with the stream, where the whole events are.


async def test_an_event_that_the_stream_does_not_have_is_named(market: Market) -> None:
    lost = market.stream.pop(3)
    line = await market.line("I7")
    assert line.violations == 1
    assert f"{lost.id} is not in the stream at its number {lost.seq}" in line.rows[0]


async def test_what_the_stream_has_lost_of_its_end_is_under_way(market: Market) -> None:
    """The relay notices, and sends it again."""
    del market.stream[-2:]
    report = await market.check()
    assert (report.exit_code, report.violations) == (2, 0)
    assert report.under_way.unpublished["payments"] == 2


async def test_events_published_during_the_snapshots_count_as_under_way(market: Market) -> None:
    """Some of them may be younger than others: what they differ in is no violation."""
    await market.run("payments", "UPDATE outbox SET seq = seq + 1000 WHERE event = 'PaymentRefunded'")
    market.stream = [message for message in market.stream if "Refunded" not in message.subject or "orders" in message.subject]
    await market.run("orders", "UPDATE orders SET charge_id = NULL WHERE order_id = '{sold}'")
    report = await market.check()
    assert (report.exit_code, report.under_way.unheard["orders"]) == (2, 2)


async def test_a_message_in_the_stream_that_is_in_no_outbox_is_reported(market: Market) -> None:
    market.stream.append(Stored(len(market.stream) + 1, str(uuid4()), "events.orders.OrderCreated", b"{}"))
    line = await market.line("I7")
    assert [line.rows[0].endswith("is in nobody's log"), line.violations] == [True, 1]


async def test_a_message_without_an_id_is_named(market: Market) -> None:
    market.stream.append(Stored(len(market.stream) + 1, "", "events.orders.OrderCreated", b"{}"))
    assert (await market.line("I7")).rows == [f"message {len(market.stream)} (events.orders.OrderCreated) has no id"]


async def test_a_message_that_differs_from_its_outbox_row_is_reported(market: Market) -> None:
    was = market.stream[5]
    market.stream[5] = was._replace(data=was.data.replace(b'"version":1', b'"version":7'))
    assert [row.startswith("message 6 does not say what") for row in (await market.line("I7")).rows] == [True]


async def test_a_message_that_is_sent_twice_is_no_violation(market: Market) -> None:
    market.stream.append(market.stream[0]._replace(seq=len(market.stream) + 1))
    report = await market.check()
    i7 = next(line for line in report.lines if line.name == "I7")
    assert (report.exit_code, i7.counted["sent twice"]) == (0, 1)


async def test_unpublished_events_are_under_way_and_rest_checks_are_skipped(market: Market) -> None:
    await market.run("orders", "UPDATE outbox SET seq = NULL, published_at = NULL WHERE " + LOG_OF_SOLD)
    await market.run("payments", "UPDATE order_copies SET version = 1 WHERE order_id = '{sold}'")  # It will hear of the rest.
    market.stream = [
        message for message in market.stream if str(market.ids["sold"]).encode() not in message.data or "orders" not in message.subject
    ]
    report = await market.check()
    assert (report.exit_code, report.violations) == (2, 0), format_report(report)
    assert format_report(report)[-1].startswith("Not at rest yet: 3 events under way (orders says 3). What needs rest is not checked")
    assert "--   I9   every copy equals its owner's row: not checked, which needs everything at rest" in format_report(report)


async def test_an_event_published_and_not_consumed_yet_is_under_way(market: Market) -> None:
    await market.run("orders", "DELETE FROM inbox WHERE event = 'TicketUpdated'")
    market.waiting["orders"] = 3
    report = await market.check()
    assert report.exit_code == 2
    assert "(orders hears " in report.under_way.sentence()


async def test_what_is_broken_is_said_also_while_other_things_are_under_way(market: Market) -> None:
    market.waiting["orders"] = 1
    await market.run("orders", "DELETE FROM outbox WHERE event = 'OrderReserved' AND " + LOG_OF_SOLD)
    report = await market.check()
    assert report.exit_code == 1
    assert "Broken: I3" in format_report(report)[-1]
    assert "Not at rest yet either: 1 event under way (orders hears 1)." in format_report(report)[-1]


async def test_an_unsettled_payment_is_under_way_until_payments_gives_up(market: Market) -> None:
    approved = "UPDATE charges SET status = 'authorized', failure = NULL WHERE charge_id = '{voided}'"
    await market.run("payments", approved)
    report = await market.check()
    assert (report.exit_code, report.under_way.sentence()) == (1, "1 payment not at the end")  # It said that it had failed.
    assert [line.name for line in report.lines if line.violations] == ["I8"]
    market.at_work_since["payments"] = market.now - timedelta(hours=1)
    assert "and neither taken nor given back since" in (await market.line("I2")).rows[0]


async def test_an_overdue_order_is_under_way_for_a_minute_and_broken_afterwards(market: Market) -> None:
    market.now += timedelta(hours=1)
    report = await market.check()
    assert (report.exit_code, report.under_way.sentence()) == (2, "1 order or timers whose time is over")
    market.at_work_since["orders"] = market.now - timedelta(seconds=30)
    assert (await market.line("I4")).violations == 0
    market.at_work_since["orders"] = market.now - timedelta(minutes=30)
    assert (await market.line("I4")).rows[0].startswith(f"order {market.ids['held']} is awaiting:payment still")


async def test_what_is_parked_is_counted_and_what_follows_from_it_is_no_violation(market: Market) -> None:
    """Tickets could not handle that the order is complete: its ticket is locked still."""
    row = await market.databases["orders"].fetchrow(
        f"SELECT event_id FROM outbox WHERE event = 'OrderCompleted' AND {LOG_OF_SOLD}".format(**market.ids)
    )
    assert row is not None
    message = next(message for message in market.stream if message.id == str(row["event_id"]))
    tickets = market.databases["tickets"]
    await tickets.execute("DELETE FROM inbox WHERE event_id = $1", row["event_id"])
    await tickets.execute("INSERT INTO parked VALUES ($1, 'OrderCompleted', $2, 'ValueError', 5, now())", row["event_id"], message.data)
    await market.run("tickets", "DELETE FROM purchases WHERE order_id = '{sold}'")
    await market.run("orders", "UPDATE ticket_copies SET sold = false WHERE ticket_id = '{ticket}'")
    report = await market.check()
    assert (report.exit_code, report.parked) == (0, 1), format_report(report)
    notes = next(line for line in report.lines if line.name == "I13").notes
    assert notes[0] == "tickets has parked 1: `admitone parked` shows them"
    await market.run("orders", "UPDATE ticket_copies SET sold = true WHERE ticket_id = '{for_sale}'")
    assert (await market.line("I9")).violations == 1  # It breaks nothing else.


async def test_what_was_parked_and_handled_when_it_came_again_is_no_violation(market: Market) -> None:
    await market.run("tickets", "INSERT INTO parked SELECT event_id, event, '', 'ValueError', 1, now() FROM inbox LIMIT 2")
    report = await market.check()
    notes = next(line for line in report.lines if line.name == "I13").notes
    assert (report.exit_code, notes[1][:30]) == (0, "tickets has handled 2 of them ")


async def test_ten_rows_are_shown_and_the_others_are_counted(market: Market) -> None:
    await market.run("orders", "INSERT INTO ticket_copies SELECT gen_random_uuid(), 1, gen_random_uuid(), '', 1, 'USD', NULL, false, false"
                     " FROM generate_series(1, 25)")  # fmt: skip
    report = await market.check()
    assert len(next(line for line in report.lines if line.name == "I9").rows) == MAX_ROWS
    assert "          and 15 more" in format_report(report)


async def test_without_the_test_processors_books_that_is_said(market: Market) -> None:
    market.databases = {name: connection for name, connection in market.databases.items() if name != "testgateway"}
    report = await market.check()
    assert report.exit_code == 0
    i2 = next(line for line in report.lines if line.name == "I2")
    assert i2.notes == ["no books of the test processor are here: what a processor holds was not compared"]


async def test_what_is_at_stripe_is_not_compared_and_that_is_said(market: Market) -> None:
    await market.run("payments", "UPDATE charges SET stripe_id = 'pi_3MtwBwLkdIwHu7ix' WHERE charge_id = '{charge}'")
    await market.run("testgateway", "DELETE FROM intents WHERE charge_id = '{charge}'")
    report = await market.check()
    assert report.exit_code == 0, format_report(report)
    assert "1 charge is at Stripe, whose own books were not compared" in " ".join(format_report(report))


def test_every_line_has_something_that_breaks_it() -> None:
    assert {broken.line for broken in BREAKS.values()} == {"I1", "I2", "I3", "I4", "I5", "I6", "I8", "I9", "I12", "I13"}  # I7 is by itself.
