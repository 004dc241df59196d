"""compose.yaml: valid, and each container starts with settings that the product knows and secrets that are made."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.manifests import ROOT, TOOLS, parse

from admitone.config import DATABASES, SERVICES_WITH_A_DATABASE, Settings, load
from admitone.runtime.programs import nats_program
from admitone.runtime.provisioning import passwords_of
from admitone.runtime.secrets_folder import make_secrets
from admitone.services import SERVICES

COMPOSE = (ROOT / "compose.yaml").read_text()
NAMES = [service.name for service in SERVICES]


@pytest.fixture(scope="module")
def containers() -> dict[str, Any]:
    found: dict[str, Any] = parse(COMPOSE)[0]["services"]
    return found


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory, containers: dict[str, Any]) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    command = containers["secrets"]["command"]
    assert command[:2] == ["secrets", "/secrets"]
    options = dict(zip(command[2::2], command[3::2], strict=True))
    make_secrets(folder, options["--postgres"], options["--nats"])
    return folder


def settings_of(container: dict[str, Any], secrets: Path) -> Settings:
    return load({name: str(value).replace("/secrets/", f"{secrets}/") for name, value in container["environment"].items()})


def schema_errors(text: str, folder: Path) -> str:
    file = folder / "compose.yaml"
    file.write_text(text)
    command = [str(TOOLS / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode else ""


def test_it_is_valid_and_a_misspelt_key_is_not(tmp_path: Path) -> None:
    assert schema_errors(COMPOSE, tmp_path) == ""
    assert "depends_one" in schema_errors(COMPOSE.replace("depends_on", "depends_one"), tmp_path)


def test_every_setting_is_known(containers: dict[str, Any]) -> None:
    asked = set[str]()

    class Asked(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return default

    load(Asked())
    ours = {name: container["environment"] for name, container in containers.items() if name in (*NAMES, "gateway", "migrate")}
    assert len(ours) == len(NAMES) + 2
    assert {(name, setting) for name, environment in ours.items() for setting in environment if setting not in asked} == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_service_finds_what_it_needs(containers: dict[str, Any], secrets: Path, name: str) -> None:
    container = containers[name]
    assert container["command"] == ["serve", name]
    settings = settings_of(container, secrets)
    assert settings.nats_url_of(name).endswith("@nats:4222")
    assert settings.required_marketplace
    assert settings.public_keys
    assert (settings.signing_key_file is not None) == (name == "auth")
    if name in SERVICES_WITH_A_DATABASE:
        assert settings.database_url_of(name).endswith(f"@postgres:5432/{name}")
    if name == "payments":
        assert settings.database_url_of("testgateway").endswith("/testgateway")
    if name in ("web", "payments"):
        assert settings.url_of("payments") == "http://payments:8000"


def test_the_databases_are_made_with_the_passwords_that_services_use(containers: dict[str, Any], secrets: Path) -> None:
    settings = settings_of(containers["migrate"], secrets)
    assert settings.database_url is not None
    passwords = passwords_of(settings, DATABASES)
    for name in SERVICES_WITH_A_DATABASE:
        assert f":{passwords[name]}@" in settings_of(containers[name], secrets).database_url_of(name)
        assert passwords[f"{name}_owner"] in settings.owner_database_url_of(name)
    assert f":{(secrets / 'postgres/password').read_text()}@" in settings.database_url


def test_nats_finds_its_users_where_they_are_mounted(containers: dict[str, Any], secrets: Path, tmp_path: Path) -> None:
    file, _, mounted = containers["nats"]["volumes"][0].partition(":")
    place = tmp_path / mounted.removesuffix(":ro").lstrip("/")
    place.parent.mkdir(parents=True)
    place.write_text((ROOT / file).read_text().replace("/data", str(tmp_path / "data")))
    (tmp_path / "secrets").symlink_to(secrets)
    done = subprocess.run([nats_program(), "-t", "-c", str(place)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "secrets").unlink()
    assert subprocess.run([nats_program(), "-t", "-c", str(place)], capture_output=True, check=False).returncode != 0


def test_the_gateway_knows_every_service(containers: dict[str, Any], secrets: Path) -> None:
    settings = settings_of(containers["gateway"], secrets)
    assert {name: settings.url_of(name) for name in NAMES} == {name: f"http://{name}:8000" for name in NAMES}
    assert containers["gateway"]["ports"] == ["127.0.0.1:8000:8000"]


@pytest.mark.parametrize("name", [*NAMES, "gateway", "migrate", "secrets"])
def test_a_container_of_ours_can_do_nothing_but_its_work(containers: dict[str, Any], name: str) -> None:
    container = containers[name]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in container["security_opt"]
    assert [volume for volume in container["volumes"] if not volume.endswith(":ro")] == (["secrets:/secrets"] if name == "secrets" else [])


def test_everything_begins_after_what_it_needs(containers: dict[str, Any]) -> None:
    for name in NAMES:
        needed = containers[name]["depends_on"]
        assert needed["migrate"] == {"condition": "service_completed_successfully"}
        assert needed["nats"] == {"condition": "service_healthy"}
    for name in ("postgres", "nats"):
        assert containers[name]["depends_on"] == {"secrets": {"condition": "service_completed_successfully"}}
        assert containers[name]["healthcheck"]["test"]
    assert containers["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    grace = int(containers["orders"]["stop_grace_period"].removesuffix("s"))
    assert grace > int(containers["orders"]["environment"]["ADMITONE_DRAIN_SECONDS"]) + 10
