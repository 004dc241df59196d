"""HTTP over a bare socket: prepared bytes out, a status and a body in. It costs a tenth of what a real client does."""

import asyncio
import json
import socket
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """A request as it goes over the wire."""

    raw: bytes

    @classmethod
    def of(cls, method: str, path: str, *, cookie: str = "", body: object = None, key: str = "") -> "Request":
        """A request as our own pages and clients would send it; `cookie` is a session's token, `key` an Idempotency-Key."""
        content = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body, separators=(",", ":")).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
        if cookie:
            lines.append(f"Cookie: session={cookie}")
        if key:
            lines.append(f"Idempotency-Key: {key}")
        if body is not None:
            kind = "application/x-www-form-urlencoded" if isinstance(body, str) else "application/json"
            lines += [f"Content-Type: {kind}", f"Content-Length: {len(content)}"]
        return cls("\r\n".join([*lines, "", ""]).encode() + content)


@dataclass(frozen=True)
class Answer:
    status: int
    head: bytes
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str:
        """Its value; empty where it is not there."""
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.decode().lower() == name:
                return value.strip().decode()
        return ""


class Connection:
    """One connection that is kept open. One request at a time."""

    def __init__(self, url: str) -> None:
        self.url = urlsplit(url)
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(self.url.hostname, self.url.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self, request: Request) -> Answer:
        self.send(request)
        return await self.answer()

    def send(self, request: Request) -> None:
        """The bytes leave at once, if the kernel has room for them."""
        self.writer.write(request.raw)

    async def answer(self) -> Answer:
        """Raises IncompleteReadError when the connection ends first."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        answer = Answer(int(head[9:12]), head, b"")
        length = answer.header("content-length")
        if length:
            return Answer(answer.status, head, await self.reader.readexactly(int(length)))
        if answer.header("transfer-encoding") == "chunked":
            return Answer(answer.status, head, await self._chunks())
        return answer

    async def _chunks(self) -> bytes:
        parts = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return b"".join(parts)


class BlockingConnection:
    """One connection of somebody who does nothing but wait: no event loop takes its time from the answer."""

    def __init__(self, url: str) -> None:
        self.url = urlsplit(url)
        self.socket: socket.socket

    def __enter__(self) -> Self:
        self.socket = socket.create_connection((self.url.hostname, self.url.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, request: Request) -> tuple[int, Any]:
        """The status, and the JSON of the body."""
        self.socket.sendall(request.raw)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        answer = Answer(int(head[9:12]), head, body)
        while len(body) < int(answer.header("content-length")):
            body += self._more()
        return answer.status, json.loads(body)

    def _more(self) -> bytes:
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the connection was closed without an answer")
        return part
