"""What goes wrong on purpose is logged without a picture of every variable: drawing it takes half a second each."""

import pytest
import structlog


@pytest.fixture(scope="package", autouse=True)
def plain_log() -> None:
    structlog.configure(processors=[structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)])
