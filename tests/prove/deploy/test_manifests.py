"""The manifests are valid, and mean what they should: parts that name each other fit, pods are hardened, stop in good order, are probed."""

import asyncio
import contextlib
import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from support.house import eventually
from support.manifests import (
    MANIFESTS,
    OVERLAYS,
    ROOT,
    SCHEMAS,
    TOOLS,
    WORKLOADS,
    Object,
    containers_of,
    find,
    nats_files,
    objects_of,
    of_kind,
    parse,
    pods_of,
    quantity,
    selects,
    settings_of,
)
from support.nats_cluster import NatsCluster

from admitone import __version__
from admitone.config import SERVICES_WITH_A_DATABASE
from admitone.runtime.process import DATABASE_WITHIN_SECONDS, END_WITHIN_SECONDS
from admitone.runtime.programs import nats_program
from admitone.runtime.secrets_folder import make_secrets
from admitone.services import SERVICES

KUBERNETES = ("1.32", "1.37")
CORE = ("v1", "apps/v1", "batch/v1", "autoscaling/v2", "policy/v1", "networking.k8s.io/v1")
CONNECTIONS_PER_REPLICA = 10
"""Eight of the pool, one of the relay, one now and then."""
SPARE_CONNECTIONS = 20
"""For the operator, its replication, and a person."""


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return objects_of(request.param)


