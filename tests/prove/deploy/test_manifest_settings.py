"""Each pod of the manifests is given settings that the product knows, all that it needs, and secrets that `admitone secrets` makes."""

import base64
import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from support.manifests import MANIFESTS, OVERLAYS, Object, containers_of, files_of, find, objects_of, of_kind, parse, settings_of

from admitone.config import DATABASES, SERVICES_WITH_A_DATABASE, Settings, WrongSettings, load
from admitone.services import SERVICES

SECRETS = {
    **{service: {"database-url", "nats-url"} for service in SERVICES_WITH_A_DATABASE},
    **{f"{database}-role": {"username", "password"} for database in DATABASES},
    **{f"{service}-owner": {"username", "password", "database-url"} for service in SERVICES_WITH_A_DATABASE},
    "web": {"nats-url"},
    "keys": {"public-keys"},
    "nats": {"users.conf", "nats-url"},
    "postgres": {"username", "password", "database-url"},
    "team": {"auth", "password"},
    "stripe": {"secret-key", "publishable-key", "webhook-secret"},
}
"""What `admitone secrets` makes, one Secret per folder; `stripe` is made by hand."""
SECRETS["auth"] |= {"signing-key.pem"}
SECRETS["payments"] |= {"testgateway-database-url"}

POSTGRES, NATS = "postgres-rw:5432", "nats:4222"
"""The addresses for `admitone secrets`: CloudNativePG's Service of the Cluster `postgres`, and our own of NATS."""
CONTENT = {
    "public-keys": base64.urlsafe_b64encode(bytes(32)).decode(),
    "signing-key.pem": "a key",
    "secret-key": "sk_test_0123456789",
    "publishable-key": "pk_test_0123456789",
    "webhook-secret": "whsec_0123456789",
}


def content(secret: str, key: str) -> str:
    """Something like what a Secret has under this key."""
    database = "testgateway" if key.startswith("testgateway") else secret.removesuffix("-owner")
    role = secret.replace("-", "_")
    if key.endswith("database-url"):
        return f"postgresql://{role}:secret@{POSTGRES}/{database}?sslmode=require"
    return f"nats://{role}:secret@{NATS}" if key == "nats-url" else CONTENT[key]


class Asked(Mapping[str, str]):
    """An empty environment that notes what it is asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def known_names() -> set[str]:
    asked = Asked()
    with contextlib.suppress(WrongSettings):  # It has asked all the same: what is wrong is reported together, at the end.
        load(asked)
    return asked.names | {f"{name}_FILE" for name in asked.names}


def started(workload: Object, objects: list[Object], folder: Path) -> Settings:
    """The settings as the pod's process has them, with files in a folder in place of the mounted ones. Raises WrongSettings."""
    environment, files = settings_of(workload, objects), files_of(workload)
    for name, value in environment.items():
        if name.endswith("_FILE"):
            assert value in files, f"{name} names {value}, which is not mounted"
            file = folder / value.replace("/", "_")
            file.write_text(content(*files[value]) + "\n")
            environment[name] = str(file)
    return load(environment)


def of_the_product(objects: list[Object]) -> list[Object]:
    return list(of_kind(objects, "Deployment", "Job"))


def unknown_settings(objects: list[Object]) -> list[str]:
    names = known_names()
    return [
        f"{workload['metadata']['name']}: {name}"
        for workload in of_the_product(objects)
        for name in settings_of(workload, objects)
        if name not in names and name != "PYTHONPATH"  # Python's own.
    ]


def unknown_secrets(objects: list[Object]) -> list[str]:
    used = [(workload["metadata"]["name"], *place) for workload in of_the_product(objects) for place in files_of(workload).values()]
    used += [("nats", *place) for place in files_of(find(objects, "StatefulSet", "nats")).values()]
    for cluster in of_kind(objects, "Cluster"):
        used += [(role["name"], role["passwordSecret"]["name"], "password") for role in cluster["spec"]["managed"]["roles"]]
    for ingress in of_kind(objects, "Ingress"):
        name = ingress["metadata"].get("annotations", {}).get("nginx.ingress.kubernetes.io/auth-secret")
        used += [("ingress", name, "auth")] if name else []
    return [f"{who}: {secret}/{key}" for who, secret, key in used if key not in SECRETS.get(secret, ())]


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return objects_of(request.param)


