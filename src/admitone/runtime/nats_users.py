"""What each service may do on the event bus: publish its own events, and hear by its own consumer. No more."""

import json
from collections.abc import Mapping

from admitone.kit.delivery.bus import STREAM
from admitone.services import SERVICES

USERS = tuple(service.name for service in SERVICES)


def permissions(service: str) -> dict[str, list[str]]:
    """The subjects that a service's user may publish to, and may subscribe to.

    Everybody may create the stream where there is none. Nobody may change, empty or delete it, or touch another's consumer.
    """
    known = next(one for one in SERVICES if one.name == service)
    publish = [f"$JS.API.STREAM.{call}.{STREAM}" for call in ("INFO", "CREATE", "MSG.GET")]
    subscribe = [f"_INBOX_{service}.>"]
    if known.has_database:
        publish.append(f"events.{service}.>")
    else:
        subscribe.append("events.>")  # It follows what is published without a consumer.
    if known.handlers is not None:
        calls = [f"$JS.API.CONSUMER.{call}.{STREAM}.{service}" for call in ("CREATE", "DURABLE.CREATE", "INFO", "MSG.NEXT")]
        publish += [*calls, f"$JS.API.CONSUMER.CREATE.{STREAM}.{service}.>", f"$JS.ACK.{STREAM}.{service}.>"]
    return {"publish": publish, "subscribe": subscribe}


def users(passwords: Mapping[str, str]) -> str:
    """The users as nats.conf has them: each of these services, by its password."""
    return "\n".join(_user(name, passwords[name]) for name in USERS if name in passwords)


def _user(name: str, password: str) -> str:
    allowed = permissions(name)
    may = {direction: {"allow": subjects} for direction, subjects in allowed.items()}
    return f"{{ user: {name}, password: {json.dumps(password)}, permissions: {json.dumps(may)} }}"
