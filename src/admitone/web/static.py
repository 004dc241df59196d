"""The pages' static files: styles, scripts, fonts and icons."""

from pathlib import Path
from typing import Any

from litestar import Response, get

from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.pages import StaticFiles, files_below
from admitone.kit.http.problem import NotFound

STATIC = Path(__file__).parent / "static"
FILES = StaticFiles("/static", files_below(STATIC))


@get("/static/{name:path}")
async def static_file(request: AnyRequest, name: str) -> Response[Any]:
    file = FILES.files.get(name.lstrip("/"))
    if file is None:
        raise NotFound
    body, headers = file.encoded(request.headers.get("accept-encoding", ""))
    return Response(body, headers=headers, media_type=file.media_type.partition(";")[0])  # Litestar adds the charset.
