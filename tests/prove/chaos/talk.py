"""HTTP for a crowd: no more than it needs, so that the machine's time is left to what is being tried."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

GIVEN_UP_SECONDS = 2.0
"""An idle connection is not used again after this: the other side may be closing it."""
LOST = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)
"""What says that the connection broke, or that half an answer came."""


@dataclass
class Told:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """Of JSON; None for anything else."""
        return json.loads(self.content) if self.content and "json" in self.headers.get("content-type", "") else None


class Line:
    """Connections to one server; those that work are used again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []

    async def request(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Told:
        """Raises one of LOST."""
        reader, writer = await self._connection()
        try:
            content = b"" if body is None else json.dumps(body).encode()
            sent = {"Host": f"127.0.0.1:{self.port}", "Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
            head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
            writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
            told = await _answer(reader)
        except BaseException:
            writer.transport.abort()
            raise
        self._idle.append((reader, writer, time.monotonic()))
        return told

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer, since = self._idle.pop()
            if time.monotonic() - since < GIVEN_UP_SECONDS and not reader.at_eof():
                return reader, writer
            writer.transport.abort()
        return await asyncio.open_connection("127.0.0.1", self.port)


async def _answer(reader: asyncio.StreamReader) -> Told:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    status = int(head[0].split(" ")[1])
    if status == 204:
        return Told(status, headers, b"")
    if "content-length" in headers:
        return Told(status, headers, await reader.readexactly(int(headers["content-length"])))
    content = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        content += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return Told(status, headers, content)
