"""/metrics: what metrics.py has counted, and how the services of this process stand at this moment (figures.py)."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from admitone.kit.observe.gauges import BUS_UP, DATABASE_UP, OF_A_DATABASE, WAITING, Figure, Figures

CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "admitone_"
ASKED_AGAIN_SECONDS = 1.0
"""Asked again within this time, the same is said: nobody can wear out the databases by asking."""


class Board:
    """The figures of every service in this process."""

    def __init__(self) -> None:
        self._sources: dict[str, Callable[[], Awaitable[Figures]]] = {}
        self._meanings = meanings()
        self._lock = asyncio.Lock()
        self._read_at = -ASKED_AGAIN_SECONDS
        self._found: Mapping[str, Figures] = {}

    def add(self, service: str, own: Sequence[Figure], source: Callable[[], Awaitable[Figures]]) -> None:
        """`source` is asked at each scrape. It never raises, and takes no longer than a scrape may."""
        self._sources[service] = source
        self._meanings |= meanings(own)

    async def text(self) -> bytes:
        """Everything, in Prometheus's format. A figure that can't be had is left out."""
        async with self._lock:
            if time.monotonic() - self._read_at >= ASKED_AGAIN_SECONDS:
                found = await asyncio.gather(*(source() for source in self._sources.values()))
                self._found = dict(zip(self._sources, found, strict=True))
                self._read_at = time.monotonic()
        registry = CollectorRegistry()
        registry.register(_Gauges(self._found, self._meanings))
        return generate_latest(REGISTRY) + generate_latest(registry)


def meanings(own: Sequence[Figure] = ()) -> dict[str, str]:
    """What each figure says, by name."""
    return dict((DATABASE_UP, BUS_UP, WAITING)) | {figure.name: figure.meaning for figure in (*OF_A_DATABASE, *own)}


class _Gauges(Collector):
    def __init__(self, found: Mapping[str, Figures], meanings: Mapping[str, str]) -> None:
        self.found = found
        self.meanings = meanings

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, meaning in self.meanings.items():
            gauge = GaugeMetricFamily(PREFIX + name, meaning, labels=["service"])
            for service, figures in self.found.items():
                if name in figures:
                    gauge.add_metric([service], figures[name])
            yield gauge
