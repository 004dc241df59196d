"""Calls the busiest routes without the framework's way to them: same function, same checks, same answers, same documents.

A route with `direct=True` and no parameter in its path is called as soon as its method and path are known. That saves the routing, the
parsing of parameters by their types, and the stack of middleware: half of what the framework costs. tests/contract/test_direct.py
compares the answers of both ways.
"""

from typing import Any, cast

import msgspec
from litestar import Litestar, Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from admitone.kit.http.asgi import respond
from admitone.kit.http.binding import AnyRequest


class DirectRoutes:
    """An ASGI app in front of a Litestar app."""

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self._on_error: Any = app.exception_handlers[Exception]
        self._routes: dict[tuple[str, str], HTTPRouteHandler] = {}
        self._headers: dict[HTTPRouteHandler, dict[str, str]] = {}
        """Those that every answer of a route has."""
        for route in app.routes:
            if isinstance(route, HTTPRoute):
                for method, (handler, _) in route.route_handler_map.items():
                    if handler.opt.get("direct"):
                        self._routes[method, route.path] = handler
                        self._headers[handler] = {header.name: str(header.value) for header in handler.resolve_response_headers()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        handler = self._routes.get((scope["method"], scope["path"]))
        if handler is None:
            await self._app(scope, receive, send)
            return
        scope |= {"route_handler": handler, "litestar_app": self._app, "app": self._app, "state": {}, "path_params": {}}
        request: AnyRequest = Request(scope, receive, send)
        headers = self._headers[handler]
        try:
            if check := handler.resolve_before_request():
                await check(request)
            if handler.resolve_guards():
                await handler.authorize_connection(connection=request)
            answer = await handler.fn(request=request)
            if not _is_json(answer):
                answer = await handler.to_response(app=self._app, data=answer, request=request)
        except Exception as error:
            answer, headers = self._on_error(request, error), {}
            if not _is_json(answer):
                answer = answer.to_asgi_response(app=None, request=request)
        if isinstance(answer, Response):
            body = bytes(answer.content) if isinstance(answer.content, msgspec.Raw) else msgspec.json.encode(answer.content)
            await respond(send, answer.status_code or 200, body, cast("str", answer.media_type), {**headers, **answer.headers})
        else:
            await answer(scope, receive, send)


def _is_json(answer: Any) -> bool:
    """Whether it is all there is to encode: most answers, and all refusals."""
    return isinstance(answer, Response) and isinstance(answer.content, (msgspec.Raw, dict)) and not answer.cookies
