"""A long list, a page at a time: a cursor says after which row the next page begins, so that no page is slower than the first."""

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.problem import BadInput

Item = TypeVar("Item")

LINK = {"Link": 'Where the list goes on, with `rel="next"`; it is not there on the last page.'}
"""For the documents: the header of an answer that is one page of a list."""
Limit = Annotated[int, Meta(ge=1, le=100, description="must be a whole number from 1 to 100")]


class Page(Struct):
    """The limit and the cursor of a list request."""

    limit: Limit = 100
    cursor: str | None = None


def after(cursor: str | None, by: type[datetime] | type[int]) -> tuple[datetime | int, UUID] | tuple[None, None]:
    """The row after which a page begins: what the list is sorted by, and the row's id. Raises BadInput for a cursor of no list."""
    if cursor is None:
        return None, None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        sorted_by: datetime | int
        sorted_by, row_id = msgspec.json.decode(text, type=tuple[by, UUID])  # type: ignore[valid-type]
        if isinstance(sorted_by, datetime):
            return sorted_by.astimezone(UTC), row_id
        if not 0 <= sorted_by < 2**63:
            raise ValueError(sorted_by)
        return sorted_by, row_id
    except (ValueError, OverflowError, msgspec.MsgspecError):
        raise BadInput(("cursor", "The cursor is not one that this list has given, with the same sort.")) from None


def cursor_of(sorted_by: datetime | int, row_id: UUID) -> str:
    """The cursor for the rows after this one."""
    return base64.urlsafe_b64encode(msgspec.json.encode((sorted_by, row_id))).decode().rstrip("=")


def links(request: AnyRequest, found: Sequence[Item], limit: int, place: Callable[[Item], tuple[datetime | int, UUID]]) -> dict[str, str]:
    """The Link header that leads to the next page, where one more row was found than the page holds.

    `place` tells of a row what `after` is to give back: what the list is sorted by, and the row's id.
    """
    if len(found) <= limit:
        return {}
    cursor = cursor_of(*place(found[limit - 1]))
    query = urlencode({**{name: value for name, value in request.query_params.items() if name != "cursor"}, "cursor": cursor})
    return {"Link": f'<{request.url.path}?{query}>; rel="next"'}
