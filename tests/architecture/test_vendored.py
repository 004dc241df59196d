"""What others have written is here as they have written it."""

import hashlib
import json
from pathlib import Path

from admitone.docs.viewer import STATIC

ROOT = Path(__file__).parents[2]


def test_what_is_vendored_is_what_was_fetched() -> None:
    folder = STATIC / "swagger-ui"
    record = json.loads((folder / "vendored.json").read_text())
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir() if file.name != "vendored.json"}
    assert found == record["sha256"]
    assert record["integrity"] in (ROOT / "scripts" / "vendor.py").read_text()
