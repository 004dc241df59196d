"""Three NATS servers that are one cluster, with a user per service, as in production: each can be killed and started again."""

import contextlib
import json
import secrets
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import nats
from nats.js.api import StreamInfo
from support.house import eventually

from admitone.kit.delivery.bus import BUS_ERRORS, STREAM
from admitone.runtime.nats_users import USERS, users
from admitone.runtime.programs import free_port, nats_program

NAMES = ("one", "two", "three")


class NatsCluster:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passwords = {name: secrets.token_urlsafe(12) for name in ("admin", *USERS)}
        self.ports = {name: free_port() for name in NAMES}
        self.routes = {name: free_port() for name in NAMES}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def url_of(self, user: str) -> str:
        """All three servers; the user is named once."""
        return f"nats://{user}:{self.passwords[user]}@" + ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    @property
    def settings(self) -> dict[str, str]:
        own = {f"ADMITONE_{name.upper()}_NATS_URL": self.url_of(name) for name in USERS}
        return {"NATS_URL": self.url_of("admin"), "ADMITONE_STREAM_REPLICAS": "3", **own}

    def start(self, name: str) -> None:
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self.routes.values())
        file = self.folder / f"{name}.conf"
        file.write_text(
            f"""
            listen: "127.0.0.1:{self.ports[name]}"
            server_name: {name}
            jetstream {{ store_dir: {json.dumps(str(self.folder / name))}, max_memory_store: 64MB, sync_interval: always }}
            cluster {{ name: admitone, listen: "127.0.0.1:{self.routes[name]}", routes: [{routes}] }}
            authorization {{ users: [
            {{ user: admin, password: "{self.passwords["admin"]}" }}
            {users(self.passwords)}
            ] }}
            """
        )
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen([nats_program(), "-c", str(file)], stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    async def stream(self) -> StreamInfo | None:
        """What the cluster says of the stream; None while it has no answer."""
        with contextlib.suppress(*BUS_ERRORS):
            client = await nats.connect(
                [f"nats://127.0.0.1:{port}" for port in self.ports.values()],
                user="admin",
                password=self.passwords["admin"],
                connect_timeout=1,
                max_reconnect_attempts=3,
            )
            try:
                return await client.jetstream(timeout=1).stream_info(STREAM)
            finally:
                await client.close()
        return None

    async def leader(self) -> str:
        """Who leads the stream, as soon as somebody does and all its copies are up to date."""

        async def look() -> str:
            info = await self.stream()
            cluster = info.cluster if info else None
            if cluster is None or not cluster.leader or cluster.leader not in self.processes:
                return ""
            behind = [peer for peer in cluster.replicas or () if not peer.current]
            return "" if len(behind) > len(NAMES) - len(self.processes) else cluster.leader

        return await eventually(look, seconds=60)


@contextlib.asynccontextmanager
async def nats_cluster(folder: Path) -> AsyncIterator[NatsCluster]:
    cluster = NatsCluster(folder)
    try:
        for name in NAMES:
            cluster.start(name)
        yield cluster
    finally:
        for name in list(cluster.processes):
            cluster.kill(name)
