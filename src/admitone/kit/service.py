"""What a service is: a name, tables, routes, event handlers and background jobs."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from admitone.kit.data.db import Database, Tx
from admitone.kit.event import LISTENERS, Event
from admitone.kit.observe.gauges import Gauge
from admitone.kit.observe.log import causation_id, correlation

Handler = Callable[[Any, Tx], Awaitable[None]]
HandlerType = TypeVar("HandlerType", bound=Handler)
Job = Callable[..., Coroutine[Any, Any, None]]
"""A background loop for as long as the service runs. It is given its database (or None), the settings, and what it asks for by name."""
JobType = TypeVar("JobType", bound=Job)


class Delivered(NamedTuple):
    """An event as it reached a service."""

    event: Any
    event_id: UUID | None
    correlation_id: UUID

    @classmethod
    def now(cls, event: Event) -> "Delivered":
        """The event that is handled now."""
        return cls(event, causation_id.get(), correlation())


RunHandler = Callable[[Sequence[Delivered], Tx], Awaitable[None]]
RunHandlerType = TypeVar("RunHandlerType", bound=RunHandler)


class Runs(NamedTuple):
    """A handler that takes neighbouring events together, no two of them about the same row."""

    handler: RunHandler
    row: Callable[[Any], object]


class Handlers:
    """The event handlers of one service, one per event."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.by_event: dict[type[Event], Handler] = {}
        self.of_runs: dict[type[Event], Runs] = {}

    def on(self, *events: type[Event]) -> Callable[[HandlerType], HandlerType]:
        """Register a handler. Returning from it means done; raising means retry."""

        def register(handler: HandlerType) -> HandlerType:
            for event in events:
                self._register(event, handler, handler)
            return handler

        return register

    def on_runs(self, *events: type[Event], row: str) -> Callable[[RunHandlerType], RunHandlerType]:
        """Register a handler that takes a run of neighbouring events at once; `row` is the field that says which row an event changes.

        No two events of a run are about the same row, so a run has the same effect as its events one by one, and one statement can do it.
        """

        def register(handler: RunHandlerType) -> RunHandlerType:
            async def one(event: Event, tx: Tx) -> None:
                await handler([Delivered.now(event)], tx)

            for event in events:
                self._register(event, one, handler)
                self.of_runs[event] = Runs(handler, attrgetter(row))
            return handler

        return register

    def _register(self, event: type[Event], handler: Handler, shown: Callable[..., Any]) -> None:
        if event in self.by_event:
            raise TypeError(f"{self.service} hears {event.__name__} twice: call both from one handler")
        self.by_event[event] = handler
        LISTENERS[event][self.service] = shown


def ephemeral_listener(service: str, *events: type[Event]) -> Callable[[JobType], JobType]:
    """Enter a job in the event map: every process of its service consumes these events by delivery/feed.py. Its docstring says why."""

    def register(job: JobType) -> JobType:
        for event in events:
            LISTENERS[event][service] = job
        return job

    return register


def wanted(function: Callable[..., Any], provided: Mapping[str, Any]) -> dict[str, Any]:
    """What of that the function asks for, by the names of its parameters."""
    return {name: provided[name] for name in inspect.signature(function).parameters if name in provided}


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
    finders: Mapping[str, Callable[..., Awaitable[Any]]] = field(default_factory=dict)
    """What its routes may ask for that is found anew for each request, besides `user` and `visitor`; see kit/http/binding.py."""
    guards: Sequence[Callable[..., Awaitable[None]]] = ()
    """Each may refuse a request before its route is called. They are async: the framework runs any other in a thread."""
    gauges: Sequence[Gauge] = ()
    """Its own gauges at /metrics and in `admitone doctor`, besides those of every service."""
    has_database: bool = True
    exception_handlers: Mapping[type[Exception], Callable[..., Any]] = field(default_factory=dict)
    """For errors that are not answered as problem+json."""
