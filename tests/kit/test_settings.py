"""Settings come from the environment; what is wrong is said at the start, all at once, and no secret with it."""

from pathlib import Path

import pytest

from admitone.config import Settings, WrongSettings, load, own_database_url
from admitone.config_values import NOT_OF_TWO_DECIMALS
from admitone.kit.delivery.connection import parse
from admitone.ops.reach import server_of
from admitone.runtime.process import running
from admitone.services import SERVICES

WRONG = {
    "ADMITONE_PORT": ["0", "65536", "-1", "8000.0", "http", " 8000", "١"],
    "ADMITONE_PUBLIC_URL": [
        "tickets.example",
        "ftp://tickets.example",
        "http://tickets.example",
        "https://tickets.example/shop",
        "https://",
        "https://x:99999",
    ],
    "DATABASE_URL": ["mysql://x/y", "postgresql://", "localhost:5432", "postgresql://x:port/y", "postgresql://x:1,y:port/z"],
    "NATS_URL": ["http://x", "nats://", "nats://a:4222,", "nats://a:4222,http://b", "nats://a:port"],
    "ADMITONE_STREAM_REPLICAS": ["0", "6", "three"],
    "ADMITONE_DRAIN_SECONDS": ["-1", "301", "x"],
    "ADMITONE_MIGRATE": ["yes", "2"],
    "ADMITONE_ALLOW_PLAIN_CONNECTIONS": ["yes"],
    "ADMITONE_ALLOW_HTTP": ["yes"],
    "ADMITONE_ALLOWED_ORIGINS": ["app.tickets.example", "https://a.example,http://b.example", "https://a.example/path", "*", "null"],
    "ADMITONE_MARKETPLACE": ["Town", "-town", "town-", "town hall", "x" * 41, "stadt/halle"],
    "ADMITONE_ORDERS_OWNER_DATABASE_URL": ["mysql://x/y"],
    "STRIPE_SECRET_KEY_FILE": ["/no/such/file", "/", "/dev/null", "x" * 5000],
    "ADMITONE_ORDERS_DATABASE_URL_FILE": ["postgresql://a:b@localhost/x"],
    "ADMITONE_TRUSTED_PROXIES": ["x", "10.0.0.1/8", "10.0.0.0/8 127.0.0.1"],
    "ADMITONE_INTERNAL_PORT": ["0", "65536", "x"],
    "ADMITONE_ORDERS_DATABASE_URL": ["mysql://x/y"],
    "ADMITONE_PAYMENTS_NATS_URL": ["x"],
    "ADMITONE_SERVICES_URL": ["nats://x", "x"],
    "ADMITONE_WEB_URL": ["x"],
    "ADMITONE_SIGNING_KEY_FILE": ["/no/such/file", "/", "x" * 5000],
    "ADMITONE_PUBLIC_KEYS": ["x", "AAAA", "!" * 43, "A" * 43 + ",short"],
    "ADMITONE_ORDER_WINDOW_SECONDS": ["0", "-1", "1.5", "86401", "a while", "1e3"],
    "ADMITONE_SETTLE_SECONDS": ["0", "3601", "x"],
    "ADMITONE_MAX_OPEN_ORDERS": ["0", "1001", "x"],
    "ADMITONE_CURRENCY": ["usd", "US", "DOLLAR", "€€€", "JPY", "KWD"],
    "ADMITONE_FEE_PERCENT": ["100.01", "101", "-1", "2.555", "abc", "2,5", "2.", ".5", "1e1", "2.5%", " 2.5", "٢"],
    "STRIPE_SECRET_KEY": ["sk", "pk_test_swordfish1", "sk_swordfish1", "sk_test_", "sk_test_short", "sk_test_swordfish1\n"],
    "STRIPE_PUBLISHABLE_KEY": ["pk", "sk_test_swordfish1", "rk_test_swordfish1", "pk_prod_swordfish1"],
    "STRIPE_WEBHOOK_SECRET": ["whsec_", "sk_test_swordfish1", "swordfish1"],
    "STRIPE_API_BASE": ["api.stripe.example", "ftp://api.stripe.example", "https://"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    with pytest.raises(WrongSettings, match=name):
        load({name: value})


def test_all_wrong_values_are_named_at_once() -> None:
    wrong_values = {
        name: values[0] for name, values in WRONG.items() if not name.endswith("_URL_FILE") and name != "STRIPE_SECRET_KEY_FILE"
    }
    with pytest.raises(WrongSettings) as wrong:
        load(wrong_values)
    assert [name for name in wrong_values if name not in str(wrong.value)] == []


SECRET = "hunter2swordfish"
HOLDING_A_SECRET = [
    ("DATABASE_URL", f"mysql://ann:{SECRET}@db/x"),
    ("DATABASE_URL", f"postgresql://ann:{SECRET}@db:port/x"),
    ("NATS_URL", f"https://ann:{SECRET}@bus"),
    ("ADMITONE_ORDERS_DATABASE_URL", f"ann:{SECRET}@db"),
    ("ADMITONE_AUTH_NATS_URL", f"ann:{SECRET}@bus"),
    ("ADMITONE_SERVICES_URL", f"ann:{SECRET}@gateway"),
    ("ADMITONE_PUBLIC_URL", f"https://ann:{SECRET}@tickets.example/shop"),
    ("ADMITONE_SIGNING_KEY_FILE", f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"),
    ("ADMITONE_PUBLIC_KEYS", SECRET),
    ("STRIPE_SECRET_KEY", f"sk_{SECRET}"),
    ("STRIPE_SECRET_KEY", f"whsec_{SECRET}"),
    ("STRIPE_PUBLISHABLE_KEY", f"sk_live_{SECRET}"),
    ("STRIPE_WEBHOOK_SECRET", f"sk_live_{SECRET}"),
    ("STRIPE_API_BASE", f"ann:{SECRET}@api.stripe.example"),
    ("ADMITONE_ORDERS_DATABASE_URL_FILE", f"postgresql://orders:{SECRET}@db/orders"),
]


@pytest.mark.parametrize(("name", "value"), HOLDING_A_SECRET)
def test_a_secret_is_never_repeated(name: str, value: str) -> None:
    with pytest.raises(WrongSettings, match=name) as wrong:
        load({name: value})
    assert SECRET not in str(wrong.value)


def test_settings_are_never_printed_whole() -> None:
    settings = load({"DATABASE_URL": f"postgresql://ann:{SECRET}@localhost/x"})
    assert SECRET not in repr(settings) + str(settings)


STRIPE = {
    "STRIPE_SECRET_KEY": f"sk_test_{SECRET}",
    "STRIPE_PUBLISHABLE_KEY": f"pk_test_{SECRET}",
    "STRIPE_WEBHOOK_SECRET": f"whsec_{SECRET}",
}
LIVE = {
    "STRIPE_SECRET_KEY": f"sk_live_{SECRET}",
    "STRIPE_PUBLISHABLE_KEY": f"pk_live_{SECRET}",
    "STRIPE_WEBHOOK_SECRET": f"whsec_{SECRET}",
    "ADMITONE_PUBLIC_URL": "https://tickets.example",
}


@pytest.mark.parametrize("given", [STRIPE, LIVE, STRIPE | {"STRIPE_SECRET_KEY": f"rk_test_{SECRET}"}])
def test_the_keys_of_stripe_are_taken_as_they_are(given: dict[str, str]) -> None:
    settings = load(given)
    assert settings.stripe_secret_key == given["STRIPE_SECRET_KEY"]
    assert settings.stripe_publishable_key == given["STRIPE_PUBLISHABLE_KEY"]
    assert settings.stripe_webhook_secret == given["STRIPE_WEBHOOK_SECRET"]
    assert settings.stripe_api_base is None
    assert SECRET not in repr(settings) + str(settings)


def test_another_address_of_stripe_is_for_tests_and_never_for_a_live_key() -> None:
    elsewhere = {"STRIPE_API_BASE": "http://127.0.0.1:12111/"}
    assert load(STRIPE | elsewhere).stripe_api_base == "http://127.0.0.1:12111"
    with pytest.raises(WrongSettings, match="STRIPE_API_BASE is for tests"):
        load(LIVE | elsewhere)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"STRIPE_SECRET_KEY": STRIPE["STRIPE_SECRET_KEY"]}, "STRIPE_WEBHOOK_SECRET"),
        (STRIPE | {"STRIPE_WEBHOOK_SECRET": ""}, "STRIPE_WEBHOOK_SECRET"),
        (STRIPE | {"STRIPE_PUBLISHABLE_KEY": LIVE["STRIPE_PUBLISHABLE_KEY"]}, "STRIPE_PUBLISHABLE_KEY"),
        (LIVE | {"STRIPE_PUBLISHABLE_KEY": STRIPE["STRIPE_PUBLISHABLE_KEY"]}, "STRIPE_PUBLISHABLE_KEY"),
        (LIVE | {"ADMITONE_PUBLIC_URL": ""}, "ADMITONE_PUBLIC_URL"),
        (LIVE | {"ADMITONE_PUBLIC_URL": "http://localhost:8000"}, "ADMITONE_PUBLIC_URL"),
        (LIVE | {"STRIPE_SECRET_KEY": f"rk_live_{SECRET}", "ADMITONE_PUBLIC_URL": ""}, "ADMITONE_PUBLIC_URL"),
    ],
)
def test_what_is_right_by_itself_and_wrong_together_is_named(given: dict[str, str], missing: str) -> None:
    with pytest.raises(WrongSettings, match=missing) as wrong:
        load(given)
    assert SECRET not in str(wrong.value)


