"""A Deployment or a Job of the manifests as podman 4.3 can play it, on this machine's network.

Its command, arguments, settings, user, capabilities, mounts and limits stay the manifest's own. What is changed, and why:

- A Job becomes a Pod of its template: podman plays no Jobs. The test waits for its end.
- A Deployment has one replica. The image is the one that was built here. Names carry the run: podman has no namespaces.
- `hostNetwork`, and no container ports: podman's bridge would need iptables. Each pod listens at an address of its own on loopback instead
  of 0.0.0.0, so that all keep the ports of the manifest.
- /etc/hosts instead of the cluster's DNS: the name of a Service is the address of its pod. (`hostAliases` are lost with `hostNetwork`.)
- No probes: podman would run curl inside the container. The test asks what they ask.
- Volumes are folders of this machine: podman knows neither `projected` nor `emptyDir`, and reads Secrets only from its own store.
  The files of a Secret get the owner and the mode that a kubelet gives them.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from support.manifests import Object

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What stands for the cluster."""

    run: str
    image: str
    addresses: Mapping[str, str]
    """Where each name is: pods by their Service's name, and the engines."""
    secrets: Path
    """A folder per Secret, a file per key."""
    folder: Path
    """For the volumes."""


def playable(workload: Object, machine: Machine) -> Object:
    """The workload, changed as said above. Raises FileNotFoundError where it names a Secret or a key that is not there."""
    name = workload["metadata"]["name"]
    template = workload["spec"]["template"]
    pod, own = template["spec"], machine.folder / name
    own.mkdir(parents=True)
    (own / "hosts").write_text("".join(f"{address} {host}\n" for host, address in {"localhost": "127.0.0.1", **machine.addresses}.items()))
    pod["hostNetwork"] = True
    pod["volumes"] = [_folder(volume, machine, own / volume["name"], pod["securityContext"]["fsGroup"]) for volume in pod["volumes"]]
    pod["volumes"].append({"name": "hosts", "hostPath": {"path": str(own / "hosts"), "type": "File"}})
    for container in pod["containers"]:
        container |= {"image": machine.image, "imagePullPolicy": "Never"}
        container["volumeMounts"].append({"name": "hosts", "mountPath": "/etc/hosts", "readOnly": True})
        for left_out in ("ports", *PROBES):
            container.pop(left_out, None)
        for setting in container["env"]:
            if (setting["name"], setting["value"]) == ("ADMITONE_HOST", "0.0.0.0"):
                setting["value"] = machine.addresses[name]
    workload["metadata"]["name"] = f"{machine.run}-{name}"
    if workload["kind"] == "Job":
        return {"apiVersion": "v1", "kind": "Pod", "metadata": workload["metadata"], "spec": pod}
    workload["spec"]["replicas"] = 1
    return workload


def container_of(played: Object) -> str:
    """What podman calls the container of a workload that was played."""
    (container,) = (played["spec"] if played["kind"] == "Pod" else played["spec"]["template"]["spec"])["containers"]
    return f"{played['metadata']['name']}{'' if played['kind'] == 'Pod' else '-pod-0'}-{container['name']}"


def _folder(volume: Object, machine: Machine, folder: Path, group: int) -> Object:
    """The volume as a folder of this machine."""
    folder.mkdir()
    if "emptyDir" in volume:
        folder.chmod(0o777)
    else:
        for secret, key, path, mode in _files(volume):
            shutil.copyfile(machine.secrets / secret / key, folder / path)
            os.chown(folder / path, 0, group)
            (folder / path).chmod(mode)
    return {"name": volume["name"], "hostPath": {"path": str(folder), "type": "Directory"}}


def _files(volume: Object) -> Iterator[tuple[str, str, str, int]]:
    """Secret, key, path and mode of each file of a volume of Secrets."""
    kind = volume.get("projected") or volume["secret"]
    sources = [source["secret"] for source in kind["sources"]] if "sources" in kind else [{"name": kind["secretName"], **kind}]
    for source in sources:
        for item in source["items"]:
            yield source["name"], item["key"], item["path"], kind["defaultMode"]
