"""What is written about the code is what the code does."""

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from admitone.apidocs import markdown as flow
from admitone.cli import main
from admitone.config import DATABASES, load

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
    names: set[str] = set()

    class Recording(dict[str, str]):
        def get(self, name: str, default: object = None) -> Any:
            names.add(name)
            return default

    load(Recording())
    names -= {f"{name}_FILE" for name in names}  # Of each: the page says so once.
    services = "|".join(service.upper() for service in (*DATABASES, "web"))
    names = {
        re.sub(rf"^ADMITONE_({services})_(OWNER_DATABASE_URL|DATABASE_URL|NATS_URL|URL)$", r"ADMITONE_<SERVICE>_\2", name) for name in names
    }
    assert len(names) >= 20
    settings = (ROOT / "README.md").read_text().partition("\n## Settings\n")[2].partition("\n## ")[0]
    missing = sorted(name for name in names if f"`{name}`" not in settings)
    assert not missing, f"add to the settings in README.md: {', '.join(missing)}"


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


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "services").glob("*.md")), ids=lambda page: page.stem)
def test_where_a_page_says_to_start_reading_is_there(page: Path) -> None:
    start = re.search(r"^(?:.*Start reading at|The smallest service).*(?:\n.+)*", page.read_text(), re.MULTILINE)
    assert start, f"say in {page.name} where to start reading"
    _must_be_there(start[0].partition("Start reading at")[2] or start[0], ROOT / "src" / "admitone" / page.stem, page.name)


def test_where_the_readme_says_to_start_reading_is_there() -> None:
    section = (ROOT / "README.md").read_text().partition("\n## Finding your way\n")[2].partition("\n## ")[0]
    _must_be_there(section.partition("To follow")[2].partition("\n\n")[0], ROOT / "src" / "admitone", "README.md")
    tree = section.split("```")[1].partition("src/admitone/")[2]
    for name in re.findall(r"\b\w+(?:\.py|/)", tree):
        assert any((ROOT / "src" / "admitone").rglob(name.rstrip("/"))), f"README.md names {name}, which is not there"


def _must_be_there(text: str, folder: Path, page: str) -> None:
    """Every `path`, `path: name`, and `name` after a path: the file is in the folder, and the name is defined in the file."""
    file = folder
    for path, name in re.findall(r"`(?:([\w/]+\.\w+)(?:: )?)?(\w*)`", text):
        if path:
            file = ROOT / path if path.startswith("src/") else folder / path
        assert file.is_file(), f"{page} names {path or name}, which is not in {folder.relative_to(ROOT)}"
        if not name:
            continue
        defined = rf"^{name}\b.*=|\b(def|class|TABLE|INDEX|CONSTRAINT) {name}\b"
        assert re.search(defined, file.read_text(), re.MULTILINE), f"{page} names {name}, which {file.relative_to(ROOT)} does not define"
