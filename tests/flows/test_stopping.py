"""A process that has to end because one of its loops has died."""

import asyncio
import signal
import socket
from typing import Any

import httpx

from admitone.kit.http.asgi import respond
from admitone.runtime.server import serve


async def test_what_is_under_way_is_answered_before_what_it_needs_is_taken_away() -> None:
    begun, go_on, taken_away = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        begun.set()
        await go_on.wait()
        await respond(send, 500 if taken_away.is_set() else 200, {})

    async def process(listening: socket.socket) -> None:
        try:
            await serve(app, listening, lambda: None)
        finally:
            taken_away.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(process(listening))
        async with httpx.AsyncClient() as client:
            asking = asyncio.create_task(client.get(f"http://127.0.0.1:{listening.getsockname()[1]}/"))
            await begun.wait()
            serving.cancel()
            for _ in range(10):
                await asyncio.sleep(0)  # Long enough for whoever does not wait.
            go_on.set()
            assert (await asking).status_code == 200
        await asyncio.wait([serving])
    assert serving.cancelled()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)
