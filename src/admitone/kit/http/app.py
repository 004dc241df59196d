"""A Litestar app out of a service's routes, and what all routes have in common."""

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Any, TypeVar, cast

import asyncpg
from litestar import Litestar, Response, Router
from litestar.datastructures import ResponseHeader, State
from litestar.exceptions import HTTPException

from admitone.kit.data.db import TRANSIENT, Database, wait_for_signal
from admitone.kit.http import form, session
from admitone.kit.http.binding import AnyRequest, Finder, bind
from admitone.kit.http.problem import BodyTooLarge, ForeignOrigin, NotFound, NotSignedIn, Problem, TryAgain, WrongContentType
from admitone.kit.http.session import User, Verifier
from admitone.kit.observe.log import correlation, log
from admitone.kit.service import Service

MAX_BODY_BYTES = 64 * 1024
WAIT_SECONDS = 1.0
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

Answer = TypeVar("Answer")


class MethodNotAllowed(Problem):
    """This address does not take that method."""

    status = 405


async def read(request: AnyRequest, wanted: type[form.Form]) -> form.Form:
    """The request's JSON body. Raises WrongContentType, BodyTooLarge, or BadInput that names every wrong field."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise WrongContentType
    return form.read_json(await request.body(), wanted)


def read_query(request: AnyRequest, wanted: type[form.Form]) -> form.Form:
    """The request's query string. Raises BadInput, which names every wrong parameter."""
    return form.read_values({name: value for name, value in request.query_params.items() if value != ""}, wanted, strict=False)


async def eventually(
    db: Database, attempt: Callable[[], Awaitable[Answer]], *refusals: type[Problem], seconds: float = WAIT_SECONDS
) -> Answer:
    """Retry the attempt while it ends with one of these refusals, for up to a second: the event that it needs may be under way.

    It is retried after each transaction of this process, and every 100 ms in case a replica has handled the event.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        changed = db.committed.next()
        try:
            return await attempt()
        except refusals:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise
            await wait_for_signal(changed, min(left, 0.1))


def litestar_app(service: Service, provided: Mapping[str, Any], verifier: Verifier, *, secure: bool, origins: Container[str]) -> Litestar:
    """The service's HTTP side. It has no life cycle of its own: whoever runs it has started everything before.

    `provided`: what routes may ask for by name. `secure`: cookies are for https only. `origins`: those that may send changes.
    """

    async def visitor(request: AnyRequest) -> User | None:
        return verifier.user(request.cookies.get(session.cookie_name(secure), ""))

    async def user(visitor: User | None) -> User:
        if visitor is None:
            raise NotSignedIn
        return visitor

    async def only_our_own_origin(request: AnyRequest) -> None:
        if request.method in SAFE_METHODS:
            return
        origin = request.headers.get("origin")
        if origin is not None and origin not in origins:
            raise ForeignOrigin

    constants = {"verifier": verifier, **provided}
    finders: dict[str, Finder] = {"visitor": visitor, "user": user, **service.finders}
    routes = [bind(route, constants, finders) for route in service.routes]
    return Litestar(
        route_handlers=[Router(path=service.prefix, route_handlers=routes)] if routes else [],
        before_request=only_our_own_origin,
        guards=list(service.guards),
        state=State(constants),
        exception_handlers=cast("Any", {Exception: as_problem_json, **service.exception_handlers}),
        request_max_body_size=MAX_BODY_BYTES,
        response_headers=[ResponseHeader(name="Cache-Control", value="no-store")] if service.has_database else [],
        openapi_config=None,
        logging_config=None,
    )


def as_problem(error: Exception) -> Problem:
    """The problem document for any exception. An unexpected one is logged with its traceback, and answered without details."""
    match error:
        case Problem():
            return error
        case HTTPException(status_code=404):
            return NotFound()
        case HTTPException(status_code=405):
            return MethodNotAllowed()
        case HTTPException(status_code=413):
            return BodyTooLarge()
        case HTTPException(status_code=status) if 400 <= status < 500:
            problem = Problem(error.detail)
            problem.status = status  # type: ignore[misc]
            return problem
        case HTTPException(detail="client disconnected prematurely"):
            return Problem()  # Nobody is left to read it.
    if isinstance(error, TRANSIENT):
        full = isinstance(error, asyncpg.DiskFullError)
        message = "the database can't store any more: its volume is full" if full else "the database is unavailable or busy"
        log.warning("database_unavailable", message=message, error=repr(error))
        return TryAgain()
    log.error("unexpected_error", message="an unexpected error", exc_info=error)
    return Problem()


def as_problem_json(_request: AnyRequest, error: Exception) -> Response[Mapping[str, Any]]:
    """The answer to a request that failed, as RFC 9457 has it."""
    problem = as_problem(error)
    headers = dict(problem.headers)
    if isinstance(error, HTTPException) and error.headers:
        headers |= {name: value for name, value in error.headers.items() if name.lower() == "allow"}
    document = problem.document()
    if problem.status >= 500:
        document["correlationId"] = str(correlation())
    return Response(document, status_code=problem.status, headers=headers, media_type="application/problem+json")
