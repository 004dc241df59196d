"""The manifests of staging sell a ticket: podman plays every Deployment and Job of theirs, and people come in through the Ingress.

The engines beside are made as the manifests have them, too: roles and databases of the Cluster, the NATS servers of the StatefulSet.
Only what podman can't do is changed (support/kube_play.py).
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest
from conftest import reachable
from nats.aio.client import Client
from nats.errors import Error as NatsError
from support import processes
from support.house import Person, eventually
from support.ingress import Ingress, port_of
from support.kube_play import Machine, container_of, playable
from support.managed_postgres import create_managed
from support.manifests import Object, containers_of, find, nats_files, objects_of, of_kind, quantity
from support.nats_cluster import NatsCluster
from support.podman import IMAGE, UID, inspect, podman, podman_configured, status_of
from support.sales import sells

from admitone.config import SERVICES_WITH_A_DATABASE, TEST_PROCESSOR
from admitone.runtime.engines import Engines
from admitone.runtime.secrets_folder import make_secrets

READY_WITHIN_SECONDS = 90
"""As many as the startup probe allows; it takes about ten."""


@dataclass(frozen=True)
class Market:
    objects: list[Object]
    machine: Machine
    ingress: Ingress
    engines: Engines
    nats: NatsCluster
    containers: dict[str, str]
    """What podman calls the container of each Deployment."""

    @property
    def deployments(self) -> Iterator[tuple[str, Object, str]]:
        """Name, the manifest, and the container."""
        for name, container in self.containers.items():
            yield name, find(self.objects, "Deployment", name), container

    @property
    def team(self) -> tuple[str, str]:
        return "team", (self.machine.secrets / "team" / "password").read_text()

    def url_of(self, name: str, probe: Object) -> str:
        """What a kubelet asks."""
        deployment = find(self.objects, "Deployment", name)
        return f"http://{self.machine.addresses[name]}:{port_of(deployment, probe['httpGet']['port'])}{probe['httpGet']['path']}"


@pytest.fixture(scope="module")
async def market(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Market]:
    """As the manual has it: secrets, engines, migrations, services, ingress."""
    folder = reachable(tmp_path_factory.mktemp("played"))
    objects = objects_of("staging")
    engines = Engines(reachable(tmp_path_factory.mktemp("postgres")), lambda line: None, durable=False)
    nats = NatsCluster(folder, folder / "secrets", nats_files(objects), find(objects, "StatefulSet", "nats")["spec"]["replicas"])
    machine = Machine(
        run=f"played-{os.getpid()}",
        image=IMAGE,
        addresses={**_own_addresses(objects), "postgres-rw": "127.0.0.1", "nats": "127.0.0.1"},
        secrets=folder / "secrets",
        folder=folder / "volumes",
    )
    make_secrets(machine.secrets, f"postgresql://postgres-rw:{engines.postgres_port}", nats.address("nats"))
    ingress = Ingress(folder, objects, machine.secrets, machine.addresses)
    with contextlib.ExitStack() as running:
        running.enter_context(podman_configured(folder))
        running.callback(engines.stop)
        engines.start()
        running.enter_context(nats.running())
        await engines.ready()
        await create_managed(objects, machine.secrets, engines.database_url)
        for migration in running.enter_context(played("Job", machine)).values():
            assert podman("wait", migration).strip() == "0", said_by(migration)
        containers = running.enter_context(played("Deployment", machine))
        running.enter_context(ingress.running())
        market = Market(objects, machine, ingress, engines, nats, containers)
        await ready(market)
        yield market


def _own_addresses(objects: list[Object]) -> dict[str, str]:
    """One on loopback for each pod, in a network that no other run has."""
    network = f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}"
    return {one["metadata"]["name"]: f"{network}.{number}" for number, one in enumerate(of_kind(objects, "Deployment"), start=1)}


@contextlib.contextmanager
def played(kind: str, machine: Machine) -> Iterator[dict[str, str]]:
    """All workloads of that kind, with the ConfigMaps: podman's names of their containers. Nothing of them is left afterwards."""
    objects = objects_of("staging")
    workloads = {one["metadata"]["name"]: playable(one, machine) for one in of_kind(objects, kind)}
    file = machine.folder / f"{kind}.yaml"
    file.write_text("\n---\n".join(json.dumps(one) for one in (*of_kind(objects, "ConfigMap"), *workloads.values())))
    try:
        podman("kube", "play", str(file))
        yield {name: container_of(workload) for name, workload in workloads.items()}
    finally:
        pods = podman("pod", "ps", "--quiet", "--filter", f"name=^{machine.run}-", check=False).split()
        podman("pod", "rm", "--force", "--time", "0", *pods, check=False)
        podman("network", "rm", "podman-default-kube-network", check=False)  # It is made for every play, and refused where it is in use.


