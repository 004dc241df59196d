"""Handle events once, in one transaction with their inbox rows. Used by the consumer and by the replay of parked events."""

from collections.abc import Iterator, Sequence

import msgspec

from admitone.kit.data.db import Tx
from admitone.kit.event import CATALOGUE, Event, Message, subject
from admitone.kit.observe.log import causation_id, clear_correlation, correlation_id
from admitone.kit.observe.metrics import HANDLING
from admitone.kit.service import Delivered, Handlers


class Unreadable(Exception):
    """The message is not an event that this service knows. A retry can't help, so it is parked at once."""


async def handle(handlers: Handlers, messages: Sequence[tuple[str, bytes]], tx: Tx) -> list[str]:
    """Record the events in the inbox, and call the handlers of the new ones in order. Returns the names of the new ones.

    `messages`: the subject of each, and what is in it.

    Events and log lines from here on carry the event's correlation id, also those about a failure.
    Raises Unreadable, and what a handler raises.
    """
    clear_correlation()
    envelopes, events = [], []
    for on_subject, data in messages:
        envelope = envelope_of(data, on_subject)
        correlation_id.set(envelope.correlation_id)
        causation_id.set(envelope.event_id)
        event = decode(envelope)
        envelopes.append(envelope)
        events.append(event)
    new = await record_handled(envelopes, tx)
    deliveries = [Delivered(events[position], envelopes[position].event_id, envelopes[position].correlation_id) for position in new]
    for run in split_into_runs(handlers, deliveries):
        correlation_id.set(run[0].correlation_id)
        causation_id.set(run[0].event_id)
        first = type(run[0].event)
        with HANDLING.labels(handlers.service, first.__name__).time():
            if first in handlers.of_runs:
                await handlers.of_runs[first].handler(run, tx)
            elif first in handlers.by_event:  # Otherwise an older version of this service has asked for it, and this one has no use for it.
                await handlers.by_event[first](run[0].event, tx)
    return [type(delivery.event).__name__ for delivery in deliveries]


async def record_handled(envelopes: Sequence[Message], tx: Tx) -> list[int]:
    """Insert the events' inbox rows, so that they are not handled again. Returns the positions of those that had none before."""
    rows = await tx.connection.fetch(
        """
        INSERT INTO inbox (event_id, event, handled_at)
        SELECT event_id, event, $3 FROM unnest($1::uuid[], $2::text[]) AS delivered (event_id, event) ORDER BY event_id
        ON CONFLICT DO NOTHING RETURNING event_id
        """,
        [envelope.event_id for envelope in envelopes],
        [envelope.event for envelope in envelopes],
        tx.now,
    )
    inserted = {row["event_id"] for row in rows}
    new = []
    for position, envelope in enumerate(envelopes):
        if envelope.event_id in inserted:
            inserted.remove(envelope.event_id)  # The same event may be in the batch twice.
            new.append(position)
    return new


def split_into_runs(handlers: Handlers, deliveries: Sequence[Delivered]) -> Iterator[list[Delivered]]:
    """Neighbours with the same handler of runs, no two about the same row; any other event by itself."""
    run: list[Delivered] = []
    rows: set[object] = set()
    handler = None
    for delivery in deliveries:
        runs = handlers.of_runs.get(type(delivery.event))
        row = runs.row(delivery.event) if runs else None
        if run and (runs is None or runs.handler is not handler or row in rows):
            yield run
            run, rows = [], set()
        run.append(delivery)
        rows.add(row)
        handler = runs.handler if runs else None
    if run:
        yield run


def envelope_of(data: bytes, on_subject: str) -> Message:
    """The envelope around an event. Raises Unreadable, also for an event on a subject that is not its own.

    Who may publish on a subject is the event bus's business. So an event counts only on the subject of its owner.
    """
    try:
        envelope = msgspec.json.decode(data, type=Message)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from error
    event = CATALOGUE.get(envelope.event)
    if event is not None and subject(event) != on_subject:
        raise Unreadable(f"{envelope.event} was published on {on_subject}; it counts on {subject(event)} alone")
    return envelope


def decode(envelope: Message) -> Event:
    """The event in an envelope. Raises Unreadable."""
    try:
        return msgspec.convert(envelope.data, CATALOGUE[envelope.event])
    except (msgspec.MsgspecError, KeyError) as error:
        raise Unreadable(str(error)) from error


def format_error(error: Exception) -> str:
    """An error as the text that is stored with a parked event."""
    return f"{type(error).__name__}: {error}"[:2000].replace("\0", "")
