"""A real nginx in front of several processes, as an ingress: it can be told to leave one of them out."""

import contextlib
import getpass
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
from support.house import eventually

from admitone.runtime.programs import free_port

CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; user {user}; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
    scgi_temp_path {folder}/s;
    upstream services {{ {servers} keepalive 32; }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 64k;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_connect_timeout 2s;
        proxy_next_upstream error timeout;
        proxy_next_upstream_tries 2;
        location = /metrics {{ return 404; }}
        location = /readyz {{ return 404; }}
        location /live/ {{ proxy_buffering off; proxy_read_timeout 3600s; proxy_pass http://services; }}
        location / {{ proxy_pass http://services; }}
    }}
}}
"""


class Nginx:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.file = folder / "nginx.conf"

    def configure(self, urls: Sequence[str]) -> None:
        servers = " ".join(f"server {url.removeprefix('http://')} max_fails=0;" for url in urls)
        self.file.write_text(CONFIG.format(folder=self.folder, port=self.port, servers=servers, user=getpass.getuser()))

    async def routes_to(self, *urls: str) -> None:
        """Only these get new requests from now on; the worker that knew the others has ended."""
        old = self._workers()
        self.configure(urls)
        subprocess.run(["nginx", "-p", self.folder, "-c", self.file, "-s", "reload"], check=True, capture_output=True)

        async def changed() -> bool:
            now = self._workers()
            return bool(now) and not now & old  # One that has not ended yet still sends its clients' next requests to the old places.

        await eventually(changed)

    def _workers(self) -> set[str]:
        master = (self.folder / "nginx.pid").read_text().strip()
        found = subprocess.run(["pgrep", "-P", master], capture_output=True, text=True, check=False)
        return set(found.stdout.split())


@contextlib.asynccontextmanager
async def nginx(folder: Path, *urls: str) -> AsyncIterator[Nginx]:
    it = Nginx(folder)
    it.configure(urls)
    process = subprocess.Popen(["nginx", "-p", folder, "-c", it.file], stderr=subprocess.DEVNULL)
    try:
        async with httpx.AsyncClient() as client:

            async def answers() -> bool:
                with contextlib.suppress(httpx.HTTPError):
                    return (await client.get(f"{it.url}/healthz")).status_code == 200
                return False

            await eventually(answers)
        yield it
    finally:
        process.terminate()
        process.wait()
