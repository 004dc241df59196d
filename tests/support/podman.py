"""Podman where there is neither systemd nor the right to raise limits, as in a container of CI."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IMAGE, BASE = "localhost/admitone:check", "localhost/admitone-base:check"
"""What scripts/image.sh builds."""
UID = 10001
ANSWERS_WITHIN_SECONDS = 120
CONTAINERS = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


@contextmanager
def podman_configured(folder: Path) -> Iterator[None]:
    file = folder / "containers.conf"
    file.write_text(CONTAINERS)
    os.environ["CONTAINERS_CONF"] = str(file)
    try:
        yield
    finally:
        del os.environ["CONTAINERS_CONF"]


def podman(*arguments: str, check: bool = True) -> str:
    own = Path(os.environ["CONTAINERS_CONF"]).parent  # Where it is started, a file is left by every container that runs out of memory.
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False, cwd=own, timeout=ANSWERS_WITHIN_SECONDS)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def inspect(name: str) -> Any:
    return json.loads(podman("inspect", name))[0]


def status_of(process: int) -> dict[str, str]:
    """What the kernel says of a process."""
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