def validated(objects: list[Object], version: str, folder: Path) -> str:
    """What is wrong with the objects of Kubernetes itself, by its own schemas; nothing for none."""
    file = folder / "core.json"
    file.write_text("\n---\n".join(json.dumps(one) for one in objects if one["apiVersion"] in CORE))
    command = [str(TOOLS / "kubernetes-validate"), "--strict", "--quiet", "-k", version, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_them(objects: list[Object], version: str, tmp_path: Path) -> None:
    assert validated(objects, version, tmp_path) == ""


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_no_misspelt_field(version: str, tmp_path: Path) -> None:
    objects = objects_of("staging")
    find(objects, "Deployment", "orders")["spec"]["template"]["spec"]["terminationGraceSeconds"] = 45
    assert "terminationGraceSeconds" in validated(objects, version, tmp_path)


def checked_custom(objects: list[Object], folder: Path) -> tuple[str, list[str]]:
    """What is wrong with custom resources, and the kinds whose schema is not here."""
    wrong, left_out = "", set()
    by_schema: dict[Path, list[Object]] = {}
    for one in objects:
        group, _, version = one["apiVersion"].rpartition("/")
        schema = SCHEMAS / group / f"{one['kind'].lower()}_{version}.json"
        if one["apiVersion"] not in CORE and schema.is_file():
            by_schema.setdefault(schema, []).append(one)
        elif one["apiVersion"] not in CORE:
            left_out.add(f"{one['kind']} ({one['apiVersion']})")
    for schema, resources in by_schema.items():
        known = folder / schema.name
        known.write_text(schema.read_text().replace("(?i)", ""))  # Go's way to ignore case, which no other language reads.
        files = [folder / f"{number}.json" for number in range(len(resources))]
        for file, one in zip(files, resources, strict=True):
            file.write_text(json.dumps(one))
        command = [str(TOOLS / "check-jsonschema"), "--schemafile", str(known), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wrong += "" if done.returncode == 0 else done.stdout + done.stderr
    return wrong, sorted(left_out)


def test_operators_take_their_resources(objects: list[Object], tmp_path: Path) -> None:
    wrong, left_out = checked_custom(objects, tmp_path)
    if left_out:
        print("not checked, as their schemas are not here:", ", ".join(left_out))
    assert wrong == ""


def test_operators_take_no_misspelt_field(tmp_path: Path) -> None:
    objects = objects_of("staging")
    cluster = find(objects, "Cluster", "postgres")
    cluster["spec"]["instance"] = cluster["spec"].pop("instances")
    wrong, left_out = checked_custom(objects, tmp_path)
    assert "instance" in wrong or left_out  # Without the schemas nothing can be said.


def wrong_selectors(objects: list[Object]) -> Iterator[str]:
    """Workloads that do not know their own pods, or run them under an account that is not there."""
    accounts = {one["metadata"]["name"] for one in of_kind(objects, "ServiceAccount")}
    for workload in of_kind(objects, *WORKLOADS):
        name, template = workload["metadata"]["name"], workload["spec"]["template"]
        labels = template["metadata"]["labels"]
        if workload["kind"] != "Job" and not selects(workload["spec"]["selector"], labels):
            yield f"{name}: its selector does not select its own pods"
        if template["spec"]["serviceAccountName"] not in accounts:
            yield f"{name}: no ServiceAccount {template['spec']['serviceAccountName']}"
        if not all(selects(spread["labelSelector"], labels) for spread in template["spec"].get("topologySpreadConstraints", ())):
            yield f"{name}: spread by the labels of others"


def wrong_services(objects: list[Object]) -> Iterator[str]:
    for service in of_kind(objects, "Service"):
        name, selector = service["metadata"]["name"], {"matchLabels": service["spec"]["selector"]}
        behind = [pod for pod in pods_of(objects) if selects(selector, pod.labels)]
        if len(behind) != 1:
            yield f"Service {name}: leads to {[pod.name for pod in behind]}"
        for port in service["spec"]["ports"]:
            if any(pod.ports.get(port["targetPort"]) != port["port"] for pod in behind):
                yield f"Service {name}: port {port['name']} is no port of its pods"


def wrong_targets(objects: list[Object]) -> Iterator[str]:
    """Budgets, autoscalers and monitors of nothing."""
    pods = pods_of(objects)
    for budget in of_kind(objects, "PodDisruptionBudget"):
        if sum(selects(budget["spec"]["selector"], pod.labels) for pod in pods) != 1:
            yield f"PodDisruptionBudget {budget['metadata']['name']}: not for one workload"
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if target["name"] not in {one["metadata"]["name"] for one in of_kind(objects, target["kind"])}:
            yield f"HorizontalPodAutoscaler {scaler['metadata']['name']}: no {target['kind']} {target['name']}"
    for monitor in of_kind(objects, "PodMonitor"):
        seen = [pod for pod in pods if selects(monitor["spec"]["selector"], pod.labels)]
        ports = [endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]]
        if not seen or any(port not in pod.ports for pod in seen for port in ports):
            yield f"PodMonitor {monitor['metadata']['name']}: sees {[pod.name for pod in seen]}, ports {ports}"


def scaler_of(workload: Object, objects: list[Object]) -> Object | None:
    name = workload["metadata"]["name"]
    return next((one for one in of_kind(objects, "HorizontalPodAutoscaler") if one["spec"]["scaleTargetRef"]["name"] == name), None)


def replicas_of(workload: Object, objects: list[Object]) -> tuple[int, int]:
    """How few and how many pods of it there may be."""
    if scaler := scaler_of(workload, objects):
        return scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]
    return (workload["spec"].get("replicas", 1),) * 2


def unsafe_replicas(objects: list[Object]) -> Iterator[str]:
    for workload in of_kind(objects, "Deployment", "StatefulSet"):
        name, labels = workload["metadata"]["name"], workload["spec"]["template"]["metadata"]["labels"]
        least, most = replicas_of(workload, objects)
        if scaler_of(workload, objects) and "replicas" in workload["spec"]:
            yield f"{name}: replicas would undo at each apply what the autoscaler has done"
        if least > most:
            yield f"{name}: at least {least} and at most {most}"
        for budget in of_kind(objects, "PodDisruptionBudget"):
            if selects(budget["spec"]["selector"], labels):
                if least < 2:
                    yield f"{name}: a budget with {least} replica"
                if budget["spec"].get("maxUnavailable", 1) < 1 or budget["spec"].get("minAvailable", 0) >= least:
                    yield f"{name}: no pod may ever be moved"


