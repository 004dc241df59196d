"""scripts/deploy.sh takes its steps in order, and stops at one that fails. kubectl really renders; all else that it is asked is noted."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.manifests import MANIFESTS, OVERLAYS, ROOT, TOOLS, Object, containers_of, of_kind, parse

DIGEST = "sha256:" + "5e" * 32
IMAGE = f"ghcr.io/somebody/tickets@{DIGEST}"
KUBECTL = """#!/usr/bin/env bash
set -eu
[ "$1" != kustomize ] || exec "$KUBECTL" "$@"
echo "$*" >>"$FOLDER/calls"
case "$*" in apply*) cp "$3" "$FOLDER/all.yaml" ;; esac
[[ -z "$FAIL_AT" || "$*" != *$FAIL_AT* ]]
"""


class Deployed:
    def __init__(self, folder: Path, *arguments: str, fail_at: str = "") -> None:
        stub = folder / "bin/kubectl"
        stub.parent.mkdir()
        stub.write_text(KUBECTL)
        stub.chmod(0o755)
        (folder / "calls").touch()
        environment = {
            **os.environ,
            "PATH": f"{stub.parent}:{os.environ['PATH']}",
            "KUBECTL": str(TOOLS / "kubectl"),
            "FOLDER": str(folder),
            "FAIL_AT": fail_at,
        }
        script = str(ROOT / "scripts/deploy.sh")
        done = subprocess.run([script, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
        self.code, self.errors = done.returncode, done.stderr
        self.said = done.stdout.splitlines()[-1] if done.stdout else ""
        self.steps = [_step(call) for call in (folder / "calls").read_text().splitlines()]
        rendered = folder / "all.yaml"
        self.objects: list[Object] = parse(rendered.read_text()) if rendered.exists() else []

    @property
    def images(self) -> set[str]:
        return {container["image"] for one in of_kind(self.objects, "Deployment", "Job") for container in containers_of(one)}


def _step(call: str) -> str:
    """What is done to what, without files, namespaces and times."""
    words = [word for word in call.split() if not word.startswith(("--timeout", "deploy/k8s/"))]
    if words[:1] == ["-n"]:
        words = words[2:]
    return " ".join(words)


ENGINES = [
    "apply -f -l app.kubernetes.io/component notin (service,migration)",
    "wait --for=condition=Ready cluster/postgres",
    "wait --for=jsonpath={.status.applied}=true database --all",
    "rollout status statefulset/nats",
]
MIGRATIONS = [
    "delete job -l app.kubernetes.io/component=migration --ignore-not-found",
    "apply -f -l app.kubernetes.io/component=migration",
    "wait --for=condition=complete job -l app.kubernetes.io/component=migration",
]
SERVICES = [
    "apply -f -l app.kubernetes.io/component=service",
    *(f"rollout status deployment/{name}" for name in ("auth", "tickets", "orders", "expiration", "payments", "web")),
]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_engines_then_migrations_then_services(overlay: str, tmp_path: Path) -> None:
    deployed = Deployed(tmp_path, overlay, IMAGE)
    assert (deployed.code, deployed.errors) == (0, "")
    assert deployed.steps == ENGINES + MIGRATIONS + SERVICES
    assert deployed.images == {IMAGE}
    assert deployed.said.endswith(f"with {IMAGE}.")
    assert not list((MANIFESTS / "overlays").glob(".deploy-*"))


def test_without_an_image_the_overlay_names_it(tmp_path: Path) -> None:
    deployed = Deployed(tmp_path, "dev")
    assert (deployed.code, deployed.images) == (0, {"admitone:dev"})
    assert deployed.said == "dev is deployed in namespace admitone-dev."


@pytest.mark.parametrize(
    ("failing", "done"),
    [
        ("cluster/postgres", ENGINES[:2]),
        ("condition=complete job", ENGINES + MIGRATIONS),
        ("deployment/tickets", ENGINES + MIGRATIONS + SERVICES[:3]),
    ],
)
def test_nothing_is_done_after_a_step_that_failed(failing: str, done: list[str], tmp_path: Path) -> None:
    deployed = Deployed(tmp_path, "staging", IMAGE, fail_at=failing)
    assert deployed.code != 0
    assert deployed.steps == done
    assert not list((MANIFESTS / "overlays").glob(".deploy-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "usage: scripts/deploy.sh OVERLAY [IMAGE@sha256:...]\n"),
        (("nowhere",), "There is no deploy/k8s/overlays/nowhere.\n"),
        (("staging", "ghcr.io/somebody/tickets:latest"), "ghcr.io/somebody/tickets:latest is no image with a digest (NAME@sha256:...).\n"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    deployed = Deployed(tmp_path, *arguments)
    assert (deployed.code, deployed.errors, deployed.steps) == (2, message, [])


def test_the_scripts_are_bash() -> None:
    for script in (ROOT / "scripts").glob("*.sh"):
        assert os.access(script, os.X_OK)
        subprocess.run([shutil.which("bash") or "bash", "-n", script], check=True)
