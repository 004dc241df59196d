"""`admitone secrets`: made once, and what each file says is what the engines and services need."""

from pathlib import Path

import pytest
from support import processes

from admitone.config import SERVICES_WITH_A_DATABASE, load
from admitone.runtime.nats_users import USERS
from admitone.runtime.secrets_folder import make_secrets

POSTGRES, NATS = "postgresql://one:5432,two:5433?sslmode=verify-full", "tls://a:4222,b:4222"


def contents(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_every_service_has_its_own_and_nobody_elses(tmp_path: Path) -> None:
    assert {"orders", "orders-owner", "orders-role", "web", "nats", "keys", "postgres", "team"} <= set(
        make_secrets(tmp_path, POSTGRES, NATS)
    )
    named = SERVICES_WITH_A_DATABASE
    settings = load({
        **{f"ADMITONE_{name.upper()}_DATABASE_URL_FILE": str(tmp_path / name / "database-url") for name in named},
        **{f"ADMITONE_{name.upper()}_OWNER_DATABASE_URL_FILE": str(tmp_path / f"{name}-owner/database-url") for name in named},
        **{f"ADMITONE_{name.upper()}_NATS_URL_FILE": str(tmp_path / name / "nats-url") for name in USERS},
        "ADMITONE_TESTGATEWAY_DATABASE_URL_FILE": str(tmp_path / "payments/testgateway-database-url"),
        "ADMITONE_PUBLIC_KEYS_FILE": str(tmp_path / "keys/public-keys"),
        "ADMITONE_SIGNING_KEY_FILE": str(tmp_path / "auth/signing-key.pem"),
    })  # fmt: skip
    password = (tmp_path / "orders-role/password").read_text()
    assert settings.database_url_of("orders") == f"postgresql://orders:{password}@one:5432,two:5433/orders?sslmode=verify-full"
    assert settings.owner_database_url_of("orders").startswith("postgresql://orders_owner:")
    assert settings.nats_url_of("web").count("tls://web:") == 2
    passwords = [(tmp_path / f"{name}-{kind}/password").read_text() for name in SERVICES_WITH_A_DATABASE for kind in ("role", "owner")]
    assert len({*passwords}) == len(passwords)
    users = (tmp_path / "nats/users.conf").read_text()
    assert all(f"user: {name}," in users for name in ("admitone", *USERS))
    for file in tmp_path.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, f"{file} can be read by others"


def test_made_again_only_the_addresses_change(tmp_path: Path) -> None:
    make_secrets(tmp_path, POSTGRES, NATS)
    before = contents(tmp_path)
    make_secrets(tmp_path, POSTGRES, NATS)
    salted = {"team/auth"}
    assert {name: text for name, text in contents(tmp_path).items() if name not in salted} == {
        name: text for name, text in before.items() if name not in salted
    }
    make_secrets(tmp_path, "postgresql://three:5432", NATS)
    after = contents(tmp_path)
    assert after["orders-role/password"] == before["orders-role/password"]
    assert after["orders/database-url"] == f"postgresql://orders:{before['orders-role/password']}@three:5432/orders"
    assert after["auth/signing-key.pem"] == before["auth/signing-key.pem"]


@pytest.mark.parametrize(
    ("postgres", "nats", "named"),
    [
        ("mysql://db", NATS, "--postgres must be an address"),
        ("postgresql://admin:pw@db", NATS, "--postgres must be without a user"),
        (POSTGRES, "http://nats", "--nats must be an address"),
        (POSTGRES, "nats://me:pw@nats", "--nats must be without a user"),
    ],
)
def test_a_wrong_address_is_named_and_nothing_is_written(tmp_path: Path, postgres: str, nats: str, named: str) -> None:
    done = processes.run(["secrets", "--postgres", postgres, "--nats", nats, str(tmp_path / "made")], {})
    assert done.returncode == 1
    assert named in done.stderr
    assert "pw" not in done.stderr.replace("postgresql", "")
    assert not (tmp_path / "made").exists()
