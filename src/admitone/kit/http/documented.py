"""What a route takes and gives, said next to it. The OpenAPI documents are made of this; tests hold every answer against it."""

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
    """What can't be seen from the signature. The rest follows: who `user` asks for has to be signed in, what takes a body may refuse it."""

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
    """The same for its good answers."""


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
    """Stands above the route's own decorator. What the route is for is said by its docstring: a line, and maybe more below it."""
    told = Documented(
        answers=answers,
        refuses=refuses,
        body=body,
        query=query,
        takes_key=takes_key,
        takes_headers=takes_headers or {},
        gives_headers=gives_headers or {},
    )

    def note(route: Route) -> Route:
        route.opt["documented"] = told
        return route

    return note
