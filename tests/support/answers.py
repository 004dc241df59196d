"""Every answer of the API, held against the OpenAPI document of its service."""

import re
from typing import Any
from urllib.parse import unquote

import httpx
import msgspec

from admitone.apidocs.openapi import Operation, document, operations
from admitone.apidocs.schemas import FieldError
from admitone.kit.http.app import MethodNotAllowed
from admitone.kit.http.documented import HTML
from admitone.kit.http.problem import NotFound, Problem
from admitone.services import SERVICES

DOCUMENTED = [service for service in SERVICES if service.routes and service.has_database]
OPERATIONS = [operation for service in DOCUMENTED for operation in operations(service)]
DOCUMENTS = {service.name: document(service) for service in DOCUMENTED}
NAMED_HEADERS = ("set-cookie", "link", "location", "retry-after")


def compare(answer: httpx.Response) -> None:
    """Fails for an answer of the API that its document does not know: its status, its headers or its body."""
    path = unquote(answer.request.url.raw_path.decode().partition("?")[0]).rstrip("/")
    if not path.startswith("/api/"):
        return
    at_path = operations_at(path)
    method = "GET" if answer.request.method == "HEAD" else answer.request.method
    operation = next((operation for operation in at_path if operation.method == method), None)
    where = f"{answer.request.method} {path[:100]} answers {answer.status_code} {answer.text[:500]}"
    if answer.request.method == "OPTIONS" and answer.status_code == 204:
        return  # The same for every path, and in no document.
    if operation is not None:
        _compare_with(operation, answer, where)
    elif at_path and answer.status_code == MethodNotAllowed.status:
        allowed = set(re.findall(r"[A-Z]+", answer.headers["allow"])) - {"OPTIONS"}
        assert allowed == {operation.method for operation in at_path}, where
        _is_problem(answer.json(), MethodNotAllowed, where)
    else:
        assert answer.status_code == NotFound.status, where
        _is_problem(answer.json(), NotFound, where)


def operations_at(path: str) -> list[Operation]:
    """What a path can be asked. One that is spelled out goes before one with an id in it."""
    if any(operation.path == path for operation in OPERATIONS):
        return [operation for operation in OPERATIONS if operation.path == path]
    return [operation for operation in OPERATIONS if re.fullmatch(re.sub(r"\{\w+\}", r"[^/]+", operation.path), path, re.DOTALL)]


def _compare_with(operation: Operation, answer: httpx.Response, where: str) -> None:
    told = DOCUMENTS[operation.service.name]["paths"][operation.path][operation.method.lower()]["responses"].get(str(answer.status_code))
    assert told is not None, f"not documented: {where}"
    assert {name for name in NAMED_HEADERS if name in answer.headers} <= {name.lower() for name in told.get("headers", ())}, where
    if answer.request.method == "HEAD":
        return
    assert (answer.content != b"") == ("content" in told), where
    if answer.content:
        assert answer.headers["content-type"].partition(";")[0] in told["content"], where
    if answer.status_code not in operation.documented.answers:
        body = answer.json()
        refusal = {refusal.urn(): refusal for refusal in operation.refusals()}.get(body["type"])
        assert refusal is not None, f"not documented: {where}"
        _is_problem(body, refusal, where)
    elif answer.content and operation.documented.answers[answer.status_code] is not HTML:
        read = msgspec.json.decode(answer.content, type=operation.documented.answers[answer.status_code])
        assert msgspec.json.decode(msgspec.json.encode(read)) == answer.json(), f"more, or other, than documented: {where}"


def _is_problem(body: Any, refusal: type[Problem], where: str) -> None:
    members = dict(body)
    if refusal.status >= 500:
        members.pop("correlationId", None)
    assert set(members) == {"type", "title", "status", "detail", "errors", *refusal.member_types}, where
    assert (body["type"], body["title"], body["status"]) == (refusal.urn(), refusal.title(), refusal.status), where
    assert body["detail"], where
    assert body["errors"], where
    assert msgspec.to_builtins(msgspec.convert(body["errors"], list[FieldError])) == body["errors"], where
    for name, kind in refusal.member_types.items():
        msgspec.convert(body[name], kind)
