"""The pages under /docs: the list of them, the one about events, and those of the API, which viewer.py makes."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from admitone.docs import asyncapi, lanes
from admitone.docs.overview import Overview, fields, overview
from admitone.docs.viewer import Page, Viewer
from admitone.kit.event import Message
from admitone.kit.service import Service

HERE = Path(__file__).parent
STYLE = (HERE / "static" / "docs.css").read_bytes()
STYLE_ADDRESS = f"/docs/static/docs.css?{hashlib.sha256(STYLE).hexdigest()[:12]}"
POLICY = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Docs:
    """All pages. Each is made when somebody asks for it first: the code it tells of does not change while it runs."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.services = services
        self.api = Viewer(services)
        self.makers: dict[str, Callable[[], Page]] = {
            "/docs": lambda: self._page("index.html"),
            "/docs/events": self._events,
            "/docs/asyncapi.json": lambda: _answer("application/json", asyncapi.text(self.about).encode()),
            "/docs/static/docs.css": lambda: _answer("text/css; charset=utf-8", STYLE, "public, max-age=86400"),
        }
        self.made: dict[str, Page] = {}

    def at(self, path: str) -> Page | None:
        """What is at this path, or None where nothing of ours is."""
        path = path.rstrip("/") if path == "/docs/" else path
        if path not in self.makers:
            return self.api.at(path)
        if path not in self.made:
            self.made[path] = self.makers[path]()
        return self.made[path]

    @cached_property
    def about(self) -> Overview:
        return overview(self.services)

    def _events(self) -> Page:
        return self._page(
            "events.html",
            envelope=fields(Message),
            pictures=[lanes.wide(self.about), lanes.narrow(self.about)],
            hue=lambda service: lanes.hue(self.about, service),
        )

    def _page(self, template: str, **values: Any) -> Page:
        apis = [service for service in self.about.services if service.name in self.api.services]
        html = _templates.get_template(template).render(about=self.about, apis=apis, **values)
        return _answer("text/html; charset=utf-8", html.encode())


def _answer(content_type: str, body: bytes, caching: str = "no-cache") -> Page:
    headers = {
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "cache-control": caching,
    }
    return Page(content_type, body, tuple((name.encode(), value.encode()) for name, value in headers.items()))


_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_templates.globals |= {"style": STYLE_ADDRESS, "pretty": lambda message: json.dumps(message, indent=2, ensure_ascii=False)}
