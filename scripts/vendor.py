"""Fetch Swagger UI anew into src/admitone/docs/static/swagger-ui: from npm, as it is configured on this machine, and checked by its hash.

To move to another version, change VERSION and INTEGRITY (`npm view swagger-ui-dist@VERSION dist.integrity`), run
`python scripts/vendor.py`, look at a page under /docs, and commit what has changed.
"""

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "swagger-ui-dist"
VERSION = "5.35.0"
INTEGRITY = "sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ=="
FILES = ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "LICENSE", "NOTICE")
TARGET = Path(__file__).parents[1] / "src" / "admitone" / "docs" / "static" / "swagger-ui"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--silent"], cwd=folder, check=True)
        (tarball,) = Path(folder).glob("*.tgz")
        found = "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
        if found != INTEGRITY:
            sys.exit(f"{PACKAGE} {VERSION} is not what it was: {found} instead of {INTEGRITY}")
        TARGET.mkdir(parents=True, exist_ok=True)
        hashes = {}
        with tarfile.open(tarball) as archive:
            for name in FILES:
                packed = archive.extractfile(f"package/{name}")
                assert packed is not None
                data = packed.read()
                (TARGET / name).write_bytes(data)
                hashes[name] = hashlib.sha256(data).hexdigest()
    record = {"package": PACKAGE, "version": VERSION, "licence": "Apache-2.0", "integrity": INTEGRITY, "sha256": hashes}
    (TARGET / "vendored.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
