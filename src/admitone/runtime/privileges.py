"""The account of a child process when we are root, and its end together with ours."""

import contextlib
import ctypes
import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000


class NoAccount(Exception):
    """Root has found no way to run as somebody else; the message is a sentence for the person who tried."""


@dataclass(frozen=True)
class Account:
    """The account of the engines when we are root. `namespace`: root, in a user namespace in which it is nobody."""

    uid: int
    gid: int
    namespace: bool


def account_for(folder: Path, program: Path) -> Account | None:
    """When we are root, an account that can enter the folder and run the program; None otherwise. Raises NoAccount."""
    if os.geteuid() != 0:
        return None
    enter_and_run = ["sh", "-c", 'cd "$1" && "$2" --version', "sh", str(folder), str(program)]
    nobody = pwd.getpwnam("nobody")
    for account in (Account(nobody.pw_uid, nobody.pw_gid, False), Account(nobody.pw_uid, nobody.pw_gid, True)):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            if not subprocess.run(enter_and_run, check=False, cwd="/", capture_output=True, **as_account(account, None)).returncode:
                return account
    raise NoAccount(
        f"PostgreSQL does not run as root, and the user nobody can't reach {folder}: run this as an ordinary user, "
        "or from a folder that every user may enter."
    )


def as_account(account: Account | None, death_signal: int | None) -> dict[str, Any]:
    """Popen's arguments for running as somebody. The user is changed first: that would clear the death signal."""
    parent = os.getpid()

    def prepare() -> None:
        if account is not None and account.namespace:
            _enter_namespace(account)
        if death_signal is not None:
            _die_with(parent, death_signal)

    drop: dict[str, Any] = {}
    if account is not None and not account.namespace:
        drop = {"user": account.uid, "group": account.gid, "extra_groups": []}
    return {"preexec_fn": prepare, **drop}


def _enter_namespace(account: Account) -> None:
    """Between fork and exec: a user namespace in which we are nobody, and outside still root."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for file, text in (("uid_map", f"{account.uid} 0 1"), ("setgroups", "deny"), ("gid_map", f"{account.gid} 0 1")):
        Path("/proc/self", file).write_text(text)


def _die_with(parent: int, death_signal: int) -> None:
    """Between fork and exec: ask the kernel to end this process when its parent ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            os._exit(1)