def test_each_setting_is_one_that_the_product_knows(objects: list[Object]) -> None:
    assert unknown_settings(objects) == []


def test_each_secret_is_one_that_is_made(objects: list[Object]) -> None:
    assert unknown_secrets(objects) == []


@pytest.mark.parametrize("name", [service.name for service in SERVICES])
def test_a_service_starts_with_its_settings(name: str, objects: list[Object], tmp_path: Path) -> None:
    deployment = find(objects, "Deployment", name)
    assert containers_of(deployment)[0]["args"] == ["serve", name]
    settings = started(deployment, objects, tmp_path)
    assert settings.nats_url_of(name) == content(name, "nats-url")
    assert settings.public_keys == (CONTENT["public-keys"],)
    if name in SERVICES_WITH_A_DATABASE:
        assert settings.database_url_of(name) == content(name, "database-url")
    assert (settings.host, settings.port, settings.internal_port) == ("0.0.0.0", 8000, 9000)
    assert (settings.migrates, settings.drain_seconds) == (False, 20)


def test_auth_has_the_key_that_signs(objects: list[Object], tmp_path: Path) -> None:
    assert started(find(objects, "Deployment", "auth"), objects, tmp_path).signing_key_file is not None
    holders = [work["metadata"]["name"] for work in of_the_product(objects) if ("auth", "signing-key.pem") in files_of(work).values()]
    assert holders == ["auth"]


def test_addresses_of_services_are_those_of_services(objects: list[Object], tmp_path: Path) -> None:
    web = started(find(objects, "Deployment", "web"), objects, tmp_path)
    assert web.service_urls == {name: f"http://{name}:8000" for name in ("auth", "tickets", "orders", "payments")}
    for url in web.service_urls.values():
        host, _, port = url.removeprefix("http://").partition(":")
        assert int(port) in [one["port"] for one in find(objects, "Service", host)["spec"]["ports"]]
    assert find(objects, "Service", NATS.partition(":")[0])
    assert find(objects, "Cluster", POSTGRES.partition("-rw:")[0])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_payments_has_one_card_processor(overlay: str, tmp_path: Path) -> None:
    objects = objects_of(overlay)
    settings = started(find(objects, "Deployment", "payments"), objects, tmp_path)
    web = started(find(objects, "Deployment", "web"), objects, tmp_path)
    assert web.stripe_secret_key is None
    if overlay == "production":
        assert (settings.stripe_secret_key, settings.stripe_webhook_secret) == (CONTENT["secret-key"], CONTENT["webhook-secret"])
        assert web.stripe_publishable_key == CONTENT["publishable-key"]
        with pytest.raises(WrongSettings):
            settings.database_url_of("testgateway")
    else:
        assert settings.stripe_secret_key is None
        assert web.stripe_publishable_key is None
        assert settings.database_url_of("testgateway") == content("payments", "testgateway-database-url")
        assert settings.url_of("payments") == "http://payments:8000"


@pytest.mark.parametrize("service", SERVICES_WITH_A_DATABASE)
def test_a_migration_has_the_owner_of_the_tables_alone(service: str, objects: list[Object], tmp_path: Path) -> None:
    job = find(objects, "Job", f"migrate-{service}")
    assert containers_of(job)[0]["args"] == ["migrate", service]
    assert list(files_of(job).values()) == [(f"{service}-owner", "database-url")]
    assert f"ADMITONE_{service.upper()}_OWNER_DATABASE_URL_FILE" in settings_of(job, objects)
    started(job, objects, tmp_path)


