"""The list of services."""

from collections.abc import Sequence

from admitone import auth, expiration, orders, payments, tickets, web
from admitone.config import WrongSettings
from admitone.kit.service import Service

SERVICES: tuple[Service, ...] = (
    auth.service,
    tickets.service,
    orders.service,
    expiration.service,
    payments.service,
    web.service,
)


def named(names: Sequence[str]) -> list[Service]:
    """The services of these names, all of them for no names. Raises WrongSettings for a name that is none."""
    known = {service.name: service for service in SERVICES}
    for name in names:
        if name not in known:
            raise WrongSettings(f"there is no service named {name!r}; there are {', '.join(known)}.")
    return [known[name] for name in names] or list(SERVICES)
