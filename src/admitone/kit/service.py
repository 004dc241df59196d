"""What a service is: a name, tables, routes, event handlers and background jobs."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from admitone.kit.data.db import Database, Tx
from admitone.kit.event import LISTENERS, Event
from admitone.kit.observe.gauges import Gauge

Handler = Callable[[Any, Tx], Awaitable[None]]
HandlerType = TypeVar("HandlerType", bound=Handler)
Job = Callable[..., Coroutine[Any, Any, None]]
"""A background loop: it runs for as long as the service does, and is given its database (or None), the settings and what it provides."""
JobType = TypeVar("JobType", bound=Job)


class Handlers:
    """The event handlers of one service, one per event."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.by_event: dict[type[Event], Handler] = {}

    def on(self, *events: type[Event]) -> Callable[[HandlerType], HandlerType]:
        """Register a handler. Returning from it means done; raising means retry."""

        def register(handler: HandlerType) -> HandlerType:
            for event in events:
                if event in self.by_event:
                    raise TypeError(f"{self.service} hears {event.__name__} twice: call both from one handler")
                self.by_event[event] = handler
                LISTENERS[event][self.service] = handler
            return handler

        return register


def ephemeral_listener(service: str, *events: type[Event]) -> Callable[[JobType], JobType]:
    """Enter a job in the event map: every process of its service consumes these events by delivery/feed.py. Its docstring says why."""

    def register(job: JobType) -> JobType:
        for event in events:
            LISTENERS[event][service] = job
        return job

    return register


class TooEarly(Exception):
    """Raised by a handler for an event whose time has not come. It is delivered again after `seconds`, and never parked."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again in {seconds:.1f} s")
        self.seconds = seconds


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service. Its name is also that of its package, database, role, durable consumer and log field."""

    name: str
    prefix: str = "/"
    """The path prefix of its routes."""
    routes: Sequence[Any] = ()
    handlers: Handlers | None = None
    jobs: Sequence[Job] = ()
    provides: Mapping[str, Callable[[Any, Database | None], Any]] = field(default_factory=dict)
    """Dependencies of its routes and jobs by name, besides `db`, `settings`, `user` and `visitor`.

    Each is made once. An async context manager is entered for as long as the service runs.
    """
    gauges: Sequence[Gauge] = ()
    """Its own gauges at /metrics and in `admitone doctor`, besides those of every service."""
    has_database: bool = True
    exception_handlers: Mapping[type[Exception], Callable[..., Any]] = field(default_factory=dict)
    """For errors that are not answered as problem+json."""
