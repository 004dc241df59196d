"""Static files: read once, and packed once for every browser that can unpack them."""

import gzip
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litestar import Response, get

from admitone.kit.http.app import AnyRequest
from admitone.kit.http.problem import NotFound

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
PACKED_ALREADY = (".woff2", ".png")
HEADERS = {
    "Cache-Control": "public, max-age=86400",  # Its address changes with its content.
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}
GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")


@dataclass(frozen=True)
class File:
    media_type: str
    content: bytes
    packed: bytes | None
    """As gzip has it; None where that would gain nothing."""


def _read(path: Path) -> File:
    content = path.read_bytes()
    packed = None if path.suffix in PACKED_ALREADY else gzip.compress(content, mtime=0)
    return File(TYPES.get(path.suffix, "text/plain"), content, packed)


FILES = {f"/{path.relative_to(STATIC).as_posix()}": _read(path) for path in STATIC.rglob("*") if path.is_file()}


@get("/static/{name:path}")
async def static_file(request: AnyRequest, name: str) -> Response[Any]:
    file = FILES.get(name)
    if file is None:
        raise NotFound
    if file.packed and unpacks(request):
        return Response(file.packed, headers=HEADERS | {"Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.content, headers=HEADERS, media_type=file.media_type)


def unpacks(request: AnyRequest) -> bool:
    """Whether whoever asks takes gzip for an answer."""
    return GZIP.search(request.headers.get("accept-encoding", "")) is not None
