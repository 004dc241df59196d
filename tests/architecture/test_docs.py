"""What is written about the code is what the code does."""

from pathlib import Path

from click.testing import CliRunner

from admitone import flow
from admitone.cli import main

ROOT = Path(__file__).parents[2]


def test_the_map_of_events_is_fresh() -> None:
    assert (ROOT / "docs" / "events.md").read_text() == flow.markdown(), "docs/events.md is stale: run `make docs` and commit it"


def test_the_map_is_printed() -> None:
    printed = CliRunner().invoke(main, ["events"]).output
    assert "orders      OrderCreated        ->  tickets, expiration, payments" in printed


def test_every_setting_is_in_the_readme() -> None:
    source = (ROOT / "src" / "admitone" / "kit" / "config.py").read_text()
    readme = (ROOT / "README.md").read_text()
    for name in ("DATABASE_URL", "NATS_URL", "ADMITONE_HOST", "ADMITONE_PORT", "ADMITONE_PUBLIC_URL", "ADMITONE_DATA",
                 "ADMITONE_SERVICES_URL", "ADMITONE_SIGNING_KEY_FILE", "ADMITONE_PUBLIC_KEYS", "ADMITONE_ORDER_WINDOW_SECONDS",
                 "ADMITONE_SETTLE_SECONDS", "ADMITONE_MAX_OPEN_ORDERS", "ADMITONE_CURRENCY", "ADMITONE_FEE_PERCENT",
                 "STRIPE_SECRET_KEY", "STRIPE_PUBLISHABLE_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_API_BASE"):  # fmt: skip
        assert f'"{name}"' in source, f"{name} is no setting any more"
        assert f"`{name}`" in readme, f"the README does not speak of {name}"
