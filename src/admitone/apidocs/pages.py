"""The pages under /docs: the list of them, the one about events, and one for each service's API, on which Swagger UI lets one read its
OpenAPI document and try it. Everything comes from this process."""

import json
from collections.abc import Callable, Sequence
from functools import cached_property, partial

from admitone.apidocs import asyncapi, lanes
from admitone.apidocs.openapi import document
from admitone.apidocs.overview import Overview, fields, overview
from admitone.apidocs.render import FILES, POLICY_WITH_SCRIPTS, Page, StaticFile, answer, page
from admitone.kit.event import Message
from admitone.kit.service import Service


class Docs:
    """All pages. Each is made when somebody asks for it first: the code it tells of does not change while it runs."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.services = services
        self.makers: dict[str, Callable[[], Page | StaticFile]] = {
            "/docs": self._index,
            "/docs/events": self._events,
            "/docs/asyncapi.json": lambda: answer("application/json", asyncapi.text(self.about).encode()),
        }
        self.makers |= {f"{FILES.prefix}/{name}": partial(StaticFile, file) for name, file in FILES.files.items()}
        for service in services:
            if service.routes and service.has_database:
                self.makers[f"/docs/{service.name}"] = partial(self._api, service)
                self.makers[f"/docs/{service.name}/openapi.json"] = partial(_openapi, service)
        self.made: dict[str, Page | StaticFile] = {}

    def at(self, path: str) -> Page | StaticFile | None:
        """What is at this path, or None where nothing of ours is."""
        path = path.rstrip("/") if path == "/docs/" else path
        if path not in self.made and path in self.makers:
            self.made[path] = self.makers[path]()
        return self.made.get(path)

    @cached_property
    def about(self) -> Overview:
        return overview(self.services)

    @cached_property
    def apis(self) -> Sequence[Service]:
        return [service for service in self.services if f"/docs/{service.name}" in self.makers]

    def _index(self) -> Page:
        sentences = {service.name: service.sentence for service in self.about.services}
        return page("index.html", here="/docs", apis=self.apis, sentences=sentences)

    def _events(self) -> Page:
        return page(
            "events.html",
            here="/docs/events",
            apis=self.apis,
            about=self.about,
            envelope=fields(Message),
            pictures=[lanes.wide(self.about), lanes.narrow(self.about)],
            hue=lambda service: lanes.hue(self.about, service),
        )

    def _api(self, service: Service) -> Page:
        return page("api.html", policy=POLICY_WITH_SCRIPTS, here=f"/docs/{service.name}", apis=self.apis, name=service.name)


def _openapi(service: Service) -> Page:
    return answer("application/json", json.dumps(document(service), indent=1).encode())
