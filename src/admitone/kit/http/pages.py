"""What all HTML pages and static files have in common: templates, the content security policy, headers, compression."""

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
COMPRESSED_TYPES = (".woff2", ".png")
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}
"""Of every page and static file."""
STATIC_CACHE_CONTROL = "public, max-age=86400"
"""A day: the address of a static file changes with its content."""
ACCEPTS_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")


def policy(*, form_action: str, **sources: str) -> str:
    """The Content-Security-Policy of a page: our own styles, fonts and images; scripts and the like only where they are named.

    `policy(form_action="'none'", script_src="'self'")` allows our own scripts, and no form.
    """
    base = "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    named = {"form_action": form_action, **sources}
    return "; ".join([base, *(f"{name.replace('_', '-')} {value}" for name, value in named.items())])


def environment(templates: Path) -> Environment:
    """Templates that escape by default and fail for a name that is not given."""
    return Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether this Accept-Encoding header takes gzip."""
    return ACCEPTS_GZIP.search(accept_encoding) is not None


@dataclass(frozen=True)
class File:
    """One static file, read and compressed once."""

    media_type: str
    content: bytes
    compressed: bytes | None
    """As gzip; None where that would gain nothing."""
    digest: str

    def encoded(self, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
        """The body for a client that sends this Accept-Encoding header, and the headers that go with it."""
        headers = {**HEADERS, "Cache-Control": STATIC_CACHE_CONTROL, "Vary": "Accept-Encoding"}
        if self.compressed is not None and accepts_gzip(accept_encoding):
            return self.compressed, {**headers, "Content-Encoding": "gzip"}
        return self.content, headers


class StaticFiles:
    """Static files below one prefix, by their names there."""

    def __init__(self, prefix: str, paths: Mapping[str, Path]) -> None:
        self.prefix = prefix
        self.files = {name: _read(path) for name, path in paths.items()}

    def address(self, name: str) -> str:
        """An address that changes with the content of the file, so that browsers may keep it."""
        return f"{self.prefix}/{name}?{self.files[name].digest}"


def files_below(folder: Path) -> dict[str, Path]:
    """Every file in a folder and its folders, by its path there."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _read(path: Path) -> File:
    content = path.read_bytes()
    compressed = None if path.suffix in COMPRESSED_TYPES else gzip.compress(content, mtime=0)
    return File(TYPES.get(path.suffix, "text/plain"), content, compressed, hashlib.sha256(content).hexdigest()[:12])
