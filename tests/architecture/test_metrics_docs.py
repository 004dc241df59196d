"""docs/operating.md lists every metric, with the meaning that the code gives it."""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import REGISTRY

from admitone.kit.observe.exposition import PREFIX, meanings
from admitone.services import SERVICES

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


def test_every_metric_is_on_the_page_with_its_meaning_and_no_other_is() -> None:
    listed = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{PREFIX}")]
    rows = [*_counted(), *_gauges()]
    assert listed == rows, "docs/operating.md is stale; its table of metrics should be\n" + "\n".join(rows)


def _counted() -> Iterator[str]:
    """What the kit and the services count as it happens."""
    for metric in REGISTRY.collect():
        if metric.name.startswith(PREFIX):
            suffix = "_total" if metric.type == "counter" else ""
            labels = ", ".join(REGISTRY._names_to_collectors[metric.name]._labelnames)  # type: ignore[attr-defined]
            yield f"| `{metric.name}{suffix}` | {labels} | {metric.type}: {metric.documentation} |"


def _gauges() -> Iterator[str]:
    everywhere = meanings()
    for name, meaning in everywhere.items():
        yield f"| `{PREFIX}{name}` | service | {meaning} |"
    for service in SERVICES:
        for name, meaning in meanings(service.gauges).items():
            if name not in everywhere:
                yield f"| `{PREFIX}{name}` | service | {meaning} |"
