"""The browser that is on this machine: Debian's chromium, or what else there is of its kind. None is downloaded."""

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")


def program() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path), None)
