"""Fetch what others have written for browsers anew: from npm, as it is configured on this machine, and checked by its hash.

To move to another version, change it and its integrity (`npm view PACKAGE@VERSION dist.integrity`) in the table, run
`python scripts/vendor.py`, look at the pages, and commit what has changed. `python scripts/vendor.py htmx.org` fetches just one.
"""

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ADMITONE = ROOT / "src" / "admitone"


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    licence: str
    integrity: str
    files: tuple[str, ...]
    """Within the package; here they lie side by side."""
    folder: Path


PACKAGES = (
    Package(
        "swagger-ui-dist",
        "5.35.0",
        "Apache-2.0",
        "sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ==",
        ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "LICENSE", "NOTICE"),
        ADMITONE / "docs" / "static" / "swagger-ui",
    ),
    Package(
        "htmx.org",
        "4.0.1",
        "0BSD",
        "sha512-oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R60mdkdqGg==",
        ("dist/htmx.min.js", "LICENSE"),
        ADMITONE / "web" / "static" / "vendor" / "htmx",
    ),
    Package(
        "@fontsource-variable/archivo",
        "5.3.0",
        "OFL-1.1",
        "sha512-HogK8FJelrD1o7TlZlkIVtHgc20bO5PZRWE7mUeUTdMN055alznQV6/00J00IBeu8FQAH4s3zW9UJNvKExXf+g==",
        ("files/archivo-latin-wdth-normal.woff2", "files/archivo-latin-ext-wdth-normal.woff2", "LICENSE"),
        ADMITONE / "web" / "static" / "vendor" / "archivo",
    ),
    Package(
        "axe-core",
        "4.14.1",
        "MPL-2.0",
        "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        ("axe.min.js", "LICENSE", "LICENSE-3RD-PARTY.txt"),
        ROOT / "tests" / "browser" / "axe",
    ),
)


def main() -> None:
    for package in PACKAGES:
        if package.name in (sys.argv[1:] or [package.name]):
            fetch(package)


def fetch(package: Package) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", f"{package.name}@{package.version}", "--ignore-scripts", "--silent"], cwd=folder, check=True)
        (tarball,) = Path(folder).glob("*.tgz")
        found = "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
        if found != package.integrity:
            sys.exit(f"{package.name} {package.version} is not what it was: {found} instead of {package.integrity}")
        package.folder.mkdir(parents=True, exist_ok=True)
        hashes = {}
        with tarfile.open(tarball) as archive:
            for path in package.files:
                packed = archive.extractfile(f"package/{path}")
                assert packed is not None
                data, file = packed.read(), package.folder / Path(path).name
                file.write_bytes(data)
                hashes[file.name] = hashlib.sha256(data).hexdigest()
    record = {"package": package.name, "version": package.version, "licence": package.licence, "integrity": package.integrity}
    (package.folder / "vendored.json").write_text(json.dumps(record | {"sha256": hashes}, indent=2) + "\n")


if __name__ == "__main__":
    main()
