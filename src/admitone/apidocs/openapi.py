"""An OpenAPI document for each service, made from its routes' declarations (kit/http/documented.py) and signatures."""

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Router
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from msgspec import Struct

from admitone import __version__
from admitone.apidocs.schemas import Json, Schemas, _as_text, camel, sentence_of
from admitone.kit.http.app import SAFE_METHODS
from admitone.kit.http.documented import HTML, Documented
from admitone.kit.http.idempotency import HEADER, KeyReused
from admitone.kit.http.problem import (
    BadInput,
    BodyTooLarge,
    ForeignOrigin,
    NotFound,
    NotSignedIn,
    Problem,
    TryAgain,
    WrongContentType,
)
from admitone.kit.http.session import cookie_name
from admitone.kit.service import Service

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
JSON, PROBLEM = "application/json", "application/problem+json"
EITHER_COOKIE: list[Json] = [{"session": []}, {"secureSession": []}]

RULES = """
What all routes have in common:

- Who has signed in carries the session in a cookie. `POST /api/users/signin` sets it; pages of the same address send it by themselves.
- A body is one JSON object of at most 64 KB, sent as `application/json`. Every wrong, missing or unknown field is named at once,
  and so is a query parameter; one that is empty counts as not given.
- A refusal is `application/problem+json` (RFC 9457) with a list `errors`: what is wrong, and in which field. `type` is for programs.
- Another method than those below is answered with 405, and any other address with 404, in the same form.
- An `Idempotency-Key` belongs to its user and route and lives 24 hours: the same key has one effect, and the same answer.
- An `X-Correlation-Id` (a UUID) is taken along, or else made: each answer has one, and so has everything that came of the request.
"""


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    service: Service
    method: str
    path: str
    path_parameters: Mapping[str, type]
    handler: HTTPRouteHandler

    @property
    def documented(self) -> Documented:
        """The route's declaration. Raises LookupError for a route without one."""
        declared = self.handler.opt.get("documented")
        if not isinstance(declared, Documented) or not inspect.getdoc(self.function):
            raise LookupError(f"{self.function.__module__}.{self.function.__name__}: it has no @documented, or no docstring")
        return declared

    @property
    def function(self) -> Any:
        return self.handler.fn

    @property
    def needs_session(self) -> bool:
        return any(refusal.status == HTTPStatus.UNAUTHORIZED for refusal in self.refusals())

    @property
    def reads_session(self) -> bool:
        return not {"visitor", "user", "verifier"}.isdisjoint(inspect.signature(self.function).parameters)

    def refusals(self) -> list[type[Problem]]:
        """All its refusals: those it declares, and those that follow from its parameters."""
        documented = self.documented
        found: list[type[Problem]] = list(documented.refuses)
        if "user" in inspect.signature(self.function).parameters:
            found.append(NotSignedIn)
        if documented.query or documented.takes_key or is_form(documented.body):
            found.append(BadInput)
        if is_form(documented.body):
            found.append(WrongContentType)
        if documented.body is not None:
            found.append(BodyTooLarge)
        if documented.takes_key:
            found.append(KeyReused)
        if self.method not in SAFE_METHODS:
            found.append(ForeignOrigin)
        if any(kind is not str for kind in self.path_parameters.values()):
            found.append(NotFound)  # An id that is none.
        return [*dict.fromkeys(found), Problem, TryAgain]


def is_form(body: Any) -> bool:
    return isinstance(body, type) and issubclass(body, Struct)


def operations(service: Service) -> Iterator[Operation]:
    """The operations of a service's routes."""
    routes = [route for route in Router(path=service.prefix, route_handlers=list(service.routes)).routes if isinstance(route, HTTPRoute)]
    for route in sorted(routes, key=lambda route: route.path):
        parameters = {part.name: part.type for part in route.path_components if not isinstance(part, str)}
        path = route.path_format
        for name in parameters:
            path = path.replace(f"{{{name}}}", f"{{{camel(name)}}}")
        by_method: dict[str, HTTPRouteHandler] = {method: handler for handler in route.route_handlers for method in handler.http_methods}
        for method in METHODS:
            if method in by_method:
                yield Operation(service, method, path, {camel(name): kind for name, kind in parameters.items()}, by_method[method])


