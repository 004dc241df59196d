"""JSON Schemas of the structs that an OpenAPI document names."""

from http import HTTPStatus
from typing import Any, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType

from admitone.kit.http.amount import Amount
from admitone.kit.http.problem import (
    Problem,
)

Json = dict[str, Any]
NO_NUL: Json = {"not": {"pattern": "\\u0000"}}


class FieldError(Struct):
    """What is wrong, and in which field where it is about one."""

    message: str
    field: str | UnsetType = UNSET


def sentence_of(refusal: type[Problem]) -> str:
    return " ".join((refusal.__doc__ or "").split())


class Schemas:
    """The schemas that a document refers to, collected on the way."""

    def __init__(self) -> None:
        self._named: dict[str, tuple[object, Json]] = {}

    def whole(self) -> Json:
        return {name: schema for name, (_, schema) in sorted(self._named.items())}

    def of(self, kind: Any) -> Json:
        """A type's schema, by reference where it is a struct."""
        (schema,), components = msgspec.json.schema_components([kind], schema_hook=_amount, ref_template="#/components/schemas/{name}")
        for name, component in components.items():
            self._keep(name, component, component)
        return cast("Json", _tidy(schema))

    def form(self, form: type[Struct]) -> Json:
        """What is sent to us: nothing that is not known, and no text that can't be stored."""
        reference = self.of(form)
        schema = self._named[form.__name__][1]
        schema["additionalProperties"] = False
        for schema_of_field in schema["properties"].values():
            if schema_of_field.get("type") == "string" and "format" not in schema_of_field:
                schema_of_field.update(NO_NUL)
        return reference

    def refusal(self, refusal: type[Problem]) -> Json:
        members = {name: self.of(kind) for name, kind in refusal.member_types.items()}
        properties = {
            "type": {"const": refusal.urn()},
            "title": {"const": refusal.title()},
            "status": {"const": refusal.status},
            "detail": {"type": "string", "examples": [sentence_of(refusal)]},
            "errors": {"type": "array", "minItems": 1, "items": self.of(FieldError)},
            **members,
        }
        schema: Json = {"type": "object", "description": sentence_of(refusal), "required": list(properties), "properties": properties}
        if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            properties["correlationId"] = {"type": "string", "format": "uuid", "description": "Under which it is in our log."}
            schema["required"] = [name for name in properties if name != "correlationId"]
        return self._keep(refusal.__name__, refusal, schema)

    def _keep(self, name: str, meaning: object, schema: Json) -> Json:
        """Raises ValueError for a name that stands for something else already."""
        known = self._named.setdefault(name, (meaning, cast("Json", _tidy(schema))))
        if known[0] != meaning:
            raise ValueError(f"two different things are called {name}")
        return {"$ref": f"#/components/schemas/{name}"}


def _amount(kind: type) -> Json:
    """An amount is a number; as text it is taken, too."""
    if not issubclass(kind, Amount):
        raise TypeError(f"{kind} has no schema")
    number = {"type": "number", "minimum": kind.lowest / 100, "maximum": 999999.99, "multipleOf": 0.01, "examples": [49.9]}
    return {"description": kind.description, "anyOf": [number, {"type": "string", "pattern": kind.as_text}]}


def _as_text(schema: Json) -> Json:
    """What a query parameter may be: there, null is a parameter that is not given, and an amount is text."""
    alternatives = [part for part in schema.get("anyOf", ()) if part.get("type") != "null"]
    if alternatives:
        rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
        return {**rest, **_as_text(alternatives[-1])}
    return {**schema, **NO_NUL} if schema.get("type") == "string" and "pattern" not in schema else dict(schema)


def _tidy(schema: Any) -> Any:
    """A copy, in which every pattern means in other languages what it means in Python: their \\Z is the letter."""
    if isinstance(schema, dict):
        return {
            name: value.replace(r"\Z", r"(?!\n)$") if name == "pattern" and isinstance(value, str) else _tidy(value)
            for name, value in schema.items()
            if name != "title" or not isinstance(value, str)
        }
    return [_tidy(part) for part in schema] if isinstance(schema, list) else schema


def camel(name: str) -> str:
    """order_id -> orderId."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
