"""/metrics: what metrics.py has counted, and the gauges of this process's services (gauges.py)."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from admitone.kit.observe.gauges import BUS_UP, DATABASE_GAUGES, DATABASE_UP, WAITING, Gauge, GaugeValues

CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "admitone_"
CACHE_SECONDS = 1.0
"""The values are cached for so long, so that scrapes can't overload the databases."""


class Exposition:
    """The gauges of every service in this process."""

    def __init__(self) -> None:
        self._sources: dict[str, Callable[[], Awaitable[GaugeValues]]] = {}
        self._meanings = meanings()
        self._lock = asyncio.Lock()
        self._read_at = -CACHE_SECONDS
        self._found: Mapping[str, GaugeValues] = {}

    def add(self, service: str, own: Sequence[Gauge], source: Callable[[], Awaitable[GaugeValues]]) -> None:
        """`source` reads the values at each scrape. It must not raise, and must not take longer than a scrape may."""
        self._sources[service] = source
        self._meanings |= meanings(own)

    async def text(self) -> bytes:
        """All metrics in Prometheus's text format, without the gauges that can't be read."""
        async with self._lock:
            if time.monotonic() - self._read_at >= CACHE_SECONDS:
                found = await asyncio.gather(*(source() for source in self._sources.values()))
                self._found = dict(zip(self._sources, found, strict=True))
                self._read_at = time.monotonic()
        registry = CollectorRegistry()
        registry.register(_Gauges(self._found, self._meanings))
        return generate_latest(REGISTRY) + generate_latest(registry)


def meanings(own: Sequence[Gauge] = ()) -> dict[str, str]:
    """What each gauge says, by name."""
    return dict((DATABASE_UP, BUS_UP, WAITING)) | {gauge.name: gauge.meaning for gauge in (*DATABASE_GAUGES, *own)}


class _Gauges(Collector):
    def __init__(self, found: Mapping[str, GaugeValues], meanings: Mapping[str, str]) -> None:
        self.found = found
        self.meanings = meanings

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, meaning in self.meanings.items():
            gauge = GaugeMetricFamily(PREFIX + name, meaning, labels=["service"])
            for service, gauges in self.found.items():
                if name in gauges:
                    gauge.add_metric([service], gauges[name])
            yield gauge
