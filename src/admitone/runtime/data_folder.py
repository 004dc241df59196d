"""The data folder of a run on one machine: its lock, passwords, keys, and the file that says what runs in it."""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from admitone.auth.tokens import make_key, public_key
from admitone.config import Settings


class EngineError(Exception):
    """An engine can't be run; the message is a sentence for the person who tried."""


@contextlib.contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """One run per data folder. Raises EngineError when there is one already."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise EngineError(f"The data folder {folder} can't be used: {error.strerror}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EngineError(
                f"The data folder {folder} is in use by another run; stop that one first, or set ADMITONE_DATA to another folder."
            ) from None
        yield


def settings_of_run(settings: Settings) -> Settings:
    """The settings of the system that runs in the data folder, for a command beside it. Raises EngineError."""
    if settings.database_url is not None:
        return settings
    try:
        run = json.loads((settings.data / "run.json").read_text())
        os.kill(run["pid"], 0)
    except PermissionError:
        raise EngineError(f"The system in {settings.data} belongs to another user.") from None
    except (OSError, ValueError, KeyError):
        raise EngineError(
            f"Nothing runs in {settings.data}: start it with `make run`, or set DATABASE_URL and NATS_URL to where it does."
        ) from None
    return replace(
        settings,
        database_url=run["database_url"],
        nats_url=settings.nats_url or run["nats_url"],
        services_url=run.get("services_url", settings.services_url),
    )


def takes_cards(folder: Path) -> bool:
    """Whether the system that runs in the data folder has a key of Stripe's. False where nothing runs."""
    try:
        return bool(json.loads((folder / "run.json").read_text()).get("takes_cards"))
    except (OSError, ValueError):
        return False


def with_keys(settings: Settings, folder: Path) -> Settings:
    """The settings with a signing key: unless one is set, it is created once in the data folder."""
    key_file = settings.signing_key_file or folder / "signing-key.pem"
    if not key_file.exists():
        make_key(key_file)
    return replace(settings, signing_key_file=key_file, public_keys=settings.public_keys or (public_key(key_file),))


def with_marketplace(settings: Settings, folder: Path) -> Settings:
    """The settings with the marketplace's name: unless one is set, it is made up once, in the data folder."""
    file = folder / "marketplace"
    if settings.marketplace is None and not file.exists():
        write_secret(file, f"market-{secrets.token_hex(4)}")
    return replace(settings, marketplace=settings.marketplace or file.read_text())


def passwords_in(file: Path, names: Sequence[str]) -> dict[str, str]:
    """The passwords of the engines' users. Those that are missing are made up."""
    passwords: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    if missing := [name for name in names if name not in passwords]:
        passwords |= {name: secrets.token_urlsafe(24) for name in missing}
        write_secret(file, json.dumps(passwords))
    return passwords


def write_secret(file: Path, text: str) -> None:
    """Write a file that only its owner can read, atomically."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
    new.replace(file)
