"""skaffold.yaml by its schema, what it copies into pods, and the overlay that runs it there."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.manifests import MANIFESTS, ROOT, SCHEMAS, TOOLS, of_kind, parse

SKAFFOLD = (ROOT / "skaffold.yaml").read_text()


@pytest.fixture(scope="module")
def skaffold() -> dict[str, Any]:
    found: dict[str, Any] = parse(SKAFFOLD)[0]
    return found


def errors(text: str, folder: Path) -> str | None:
    """What its schema says; None where the schema is not to be had."""
    schema = SCHEMAS / "skaffold/v4beta13.json"
    if not schema.is_file():
        return None
    file = folder / "skaffold.yaml"
    file.write_text(text)
    command = [str(TOOLS / "check-jsonschema"), "--schemafile", str(schema), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode else ""


def test_it_is_valid_and_a_misspelt_key_is_not(tmp_path: Path) -> None:
    if (found := errors(SKAFFOLD, tmp_path)) is None:
        print("left out: the schema of skaffold.yaml is not here (ADMITONE_SCHEMAS)")
        return
    assert found == ""
    assert "dockerfil" in str(errors(SKAFFOLD.replace("dockerfile:", "dockerfil:"), tmp_path))


def test_what_is_copied_is_there_and_covers_the_code(skaffold: dict[str, Any]) -> None:
    artifact = skaffold["build"]["artifacts"][0]
    assert (ROOT / artifact["docker"]["dockerfile"]).is_file()
    copied = {file for rule in artifact["sync"]["manual"] for file in ROOT.glob(rule["src"]) if file.is_file()}
    for rule in artifact["sync"]["manual"]:
        assert rule["strip"] == "src/"
        assert rule["dest"] == "/source"
    assert not [file for file in copied if file.suffix == ".sql"]
    code = {file for file in (ROOT / "src/admitone").rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    left = {file.suffix for file in code - copied}
    assert left <= {".sql", ".json", ".txt", ".typed", ""}, f"Skaffold would not copy files that end with {left} when they change"


def test_dev_runs_the_copy_that_skaffold_writes_to() -> None:
    rendered = subprocess.run(
        [TOOLS / "kubectl", "kustomize", MANIFESTS / "overlays/dev"], capture_output=True, text=True, check=True
    ).stdout
    for deployment in of_kind(parse(rendered), "Deployment"):
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        assert container["command"] == ["/opt/admitone/bin/python", "/reload/reload.py"]
        assert {"name": "PYTHONPATH", "value": "/source"} in container["env"]
        assert "/source" in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_a_namespace_of_ones_own_is_an_overlay_of_a_few_lines(tmp_path: Path) -> None:
    """As docs/deploy.md writes it."""
    text = (
        (ROOT / "docs/deploy.md")
        .read_text()
        .partition("cat > deploy/k8s/overlays/mine/kustomization.yaml <<END\n")[2]
        .partition("\nEND\n")[0]
    )
    shutil.copytree(MANIFESTS, tmp_path / "k8s")
    (tmp_path / "k8s/overlays/mine").mkdir()
    (tmp_path / "k8s/overlays/mine/kustomization.yaml").write_text(text.replace("$USER", "ann"))
    command = [str(TOOLS / "kubectl"), "kustomize", str(tmp_path / "k8s/overlays/mine")]
    objects = parse(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert {one["metadata"].get("namespace") for one in objects if one["kind"] != "Namespace"} == {"admitone-ann"}
    assert [one["metadata"]["name"] for one in of_kind(objects, "Namespace")] == ["admitone-ann"]
    assert next(of_kind(objects, "Ingress"))["spec"]["rules"][0]["host"] == "ann.admitone.test"
    settings = next(one for one in of_kind(objects, "ConfigMap") if one["metadata"]["name"].startswith("settings-"))["data"]
    assert settings["ADMITONE_MARKETPLACE"] == "admitone-ann"
    assert settings["ADMITONE_PUBLIC_URL"] == "http://ann.admitone.test"


@contextlib.contextmanager
def reloading(source: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, str(MANIFESTS / "overlays/dev/reload.py"), *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_changed_file_begins_the_command_anew_and_sigterm_ends_it(tmp_path: Path) -> None:
    package, told = tmp_path / "source/admitone", tmp_path / "told"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    program = f"import time; from pathlib import Path; told = Path({str(told)!r}); told.write_text('WORD'); time.sleep(60)"
    (package / "cli.py").write_text(program.replace("WORD", "first"))
    with reloading(tmp_path / "source", "serve", "orders") as process:
        eventually(lambda: told.exists() and told.read_text() == "first")
        (package / "cli.py").write_text(program.replace("WORD", "second"))
        eventually(lambda: told.read_text() == "second")
        (package / "cli.py").write_text("not python")
        eventually(lambda: process.poll() is None)
        (package / "cli.py").write_text(program.replace("WORD", "third"))
        eventually(lambda: told.read_text() == "third")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_command_that_has_never_run_ends_the_pod(tmp_path: Path) -> None:
    package = tmp_path / "source/admitone"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text("raise SystemExit(3)")
    with reloading(tmp_path / "source", "serve") as process:
        assert process.wait(20) == 3