def assert_has_run_since(container: str) -> None:
    """It has not ended, and was not started again: podman restarts what ends, as a kubelet does."""
    found = inspect(container)
    assert (found["State"]["Running"], found["RestartCount"]) == (True, 0), said_by(container)


def said_by(container: str) -> str:
    done = subprocess.run(["podman", "logs", "--tail", "20", container], capture_output=True, text=True, check=False)
    return f"{container}: {done.stdout}{done.stderr}"


async def ready(market: Market) -> None:
    """Each has answered its three probes, as a kubelet asks them. One that has ended fails the test with what it said."""
    async with httpx.AsyncClient() as client:
        for name, deployment, container in market.deployments:
            (spec,) = containers_of(deployment)
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):

                async def succeeds(asked: Object = spec[probe], name: str = name, container: str = container) -> bool:
                    with contextlib.suppress(httpx.HTTPError):
                        return (await client.get(market.url_of(name, asked), timeout=asked["timeoutSeconds"])).status_code == 200
                    assert_has_run_since(container)
                    return False

                await eventually(succeeds, READY_WITHIN_SECONDS)


def test_every_pod_runs_as_its_manifest_says(market: Market) -> None:
    for name, deployment, container in market.deployments:
        (spec,) = containers_of(deployment)
        assert deployment["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == UID
        process = inspect(container)["State"]["Pid"]
        status = status_of(process)
        assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(UID)}, name
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        mounts = {line.split()[1]: line.split()[3].split(",")[0] for line in Path(f"/proc/{process}/mounts").read_text().splitlines()}
        writable = {path for path in ("/", "/tmp", "/run/secrets/admitone") if mounts[path] == "rw"}
        assert writable == {"/tmp"}
        assert memory_limit_of(process) == quantity(spec["resources"]["limits"]["memory"])


def memory_limit_of(process: int) -> int:
    """In bytes, as the kernel has it."""
    groups = [line.split(":", 2) for line in Path(f"/proc/{process}/cgroup").read_text().splitlines()]
    first = {controllers: path for _, controllers, path in groups}
    if "memory" in first:
        return int(Path(f"/sys/fs/cgroup/memory{first['memory']}/memory.limit_in_bytes").read_text())
    return int(Path(f"/sys/fs/cgroup{first['']}/memory.max").read_text())


async def test_without_the_teams_password_nobody_looks(market: Market) -> None:
    async with market.ingress.client() as anybody, market.ingress.client(("team", "guessed")) as guesser:
        for path in ("/", "/api/tickets", "/api/users/currentuser", "/healthz"):
            assert [(await client.get(path)).status_code for client in (anybody, guesser)] == [401, 401]


async def test_metrics_and_the_details_of_readiness_stay_inside(market: Market) -> None:
    async with market.ingress.client(market.team) as client, httpx.AsyncClient() as inside:
        assert (await client.get("/metrics")).status_code == 404
        assert (await client.get("/readyz")).json() == {"ready": True}
        for name, deployment, _ in market.deployments:
            address = f"http://{market.machine.addresses[name]}:{port_of(deployment, 'internal')}"
            assert "admitone_" in (await inside.get(f"{address}/metrics")).text
            assert name in (await inside.get(f"{address}/readyz")).json()["services"]


