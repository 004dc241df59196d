"""Calls the busiest routes without the framework's way to them: same function, same checks, same answers, same documents.

A route with `direct=True` and no parameter in its path is called as soon as its method and path are known. That saves the routing, the
parsing of parameters by their types, and the stack of middleware: half of what the framework costs. tests/contract/test_direct.py
compares the answers of both ways.
"""

from typing import Any

import msgspec
from litestar import Litestar, Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from admitone.kit.http.asgi import respond_json
from admitone.kit.http.binding import AnyRequest


class DirectRoutes:
    """An ASGI app in front of a Litestar app."""

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self._on_error: Any = app.exception_handlers[Exception]
        self._routes: dict[tuple[str, str], HTTPRouteHandler] = {}
        self._headers: dict[HTTPRouteHandler, list[tuple[bytes, bytes]]] = {}
        """Those that every answer of a route has."""
        for route in app.routes:
            if isinstance(route, HTTPRoute):
                for method, (handler, _) in route.route_handler_map.items():
                    if handler.opt.get("direct"):
                        self._routes[method, route.path] = handler
                        self._headers[handler] = [
                            (header.name.lower().encode(), str(header.value).encode()) for header in handler.resolve_response_headers()
                        ]

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
            if isinstance(data, Response) and isinstance(data.content, msgspec.Raw):
                headers = [*self._headers[handler], *((name.lower().encode(), value.encode()) for name, value in data.headers.items())]
                await respond_json(send, data.status_code or 200, bytes(data.content), headers)
                return
            response = await handler.to_response(app=self._app, data=data, request=request)
        except Exception as error:
            response = self._on_error(request, error).to_asgi_response(app=None, request=request)
        await response(scope, receive, send)
