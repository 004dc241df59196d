"""The Dockerfile is written as hadolint wants it. `make check-deploy`."""

import subprocess

import pytest
from support.manifests import ROOT, TOOLS

DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def linted(dockerfile: str) -> str:
    """What hadolint finds; nothing for nothing."""
    command = [str(TOOLS / "hadolint"), "--failure-threshold", "style", "-"]
    done = subprocess.run(command, input=dockerfile, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (done.stdout == ""), done.stderr
    return done.stdout


def test_hadolint_finds_nothing() -> None:
    assert linted(DOCKERFILE) == ""
    assert "hadolint ignore" not in DOCKERFILE


@pytest.mark.parametrize(
    ("ours", "worse", "rule"),
    [
        ("ARG BASE=docker.io/library/python:3.13-slim-trixie\n\nFROM ${BASE} AS build", "FROM docker.io/library/python AS build", "DL3006"),
        ('CMD ["serve"]', "CMD serve", "DL3025"),
        ("COPY src/admitone /build/admitone", "ADD src/admitone /build/admitone", "DL3020"),
        ("USER 10001:10001", "USER root", "DL3002"),
        ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGTERM\nRUN cd /opt/admitone && sudo true", "DL3004"),
    ],
)
def test_hadolint_finds_what_is_worse(ours: str, worse: str, rule: str) -> None:
    assert ours in DOCKERFILE
    assert rule in linted(DOCKERFILE.replace(ours, worse))
