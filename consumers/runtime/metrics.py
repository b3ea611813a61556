"""The metrics of a process: one registry, every name beginning with `eni_ledger_`.

A module declares its metrics at import, once: `CALLS = metrics.counter("cloud_calls", …)`.
"""

from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

PREFIX = "eni_ledger"

#: Seconds; from a database round trip to the longest cloud call.
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)


def counter(name: str, what: str, labels: Sequence[str] = ()) -> Counter:
    """A counter exported as `eni_ledger_<name>_total`."""
    return Counter(name, what, labels, namespace=PREFIX, registry=REGISTRY)


def gauge(name: str, what: str, labels: Sequence[str] = ()) -> Gauge:
    """A gauge exported as `eni_ledger_<name>`."""
    return Gauge(name, what, labels, namespace=PREFIX, registry=REGISTRY)


def histogram(
    name: str,
    what: str,
    labels: Sequence[str] = (),
    buckets: Sequence[float] = LATENCY_BUCKETS,
) -> Histogram:
    """A histogram exported as `eni_ledger_<name>`; seconds unless the name says otherwise."""
    return Histogram(name, what, labels, namespace=PREFIX, registry=REGISTRY, buckets=buckets)


def exposition() -> tuple[bytes, str]:
    """Every metric in Prometheus' text format, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
