"""How a document becomes an answer: templates, static files, headers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from admitone.kit.http import pages
from admitone.kit.http.app import SAFE_METHODS, MethodNotAllowed
from admitone.kit.http.asgi import respond

HERE = Path(__file__).parent
OWN, MARKETPLACE = HERE / "static", HERE.parent / "web" / "static"
FILES = pages.StaticFiles(
    "/docs/static",
    {name: OWN / name for name in ("docs.css", "api.css", "api.js", "swagger-ui/swagger-ui.css", "swagger-ui/swagger-ui-bundle.js")}
    # The marketplace's own, served here as well: a process may run without its pages.
    | {
        name: MARKETPLACE / name
        for name in (
            "look.css",
            "icon.svg",
            "vendor/archivo/archivo-latin-wdth-normal.woff2",
            "vendor/archivo/archivo-latin-ext-wdth-normal.woff2",
        )
    },
)
POLICY = pages.policy(form_action="'none'")
POLICY_WITH_SCRIPTS = pages.policy(form_action="'none'", script_src="'self'", connect_src="'self'")


@dataclass(frozen=True)
class Page:
    """One whole answer, to GET and HEAD alone."""

    content_type: str
    body: bytes
    headers: Mapping[str, str]

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        await _respond(scope, send, self.content_type, self.body, self.headers)


@dataclass(frozen=True)
class StaticFile:
    """A static file, compressed for those who accept that."""

    file: pages.File

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        accepted = dict(scope["headers"]).get(b"accept-encoding", b"").decode("latin-1")
        body, headers = self.file.encoded(accepted)
        await _respond(scope, send, self.file.media_type, body, headers)


def answer(content_type: str, body: bytes, *, policy: str = POLICY) -> Page:
    return Page(content_type, body, {**pages.HEADERS, "Content-Security-Policy": policy, "Cache-Control": "no-cache"})


def page(template: str, *, policy: str = POLICY, **values: Any) -> Page:
    """`here` is the page's own path, `apis` are the services whose API has a page."""
    return answer("text/html; charset=utf-8", _templates.get_template(template).render(**values).encode(), policy=policy)


async def _respond(scope: Any, send: Any, content_type: str, body: bytes, headers: Mapping[str, str]) -> None:
    if scope["method"] not in SAFE_METHODS:
        refused = json.dumps(MethodNotAllowed().document()).encode()
        await respond(send, MethodNotAllowed.status, refused, "application/problem+json", {"Allow": "GET, HEAD"})
    else:
        await respond(send, 200, body, content_type, headers)


_templates = pages.environment(HERE / "templates")
_templates.globals |= {"address": FILES.address, "pretty": lambda message: json.dumps(message, indent=2, ensure_ascii=False)}
