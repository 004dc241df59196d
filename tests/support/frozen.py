"""The frozen messages in src/admitone/apidocs/examples: what they say, and what to do when they are no longer taken."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from admitone.apidocs.overview import EXAMPLES
from admitone.kit.delivery.inbox import decode, envelope_of
from admitone.kit.event import CATALOGUE, Event, subject

Json = dict[str, Any]

_ORDER = {"seller_id", "fee_basis_points"}
CAME_LATER = {"OrderCreated": _ORDER, "OrderReserved": _ORDER, "OrderCancelled": _ORDER, "OrderCompleted": _ORDER}
CAME_LATER |= {"OrderExtended": _ORDER, "OrderRefunded": {*_ORDER, "relist"}}
CAME_LATER |= {"TicketCreated": {"locked_until"}, "TicketUpdated": {"locked_until"}}
"""Fields that the first messages of an event lack: they keep their default for good."""


def frozen(name: str) -> Json:
    """The whole message, as its owner wrote it at the time."""
    file = EXAMPLES / f"{name}.json"
    assert file.exists(), f"{name} has no example yet: write a whole message, like its neighbours, into {file_of(name)}"
    message: Json = json.loads(file.read_text())
    return message


def of_yesterday(name: str) -> Json:
    """The same from before the fields that came later."""
    message = frozen(name)
    later = CAME_LATER.get(name, set())
    return message | {"data": {field: value for field, value in message["data"].items() if field not in later}}


def of_tomorrow(name: str) -> Json:
    """The same with a field that today's code does not know: a newer version may run beside it."""
    message = frozen(name)
    return message | {"data": message["data"] | {"unheard_of": 1}}


def read(message: Json) -> Event:
    """As a service does. Raises Unreadable."""
    return decode(envelope_of(json.dumps(message).encode(), subject(CATALOGUE[message["event"]])))


def what_broke(message: Json, kind: type[Event]) -> str | None:
    """Why this event can't be read from its frozen message as it was meant, or None."""
    data = message["data"]
    known = {field.name for field in msgspec.structs.fields(kind)}
    for name in data:
        if name not in known:
            return f"it has no field `{name}` any more"
    try:
        event = msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        return str(error)
    for name, value in data.items():
        then, now = type(_as_it_looks(value)), type(getattr(event, name))
        if then is not now:
            return f"`{name}` was a {then.__name__} and is a {now.__name__} now"
    return None


def _as_it_looks(value: Any) -> Any:
    """Ids and times travel as strings."""
    for kind in (UUID, datetime) if isinstance(value, str) else ():
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            pass
    return value


def what_to_do(name: str, why: str) -> str:
    return (
        f"{name} has changed so that messages which were sent before are no longer taken as they were: {why}. Never rename, retype "
        f"or drop a field: give a new one a default, and make a new event of a changed meaning. Only if nobody has ever published {name}, "
        f"write its example anew: {file_of(name)}"
    )


def file_of(name: str) -> str:
    """Where its example is, as seen from the top of the repository."""
    return str((EXAMPLES / f"{name}.json").relative_to(Path(__file__).parents[2]))
