"""Counters and histograms for /metrics. What is read at the moment of a scrape is in gauges.py."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Histogram(
    "admitone_request_seconds",
    "How long requests took.",
    ("service", "method", "status"),
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
PUBLISHED = Counter("admitone_events_published_total", "Events that the stream has acknowledged.", ("service", "event"))
HANDLING = Histogram(
    "admitone_handler_seconds",
    "How long handlers took, also those that failed.",
    ("service", "event"),
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
HANDLED = Counter("admitone_events_handled_total", "Events that a service has handled.", ("service", "event"))
STREAMS = Gauge("admitone_event_streams", "Event streams that are open, one per page that somebody looks at.")
PARKED = Counter("admitone_events_parked_total", "Events that a service could not handle.", ("service", "event"))
