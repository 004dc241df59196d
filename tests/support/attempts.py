"""What nobody should send, in every place where something can be sent: values times fields, for JSON, forms, addresses and headers.

scene = await Scene.begin(house)
assert await unwelcome(house, islice(scene.attempts(), 1000)) == []
"""

import asyncio
import base64
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from urllib.parse import quote, urlencode
from uuid import uuid4

import httpx
import msgspec
from support.answers import compare
from support.house import House, Json, Person

from admitone.apidocs.openapi import Operation, is_form, operations
from admitone.services import SERVICES

AT_ONCE = 6
TOO_MUCH = 64 * 1024
OPERATIONS = [operation for service in SERVICES for operation in operations(service) if "/live/" not in operation.path]

TEXTS: dict[str, str] = {
    "NUL": "a\0b",
    "lone surrogate": "\ud800",
    "other lone surrogate": "x\udfff",
    "right to left": "\u202etxet",
    "Hebrew and numbers": "כרטיס 12 אחד",
    "zero width": "a\u200b\u200d\ufeffb",
    "only zero width": "\u200b",
    "combining": "e" + "\u0301" * 50,
    "emoji that are one": "👩‍👩‍👧‍👦",
    "beyond the first plane": "𝕏" * 50,
    "private use": "\ue000\U0010fffd",
    "no character": "\uffff",
    "line separators": "a\u2028b\u2029c\u0085d",
    "new lines": "a\r\nSet-Cookie: session=x\r\n\r\n<b>",
    "tabs and bells": "\t\x07\x08\x1b[31m",
    "DEL": "\x7f",
    "blank": " \u3000\u00a0",
    "Turkish": "İı",
    "capital that grows": "ß" * 100,
    "markup": "<script>alert(1)</script>",
    "attribute": "\" onload='x",
    "template": "{{7*7}}${7*7}#{7*7}%7*7",
    "SQL": "'; DROP TABLE tickets; --",
    "LIKE": "%_\\%",
    "regular expression": "(a+)+$",
    "format": "%s%n{0}{x.__class__}",
    "path": "../../../../etc/passwd",
    "address": "http://169.254.169.254/",
    "percent": "%00%2e%2e%ff",
    "quoted": "\\\"'`",
    "very long": "x" * 60_000,
    "long and wide": "💥" * 10_000,
    "word null": "null",
    "word undefined": "undefined",
    "word NaN": "NaN",
    "word Infinity": "-Infinity",
    "negative": "-1",
    "exponent": "1e3",
    "negative exponent": "1e-400",
    "huge exponent": "1e999999999",
    "hexadecimal": "0x10",
    "underscore": "1_000",
    "plus": "+1",
    "comma": "12,50",
    "Arabic digits": "١٢٫٥٠",
    "full-width digits": "１２.５０",
    "superscript": "²",
    "Roman": "Ⅻ",
    "many digits": "9" * 5000,
    "many decimals": "0." + "3" * 5000,
    "three decimals": "1.005",
    "an id": "00000000-0000-0000-0000-000000000000",
    "an id in braces": "{7f0c1c9e-5a54-4c39-8d53-0c7b2c1d3e4f}",
    "an id in capitals": "7F0C1C9E-5A54-4C39-8D53-0C7B2C1D3E4F",
    "an id without lines": "7f0c1c9e5a544c398d530c7b2c1d3e4f",
    "an id of full width": "７f0c1c9e-5a54-4c39-8d53-0c7b2c1d3e4f",
    "an id with a new line": "7f0c1c9e-5a54-4c39-8d53-0c7b2c1d3e4f\n",
    "an address": "ann@exämple.com",
    "an address in brackets": '"a b"@[127.0.0.1]',
    "a long address": "a@" + "b." * 120 + "com",
    "a time": "0001-01-01T00:00:00+14:00",
    "a cursor": base64.urlsafe_b64encode(json.dumps(["9999-12-31T23:59:59-14:00", str(uuid4())]).encode()).decode(),
    "a cursor of nothing": base64.urlsafe_b64encode(b"[null, null]").decode(),
    "a deep cursor": base64.urlsafe_b64encode(b"[" * 3000).decode(),
    "empty": "",
}
RAW: dict[str, str] = {
    "null": "null",
    "true": "true",
    "a list": "[1, [2], {}]",
    "an object": '{"__proto__": {"a": 1}, "$ne": null}',
    "deep": "[" * 5000 + "]" * 5000,
    "deeper than it ends": '{"a":' * 3000,
    "zero": "0",
    "minus zero": "-0.0",
    "minus one": "-1",
    "beyond 64 bits": "18446744073709551616",
    "thousands of digits": "9" * 6000,
    "a huge exponent": "1e999999999",
    "a tiny exponent": "1e-999999999",
    "exponent": "1.25e1",
    "many decimals": "0." + "1" * 6000,
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "half a surrogate pair": '"\\ud83d"',
    "surrogates the wrong way round": '"\\udc00\\ud800"',
    "escaped NUL": '"\\u0000"',
    "wrong escape": '"\\x00"',
    "unfinished": '"',
    "nothing": "",
    "a comment": "1 /* */",
    "leading zero": "007",
}
"""JSON as it is written, where a field's value stands."""
HEADERS: dict[str, tuple[str, str]] = {
    **{
        f"Host {host[:20]!r}": ("Host", host)
        for host in ("evil.example", "", "localhost:99999", "[::1", "a" * 4000, "127.0.0.1:1", "a b", "x/../y", "ü.example")
    },
    **{
        f"{name} {value[:20]!r}": (name, value)
        for name in ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded")
        for value in ("evil.example", "1.2.3.4, " * 200, "https", "for=\"[::1]\";proto=https;host=evil", "'\"<>", "é")
    },
    **{f"Accept {value[:20]!r}": ("Accept", value) for value in ("*", "text/html;q=nan", "a" * 3000, "application/xml, ;,;q=")},
    **{f"Accept-Encoding {value!r}": ("Accept-Encoding", value) for value in ("br;q=0, *;q=1", "gzip;q=x")},
    **{f"Accept-Language {value[:9]!r}": ("Accept-Language", value) for value in ("*-*-*", "x" * 3000)},
    **{f"Content-Type {value[:30]!r}": ("Content-Type", value) for value in (
        "application/json; charset=utf-16", "application/json; charset=nothing", "application/json;;;",
        "application/x-www-form-urlencoded; charset=utf-7",
        "multipart/form-data", "multipart/form-data; boundary=" + "x" * 200, "*/*", "/", "é",
        "application/json, text/html", "application/msgpack",
    )},
    **{f"Cookie {value[:20]!r}": ("Cookie", value) for value in (
        "session", "=", ";;;", "session=" + "a.b.c", "session=\"quoted\\", "a=b; " * 500, "__Host-session=x", "session=%00", "sessión=é",
    )},
    **{f"Idempotency-Key {value[:9]!r}": ("Idempotency-Key", value) for value in ("", "é", "x" * 256, "a\tb", "' OR 1=1")},
    **{f"X-Correlation-Id {value[:9]!r}": ("X-Correlation-Id", value) for value in ("", "x" * 3000, "{7f0c1c9e}", "é", "0" * 36)},
    **{f"If-None-Match {value[:9]!r}": ("If-None-Match", value) for value in ("*", '"', "x" * 3000)},
    "If-Modified-Since": ("If-Modified-Since", "Mon, 99 Foo 99999999 99:99:99 GMT"),
    "Range": ("Range", "bytes=99999999999999999999-1, -5, 0-"),
    "Expect": ("Expect", "200-maybe"),
    "Upgrade": ("Upgrade", "h2c, websocket"),
    "Transfer-Encoding": ("TE", "trailers, chunked;q=2"),
    "X-HTTP-Method-Override": ("X-HTTP-Method-Override", "DELETE"),
    "Content-Language": ("Content-Language", "\u00e9" * 20),
    "Sec-Fetch-Site": ("Sec-Fetch-Site", "cross-site, same-origin"),
    "Origin": ("Origin", "http://[::1"),
    "HX-Request": ("HX-Request", "true"),
    "Stripe-Signature": ("Stripe-Signature", "t=99999999999999999999,v1=" + "0" * 64 + ",v1=é"),
    "Last-Event-ID": ("Last-Event-ID", "\u00ff" * 100),
}  # fmt: skip
BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "10 MB": (b'{"title": "' + b"x" * 10 * 2**20 + b'"}', {}),
    "10 MB of blanks": (b" " * 10 * 2**20, {}),
    "just over 64 KB": (b" " * (64 * 1024 + 1), {}),
    "deep": (b"[" * 60_000, {}),
    "deep objects": (b'{"a":' * 12_000, {}),
    "a gzip bomb": (gzip.compress(b"[" * 50 * 2**20, 9), {"Content-Encoding": "gzip"}),
    "gzip that is none": (b"{}", {"Content-Encoding": "gzip"}),
    "deflate, br and an unknown one": (b"{}", {"Content-Encoding": "deflate, br, snappy"}),
    "UTF-16": ('{"title": "x"}'.encode("utf-16"), {}),
    "UTF-32": ('{"title": "x"}'.encode("utf-32"), {}),
    "Latin-1": ('{"title": "ü"}'.encode("latin-1"), {}),
    "a byte order mark": (b'\xef\xbb\xbf{"title": "x"}', {}),
    "overlong UTF-8": (b'{"title": "\xc0\xaf"}', {}),
    "a surrogate as UTF-8": (b'{"title": "\xed\xa0\x80"}', {}),
    "truncated UTF-8": (b'{"title": "\xf0\x9f"}', {}),
    "keys given twice": (b'{"title": "a", "title": "b", "price": 1, "price": 2}', {}),
    "thousands of keys": (json.dumps({f"k{number}": number for number in range(4000)}).encode(), {}),
    "thousands of fields": ("&".join(f"k{number}=1" for number in range(5000)).encode(), {}),
    "a field given a thousand times": (b"&".join([b"title=x"] * 1000), {}),
    "percents": (b"title=%&price=%zz&%=%00&=&&&%ud800", {}),
    "semicolons": (b"title=a;price=1", {}),
    "a prototype": (b'{"__proto__": {"title": "x"}, "constructor": {"prototype": {}}}', {}),
    "nothing": (b"", {}),
    "a number": (b"1e999999999", {}),
    "a form with many parts": (b"--x\r\nContent-Disposition: form-data; name=title\r\n\r\na\r\n" * 500 + b"--x--", {}),
}
FORM_FIELDS: dict[str, dict[str, str]] = {
    "/signup": {"email": "x@example.com", "password": "12345678", "next": "/"},
    "/signin": {"email": "x@example.com", "password": "12345678", "next": "/"},
    "/signout": {},
    "/account/password": {"currentPassword": "12345678", "password": "12345678"},
    "/account/sessions/end": {},
    "/account/sessions/{sessionId}/end": {},
    "/sell": {"title": "Front row", "price": "12.50", "note": "At the door", "key": "k" * 20},
    "/tickets/{ticketId}/edit": {"title": "Front row", "price": "12.50", "note": "At the door"},
    "/tickets/{ticketId}/note": {"note": "At the door"},
    "/tickets/{ticketId}/withdrawal": {},
    "/orders": {"ticket": "", "price": "12.50", "key": "k" * 20},
    "/orders/{orderId}/payment": {"card": "4242424242424242", "key": "k" * 20},
    "/orders/{orderId}/extension": {},
    "/orders/{orderId}/cancellation": {},
}
"""A test fails for a form that is not here."""
PAGE_QUERIES: dict[str, tuple[str, ...]] = {
    "/": ("q", "sort", "min", "max", "cursor"),
    "/signin": ("next",),
    "/signup": ("next",),
    "/orders": ("cursor",),
    "/listings": ("cursor",),
}


