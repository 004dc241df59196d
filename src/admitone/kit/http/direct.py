"""Calls the busiest routes without the framework's way to them: same function, same checks, same answers, same documents.

A route with `direct=True` and no parameter in its path is called as soon as its method and path are known. That saves the routing, the
parsing of parameters by their types, and the stack of middleware: half of what the framework costs. tests/contract/test_direct.py
compares the answers of both ways.
"""

from typing import Any

from litestar import Litestar, Request
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from admitone.kit.http.binding import AnyRequest


class DirectRoutes:
    """An ASGI app in front of a Litestar app."""

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self._on_error: Any = app.exception_handlers[Exception]
        self._routes: dict[tuple[str, str], HTTPRouteHandler] = {}
        for route in app.routes:
            if isinstance(route, HTTPRoute):
                for method, (handler, _) in route.route_handler_map.items():
                    if handler.opt.get("direct"):
                        self._routes[method, route.path] = handler

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        handler = self._routes.get((scope["method"], scope["path"]))
        if handler is None:
            await self._app(scope, receive, send)
            return
        scope |= {"route_handler": handler, "litestar_app": self._app, "app": self._app, "state": {}, "path_params": {}}
        request: AnyRequest = Request(scope, receive, send)
        try:
            if check := handler.resolve_before_request():
                await check(request)
            if handler.resolve_guards():
                await handler.authorize_connection(connection=request)
            data = await handler.fn(request=request)
            response = await handler.to_response(app=self._app, data=data, request=request)
        except Exception as error:
            response = self._on_error(request, error).to_asgi_response(app=None, request=request)
        await response(scope, receive, send)
