"""For development only: runs the command from a copy of the code in $PYTHONPATH, and again whenever a file there has changed.

Skaffold copies what you edit into that folder of the running pod. The image itself can't be written to.
"""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

LOOK_SECONDS = 0.3
SOURCE = Path(os.environ["PYTHONPATH"])


def files() -> dict[str, int]:
    found = {}
    for file in SOURCE.rglob("*"):
        try:
            if file.is_file() and file.suffix != ".pyc":
                found[str(file)] = file.stat().st_mtime_ns
        except FileNotFoundError:  # It is being replaced.
            pass
    return found


def ended(*_: object) -> None:
    sys.exit(0)


signal.signal(signal.SIGTERM, ended)
if not (SOURCE / "admitone").exists():
    shutil.copytree(Path(sysconfig.get_path("purelib")) / "admitone", SOURCE / "admitone")
changed = False
while True:
    before = files()
    child = subprocess.Popen([sys.executable, "-m", "admitone.cli", *sys.argv[1:]])
    try:
        while files() == before:
            code = child.poll()
            if code is not None and not changed:
                sys.exit(code)  # It has never run: the pod starts anew.
            time.sleep(LOOK_SECONDS)
    finally:
        child.terminate()
        child.wait()
    changed = True
    print("reload: a file has changed", file=sys.stderr, flush=True)
