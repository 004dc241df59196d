"""The NATS servers of the manifests as processes of this machine: three that are one cluster, with a user per service.

They run with the very files of the StatefulSet. Only ports, folders and the addresses of the routes are other ones. Each can be killed and
started again.
"""

import contextlib
import functools
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import nats
from nats.js.api import StreamInfo
from support.house import eventually
from support.manifests import MANIFESTS

from admitone.kit.delivery.bus import BUS_ERRORS, STREAM
from admitone.runtime.nats_users import USERS
from admitone.runtime.programs import free_port, nats_program
from admitone.runtime.secrets_folder import ADMINISTRATOR, make_secrets

CLIENT, ROUTE, MONITOR = 4222, 6222, 8222


def files_of_the_manifests() -> dict[str, str]:
    return {name: (MANIFESTS / "components/nats" / name).read_text() for name in ("nats.conf", "cluster.conf")}


class NatsCluster:
    """`files`: nats.conf and what it includes, but for users.conf, which is taken from the folder `secrets`."""

    def __init__(self, folder: Path, secrets: Path, files: Mapping[str, str], servers: int = 3) -> None:
        self.folder = folder
        self.secrets = secrets
        self.files = files
        self.names = tuple(f"nats-{number}" for number in range(servers))
        self.ports = {name: {usual: free_port() for usual in (CLIENT, ROUTE, MONITOR)} for name in self.names}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def address(self, host: str = "127.0.0.1") -> str:
        """All servers, without a user."""
        return ",".join(f"nats://{host}:{ports[CLIENT]}" for ports in self.ports.values())

    def url_of(self, user: str) -> str:
        """As the secrets have it; ADMINISTRATOR may do everything."""
        return (self.secrets / ("nats" if user == ADMINISTRATOR else user) / "nats-url").read_text()

    def monitor_of(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name][MONITOR]}"

    @property
    def settings(self) -> dict[str, str]:
        own = {f"ADMITONE_{name.upper()}_NATS_URL": self.url_of(name) for name in USERS}
        return {"NATS_URL": self.url_of(ADMINISTRATOR), "ADMITONE_STREAM_REPLICAS": "3", **own}

    def start(self, name: str) -> None:
        own = self.folder / name
        own.mkdir(exist_ok=True)
        here = {
            f"port: {CLIENT}": f"listen: 127.0.0.1:{self.ports[name][CLIENT]}",
            f"port: {ROUTE}": f"listen: 127.0.0.1:{self.ports[name][ROUTE]}",
            f"http: {MONITOR}": f"http: 127.0.0.1:{self.ports[name][MONITOR]}",
            **{f"{peer}.nats-headless:{ROUTE}": f"127.0.0.1:{self.ports[peer][ROUTE]}" for peer in self.names},
            "/var/run/nats": str(own),
            "/data": str(own / "data"),
        }
        for file, text in self.files.items():
            (own / file).write_text(functools.reduce(lambda done, pair: done.replace(*pair), here.items(), text))
        (own / "users.conf").write_text((self.secrets / "nats" / "users.conf").read_text())
        command = [nats_program(), "--config", str(own / "nats.conf")]
        with (own / "log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env={"POD_NAME": name}, stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """All of them, for as long as the block runs."""
        try:
            for name in self.names:
                self.start(name)
            yield
        finally:
            for name in list(self.processes):
                self.kill(name)

    async def stream(self) -> StreamInfo | None:
        """What the cluster says of the stream; None while it has no answer."""
        with contextlib.suppress(*BUS_ERRORS):
            client = await nats.connect(
                self.url_of(ADMINISTRATOR).split(","),
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
            return "" if len(behind) > len(self.names) - len(self.processes) else cluster.leader

        return await eventually(look, seconds=60)


@contextlib.contextmanager
def nats_cluster(folder: Path) -> Iterator[NatsCluster]:
    """The three servers of the component, with passwords of their own."""
    cluster = NatsCluster(folder, folder / "secrets", files_of_the_manifests())
    make_secrets(cluster.secrets, "postgresql://127.0.0.1", cluster.address())
    with cluster.running():
        yield cluster