@dataclass(frozen=True)
class Attempt:
    what: str
    method: str
    path: str
    content: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    as_seller: bool = False


@dataclass(frozen=True)
class Scene:
    """Ann with a ticket, and Bob with an order of another."""

    ann: Person
    bob: Person
    ticket: Json
    order: Json
    url: str

    @classmethod
    async def begin(cls, house: House) -> "Scene":
        ann, bob = await house.people("ann", "bob")
        ticket, another = await ann.lists("Front row", 49.90), await ann.lists("Back row", 49.90)
        return cls(ann, bob, ticket, await bob.buys(another), house.url)

    def attempts(self) -> Iterator[Attempt]:
        """All of them, in an order in which every stretch has something of everything."""
        kinds = [self._in_json(), self._in_forms(), self._in_queries(), self._in_paths(), self._in_headers(), self._as_bodies()]
        while kinds:
            for kind in list(kinds):
                attempt = next(kind, None)
                if attempt is None:
                    kinds.remove(kind)
                else:
                    yield attempt

    def _path(self, operation: Operation, instead: str | None = None) -> str:
        ids = {
            "ticketId": self.ticket["id"],
            "orderId": self.order["id"],
            "name": "style.css",
            "chargeId": str(uuid4()),
            "intentId": "x",
            "sessionId": str(uuid4()),
        }
        return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]] if instead is None else instead, operation.path)

    def _attempt(self, operation: Operation, what: str, path: str, content: bytes = b"", **headers: str) -> Attempt:
        """Something is sent as what it should be, unless the headers say otherwise."""
        kind = "application/json" if operation.service.has_database else "application/x-www-form-urlencoded"
        told = ({"Content-Type": kind} if operation.method in ("POST", "PUT") else {}) | headers
        name = f"{operation.method} {operation.path}: {what}"
        encoded = {name.encode(): value.strip().encode("utf-8", "surrogatepass") for name, value in told.items()}
        return Attempt(name, operation.method, path, content, encoded, as_seller="ticketId" in operation.path)

    def _in_json(self) -> Iterator[Attempt]:
        as_json = {what: json.dumps(text) for what, text in TEXTS.items()} | RAW
        for what, text in as_json.items():
            for operation in OPERATIONS:
                if operation.service.has_database and is_form(operation.documented.body):
                    fields = {one.encode_name: '"x"' for one in msgspec.structs.fields(operation.documented.body)}
                    for name in fields:
                        body = ", ".join(f'"{one}": {text if one == name else good}' for one, good in fields.items())
                        yield self._attempt(operation, f"{name} is {what}", self._path(operation), f"{{{body}}}".encode())

    def _in_forms(self) -> Iterator[Attempt]:
        for what, text in TEXTS.items():
            for operation in OPERATIONS:
                for name in FORM_FIELDS[operation.path] if _is_page_form(operation) else ():
                    filled_in = FORM_FIELDS[operation.path] | {"ticket": self.ticket["id"]} | {name: text}
                    content = urlencode(filled_in, errors="surrogatepass").encode()
                    yield self._attempt(operation, f"{name} is {what}", self._path(operation), content)

    def _in_queries(self) -> Iterator[Attempt]:
        for what, text in TEXTS.items():
            for operation in OPERATIONS:
                for name in _query_of(operation):
                    query = f"{name}={quote(text[:5000], safe='', errors='surrogatepass')}"
                    yield self._attempt(operation, f"?{name} is {what}", f"{self._path(operation)}?{query}")

    def _in_paths(self) -> Iterator[Attempt]:
        for what, text in TEXTS.items():
            for operation in OPERATIONS:
                if "{" in operation.path and text:
                    path = self._path(operation, quote(text[:5000], safe="", errors="surrogatepass"))
                    yield self._attempt(operation, f"its id is {what}", path, b"{}")

    def _in_headers(self) -> Iterator[Attempt]:
        """Each header at every fourth route: nothing about them is a matter of one route, but nearly nothing."""
        for number, (what, (name, value)) in enumerate(HEADERS.items()):
            for operation in islice(OPERATIONS, number % 4, None, 4):
                yield self._attempt(operation, what, self._path(operation), b"{}", **{name: value})

    def _as_bodies(self) -> Iterator[Attempt]:
        for what, (content, headers) in BODIES.items():
            for operation in OPERATIONS:
                if operation.method in ("POST", "PUT"):
                    yield self._attempt(operation, f"its body is {what}", self._path(operation), content, **headers)


