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
    read = re.findall(r'read\(\s*"([A-Z_]+)"', (ROOT / "src" / "admitone" / "config.py").read_text())
    assert len(read) >= 18
    readme = (ROOT / "README.md").read_text()
    for name in read:
        assert f"`{name}`" in readme, f"the README's table of settings does not name {name}"


def test_no_test_has_a_name_longer_than_80_characters() -> None:
    for file in (ROOT / "tests").rglob("*.py"):
        for name in re.findall(r"def (test_\w+)", file.read_text()):
            assert len(name) <= 80, f"{file.relative_to(ROOT)}: shorten {name}: say the behaviour in at most 80 characters"


def test_what_the_pages_say_of_a_file_is_defined_in_it() -> None:
    """Pages write `path: name` where a name is to be found."""
    named = 0
    for page in PAGES:
        for path, name in re.findall(r"`((?:[\w-]+/)+\w+\.(?:py|sql)): (\w+)`", page.read_text()):
            if name.startswith("the_") or path.startswith("tests/") or (ROOT / "tests" / path).is_file():
                continue
            file = next((root / path for root in (ROOT, ROOT / "src" / "admitone") if (root / path).is_file()), None)
            assert file is not None, f"{page.name} names {path}, which is not there"
            assert re.search(rf"\b{name}\b", file.read_text()), f"{page.name} says that {name} is in {path}, and it is not"
            named += 1
    assert named >= 3


def test_the_index_that_the_readme_calls_the_lock_is_in_the_schema() -> None:
    readme = (ROOT / "README.md").read_text()
    (index,) = set(re.findall(r"the index `(\w+)` is the lock", readme))
    schema = (ROOT / "src" / "admitone" / "orders" / "migrations" / "0001_orders.sql").read_text()
    assert f"CREATE UNIQUE INDEX {index} ON orders (ticket_id)" in schema
