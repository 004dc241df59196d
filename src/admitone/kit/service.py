"""What a service is: a name, its tables, its routes, what it hears and what it does by itself."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from admitone.kit.data.db import Database, Tx
from admitone.kit.event import LISTENERS, Event
from admitone.kit.observe.gauges import Figure

Handler = Callable[[Any, Tx], Awaitable[None]]
HandlerType = TypeVar("HandlerType", bound=Handler)
Job = Callable[..., Coroutine[Any, Any, None]]
"""A background loop: it runs for as long as the service does, and is given its database (or None), the settings and what it provides."""
JobType = TypeVar("JobType", bound=Job)


class Handlers:
    """What one service does about what happened elsewhere, one handler per event."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.by_event: dict[type[Event], Handler] = {}

    def on(self, *events: type[Event]) -> Callable[[HandlerType], HandlerType]:
        """Returning from the handler means done; raising means try again; nothing else is to be known here."""

        def register(handler: HandlerType) -> HandlerType:
            for event in events:
                if event in self.by_event:
                    raise TypeError(f"{self.service} hears {event.__name__} twice: call both from one handler")
                self.by_event[event] = handler
                LISTENERS[event][self.service] = handler
            return handler

        return register


def each_process_hears(service: str, *events: type[Event]) -> Callable[[JobType], JobType]:
    """Put it on the map that this job follows these events in every process of its service (kit/feed.py); its docstring says why."""

    def register(job: JobType) -> JobType:
        for event in events:
            LISTENERS[event][service] = job
        return job

    return register


class TooEarly(Exception):
    """Raised by a handler for an event whose time has not come; it is taken again then, and never parked."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again in {seconds:.1f} s")
        self.seconds = seconds


@dataclass(frozen=True, kw_only=True)
class Service:
    """One room of the house. Its name is its package, database, role, durable consumer and log field."""

    name: str
    prefix: str = "/"
    """The paths that are its own."""
    routes: Sequence[Any] = ()
    handlers: Handlers | None = None
    jobs: Sequence[Job] = ()
    provides: Mapping[str, Callable[[Any, Database | None], Any]] = field(default_factory=dict)
    """What its routes may ask for by name, besides `db`, `settings`, `user` and `visitor`; its jobs are given it, too.

    Each is made once. An async context manager is entered for as long as the service runs.
    """
    figures: Sequence[Figure] = ()
    """What is to be seen of it at /metrics and by `admitone doctor`, besides what is to be seen of every service."""
    has_database: bool = True
    exception_handlers: Mapping[type[Exception], Callable[..., Any]] = field(default_factory=dict)
    """How refusals look where they are not problem+json."""