@pytest.mark.parametrize(
    ("percent", "basis_points"), [("2.5", 250), ("0", 0), ("100", 10_000), ("100.00", 10_000), ("0.01", 1), ("2.29", 229), ("19.99", 1999)]
)
def test_the_fee_is_a_percentage_to_the_hundredth(percent: str, basis_points: int) -> None:
    assert load({"ADMITONE_FEE_PERCENT": percent}).fee_basis_points == basis_points


@pytest.mark.parametrize("currency", sorted(NOT_OF_TWO_DECIMALS))
def test_a_currency_without_cents_is_refused(currency: str) -> None:
    with pytest.raises(WrongSettings, match=f"ADMITONE_CURRENCY must be a currency with cents; {currency}"):
        load({"ADMITONE_CURRENCY": currency})


@pytest.mark.parametrize("currency", ["USD", "EUR", "GBP", "CHF"])
def test_a_currency_with_cents_is_taken(currency: str) -> None:
    assert load({"ADMITONE_CURRENCY": currency}).currency == currency


def test_a_setting_is_read_from_a_file_as_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "database-url"
    file.write_text("postgresql://orders:pw@127.0.0.1/orders\n")
    assert load({"ADMITONE_ORDERS_DATABASE_URL_FILE": str(file)}).database_url_of("orders") == "postgresql://orders:pw@127.0.0.1/orders"
    named_twice = {"ADMITONE_ORDERS_DATABASE_URL_FILE": str(file), "ADMITONE_ORDERS_DATABASE_URL": "postgresql://o:p@localhost/orders"}
    assert load(named_twice).database_url_of("orders") == "postgresql://o:p@localhost/orders"
    file.write_text("postgresql://orders:pw@db/orders")
    with pytest.raises(WrongSettings, match="ADMITONE_ORDERS_DATABASE_URL names another host without TLS"):
        load({"ADMITONE_ORDERS_DATABASE_URL_FILE": str(file)})
    file.write_text(f"mysql://{SECRET}")
    with pytest.raises(WrongSettings, match="ADMITONE_ORDERS_DATABASE_URL must be an address") as wrong:
        load({"ADMITONE_ORDERS_DATABASE_URL_FILE": str(file)})
    assert SECRET not in str(wrong.value)


