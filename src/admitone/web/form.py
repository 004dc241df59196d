"""What comes from a browser: a form's fields, the place to go back to. Nothing of it is trusted."""

import re
import secrets
from collections.abc import Container, Mapping
from urllib.parse import parse_qsl

from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.problem import Problem
from admitone.web.api import Refused

MAX_FIELDS = 50


class UnreadableForm(Problem):
    """This form can't be read."""

    status = 400


async def read_form(request: AnyRequest) -> dict[str, str]:
    """The fields of an urlencoded body, the first of each name.

    Not by Litestar's `request.form()`: that keeps the last thousand bodies in a cache, passwords and card numbers included.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return {}
    text = (await request.body()).decode("utf-8", "replace")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise UnreadableForm from error
    return dict(reversed(pairs))


def key_of(fields: Mapping[str, str]) -> str:
    """The form's Idempotency-Key: it was drawn when the form was rendered, so that a double click has one effect."""
    key = fields.get("key", "")
    return key if re.fullmatch(r"[A-Za-z0-9_-]{16,64}", key) else new_key()


def new_key() -> str:
    return secrets.token_urlsafe(18)


def safe_next(text: str) -> str:
    """Where to go on after signing in: a path of our own, or the front page. Never another site."""
    relative = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if relative and len(text) <= 1000 and not re.search(r"[\x00-\x1f\x7f-\x9f]", text) else "/"


def errors_by_field(refused: Refused, fields: Container[str]) -> dict[str, str]:
    """The sentences about each wrong field of a form; what is about none of its fields is under ''."""
    found: dict[str, list[str]] = {}
    for error in refused.errors or [{"field": "", "message": refused.detail}]:
        found.setdefault(error["field"] if error["field"] in fields else "", []).append(error["message"])
    return {field: " ".join(sentences) for field, sentences in found.items()}
