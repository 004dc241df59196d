"""The optional fields of JSON forms, as OpenAPI has them: clients fill them in by chance, so a new field needs no change here.

body = filled_in("POST", "/api/tickets", {"title": "Front row", "price": 49.9}, dice)
"""

import re
from collections.abc import Collection
from functools import cache
from random import Random
from typing import Any
from uuid import UUID

from admitone.apidocs.openapi import document
from admitone.services import SERVICES

Json = dict[str, Any]
BY_TYPE: Json = {"string": "text", "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}, "null": None}
BY_FORMAT = {"uuid": str(UUID(int=1)), "date-time": "2030-01-01T00:00:00Z"}
SHARE = 0.5


def filled_in(method: str, path: str, body: Json, dice: Random, leave: Collection[str] = ()) -> Json:
    """The body, and by chance each optional field that it lacks; not those to be left as they are."""
    fields = next((fields for known, pattern, fields in _forms() if known == method and re.fullmatch(pattern, path)), {})
    return body | {name: _value(schema, dice) for name, schema in fields.items() if name not in {*body, *leave} and dice.random() < SHARE}


def _value(schema: Json, dice: Random) -> Any:
    """One that the schema takes. A field with a pattern needs examples."""
    if "anyOf" in schema:
        return _value(dice.choice([one for one in schema["anyOf"] if "pattern" not in one or "examples" in one]), dice)
    values = schema.get("enum") or schema.get("examples") or [BY_FORMAT.get(schema.get("format", ""), BY_TYPE[schema["type"]])]
    return dice.choice([*values, *([schema["default"]] if schema.get("default") is not None else [])])


@cache
def _forms() -> list[tuple[str, str, dict[str, Json]]]:
    """Method, pattern of the path, and the optional fields with their schemas."""
    found = []
    for service in SERVICES:
        if service.has_database and service.routes:
            told = document(service)
            for path, methods in told["paths"].items():
                for method, operation in methods.items():
                    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
                    form = told["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
                    fields = {name: field for name, field in form.get("properties", {}).items() if name not in form.get("required", ())}
                    found.append((method.upper(), re.sub(r"\{\w+\}", "[^/]+", path), fields))
    return found