async def test_a_ticket_is_sold_and_open_pages_see_it(market: Market) -> None:
    async with market.ingress.client(market.team) as anns, market.ingress.client(market.team) as bobs, asyncio.timeout(60):
        ann, bob = await Person.signs_up(anns, "ann"), await Person.signs_up(bobs, "bob")
        async with anns.stream("GET", "/live/tickets") as stream:
            lines = stream.aiter_lines()
            await heard(lines, "event: beat")
            order = await sells(ann, bob)
            await heard(lines, order["ticket"]["id"])
        assert order["status"] == "complete"
        assert order["ticket"]["title"] in (await bobs.get("/orders")).text
    checked = await asyncio.to_thread(processes.run, ["verify", "--wait"], administrators_settings(market))
    assert checked.returncode == 0, checked.stdout + checked.stderr


async def heard(lines: AsyncIterator[str], wanted: str) -> None:
    async for line in lines:
        if wanted in line:
            return
    pytest.fail(f"the stream ended without {wanted!r}")


def administrators_settings(market: Market) -> dict[str, str]:
    """From outside the cluster: the same passwords, other addresses."""
    local = market.machine.folder / "local"
    shutil.copytree(market.machine.secrets, local)
    make_secrets(local, f"postgresql://127.0.0.1:{market.engines.postgres_port}", market.nats.address())
    databases = {f"ADMITONE_{service.upper()}_DATABASE_URL_FILE": f"{local}/{service}/database-url" for service in SERVICES_WITH_A_DATABASE}
    books = {"ADMITONE_TESTGATEWAY_DATABASE_URL_FILE": f"{local}/payments/testgateway-database-url"}
    return {**os.environ, "NATS_URL_FILE": f"{local}/nats/nats-url", **databases, **books}


async def test_a_service_reaches_only_its_own_database_and_the_bus_wants_a_password(market: Market) -> None:
    """CloudNativePG lets every role connect to every database; the migrations have ended that."""
    local = "127.0.0.1"
    for service in SERVICES_WITH_A_DATABASE:
        url = (market.machine.secrets / service / "database-url").read_text().replace("postgres-rw", local)
        own = await asyncpg.connect(url)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await own.execute("CREATE TABLE mine ()")
        await own.close()
        for another in {*SERVICES_WITH_A_DATABASE, TEST_PROCESSOR} - {service}:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await asyncpg.connect(url.removesuffix(service) + another)
    with pytest.raises(NatsError, match="Authorization Violation"):
        await Client().connect(market.nats.address(local).split(","), allow_reconnect=False, max_reconnect_attempts=1)


async def test_every_pod_ends_in_good_order_within_its_grace_period(market: Market) -> None:
    """What preStop sleeps is a part of the grace period, too. A page that is open does not hold it up."""

    async def stops(deployment: Object, container: str) -> None:
        pod, (spec,) = deployment["spec"]["template"]["spec"], containers_of(deployment)
        seconds = pod["terminationGracePeriodSeconds"] - spec["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert_has_run_since(container)
        begun = time.monotonic()
        await asyncio.to_thread(podman, "stop", "--time", str(seconds), container)
        assert time.monotonic() - begun < seconds, said_by(container)
        assert inspect(container)["State"]["ExitCode"] == 0, said_by(container)

    async with market.ingress.client(market.team) as client, client.stream("GET", "/live/tickets") as page:
        lines = page.aiter_lines()
        await heard(lines, "event: beat")
        async with asyncio.TaskGroup() as stopping:
            for _, deployment, container in market.deployments:
                stopping.create_task(stops(deployment, container))
        with contextlib.suppress(httpx.HTTPError):
            _ = [line async for line in lines]
