"""The settings: read once from the environment into one frozen struct. All errors are reported together at the start."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

from admitone import config_values as values
from admitone.kit.http.client_address import Network, networks

Value = TypeVar("Value")

SAME_MACHINE = ("localhost", "127.0.0.1", "::1")
LOOPBACK = networks("127.0.0.0/8, ::1")
SERVICES_WITH_A_DATABASE = ("auth", "tickets", "orders", "expiration", "payments")
TEST_PROCESSOR = "testgateway"
"""The card processor of test mode keeps its books in a database of its own, as one out in the world would."""
DATABASES = (*SERVICES_WITH_A_DATABASE, TEST_PROCESSOR)


class WrongSettings(Exception):
    """A setting is missing or can't be used; the message is the sentence for the person who set it."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """All settings. They hold secrets, so they are never printed as a whole."""

    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = "http://localhost:8000"
    allowed_origins: frozenset[str] = frozenset()
    """Of other front ends, whose pages may call the API with the visitor's session."""
    marketplace: str | None = None
    """What tells this marketplace from others on the same engines: the stream and the databases carry it."""
    data: Path = Path(".data")
    database_url: str | None = None
    nats_url: str | None = None
    stream_replicas: int = 1
    """On how many NATS servers the stream is kept, when it is created."""
    own_database_urls: Mapping[str, str] = field(default_factory=dict)
    owner_database_urls: Mapping[str, str] = field(default_factory=dict)
    """The same databases under the roles that own their tables: for migrations."""
    own_nats_urls: Mapping[str, str] = field(default_factory=dict)
    service_urls: Mapping[str, str] = field(default_factory=dict)
    services_url: str = "http://127.0.0.1:8000"
    trusted_proxies: tuple[Network, ...] = LOOPBACK
    """Whose X-Forwarded-For is believed."""
    internal_port: int | None = None
    """Where /metrics and the details of /readyz are; on the port of all others where none is set."""
    signing_key_file: Path | None = None
    public_keys: tuple[str, ...] = ()
    migrates: bool = True
    """Whether a service brings its database up to date when it starts; otherwise it only checks that it finds what it needs."""
    drain_seconds: int = 2
    """How long a process that is stopped goes on with the requests that are under way."""
    order_window_seconds: int = 900
    settle_seconds: int = 30
    max_open_orders: int = 8
    currency: str = "USD"
    fee_basis_points: int = 0
    """The marketplace's fee, in hundredths of a percent of the price."""
    stripe_secret_key: str | None = None
    stripe_publishable_key: str | None = None
    stripe_webhook_secret: str | None = None
    stripe_api_base: str | None = None

    @property
    def secure(self) -> bool:
        """Whether cookies are only for https: always, but on http://localhost."""
        return self.public_url.startswith("https:")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can be meant by the public address."""
        return urlsplit(self.public_url).hostname in SAME_MACHINE

    @property
    def origins(self) -> frozenset[str]:
        """The origins that are our own. On a laptop the two names of the same machine are both fine."""
        url = self.public_url
        return frozenset({url, url.replace("//localhost", "//127.0.0.1"), url.replace("//127.0.0.1", "//localhost")})

    @property
    def required_marketplace(self) -> str:
        """The marketplace's name. Raises WrongSettings where there is none."""
        if self.marketplace is None:
            raise WrongSettings(
                "ADMITONE_MARKETPLACE is missing: set it to a name of this marketplace, the same for all its services; "
                "its databases and its stream carry it, so that no other marketplace mixes with it."
            )
        return self.marketplace

    def url_of(self, service: str) -> str:
        """Where one service's API is."""
        return self.service_urls.get(service, self.services_url)

    def database_url_of(self, service: str) -> str:
        """Where one service's database is, under its own role. Raises WrongSettings where nothing says so."""
        if service in self.own_database_urls:
            return self.own_database_urls[service]
        if self.database_url is None:
            raise WrongSettings(f"{service} has no database: set ADMITONE_{service.upper()}_DATABASE_URL, or DATABASE_URL for all.")
        return own_database_url(self.database_url, service)

    def owner_database_url_of(self, service: str) -> str:
        """Where one service's database is, under the role that may change its tables. Raises WrongSettings where nothing says so."""
        if service in self.owner_database_urls:
            return self.owner_database_urls[service]
        if service in self.own_database_urls or self.database_url is None:
            return self.database_url_of(service)
        return owner_database_url(self.database_url, service)

    def nats_url_of(self, service: str) -> str:
        """Where one service finds the stream. Raises WrongSettings where nothing says so."""
        url = self.own_nats_urls.get(service, self.nats_url)
        if url is None:
            raise WrongSettings(f"{service} has no event bus: set ADMITONE_{service.upper()}_NATS_URL, or NATS_URL for all.")
        return url


