"""What is written about the code is what the code does."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from admitone.apidocs import markdown as flow
from admitone.cli import main

ROOT = Path(__file__).parents[2]
MADE = flow.documents(ROOT / "docs")
PAGES = sorted(page for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))


@pytest.mark.parametrize("path", MADE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_made_from_the_code_is_fresh(path: Path) -> None:
    found = path.read_text() if path.exists() else ""
    assert found == MADE[path], f"{path.relative_to(ROOT)} is stale: run `make docs` and commit it"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    file = ""
    for named in re.findall(r"`([\w./]+\.py(?:: \w+)?|[a-z]\w*_\w+_\w+_\w+)`", _last_column(page.read_text())):
        path, _, test = named.partition(": ") if ".py" in named else (file, "", named)
        file = path
        assert (ROOT / "tests" / path).is_file(), f"{page.name} names tests/{path}, which is not there"
        if test:
            assert f"def test_{test}(" in (ROOT / "tests" / path).read_text(), f"{page.name} names {test} in tests/{path}: it is not there"


def _last_column(text: str) -> str:
    """Of its tables that say which test shows something."""
    tables = re.findall(r"^\|.*which test shows it \|\n((?:\|.*\n?)*)", text, re.MULTILINE)
    return "\n".join(row.rstrip("| ").rpartition(" | ")[2] for table in tables for row in table.splitlines()[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), f"{page.name} links to {link}, which is not there"
    for path in re.findall(r"\b((?:tests|bench|src)/[\w./-]*\w)", text):
        assert (ROOT / path).exists() or "/sales" in path, f"{page.name} names {path}, which is not there"


def test_the_examples_in_contributing_are_tests_that_run() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    shown = [example for example in examples if "def test_" in example]
    assert len(shown) >= 4
    for example in shown:
        assert example.strip() in tests, f"this example of CONTRIBUTING.md is no test of ours:\n{example}"


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
