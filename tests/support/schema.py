"""What a JSON Schema of draft 7 says about a value: as much of it as AsyncAPI's own schema and our documents are written in."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

Test = Callable[[Any, Any], bool]

TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
FORMATS: dict[str, Callable[[str], Any]] = {"uuid": UUID, "date-time": datetime.fromisoformat}
"""Other formats are taken as they come."""

OF_ANY: dict[str, Test] = {
    "type": lambda value, rule: any(TYPES[kind](value) for kind in ([rule] if isinstance(rule, str) else rule)),
    "const": lambda value, rule: bool(value == rule),
    "enum": lambda value, rule: value in rule,
}
OF_ONE_TYPE: dict[str, tuple[str, Test]] = {
    "required": ("object", lambda value, rule: set(rule) <= set(value)),
    "minItems": ("array", lambda value, rule: len(value) >= rule),
    "uniqueItems": ("array", lambda value, rule: not rule or all(one not in value[:number] for number, one in enumerate(value))),
    "minLength": ("string", lambda value, rule: len(value) >= rule),
    "maxLength": ("string", lambda value, rule: len(value) <= rule),
    "pattern": ("string", lambda value, rule: bool(re.search(rule, value))),
    "format": ("string", lambda value, rule: rule not in FORMATS or _can(FORMATS[rule], value)),
    "minimum": ("number", lambda value, rule: bool(value >= rule)),
    "maximum": ("number", lambda value, rule: bool(value <= rule)),
    "exclusiveMinimum": ("number", lambda value, rule: bool(value > rule)),
}
"""Such a rule says nothing about a value of another type."""
OF_SCHEMAS: dict[str, Callable[[list[bool]], bool]] = {
    "anyOf": any,
    "oneOf": lambda fit: sum(fit) == 1,
    "not": lambda fit: not any(fit),
}
OF_PARTS = {"allOf", "if", "properties", "patternProperties", "additionalProperties", "propertyNames", "items"}
SAY_NOTHING = {"title", "description", "default", "example", "examples", "definitions", "components", "$schema", "then", "else"}
SAY_NOTHING |= {"additionalItems"}  # Beside a list of `items`, which nobody writes.


def wrong(value: Any, schema: Any, root: Any, at: str = "$") -> Iterator[str]:
    """Where the value breaks the schema, and which word of it; `root` is what references start from.

    Raises KeyError for a word that is not known here, so that no rule is passed over in silence.
    """
    if schema is False:
        yield f"{at}: nothing may be here"
    if isinstance(schema, bool):
        return
    if "$ref" in schema:
        yield from wrong(value, _referred(schema["$ref"], root), root, at)
        return

    def fits(one: Any) -> bool:
        return not any(wrong(value, one, root))

    for word in schema.keys() - SAY_NOTHING:
        rule = schema[word]
        if word in OF_PARTS:
            for step, part, its_rule in _parts(word, schema, value, fits):
                yield from wrong(part, its_rule, root, at + step)
            continue
        if word in OF_SCHEMAS:
            holds = OF_SCHEMAS[word]([fits(one) for one in (rule if isinstance(rule, list) else [rule])])
        elif word in OF_ANY:
            holds = OF_ANY[word](value, rule)
        else:
            kind, test = OF_ONE_TYPE[word]
            holds = not TYPES[kind](value) or test(value, rule)
        if not holds:
            yield f"{at}: {word} {str(rule)[:200]}"


def _referred(reference: str, root: Any) -> Any:
    for step in reference.removeprefix("#").split("/")[1:]:
        root = root[step.replace("~1", "/").replace("~0", "~")]
    return root


def _parts(word: str, schema: Any, value: Any, fits: Callable[[Any], bool]) -> Iterator[tuple[str, Any, Any]]:
    """Where to look further: the step to a part of the value, that part, and the schema for it."""
    rule = schema[word]
    names = list(value) if isinstance(value, dict) else []
    match word:
        case "allOf":
            yield from (("", value, one) for one in rule)
        case "if":
            yield "", value, schema.get("then" if fits(rule) else "else", True)
        case "properties":
            yield from ((f".{name}", value[name], rule[name]) for name in names if name in rule)
        case "patternProperties":
            yield from ((f".{name}", value[name], rule[one]) for name in names for one in rule if re.search(one, name))
        case "additionalProperties":
            own, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
            others = [name for name in names if name not in own and not any(re.search(one, name) for one in patterns)]
            yield from ((f".{name}", value[name], rule) for name in others)
        case "propertyNames":
            yield from ((f".{name}", name, rule) for name in names)
        case "items":
            yield from ((f"[{number}]", one, rule) for number, one in enumerate(value if isinstance(value, list) else []))


def _can(read: Callable[[str], Any], value: str) -> bool:
    try:
        read(value)
    except ValueError:
        return False
    return True
