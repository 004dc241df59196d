"""The script that shows whether a marketplace works, by selling a ticket in it."""

import asyncio
import base64
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from support.house import House

from admitone.payments.model import NotPayableYet
from admitone.runtime.programs import free_port

SCRIPT = Path(__file__).parents[2] / "scripts/sell_a_ticket.sh"
ALLOWED = "Basic " + base64.b64encode(b'team:a "quoted" \\ one').decode()


async def run(url: str, **environment: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        SCRIPT, url, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


@contextlib.asynccontextmanager
async def proxy(house: House, *, refuse: str = "", not_yet: str = "") -> AsyncIterator[str]:
    """In front of the marketplace: lets the team in, refuses one path always, and another once as a service that has not heard yet."""
    late = {not_yet}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        request, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = request.split(" ")
        if headers.get("authorization") != ALLOWED:
            answered = httpx.Response(401, text="<h1>401 Authorization Required</h1>")
        elif refuse and path.startswith(refuse):
            answered = httpx.Response(503, text="<h1>503 Service Temporarily Unavailable</h1>")
        elif path in late:
            late.remove(path)
            answered = httpx.Response(409, json={"type": NotPayableYet.urn(), "title": "Not payable yet"})
        else:
            kept = {name: value for name, value in headers.items() if name in ("cookie", "content-type")}
            async with httpx.AsyncClient(verify=False) as client:
                answered = await client.request(method, house.url + path, headers=kept, content=body)
        cookies = "".join(f"Set-Cookie: {cookie}\r\n" for cookie in answered.headers.get_list("set-cookie"))
        writer.write(f"HTTP/1.1 {answered.status_code} -\r\n{cookies}Content-Length: {len(answered.content)}\r\n".encode())
        writer.write(b"Connection: close\r\n\r\n" + answered.content)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_it_sells_a_ticket(house: House) -> None:
    code, output, errors = await run(f"{house.url}/")
    assert (code, errors) == (0, "")
    assert output.startswith(f"A ticket was sold at {house.url}: order ")
    order = output.partition("order ")[2].partition(" ")[0]
    assert await house.rows("orders", "SELECT status FROM orders WHERE order_id = $1::text::uuid", order) == [{"status": "complete"}]


async def test_it_sells_a_ticket_where_only_the_team_may_look(house: House) -> None:
    async with proxy(house) as url:
        code, _, errors = await run(url)
        assert (code, errors) == (
            1,
            "No ticket was sold: the seller can't sign up: 401 Unauthorized. Where only the team may look, set TEAM=team:password.\n",
        )
        code, output, errors = await run(url, TEAM='team:a "quoted" \\ one')
        assert (code, errors) == (0, "")
        assert "is complete" in output


async def test_it_says_at_which_step_nothing_went_on(house: House) -> None:
    async with proxy(house, refuse="/api/payments") as url:
        code, output, errors = await run(url, TEAM='team:a "quoted" \\ one')
    assert (code, output) == (1, "")
    assert errors == "No ticket was sold: the order can't be paid: 503 from something that is not Admit One.\n"


async def test_it_asks_again_where_a_service_has_not_heard_yet(house: House) -> None:
    async with proxy(house, not_yet="/api/payments") as url:
        assert (await run(url, TEAM='team:a "quoted" \\ one'))[0] == 0


async def test_a_wrong_address_is_said_in_a_sentence() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    code, output, errors = await run(url)
    assert (code, output) == (1, "")
    assert errors.startswith(f"No ticket was sold: {url} can't be reached (curl: (7) ")
