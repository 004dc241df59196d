"""The manifests of deploy/k8s, rendered as kubectl renders them, and read: objects, pods, settings, secrets."""

import functools
import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy/k8s"
TOOLS = ROOT / ".venv/deploy/bin"
SCHEMAS = Path(os.environ.get("ADMITONE_SCHEMAS", ROOT.parent / "shared/deploy/schemas"))
"""Of custom resources, as collected in datreeio/CRDs-catalog; a check says what it has left out where they are not here."""
OVERLAYS = ("dev", "staging", "production")
WORKLOADS = ("Deployment", "StatefulSet", "Job")
TO_JSON = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)"
POSTGRES_PORTS = {"postgresql": 5432, "status": 8000, "metrics": 9187}
"""Of the pods that CloudNativePG makes for a Cluster."""
UNITS = {"": 1.0, "m": 0.001, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}


@dataclass(frozen=True)
class Pod:
    name: str
    labels: dict[str, str]
    ports: dict[str, int]
    spec: Object
    """Empty for the pods that an operator makes."""


@functools.cache
def _rendered(overlay: str) -> str:
    done = subprocess.run([TOOLS / "kubectl", "kustomize", MANIFESTS / "overlays" / overlay], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def _as_json(yaml: str) -> str:
    return subprocess.run([TOOLS / "python", "-c", TO_JSON], input=yaml, capture_output=True, text=True, check=True).stdout


def parse(yaml: str) -> list[Any]:
    """The documents of a YAML text. Our own environment has no YAML, the one of the tools does."""
    documents: list[Any] = json.loads(_as_json(yaml))
    return documents


def objects_of(overlay: str) -> list[Object]:
    """All objects of an overlay, anew at each call: a test may change them."""
    return parse(_rendered(overlay))


def of_kind(objects: Sequence[Object], *kinds: str) -> Iterator[Object]:
    return (one for one in objects if one["kind"] in kinds)


def find(objects: Sequence[Object], kind: str, name: str) -> Object:
    return next(one for one in of_kind(objects, kind) if one["metadata"]["name"] == name)


def containers_of(workload: Object) -> list[Object]:
    containers: list[Object] = workload["spec"]["template"]["spec"]["containers"]
    return containers


def pods_of(objects: Sequence[Object]) -> list[Pod]:
    """One pod per workload, and one of each Cluster of PostgreSQL."""
    pods = []
    for workload in of_kind(objects, *WORKLOADS):
        template = workload["spec"]["template"]
        ports = {port["name"]: port["containerPort"] for container in containers_of(workload) for port in container.get("ports", ())}
        pods.append(Pod(workload["metadata"]["name"], template["metadata"]["labels"], ports, template["spec"]))
    for cluster in of_kind(objects, "Cluster"):
        name = cluster["metadata"]["name"]
        pods.append(Pod(name, {"cnpg.io/cluster": name}, POSTGRES_PORTS, {}))
    return pods


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector selects what has these labels; an empty one selects everything."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", ()):
        has = labels.get(expression["key"])
        match expression["operator"]:
            case "In":
                fits = has in expression["values"]
            case "NotIn":
                fits = has not in expression["values"]
            case "Exists":
                fits = has is not None
            case _:
                fits = has is None
        if not fits:
            return False
    return True


def quantity(text: str) -> float:
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    assert found, text
    return float(found[1]) * UNITS[found[2]]


def settings_of(workload: Object, objects: Sequence[Object]) -> dict[str, str]:
    """What the container is given as its environment: ConfigMaps first, then its own list."""
    (container,) = containers_of(workload)
    environment: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        environment |= find(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for setting in container.get("env", ()):
        assert "value" in setting, f"{setting['name']} is not given as it is: secrets are files"
        environment[setting["name"]] = setting["value"]
    return environment


def files_of(workload: Object) -> dict[str, tuple[str, str]]:
    """Which files the container finds, each with the Secret and the key that it is made of."""
    (container,) = containers_of(workload)
    volumes = {volume["name"]: volume for volume in workload["spec"]["template"]["spec"].get("volumes", ())}
    files = {}
    for mount in container.get("volumeMounts", ()):
        if "persistentVolumeClaim" in volumes.get(mount["name"], {"persistentVolumeClaim": {}}):
            continue
        volume = volumes[mount["name"]]
        secrets = [source["secret"] for source in volume.get("projected", {}).get("sources", ()) if "secret" in source]
        secrets += [{"name": volume["secret"]["secretName"], **volume["secret"]}] if "secret" in volume else []
        for secret in secrets:
            for item in secret["items"]:
                files[f"{mount['mountPath']}/{item['path']}"] = (secret["name"], item["key"])
    return files


def nats_files(objects: Sequence[Object]) -> dict[str, str]:
    """nats.conf and what it includes, as the StatefulSet mounts them."""
    volumes = find(objects, "StatefulSet", "nats")["spec"]["template"]["spec"]["volumes"]
    sources = next(volume["projected"]["sources"] for volume in volumes if volume["name"] == "config")
    (name,) = (source["configMap"]["name"] for source in sources if "configMap" in source)
    files: dict[str, str] = find(objects, "ConfigMap", name)["data"]
    return files
