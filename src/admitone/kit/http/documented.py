"""What a route takes and answers, declared next to it. The OpenAPI documents are made from it, and tests check answers against it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from litestar.handlers import BaseRouteHandler

from admitone.kit.http.problem import Problem

Route = TypeVar("Route", bound=BaseRouteHandler)

HTML = str
"""The answer is a page."""
SESSION_COOKIE = {"Set-Cookie": "The session, for the browser alone: HttpOnly, SameSite=Lax, and Secure where the address has https."}


class Empty(msgspec.Struct):
    """An empty object."""


@dataclass(frozen=True, kw_only=True)
class Documented:
    """What the signature does not show. The rest follows from it: a `user` parameter needs a session, a body may be refused."""

    answers: Mapping[int, Any]
    """Status -> what the body holds: a struct, a list of them, HTML, or None where there is no body."""
    refuses: tuple[type[Problem], ...] = ()
    body: Any = None
    """A form, which is read strictly; or `object` where anything is taken."""
    query: type[msgspec.Struct] | None = None
    takes_key: bool = False
    """Whether an Idempotency-Key counts."""
    takes_headers: Mapping[str, str] = field(default_factory=dict)
    """Name -> what is in it."""
    gives_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of its successful answers: name -> meaning."""


def documented(
    *,
    answers: Mapping[int, Any],
    refuses: tuple[type[Problem], ...] = (),
    body: Any = None,
    query: type[msgspec.Struct] | None = None,
    takes_key: bool = False,
    takes_headers: Mapping[str, str] | None = None,
    gives_headers: Mapping[str, str] | None = None,
) -> Callable[[Route], Route]:
    """Declare the route below. Put it above the route's own decorator; the summary and the description are the docstring."""
    details = Documented(
        answers=answers,
        refuses=refuses,
        body=body,
        query=query,
        takes_key=takes_key,
        takes_headers=takes_headers or {},
        gives_headers=gives_headers or {},
    )

    def attach(route: Route) -> Route:
        route.opt["documented"] = details
        return route

    return attach