def test_plain_http_needs_an_explicit_word() -> None:
    open_to_all = {"ADMITONE_PUBLIC_URL": "http://ticketing.dev"}
    with pytest.raises(WrongSettings, match="ADMITONE_ALLOW_HTTP=1"):
        load(open_to_all)
    settings = load(open_to_all | {"ADMITONE_ALLOW_HTTP": "1"})
    assert (settings.secure, settings.loopback, settings.public_url) == (False, False, "http://ticketing.dev")
    with pytest.raises(WrongSettings, match="live STRIPE_SECRET_KEY"):
        load(LIVE | open_to_all | {"ADMITONE_ALLOW_HTTP": "1"})


def test_nothing_set_means_the_laptop() -> None:
    assert load({}) == Settings()
    assert load({"ADMITONE_PORT": ""}).port == 8000


def test_the_public_address_decides_over_cookies_and_origins() -> None:
    public = load({"ADMITONE_PUBLIC_URL": "https://tickets.example/"})
    assert (public.public_url, public.secure) == ("https://tickets.example", True)
    assert public.origins == {"https://tickets.example"}
    laptop = load({"ADMITONE_PORT": "8100"})
    assert (laptop.public_url, laptop.secure) == ("http://localhost:8100", False)
    assert laptop.origins == {"http://localhost:8100", "http://127.0.0.1:8100"}


def test_a_service_has_a_database_and_a_role_of_its_own() -> None:
    settings = load({"DATABASE_URL": "postgresql://admin:pw@db:5433/postgres?sslmode=require"})
    orders, tickets = settings.database_url_of("orders"), settings.database_url_of("tickets")
    assert orders.startswith("postgresql://orders:")
    assert orders.endswith("@db:5433/orders?sslmode=require")
    assert own_database_url("postgresql://admin:other@db:5433/postgres", "orders") != orders
    assert orders.split("@")[0].split(":")[2] != tickets.split("@")[0].split(":")[2]
    assert "pw" not in orders.replace("sslmode", "").split("@")[0].split(":")