def _is_page_form(operation: Operation) -> bool:
    return not operation.service.has_database and operation.method == "POST"


def _query_of(operation: Operation) -> tuple[str, ...]:
    if not operation.service.has_database:
        return PAGE_QUERIES.get(operation.path, ()) if operation.method == "GET" else ()
    return tuple(one.encode_name for one in msgspec.structs.fields(operation.documented.query)) if operation.documented.query else ()


async def unwelcome(scene: Scene, attempts: Iterable[Attempt]) -> list[str]:
    """Makes these attempts, a few at once. A sentence for each that was answered with a 5xx, or as no document says it."""
    found: list[str] = []
    left = iter(attempts)

    async def makes(client: httpx.AsyncClient) -> None:
        for attempt in left:
            person = scene.ann if attempt.as_seller else scene.bob
            cookie = {} if attempt.path.endswith("/signout") else {b"Cookie": f"session={person.client.cookies['session']}".encode()}
            request = client.build_request(attempt.method, attempt.path, content=attempt.content, headers=cookie | attempt.headers)
            try:
                answer = await client.send(request)
                if answer.status_code == 503:  # It may have been busy. What an input leads to, it leads to again.
                    answer = await client.send(request)
            except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError) as error:
                if len(attempt.content) < TOO_MUCH:  # Otherwise it has heard enough, and hung up.
                    found.append(f"{attempt.what}: {error!r}")
                continue
            client.cookies.clear()
            if answer.status_code >= 500:
                found.append(f"{attempt.what}: {answer.status_code} {answer.text[:300]}")
            else:
                try:
                    compare(answer)
                except Exception as error:
                    found.append(f"{attempt.what}: {error!r}"[:500])

    async with httpx.AsyncClient(base_url=scene.url, timeout=60, verify=False) as client:
        await asyncio.gather(*(makes(client) for _ in range(AT_ONCE)))
    return found
