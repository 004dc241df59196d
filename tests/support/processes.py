"""The command line as a process of its own: forked from one that has imported everything, which saves a second each time.

server = begin(["serve", "payments"], environment, log)
server.kill()
assert run(["money"], environment).returncode == 0
"""

import multiprocessing
import os
import subprocess
import tempfile
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from admitone.cli import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["admitone.cli"])


def begin(arguments: list[str], environment: dict[str, str], output: Path, errors: Path | None = None) -> ForkServerProcess:
    """It goes on by itself, and ends with the tests; what it says is added to the files."""
    process = FORKS.Process(target=_become, args=(arguments, environment, output, errors or output), daemon=True)
    process.start()
    return process


def run(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What it said, once it has ended."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        process = begin(arguments, environment, output, errors)
        process.join()
        assert process.exitcode is not None
        return subprocess.CompletedProcess(arguments, process.exitcode, output.read_text(), errors.read_text())


def _become(arguments: list[str], environment: dict[str, str], output: Path, errors: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for path, descriptor in ((output, 1), (errors, 2)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), descriptor)
    main(arguments, prog_name="admitone")
