"""What others have written is here as they have written it."""

import hashlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORDS = [record for folder in ("src", "tests") for record in sorted((ROOT / folder).rglob("vendored.json"))]
NAMES = [record.parent.name for record in RECORDS]


@pytest.mark.parametrize("file", RECORDS, ids=NAMES)
def test_what_is_vendored_is_what_was_fetched(file: Path) -> None:
    record = json.loads(file.read_text())
    found = {other.name: hashlib.sha256(other.read_bytes()).hexdigest() for other in file.parent.iterdir() if other != file}
    assert found == record["sha256"]
    script = (ROOT / "scripts" / "vendor.py").read_text()
    for told in ("package", "version", "licence", "integrity"):
        assert f'"{record[told]}"' in script


def test_everything_in_the_table_is_here() -> None:
    assert NAMES == ["swagger-ui", "archivo", "htmx", "axe"]
