"""Serves an ASGI app on a socket until a signal or a cancellation ends it."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn

from admitone.kit.observe.log import log
from admitone.kit.observe.metrics import STREAMS

KEEP_ALIVE_SECONDS = 75
"""Longer than a proxy keeps a connection to us (nginx: 60 s): otherwise it might send a request just when we close."""
GARBAGE_AFTER_OBJECTS = 20_000
"""Python looks for cycles of dead objects after 700 new ones."""


class _Server(uvicorn.Server):
    """Handles no signals itself: uvicorn would raise them again once it has stopped."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


class _WithStreams:
    """Ends the app's open event streams on shutdown: they have no end of their own."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.open: set[asyncio.Task[Any]] = set()
        self.ending = False
        STREAMS.set_function(lambda: len(self.open))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        def send_tracking_streams(message: Any) -> Any:
            if message["type"] == "http.response.start" and any(
                name == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"]
            ):
                return begin(message)
            return send(message)

        async def begin(message: Any) -> None:
            await send(message)
            self.open.add(task := _this_task())
            if self.ending:
                task.cancel()

        try:
            await self.app(scope, receive, send_tracking_streams)
        except asyncio.CancelledError:
            if not self.ending:
                raise
            await send({"type": "http.response.body", "body": b""})
        finally:
            if self.open:
                self.open.discard(_this_task())

    def end(self) -> None:
        self.ending = True
        for task in self.open:
            task.cancel()


def _collect_garbage_rarely() -> None:
    """What was loaded until now stays for good: the collector need not walk through it again and again, for each thousand requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER_OBJECTS, 10, 10)


def _this_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None
    return task


@contextlib.asynccontextmanager
async def serving_beside(app: Any, listening: socket.socket | None) -> AsyncIterator[None]:
    """Serve this app, too, for as long as the block runs; nothing where there is no socket for it."""
    if listening is None:
        yield
        return
    server = _Server(
        uvicorn.Config(app, interface="asgi3", lifespan="off", log_config=None, access_log=False, server_header=False, proxy_headers=False)
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = server.force_exit = True
        await serving


async def serve(app: Any, listening: socket.socket, on_ready: Callable[[], None], drain_seconds: int = 2) -> None:
    """Answer requests until SIGINT or SIGTERM, or until cancelled; then finish what is under way, but no longer than `drain_seconds`."""
    streams = _WithStreams(app)
    server = _Server(
        uvicorn.Config(
            streams,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=drain_seconds,
        )
    )

    def stop() -> None:
        if server.should_exit:
            server.force_exit = True
        server.should_exit = True
        streams.end()

    _collect_garbage_rarely()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)

    async def announce() -> None:
        while not server.started:
            await asyncio.sleep(0.005)
        on_ready()

    announcing = asyncio.create_task(announce())
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:  # A loop of ours has died. What requests need is there still, and is taken away after this.
        stop()
        await serving
        raise
    finally:
        announcing.cancel()
        log.info("stopped")