def document(service: Service) -> Json:
    """The OpenAPI document of one service. Raises LookupError for a route without a declaration."""
    schemas = Schemas()
    paths: dict[str, Json] = {}
    for operation in operations(service):
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    documented = inspect.cleandoc(sys.modules[f"admitone.{service.name}"].__doc__ or "").partition("\n\n")[0]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Admit One: {service.name}",
            "version": __version__,
            "description": f"{documented}\n{RULES}",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": service.name}],
        "paths": paths,
        "components": {
            "schemas": schemas.whole(),
            "securitySchemes": {
                "session": _cookie(secure=False, where="Where the address has no https: a laptop."),
                "secureSession": _cookie(secure=True, where="Where the address has https."),
            },
        },
    }


def _operation(operation: Operation, schemas: "Schemas") -> Json:
    documented = operation.documented
    summary, _, more = (inspect.getdoc(operation.function) or "").partition("\n\n")
    found: Json = {
        "operationId": camel(operation.function.__name__ + _ending(operation)),
        "tags": [operation.service.name],
        "summary": " ".join(summary.split()),
        "security": EITHER_COOKIE if operation.needs_session else [{}, *EITHER_COOKIE] if operation.reads_session else [],
        "responses": _answers(operation, schemas) | _refusals(operation, schemas),
    }
    if more:
        found["description"] = more
    if parameters := _parameters(operation, schemas):
        found["parameters"] = parameters
    if documented.body is not None:
        schema = schemas.form(documented.body) if is_form(documented.body) else {}
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return found


def _ending(operation: Operation) -> str:
    """A route may have several paths: then the last part of each tells them apart."""
    return f"_{operation.path.rpartition('/')[2]}" if len(operation.handler.paths) > 1 else ""


def _parameters(operation: Operation, schemas: "Schemas") -> list[Json]:
    documented = operation.documented
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": schemas.of(kind)} for name, kind in operation.path_parameters.items()
    ]
    if documented.query is not None:
        for field in msgspec.structs.fields(documented.query):
            schema = _as_text(schemas.of(field.type))
            description = {"description": schema.pop("description")} if "description" in schema else {}
            if field.default not in (msgspec.NODEFAULT, None, ""):
                schema["default"] = field.default
            found.append({"name": field.encode_name, "in": "query", "required": field.required, **description, "schema": schema})
    if documented.takes_key:
        schema = {"type": "string", "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"}
        description = {"description": "The same key: one effect, and the same answer."}
        found.append({"name": HEADER, "in": "header", "required": False, **description, "schema": schema})
    for name, sentence in documented.takes_headers.items():
        found.append({"name": name, "in": "header", "required": True, "description": sentence, "schema": {"type": "string"}})
    return found


def _answers(operation: Operation, schemas: "Schemas") -> Json:
    documented = operation.documented
    found: Json = {}
    for status, body in documented.answers.items():
        answer: Json = {"description": HTTPStatus(status).phrase}
        headers = {"Location": "Where to go on."} if status == HTTPStatus.SEE_OTHER else documented.gives_headers
        if headers:
            answer["headers"] = {name: {"description": sentence, "schema": {"type": "string"}} for name, sentence in headers.items()}
        if body is not None:
            answer["content"] = {"text/html" if body is HTML else JSON: {"schema": schemas.of(body)}}
        found[str(status)] = answer
    return found


def _refusals(operation: Operation, schemas: "Schemas") -> Json:
    by_status: dict[int, list[type[Problem]]] = {}
    for refusal in operation.refusals():
        by_status.setdefault(refusal.status, []).append(refusal)
    found: Json = {}
    for status, refusals in sorted(by_status.items()):
        said = [f"{refusal.title()}: {sentence_of(refusal)}" for refusal in refusals]
        references = [schemas.refusal(refusal) for refusal in refusals]
        schema = references[0] if len(references) == 1 else {"oneOf": references}
        answer: Json = {"description": "\n\n".join(said), "content": {PROBLEM: {"schema": schema}}}
        headers = {name for refusal in refusals for name in refusal.headers}
        if "Retry-After" in headers:
            seconds = {"description": "In how many seconds to try again.", "schema": {"type": "integer", "minimum": 1}}
            answer["headers"] = {"Retry-After": seconds}
        found[str(status)] = answer
    return found


def _cookie(*, secure: bool, where: str) -> Json:
    return {"type": "apiKey", "in": "cookie", "name": cookie_name(secure), "description": where}
