"""Gives a route what it asks for by name: constants when the app is made, and what is found anew for each request.

The framework could do both, at twice the cost of everything else that it does for a request.
"""

import copy
import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from litestar import Request
from litestar.handlers import HTTPRouteHandler

from admitone.kit.service import wanted

AnyRequest: TypeAlias = Request[Any, Any, Any]
Finder = Callable[..., Awaitable[Any]]


def bind(route: HTTPRouteHandler, constants: Mapping[str, Any], finders: Mapping[str, Finder]) -> HTTPRouteHandler:
    """The same route, with a function that asks for no more than the request and what is in the path.

    A finder is called for each request, if the route or a later finder asks for its name. It may ask for the request, for constants,
    and for what earlier finders have found.
    """
    function = route.fn
    signature = inspect.signature(function)
    asked = set(signature.parameters)
    steps: list[tuple[str, Finder, dict[str, Any], list[str]]] = []
    for name, finder in reversed(list(finders.items())):
        if name in asked:
            parameters = set(inspect.signature(finder).parameters)
            found_before = [other for other in ("request", *finders) if other in parameters]
            steps.insert(0, (name, finder, wanted(finder, constants), found_before))
            asked |= parameters
    own = wanted(function, constants)
    given = [name for name in ("request", *finders) if name in signature.parameters]

    async def call(request: AnyRequest, **path: Any) -> Any:
        found: dict[str, Any] = {"request": request}
        for name, finder, finders_own, before in steps:
            found[name] = await finder(**finders_own, **{other: found[other] for other in before})
        return await function(**own, **{name: found[name] for name in given}, **path)

    types = typing.get_type_hints(function, include_extras=True)
    rest = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=types[name])
        for name, parameter in signature.parameters.items()
        if name not in (*own, *given)
    ]
    shown = [inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY, annotation=AnyRequest), *rest]
    call.__name__, call.__doc__ = function.__name__, function.__doc__
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in shown} | {"return": types["return"]}
    call.__signature__ = inspect.Signature(shown, return_annotation=types["return"])  # type: ignore[attr-defined]
    return copy.copy(route)(call)