def test_an_administrator_without_a_password_gives_no_passwords_to_roles() -> None:
    with pytest.raises(WrongSettings, match="DATABASE_URL has no password"):
        load({"DATABASE_URL": "postgresql://admin@localhost/postgres"}).database_url_of("orders")
    own = load(
        {"DATABASE_URL": "postgresql://admin@localhost/postgres", "ADMITONE_ORDERS_DATABASE_URL": "postgresql://o:p@localhost/orders"}
    )
    assert own.database_url_of("orders") == "postgresql://o:p@localhost/orders"


def test_an_engine_may_be_several_servers() -> None:
    settings = load(
        {
            "DATABASE_URL": "postgresql://admin:pw@one:5432,two:5433/postgres?target_session_attrs=primary&sslmode=require",
            "NATS_URL": "tls://ann:p%40ss@one:4222,two,tls://three:4333",
        }
    )
    assert settings.database_url_of("orders").endswith("@one:5432,two:5433/orders?target_session_attrs=primary&sslmode=require")
    servers, credentials = parse(settings.nats_url_of("orders"))
    assert servers == ["tls://one:4222", "tls://two:4222", "tls://three:4333"]
    assert credentials == {"user": "ann", "password": "p@ss"}
    assert parse("tls://token@one") == (["tls://one:4222"], {"token": "token"})
    assert server_of(settings.nats_url or "") == "one:4222,two,three:4333"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("DATABASE_URL", "postgresql://a:b@db/x"),
        ("DATABASE_URL", "postgresql://a:b@db/x?sslmode=prefer"),
        ("DATABASE_URL", "postgresql://a:b@127.0.0.1:5432,db:5432/x"),
        ("ADMITONE_ORDERS_DATABASE_URL", "postgresql://a:b@10.0.0.1/x"),
        ("NATS_URL", "nats://bus"),
        ("NATS_URL", "nats://127.0.0.1:4222,bus:4222"),
        ("ADMITONE_WEB_NATS_URL", "nats://web:pw@bus"),
    ],
)
def test_another_host_is_not_talked_to_without_tls(name: str, address: str) -> None:
    with pytest.raises(WrongSettings, match=f"{name} names another host without TLS"):
        load({name: address})
    load({name: address, "ADMITONE_ALLOW_PLAIN_CONNECTIONS": "1"})


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("DATABASE_URL", "postgresql://a:b@db/x?sslmode=verify-full"),
        ("DATABASE_URL", "postgresql://a:b@127.0.0.1:5432/x"),
        ("DATABASE_URL", "postgresql://a:b@localhost/x"),
        ("DATABASE_URL", "postgresql:///x?host=/run/postgresql"),
        ("NATS_URL", "nats://ann:pw@[::1]:4222"),
        ("NATS_URL", "tls://bus"),
    ],
)
def test_what_stays_on_the_machine_or_is_encrypted_is_fine(name: str, address: str) -> None:
    load({name: address})


def test_a_services_own_address_is_taken_before_the_common_one() -> None:
    settings = load(
        {
            "DATABASE_URL": "postgresql://a:b@localhost/x",
            "ADMITONE_ORDERS_DATABASE_URL": "postgresql://o:p@127.0.0.1/orders",
            "NATS_URL": "nats://localhost",
        }
    )
    assert settings.database_url_of("orders") == "postgresql://o:p@127.0.0.1/orders"
    assert settings.nats_url_of("orders") == "nats://localhost"


def test_a_service_without_an_address_says_what_to_set() -> None:
    with pytest.raises(WrongSettings, match="ADMITONE_ORDERS_DATABASE_URL"):
        load({}).database_url_of("orders")
    with pytest.raises(WrongSettings, match="ADMITONE_ORDERS_NATS_URL"):
        load({}).nats_url_of("orders")


def test_a_signing_key_that_is_there_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("x")
    assert load({"ADMITONE_SIGNING_KEY_FILE": str(file)}).signing_key_file == file


@pytest.mark.parametrize("there", ["STRIPE_SECRET_KEY", "STRIPE_PUBLISHABLE_KEY"])
async def test_one_process_with_payments_and_pages_needs_both_keys(there: str) -> None:
    given = {"STRIPE_SECRET_KEY": "sk_test_12345678", "STRIPE_PUBLISHABLE_KEY": "pk_test_12345678"}
    environment = {there: given.pop(there), "STRIPE_WEBHOOK_SECRET": "whsec_12345678", "ADMITONE_PUBLIC_KEYS": "A" * 43}
    with pytest.raises(WrongSettings, match=f"^{next(iter(given))} is missing"):
        async with running(SERVICES, load(environment)):
            pass
