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
    services = "|".join(service.upper() for service in (*DATABASES, "web"))
    names = {re.sub(rf"^ADMITONE_({services})_(DATABASE_URL|NATS_URL|URL)$", r"ADMITONE_<SERVICE>_\2", name) for name in names}
    assert len(names) >= 20
    settings = (ROOT / "README.md").read_text().partition("\n## Settings\n")[2].partition("\n## ")[0]
    missing = sorted(name for name in names if f"`{name}`" not in settings)
    assert not missing, f"add to the settings in README.md: {', '.join(missing)}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "services").glob("*.md")), ids=lambda page: page.stem)
def test_where_a_page_says_to_start_reading_is_there(page: Path) -> None:
    start = re.search(r"^(?:.*Start reading at|The smallest service).*(?:\n.+)*", page.read_text(), re.MULTILINE)
    assert start, f"say in {page.name} where to start reading"
    _must_be_there(start[0].partition("Start reading at")[2] or start[0], ROOT / "src" / "admitone" / page.stem, page.name)


def test_where_the_readme_says_to_start_reading_is_there() -> None:
    section = (ROOT / "README.md").read_text().partition("\n## Finding your way\n")[2].partition("\n## ")[0]
    _must_be_there(section.partition("To follow")[2].partition("\n\n")[0], ROOT / "src" / "admitone", "README.md")
    tree = section.split("```")[1].partition("src/admitone/")[2]
    places = [ROOT / "src" / "admitone", ROOT / "src" / "admitone" / "orders"]
    for name in re.findall(r"\b\w+(?:\.py|/)", tree):
        assert any((place / name).exists() for place in places), f"README.md names {name}, which is not there"


def _must_be_there(text: str, folder: Path, page: str) -> None:
    """Every `path`, `path: name`, and `name` after a path: the file is in the folder, and the name is defined in the file."""
    file = folder
    for path, name in re.findall(r"`(?:([\w/]+\.\w+)(?:: )?)?(\w*)`", text):
        file = folder / path if path else file
        assert file.is_file(), f"{page} names {path or name}, which is not in {folder.relative_to(ROOT)}"
        if not name:
            continue
        defined = rf"^{name}\b.*=|\b(def|class|TABLE|INDEX|CONSTRAINT) {name}\b"
        assert re.search(defined, file.read_text(), re.MULTILINE), f"{page} names {name}, which {file.relative_to(ROOT)} does not define"


def test_every_test_name_has_at_most_80_characters() -> None:
    for file in sorted((ROOT / "tests").rglob("*.py")):
        for name in re.findall(r"\bdef (test_\w+)", file.read_text()):
            where = file.relative_to(ROOT)
            assert len(name) <= 80, f"{where}: {name} has {len(name)} characters; rename it: the behaviour, in at most 80"
