"""How a document becomes an answer: templates, static files, headers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from admitone.kit.http.app import SAFE_METHODS, MethodNotAllowed

HERE = Path(__file__).parent
STATIC = HERE / "static"
MARKETPLACE = HERE.parent / "web" / "static"
CSS, SCRIPT, FONT = "text/css; charset=utf-8", "text/javascript; charset=utf-8", "font/woff2"

FILES = {
    "docs.css": (STATIC, CSS),
    "api.css": (STATIC, CSS),
    "api.js": (STATIC, SCRIPT),
    "swagger-ui/swagger-ui.css": (STATIC, CSS),
    "swagger-ui/swagger-ui-bundle.js": (STATIC, SCRIPT),
    # The marketplace's own, served here as well: a process may run without its pages.
    "look.css": (MARKETPLACE, CSS),
    "icon.svg": (MARKETPLACE, "image/svg+xml"),
    "vendor/archivo/archivo-latin-wdth-normal.woff2": (MARKETPLACE, FONT),
    "vendor/archivo/archivo-latin-ext-wdth-normal.woff2": (MARKETPLACE, FONT),
}
"""What lies under /docs/static, where it comes from, and what it is."""

POLICY = (
    "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
POLICY_WITH_SCRIPTS = f"{POLICY}; script-src 'self'; connect-src 'self'"


@dataclass(frozen=True)
class Page:
    """One whole answer, to GET and HEAD alone."""

    content_type: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        if scope["method"] not in SAFE_METHODS:
            body = json.dumps(MethodNotAllowed().document()).encode()
            await _send(send, MethodNotAllowed.status, "application/problem+json", body, ((b"allow", b"GET, HEAD"),))
        else:
            await _send(send, 200, self.content_type, self.body, self.headers)


def answer(content_type: str, body: bytes, *, policy: str = POLICY, caching: str = "no-cache") -> Page:
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "cache-control": caching,
    }
    return Page(content_type, body, tuple((name.encode(), value.encode()) for name, value in headers.items()))


def page(template: str, *, policy: str = POLICY, **values: Any) -> Page:
    """`here` is the page's own path, `apis` are the services whose API has a page."""
    return answer("text/html; charset=utf-8", _templates.get_template(template).render(**values).encode(), policy=policy)


def static(file: str) -> Page:
    folder, content_type = FILES[file]
    return answer(content_type, (folder / file).read_bytes(), caching="public, max-age=86400")


def address(file: str) -> str:
    """Where a file is: an address that changes with its content may be kept by browsers."""
    return f"/docs/static/{file}?{hashlib.sha256((FILES[file][0] / file).read_bytes()).hexdigest()[:12]}"


async def _send(send: Any, status: int, content_type: str, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    named = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body})


_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_templates.globals |= {"address": address, "pretty": lambda message: json.dumps(message, indent=2, ensure_ascii=False)}