def unsafe_stops(objects: list[Object]) -> Iterator[str]:
    """Rollouts with a gap, and pods that are killed while they stop."""
    for deployment in of_kind(objects, "Deployment"):
        name, rolling = deployment["metadata"]["name"], deployment["spec"]["strategy"]["rollingUpdate"]
        if (rolling["maxUnavailable"], rolling["maxSurge"]) != (0, 1):
            yield f"{name}: rolled out with {rolling}"
        drain = int(settings_of(deployment, objects)["ADMITONE_DRAIN_SECONDS"])
        sleep = containers_of(deployment)[0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        if deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] <= sleep + drain + END_WITHIN_SECONDS:
            yield f"{name}: killed before it has stopped"


def wrong_resources(objects: list[Object]) -> Iterator[str]:
    for workload in of_kind(objects, *WORKLOADS):
        name = workload["metadata"]["name"]
        for container in containers_of(workload):
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            if set(requests) != {"cpu", "memory"} or set(limits) != {"memory"}:
                yield f"{name}: requests {requests}, limits {limits}"
            if quantity(requests["memory"]) > quantity(limits["memory"]):
                yield f"{name}: requests more than its limit"


def unhardened(objects: list[Object]) -> Iterator[str]:
    """Pods that a namespace with the restricted profile refuses, or that could be told to do more than they need."""
    for workload in of_kind(objects, *WORKLOADS):
        name, spec = workload["metadata"]["name"], workload["spec"]["template"]["spec"]
        context = spec.get("securityContext", {})
        if not context.get("runAsNonRoot") or not context.get("runAsUser"):
            yield f"{name}: may be root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name}: no seccomp profile"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{name}: has a key to the cluster's API"
        if any(spec.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC")) or "initContainers" in spec:
            yield f"{name}: shares the node's, or has containers that nobody looked at"
        for volume in spec.get("volumes", ()):
            if not {"emptyDir", "projected", "secret", "configMap"} & set(volume):
                yield f"{name}: a volume of another kind: {volume['name']}"
        for container in spec["containers"]:
            allowed = container.get("securityContext", {})
            if allowed.get("allowPrivilegeEscalation") is not False or allowed.get("privileged"):
                yield f"{name}: may become more than it is"
            if allowed.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{name}: has capabilities"
            if allowed.get("readOnlyRootFilesystem") is not True:
                yield f"{name}: writes to its root"


def unprobed(objects: list[Object]) -> Iterator[str]:
    ways = {"Deployment": {"startupProbe": "/healthz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}, "StatefulSet": {}}
    for workload in of_kind(objects, "Deployment", "StatefulSet"):
        (container,) = containers_of(workload)
        name, ports = workload["metadata"]["name"], {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            ask = container.get(probe, {}).get("httpGet")
            if ask is None or ask["port"] not in ports:
                yield f"{name}: {probe} asks {ask}, ports are {sorted(ports)}"
            elif ask["path"] != ways[workload["kind"]].get(probe, ask["path"]):
                yield f"{name}: {probe} asks {ask['path']}"
        start = container.get("startupProbe", {})
        if start.get("periodSeconds", 10) * start.get("failureThreshold", 3) <= DATABASE_WITHIN_SECONDS:
            yield f"{name}: given up while it waits for its database"


CHECKS = (wrong_selectors, wrong_services, wrong_targets, unsafe_replicas, unsafe_stops, wrong_resources, unhardened, unprobed)


@pytest.mark.parametrize("check", CHECKS)
def test_the_parts_fit(check: Callable[[list[Object]], Iterator[str]], objects: list[Object]) -> None:
    assert list(check(objects)) == []


def put(kind: str, name: str, path: str, value: Any) -> Callable[[list[Object]], None]:
    """A change of one field; a number in the path is a place in a list, and None takes the field out."""

    def change(objects: list[Object]) -> None:
        *way, last = [int(step) if step.isdigit() else step for step in path.split("/")]
        place: Any = find(objects, kind, name)
        for step in way:
            place = place[step]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


CONTAINER = "spec/template/spec/containers/0"


@pytest.mark.parametrize(
    ("check", "change"),
    [
        (wrong_selectors, put("Deployment", "orders", "spec/selector/matchLabels", {"app.kubernetes.io/name": "order"})),
        (wrong_services, put("Service", "orders", "spec/selector", {"app.kubernetes.io/name": "order"})),
        (wrong_services, put("Service", "orders", "spec/selector", {"app.kubernetes.io/component": "service"})),
        (wrong_services, put("Service", "orders", "spec/ports/0/targetPort", "web")),
        (wrong_targets, put("PodDisruptionBudget", "orders", "spec/selector", {"matchLabels": {"app": "orders"}})),
        (wrong_targets, put("HorizontalPodAutoscaler", "orders", "spec/scaleTargetRef/name", "order")),
        (wrong_selectors, put("Deployment", "orders", "spec/template/spec/serviceAccountName", "default")),
        (wrong_targets, put("PodMonitor", "admitone", "spec/podMetricsEndpoints/0/port", "metrics")),
        (unsafe_stops, put("Deployment", "orders", "spec/strategy/rollingUpdate/maxSurge", 0)),
        (unsafe_stops, put("Deployment", "orders", "spec/template/spec/terminationGracePeriodSeconds", 35)),
        (unsafe_replicas, put("Deployment", "orders", "spec/replicas", 2)),
        (unsafe_replicas, put("HorizontalPodAutoscaler", "orders", "spec/minReplicas", 1)),
        (unsafe_replicas, put("PodDisruptionBudget", "orders", "spec/maxUnavailable", 0)),
        (wrong_resources, put("Deployment", "orders", f"{CONTAINER}/resources/requests/memory", "1Gi")),
        (unhardened, put("Deployment", "orders", "spec/template/spec/securityContext", None)),
        (unhardened, put("Deployment", "orders", "spec/template/spec/automountServiceAccountToken", None)),
        (unhardened, put("StatefulSet", "nats", f"{CONTAINER}/securityContext/capabilities", {"drop": ["NET_RAW"]})),
        (unhardened, put("Job", "migrate-orders", f"{CONTAINER}/securityContext/readOnlyRootFilesystem", False)),
        (unprobed, put("Deployment", "orders", f"{CONTAINER}/readinessProbe/httpGet/port", "https")),
        (unprobed, put("Deployment", "orders", f"{CONTAINER}/readinessProbe/httpGet/path", "/healthz")),
        (unprobed, put("Deployment", "orders", f"{CONTAINER}/startupProbe/failureThreshold", 10)),
    ],
)
def test_a_mistake_is_found(check: Callable[[list[Object]], Iterator[str]], change: Callable[[list[Object]], None]) -> None:
    objects = objects_of("staging")
    change(objects)
    assert list(check(objects)) != []


def routes_of(objects: list[Object]) -> list[tuple[str, str, int]]:
    """The path prefixes from outside, each with its Service and port."""
    routes = []
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                assert path["pathType"] == "Prefix"
                backend = path["backend"]["service"]
                ports = {port["name"]: port["port"] for port in find(objects, "Service", backend["name"])["spec"]["ports"]}
                routes.append((path["path"], backend["name"], ports[backend["port"]["name"]]))
    for route in of_kind(objects, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule.get("backendRefs", ()):
                (match,) = rule["matches"]
                assert match["path"]["type"] == "PathPrefix"
                assert backend["port"] in [port["port"] for port in find(objects, "Service", backend["name"])["spec"]["ports"]]
                routes.append((match["path"]["value"], backend["name"], backend["port"]))
    return routes


def test_paths_lead_where_the_products_own_gateway_leads(objects: list[Object]) -> None:
    assert Counter(routes_of(objects)) == Counter((service.prefix, service.name, 8000) for service in SERVICES if service.routes)


def test_the_host_is_that_of_the_public_address_and_has_a_certificate(objects: list[Object]) -> None:
    url = urlsplit(settings_of(find(objects, "Deployment", "web"), objects)["ADMITONE_PUBLIC_URL"])
    issuers = {issuer["metadata"]["name"] for issuer in of_kind(objects, "Issuer")}
    for ingress in of_kind(objects, "Ingress"):
        assert [rule["host"] for rule in ingress["spec"]["rules"]] == [url.hostname]
        assert [tls["hosts"] for tls in ingress["spec"].get("tls", ())] == ([[url.hostname]] if url.scheme == "https" else [])
        assert url.scheme == "http" or ingress["metadata"]["annotations"]["cert-manager.io/issuer"] in issuers
    for gateway in of_kind(objects, "Gateway"):
        listeners = {listener["name"]: listener for listener in gateway["spec"]["listeners"]}
        assert {listener["hostname"] for listener in listeners.values()} == {url.hostname}
        assert gateway["metadata"]["annotations"]["cert-manager.io/issuer"] in issuers
        for route in of_kind(objects, "HTTPRoute"):
            assert route["spec"]["hostnames"] == [url.hostname]
            (parent,) = route["spec"]["parentRefs"]
            assert parent["name"] == gateway["metadata"]["name"]
            redirects = [rule["filters"][0]["type"] for rule in route["spec"]["rules"] if "filters" in rule]
            assert listeners[parent["sectionName"]]["protocol"] == ("HTTP" if redirects == ["RequestRedirect"] else "HTTPS")


def test_only_the_team_sees_staging() -> None:
    annotations = {
        overlay: next(of_kind(objects_of(overlay), "Ingress"))["metadata"].get("annotations", {}) for overlay in ("dev", "staging")
    }
    assert annotations["staging"]["nginx.ingress.kubernetes.io/auth-secret"] == "team"
    assert annotations["dev"] == {}


def test_each_service_and_migration_is_there_once(objects: list[Object]) -> None:
    assert sorted(one["metadata"]["name"] for one in of_kind(objects, "Deployment")) == sorted(service.name for service in SERVICES)
    assert sorted(one["metadata"]["name"] for one in of_kind(objects, "Job")) == sorted(
        f"migrate-{name}" for name in SERVICES_WITH_A_DATABASE
    )


RELOAD = "/reload/reload.py"


def test_pods_are_what_the_image_is_made_for(objects: list[Object]) -> None:
    uid = re.search(r"^USER (\d+):\1$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    assert uid
    images = set()
    for workload in of_kind(objects, "Deployment", "Job"):
        (container,) = containers_of(workload)
        assert container.get("command", [RELOAD, RELOAD])[-1] == RELOAD  # Of dev; otherwise the image's own.
        images.add(container["image"])
        assert workload["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == int(uid[1])
        assert workload["metadata"]["labels"]["app.kubernetes.io/version"] == __version__
    assert len(images) == 1


def test_an_image_without_a_digest_says_so() -> None:
    for file in MANIFESTS.rglob("*.yaml"):
        for line in file.read_text().splitlines():
            if re.match(r"\s*(- )?(image|imageName|newTag):", line) and not re.search(r"image: admitone$", line):
                assert "not pinned" in line, f"{file.name}: {line}"


def test_the_namespace_is_restricted_and_all_is_in_it(objects: list[Object]) -> None:
    namespace = next(of_kind(objects, "Namespace"))["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for one in objects:
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == namespace["name"]
        assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "admitone"


def test_postgresql_has_a_role_and_an_owner_per_database(objects: list[Object]) -> None:
    spec = find(objects, "Cluster", "postgres")["spec"]
    roles = {role["name"]: role for role in spec["managed"]["roles"]}
    databases = {one["spec"]["name"]: one["spec"]["owner"] for one in of_kind(objects, "Database")}
    test_mode = {"testgateway": "testgateway"} if "testgateway" in roles else {}
    assert databases == {service: f"{service}_owner" for service in SERVICES_WITH_A_DATABASE} | test_mode
    assert set(roles) == {*databases, *databases.values()}
    for name, role in roles.items():
        assert role["login"] is True
        assert not any(role.get(power) for power in ("superuser", "createdb", "createrole", "replication", "bypassrls"))
        assert role["passwordSecret"]["name"] == (name.replace("_", "-") if name.endswith("_owner") else f"{name}-role")
    synchronous = spec["postgresql"].get("synchronous", {"number": 0})
    assert synchronous["number"] < spec["instances"]
    assert spec["instances"] == 1 or synchronous["dataDurability"] == "required"


def test_postgresql_has_connections_for_as_many_pods_as_there_can_be(objects: list[Object]) -> None:
    needed = SPARE_CONNECTIONS
    for service in SERVICES_WITH_A_DATABASE:
        deployment = find(objects, "Deployment", service)
        pods = replicas_of(deployment, objects)[1] + deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        pools = 1 + ("ADMITONE_TESTGATEWAY_DATABASE_URL_FILE" in settings_of(deployment, objects))
        needed += pods * pools * CONNECTIONS_PER_REPLICA
    assert needed <= int(find(objects, "Cluster", "postgres")["spec"]["postgresql"]["parameters"]["max_connections"])


def test_nats_has_as_many_servers_as_the_stream_has_copies(objects: list[Object]) -> None:
    nats = find(objects, "StatefulSet", "nats")
    replicas = nats["spec"]["replicas"]
    config = nats_files(objects)
    routes = re.findall(r"nats://(nats-\d+)\.(\S+):6222", config["cluster.conf"])
    assert routes == ([(f"nats-{number}", nats["spec"]["serviceName"]) for number in range(replicas)] if replicas > 1 else [])
    assert int(settings_of(find(objects, "Deployment", "orders"), objects)["ADMITONE_STREAM_REPLICAS"]) == replicas
    stop = re.search(r"lame_duck_duration: (\d+)s", config["nats.conf"])
    assert stop
    assert nats["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > int(stop[1])


async def test_its_servers_are_one_cluster_and_answer_their_probes(objects: list[Object], tmp_path: Path) -> None:
    (container,) = containers_of(find(objects, "StatefulSet", "nats"))
    probes = [container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
    replicas = find(objects, "StatefulSet", "nats")["spec"]["replicas"]
    cluster = NatsCluster(tmp_path, tmp_path / "secrets", nats_files(objects), replicas)
    make_secrets(cluster.secrets, "postgresql://127.0.0.1", cluster.address())
    addresses = {name: cluster.monitor_of(name) for name in cluster.names}
    with cluster.running():
        async with httpx.AsyncClient() as client:

            async def healthy() -> bool:
                with contextlib.suppress(httpx.HTTPError):
                    answers = [await client.get(address + path) for address in addresses.values() for path in probes]
                    return all(answer.status_code == 200 for answer in answers)
                return False

            async def peers(address: str) -> set[str]:
                """The servers that this one keeps streams with, as their leader or as it knows its leader."""
                meta = (await client.get(f"{address}/jsz")).json().get("meta_cluster", {})
                return {meta.get("leader", ""), *(peer["name"] for peer in meta.get("replicas", ()))} - {""}

            await eventually(healthy, seconds=30)
            found = {name: (await client.get(f"{address}/varz")).json()["server_name"] for name, address in addresses.items()}
            assert found == {name: name for name in addresses}
            if len(addresses) > 1:

                async def one_cluster() -> bool:
                    known = [await peers(address) for address in addresses.values()]
                    return set(addresses) in known and all(known)

                await eventually(one_cluster, seconds=30)
        stop = [part.replace("/var/run/nats", str(tmp_path / "nats-0")) for part in container["lifecycle"]["preStop"]["exec"]["command"]]
        done = subprocess.run([nats_program(), *stop[1:]], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        await eventually(lambda: asyncio.sleep(0, "lame duck" in (tmp_path / "nats-0/log").read_text().lower()))


def test_the_alerts_are_those_of_the_documentation() -> None:
    page = (ROOT / "docs/operating.md").read_text()
    block = re.search(r"## Three alerts.*?```yaml\n(.*?)```", page, re.DOTALL)
    assert block
    assert find(objects_of("production"), "PrometheusRule", "admitone")["spec"] == parse(block[1])[0]