def test_no_service_has_what_belongs_to_another(objects: list[Object]) -> None:
    for deployment in of_kind(objects, "Deployment"):
        name = deployment["metadata"]["name"]
        assert {secret for secret, _key in files_of(deployment).values()} <= {name, "keys", "stripe"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_have_the_same_marketplace_and_cookies_are_for_https(overlay: str, tmp_path: Path) -> None:
    objects = objects_of(overlay)
    found = {settings_of(workload, objects)["ADMITONE_MARKETPLACE"] for workload in of_the_product(objects)}
    assert found == {next(of_kind(objects, "Namespace"))["metadata"]["name"]}
    assert started(find(objects, "Deployment", "web"), objects, tmp_path).secure == (overlay != "dev")


def test_production_reads_each_secret_that_it_uses_from_the_store() -> None:
    objects = objects_of("production")
    read = {one["metadata"]["name"]: one["spec"]["target"]["template"]["type"] for one in of_kind(objects, "ExternalSecret")}
    mounted = {secret for work in of_kind(objects, "Deployment", "Job", "StatefulSet") for secret, _key in files_of(work).values()}
    roles = {role["passwordSecret"]["name"] for role in find(objects, "Cluster", "postgres")["spec"]["managed"]["roles"]}
    assert set(read) == mounted | roles
    assert {name for name, kind in read.items() if kind == "kubernetes.io/basic-auth"} == roles  # CloudNativePG takes no other type.


def test_an_external_secret_is_named_as_in_the_store() -> None:
    for secret in parse((MANIFESTS / "components/external-secrets/secrets.yaml").read_text()):
        assert secret["spec"]["dataFrom"] == [{"extract": {"key": f"admitone/{secret['metadata']['name']}"}}]


def rename(kind: str, name: str, old: str, new: str) -> Callable[[list[Object]], None]:
    """A setting, called otherwise."""

    def change(objects: list[Object]) -> None:
        (setting,) = (one for one in containers_of(find(objects, kind, name))[0]["env"] if one["name"] == old)
        setting["name"] = new

    return change


def rename_for_all(objects: list[Object]) -> None:
    settings = settings_map(objects)
    settings["ADMITONE_DRAIN"] = settings.pop("ADMITONE_DRAIN_SECONDS")


def settings_map(objects: list[Object]) -> dict[str, str]:
    data: dict[str, str] = next(one["data"] for one in of_kind(objects, "ConfigMap") if "ADMITONE_PUBLIC_URL" in one["data"])
    return data


@pytest.mark.parametrize(
    "change",
    [
        rename("Deployment", "orders", "ADMITONE_ORDERS_DATABASE_URL_FILE", "ADMITONE_ORDER_DATABASE_URL_FILE"),
        rename("Deployment", "web", "ADMITONE_MIGRATE", "ADMITONE_MIGRATES"),
        rename_for_all,
    ],
)
def test_a_misspelt_setting_is_found(change: Callable[[list[Object]], None]) -> None:
    objects = objects_of("staging")
    before = unknown_settings(objects)
    change(objects)
    assert len(unknown_settings(objects)) > len(before)


def test_a_misspelt_secret_is_found() -> None:
    objects = objects_of("staging")
    sources = find(objects, "Deployment", "orders")["spec"]["template"]["spec"]["volumes"]
    next(volume for volume in sources if volume["name"] == "secrets")["projected"]["sources"][0]["secret"]["items"][0]["key"] = (
        "database_url"
    )
    assert unknown_secrets(objects) == ["orders: orders/database_url"]


def test_a_setting_that_is_missing_or_leads_nowhere_is_found(tmp_path: Path) -> None:
    objects = objects_of("staging")
    orders = find(objects, "Deployment", "orders")
    environment = containers_of(orders)[0]["env"]
    setting = next(one for one in environment if one["name"] == "ADMITONE_ORDERS_DATABASE_URL_FILE")
    setting["value"] = "/run/secrets/admitone/database"
    with pytest.raises(AssertionError, match="not mounted"):
        started(orders, objects, tmp_path)
    environment.remove(setting)
    with pytest.raises(WrongSettings):
        started(orders, objects, tmp_path).database_url_of("orders")
