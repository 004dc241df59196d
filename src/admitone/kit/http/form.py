"""One request body or query string, read into a struct; every wrong field is named at once."""

import functools
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar, get_args
from uuid import UUID

import msgspec
from msgspec import Meta

from admitone.kit.event import words
from admitone.kit.http.amount import Amount
from admitone.kit.http.problem import BadInput

Form = TypeVar("Form", bound=msgspec.Struct)

MAX_WHOLE = 2**63
"""A number beyond this is not made an int: of 1e999999999 that would take hours."""
Moment = Annotated[datetime, Meta(tz=True)]


def read_json(body: bytes, form: type[Form]) -> Form:
    """Read a JSON body into a form. Raises BadInput, which names every field that is wrong, missing or unknown."""
    try:
        values = _JSON.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except _Repeated as repeated:
        name = _printable(str(repeated))
        raise BadInput((name, f"{name} is given twice.")) from repeated
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise BadInput((None, "The body is not valid JSON.")) from error
    if not isinstance(values, dict):
        raise BadInput((None, "The body must be a JSON object."))
    return read_values(values, form)


def read_values(values: Mapping[str, object], form: type[Form], *, strict: bool = True) -> Form:
    """Read values into a form. Not strict: a number may come as text, as in a query string. Raises BadInput like read_json."""
    wrong: list[tuple[str | None, str]] = []
    good: dict[str, Any] = {}
    known = _fields(form)
    for name, field in known.items():
        if name not in values:
            if field.required:
                wrong.append((name, f"{_in_words(name, field.type)} is required."))
            continue
        value = values[name]
        if isinstance(value, str) and not _storable(value):
            wrong.append((name, f"{_in_words(name, field.type)} contains a character that can't be stored."))
            continue
        if isinstance(value, Decimal) and int in _parts(field.type) and value.copy_abs() < MAX_WHOLE and value == int(value):
            value = int(value)
        try:
            good[field.name] = msgspec.convert(value, field.type, strict=strict, dec_hook=_decode)
        except (msgspec.ValidationError, ValueError):
            wrong.append((name, f"{_in_words(name, field.type)} {_rule(field.type)}."))
    wrong += [(_printable(name), f"{_printable(name)} is not known here.") for name in values if name not in known]
    if wrong:
        raise BadInput(*wrong)
    return form(**good)


@functools.cache
def _fields(form: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """By the names that JSON has for them."""
    return {field.encode_name: field for field in msgspec.structs.fields(form)}


def as_uuid(text: str) -> UUID | None:
    """The UUID in its usual text form, or None."""
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None


def _decode(wanted: type, value: object) -> object:
    if issubclass(wanted, Amount):
        return wanted.parse(value)
    raise TypeError(f"a form has no fields of {wanted}")


def _in_words(name: str, wanted: Any) -> str:
    """A field as a sentence begins with it: by the title of its type, otherwise by its name."""
    titles = [part.title for part in _parts(wanted) if isinstance(part, Meta) and part.title]
    return f"The {titles[0] if titles else words(name)}"


def _rule(wanted: Any) -> str:
    """The sentence that a type is described with."""
    parts = list(_parts(wanted))
    for part in parts:
        if isinstance(part, Meta) and part.description:
            return part.description
        if isinstance(part, type) and issubclass(part, Amount):
            return part.description
        if part is UUID:
            return "must be an id"
    choices = [part for part in parts if isinstance(part, str)]
    return f"must be one of {', '.join(choices)}" if choices else "must be text" if wanted is str else "can't be used"


def _parts(wanted: Any) -> Iterator[Any]:
    """A type, and all that it is made of."""
    yield wanted
    for part in get_args(wanted):
        yield from _parts(part)


def _storable(text: str) -> bool:
    try:
        return "\0" not in text and bool(text.encode() or True)
    except UnicodeEncodeError:
        return False


def _printable(name: str) -> str:
    return name[:100].encode("utf-8", "replace").decode()


def _number(text: str) -> object:
    try:
        return Decimal(text)
    except InvalidOperation:  # An exponent beyond all bounds.
        return _NotANumber(text)


class _NotANumber:
    """NaN and the infinities, which JSON does not have but many writers do: no field takes one."""

    def __init__(self, _name: str) -> None: ...


class _Repeated(Exception):
    pass


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Repeated(next(name for name in names if names.count(name) > 1))
    return values


_JSON = json.JSONDecoder(parse_float=_number, parse_int=_number, parse_constant=_NotANumber, object_pairs_hook=_without_repetition)