def own_database_url(administrator_url: str, service: str) -> str:
    """One service's database on the administrator's server, under the role that serves: it may change rows, not tables.

    Its password follows from the administrator's. Raises WrongSettings for an administrator without one in the address: then everybody
    could work out the roles' passwords.
    """
    return _derived_url(administrator_url, service, service)


def owner_database_url(administrator_url: str, service: str) -> str:
    """The same database under the role that owns its tables, for migrations. Raises WrongSettings as `own_database_url` does."""
    return _derived_url(administrator_url, service, owner_of(service))


def owner_of(service: str) -> str:
    """The role that owns a service's database. The test processor's books are not ours: its own role owns them."""
    return service if service == TEST_PROCESSOR else f"{service}_owner"


def _derived_url(administrator_url: str, service: str, role: str) -> str:
    url = urlsplit(administrator_url)
    if not url.password:
        raise WrongSettings(
            "DATABASE_URL has no password, from which those of the services' roles could follow: "
            f"give it one, or set ADMITONE_{service.upper()}_DATABASE_URL and the like for every service."
        )
    secret = hmac.new(url.password.encode(), f"admitone/{role}".encode(), hashlib.sha256).digest()
    password = base64.urlsafe_b64encode(secret).decode().rstrip("=")
    where = (url.netloc.rpartition("@")[2]) or "127.0.0.1"
    return urlunsplit(("postgresql", f"{quote(role)}:{password}@{where}", f"/{service}", url.query, ""))


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings from the environment, or from the file that NAME_FILE names. Raises WrongSettings, which names every wrong one."""
    wrong: list[str] = []
    given = dict[str, str]()

    def read(name: str, default: Value, parse: Callable[[str], Value]) -> Value:
        try:
            text = values.text_of(name, environ)
        except ValueError as error:
            wrong.append(f"{name}_FILE {error}.")
            return default
        if not text:
            return default
        given[name] = text
        try:
            return parse(text)
        except ValueError as error:
            wrong.append(f"{name} {error}.")
            return default

    def urls(suffix: str, services: tuple[str, ...], parse: Callable[[str], str]) -> dict[str, str]:
        found = {service: read(f"ADMITONE_{service.upper()}_{suffix}", "", parse) for service in services}
        return {service: url for service, url in found.items() if url}

    allow_http = read("ADMITONE_ALLOW_HTTP", False, values.yes_or_no)
    host = read("ADMITONE_HOST", "127.0.0.1", str)
    port = read("ADMITONE_PORT", 8000, values.whole(1, 65535))
    settings = Settings(
        host=host,
        port=port,
        public_url=read("ADMITONE_PUBLIC_URL", f"http://localhost:{port}", values.public_url(allow_http)),
        allowed_origins=read("ADMITONE_ALLOWED_ORIGINS", frozenset(), values.origins(allow_http)),
        marketplace=read("ADMITONE_MARKETPLACE", None, values.marketplace),
        data=read("ADMITONE_DATA", Path(".data"), Path),
        database_url=read("DATABASE_URL", None, values.database_url),
        nats_url=read("NATS_URL", None, values.nats_urls),
        stream_replicas=read("ADMITONE_STREAM_REPLICAS", 1, values.whole(1, 5)),
        own_database_urls=urls("DATABASE_URL", DATABASES, values.database_url),
        owner_database_urls=urls("OWNER_DATABASE_URL", SERVICES_WITH_A_DATABASE, values.database_url),
        own_nats_urls=urls("NATS_URL", (*SERVICES_WITH_A_DATABASE, "web"), values.nats_urls),
        service_urls=urls("URL", (*SERVICES_WITH_A_DATABASE, "web"), values.address("http", "https")),
        services_url=read(
            "ADMITONE_SERVICES_URL", f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}", values.address("http", "https")
        ),
        trusted_proxies=read("ADMITONE_TRUSTED_PROXIES", LOOPBACK, values.proxies),
        internal_port=read("ADMITONE_INTERNAL_PORT", None, values.whole(1, 65535)),
        signing_key_file=read("ADMITONE_SIGNING_KEY_FILE", None, values.existing_file),
        public_keys=read("ADMITONE_PUBLIC_KEYS", (), values.public_keys),
        migrates=read("ADMITONE_MIGRATE", True, values.yes_or_no),
        drain_seconds=read("ADMITONE_DRAIN_SECONDS", 2, values.whole(0, 300)),
        order_window_seconds=read("ADMITONE_ORDER_WINDOW_SECONDS", 900, values.whole(1, 86_400)),
        settle_seconds=read("ADMITONE_SETTLE_SECONDS", 30, values.whole(1, 3_600)),
        max_open_orders=read("ADMITONE_MAX_OPEN_ORDERS", 8, values.whole(1, 1_000)),
        currency=read("ADMITONE_CURRENCY", "USD", values.currency),
        fee_basis_points=read("ADMITONE_FEE_PERCENT", 0, values.percent),
        stripe_secret_key=read("STRIPE_SECRET_KEY", None, values.stripe_key("sk", "rk")),
        stripe_publishable_key=read("STRIPE_PUBLISHABLE_KEY", None, values.stripe_key("pk")),
        stripe_webhook_secret=read("STRIPE_WEBHOOK_SECRET", None, values.stripe_webhook_secret),
        stripe_api_base=read("STRIPE_API_BASE", None, values.address("http", "https")),
    )
    wrong += _conflicts(settings) if not wrong else []
    if not read("ADMITONE_ALLOW_PLAIN_CONNECTIONS", False, values.yes_or_no):
        wrong += _plain_connections(given)
    if wrong:
        raise WrongSettings(" ".join(wrong))
    return settings


def _conflicts(settings: Settings) -> list[str]:
    """Settings that are valid alone, but not together."""
    secret, publishable = settings.stripe_secret_key, settings.stripe_publishable_key
    wrong = []
    if secret and not settings.stripe_webhook_secret:
        wrong.append("STRIPE_WEBHOOK_SECRET is missing: with STRIPE_SECRET_KEY, Stripe has to reach /api/payments/webhook.")
    if secret and publishable and ("_live_" in secret) != ("_live_" in publishable):
        wrong.append("STRIPE_SECRET_KEY and STRIPE_PUBLISHABLE_KEY must both be test keys or both be live keys.")
    if secret and "_live_" in secret and not settings.secure:
        wrong.append("ADMITONE_PUBLIC_URL must begin with https:// with a live STRIPE_SECRET_KEY.")
    if secret and "_live_" in secret and settings.stripe_api_base:
        wrong.append("STRIPE_API_BASE is for tests: leave it out with a live STRIPE_SECRET_KEY.")
    return wrong


def _plain_connections(given: Mapping[str, str]) -> list[str]:
    """Engines on other hosts that would be talked to without TLS: passwords and all data would cross the network as they are."""
    wrong = []
    for name, text in given.items():
        if name not in ("DATABASE_URL", "NATS_URL") and not re.fullmatch(r"ADMITONE_[A-Z_]+_(DATABASE|NATS)_URL", name):
            continue
        plain = "tls://" not in text if name.endswith("NATS_URL") else not re.search(r"[?&]sslmode=(require|verify-ca|verify-full)\b", text)
        if plain and any(host not in SAME_MACHINE for host in values.hosts_of(text)):
            how = "begin with tls://" if name.endswith("NATS_URL") else "end with ?sslmode=verify-full"
            wrong.append(
                f"{name} names another host without TLS: let it {how}, or set ADMITONE_ALLOW_PLAIN_CONNECTIONS=1 "
                "in a network that you trust."
            )
    return wrong
