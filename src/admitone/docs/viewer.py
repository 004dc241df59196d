"""The pages under /docs on which the OpenAPI documents are read and tried, by Swagger UI. Everything comes from this process."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from admitone.docs.openapi import document
from admitone.kit.problem import Problem
from admitone.kit.service import Service
from admitone.kit.web import SAFE_METHODS, MethodNotAllowed

STATIC = Path(__file__).parent / "static"
FILES = {
    "swagger-ui/swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "api.css": "text/css; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{name} · Admit One API</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="{swagger_css}">
  <link rel="stylesheet" href="{css}">
</head>
<body>
  <header><a class="brand" href="/">Admit One</a> <a href="/docs">Documents</a> <a href="/docs/events">Events</a> {others}</header>
  <main>
    <p>“Try it out” asks this very marketplace, as whoever is <a href="/signin">signed in</a> in this browser.
    <a href="/docs/{name}/openapi.json">openapi.json</a></p>
    <noscript><p>This page needs JavaScript; the document does not.</p></noscript>
    <div id="api" data-url="/docs/{name}/openapi.json"></div>
  </main>
  <script src="{swagger_js}" defer></script>
  <script src="{js}" defer></script>
</body>
</html>
"""


@dataclass(frozen=True)
class Page:
    """One whole answer, to GET and HEAD alone."""

    content_type: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        if scope["method"] not in SAFE_METHODS:
            await _send(send, MethodNotAllowed.status, "application/problem+json", _body(MethodNotAllowed()), ((b"allow", b"GET, HEAD"),))
        else:
            await _send(send, 200, self.content_type, self.body, self.headers)


class Viewer:
    """The pages of these services. Nothing is made before it is asked for."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.services = {service.name: service for service in services if service.routes and service.has_database}
        self.makers: dict[str, Callable[[], Page]] = {f"/docs/static/{file}": partial(_file, file) for file in FILES}
        for name in self.services:
            self.makers[f"/docs/{name}"] = partial(self._page, name)
            self.makers[f"/docs/{name}/openapi.json"] = partial(self._document, name)
        self.made: dict[str, Page] = {}

    def at(self, path: str) -> Page | None:
        """What is at this path, or None where nothing of ours is."""
        if path not in self.made and path in self.makers:
            self.made[path] = self.makers[path]()
        return self.made.get(path)

    def _document(self, name: str) -> Page:
        return Page("application/json", json.dumps(document(self.services[name]), indent=1).encode(), _headers("no-cache"))

    def _page(self, name: str) -> Page:
        others = [f'<a href="/docs/{other}"{" aria-current=page" if other == name else ""}>{escape(other)}</a>' for other in self.services]
        swagger_css, swagger_js, css, js = (f"/docs/static/{file}?{_hash(file)}" for file in FILES)
        page = PAGE.format(name=escape(name), others=" ".join(others), swagger_css=swagger_css, swagger_js=swagger_js, css=css, js=js)
        return Page("text/html; charset=utf-8", page.encode(), _headers("no-cache"))


def _file(name: str) -> Page:
    return Page(FILES[name], (STATIC / name).read_bytes(), _headers("public, max-age=86400"))


def _headers(caching: str) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"content-security-policy", POLICY.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"cache-control", caching.encode()),
    )


def _hash(file: str) -> str:
    """An address that changes with the file's content may be kept by browsers."""
    return hashlib.sha256((STATIC / file).read_bytes()).hexdigest()[:12]


def _body(problem: Problem) -> bytes:
    return json.dumps(problem.document()).encode()


async def _send(send: Any, status: int, content_type: str, body: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    named = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body})
