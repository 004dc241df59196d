"""Many buyers of one ticket, all at the same instant, over connections that are open and sessions that are known."""

import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

from bench.book import cost_of
from bench.client import Request
from bench.people import list_tickets
from bench.run import Run
from bench.stage import BenchError

GIVE_UP_SECONDS = 30


async def dogpile_of_200(run: Run) -> None:
    await _dogpile(run, 200)


async def dogpile_of_2000(run: Run) -> None:
    await _dogpile(run, 2000)


async def _dogpile(run: Run, buyers: int) -> None:
    """From the first byte that is sent to the last answer. Each buyer has looked at the ticket before, so the session is known."""
    [ticket] = await list_tickets(run.stage, 1)
    sessions = [run.people.session() for _ in range(buyers)]
    looks = [Request.of("GET", "/api/users/currentuser", cookie=token) for token in sessions]
    orders = [Request.of("POST", "/api/orders", cookie=token, body={"ticketId": str(ticket)}) for token in sessions]
    connections = _connected(run.stage.url, buyers)
    try:
        for part in range(0, buyers, 50):  # Not all at once: it is no part of what is measured.
            _all_at_once(connections[part : part + 50], looks[part : part + 50])
        await run.watch.until_quiet()
        with run.stage.meter.measure() as used:
            statuses, seconds = _all_at_once(connections, orders)
            await run.watch.until_quiet()
    finally:
        for connection in connections:
            connection.close()
    if statuses != {201: 1, 409: buyers - 1}:
        raise BenchError(f"Of {buyers} buyers of one ticket, the answers were {dict(statuses)}.")
    run.book.add(f"dogpile_{buyers}", seconds * 1000, used, cost_of(used, buyers, run.idle_cores))


def _connected(url: str, number: int) -> list[socket.socket]:
    address = urlsplit(url)
    connections = [socket.create_connection((address.hostname, address.port)) for _ in range(number)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connections


def _all_at_once(connections: Sequence[socket.socket], requests: Sequence[Request]) -> tuple[Counter[int], float]:
    """How often each status was answered, and the seconds from the first byte to the last answer. It does nothing else meanwhile."""
    statuses = Counter[int]()
    received = {connection.fileno(): b"" for connection in connections}
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ, connection)
        begun = time.perf_counter()
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request.raw)
        while (waiting := len(connections) - statuses.total()) > 0:
            ready = selector.select(GIVE_UP_SECONDS)
            if not ready:
                raise BenchError(f"{waiting} of {len(connections)} requests were not answered within {GIVE_UP_SECONDS} s.")
            for key, _ in ready:
                part = key.data.recv(65536)
                if not part:
                    raise BenchError("A connection was closed without an answer.")
                received[key.fd] += part
                if _is_whole(received[key.fd]):
                    statuses[int(received[key.fd][9:12])] += 1
                    selector.unregister(key.data)
        return statuses, time.perf_counter() - begun


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
    return bool(end) and (length is None or len(body) >= int(length[1]))
