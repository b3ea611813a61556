"""The metrics of a process: one registry, every name beginning with `eni_ledger_`.

A module declares its metrics at import, once: `CALLS = metrics.counter("cloud_calls", …)`. What
describes the ledger and not this process is declared on a `Snapshot`. The list of all of them is
`deploy/grafana/metrics.md`; a test holds it together with what is declared.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Literal, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

PREFIX = "eni_ledger"

#: Seconds; from a database round trip to the longest cloud call.
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# A second series for each counter, that nobody of ours reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)


class Declared(NamedTuple):
    """A metric as it is declared: its name as Prometheus has it, type, labels, and what it says.

    All of them have the label `cluster` beside these. `of` is "process" or "ledger": the second
    kind is the same from every replica, and is never summed.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    of: Literal["process", "ledger"]
    what: str


#: What the modules imported so far declare, by name.
DECLARED: dict[str, Declared] = {}


def _declare(
    name: str,
    type_: Literal["counter", "gauge", "histogram"],
    labels: Sequence[str],
    what: str,
    of: Literal["process", "ledger"] = "process",
) -> None:
    full = f"{PREFIX}_{name}" + ("_total" if type_ == "counter" else "")
    DECLARED[full] = Declared(full, type_, tuple(labels), of, what)


def counter(name: str, what: str, labels: Sequence[str] = ()) -> Counter:
    """A counter exported as `eni_ledger_<name>_total`."""
    _declare(name, "counter", labels, what)
    return Counter(name, what, labels, namespace=PREFIX, registry=REGISTRY)


def gauge(name: str, what: str, labels: Sequence[str] = ()) -> Gauge:
    """A gauge exported as `eni_ledger_<name>`."""
    _declare(name, "gauge", labels, what)
    return Gauge(name, what, labels, namespace=PREFIX, registry=REGISTRY)


def histogram(
    name: str,
    what: str,
    labels: Sequence[str] = (),
    buckets: Sequence[float] = LATENCY_BUCKETS,
) -> Histogram:
    """A histogram exported as `eni_ledger_<name>`; seconds unless the name says otherwise."""
    _declare(name, "histogram", labels, what)
    return Histogram(name, what, labels, namespace=PREFIX, registry=REGISTRY, buckets=buckets)


class Snapshot(Collector):
    """Gauges that are measured together, and are absent once the last measurement is too old.

    For what a process knows of something that others change too: an old figure that looks like a
    new one would hide the very trouble that keeps it from being measured. `now` is in seconds. `of`
    is "process" where each replica knows another part, so that a sum is right.
    """

    def __init__(
        self,
        fresh_s: float,
        now: Callable[[], float] = time.monotonic,
        of: Literal["process", "ledger"] = "ledger",
    ) -> None:
        self._of = of
        self._fresh_s = fresh_s
        self._now = now
        self._registry = CollectorRegistry()
        self._labelled: list[Gauge] = []
        self._lock = threading.Lock()
        self._until: float | None = None
        REGISTRY.register(self)

    def gauge(self, name: str, what: str, labels: Sequence[str] = ()) -> Gauge:
        """A gauge of this snapshot, exported as `eni_ledger_<name>`. Set it within `renewed`."""
        _declare(name, "gauge", labels, what, self._of)
        made = Gauge(name, what, labels, namespace=PREFIX, registry=self._registry)
        if labels:
            self._labelled.append(made)
        return made

    @contextlib.contextmanager
    def renewed(self, fresh_s: float | None = None) -> Iterator[None]:
        """A new measurement, seen whole or not at all; label values of the last one are forgotten.

        `fresh_s`: how long this one counts, where that is not the usual time.
        """
        with self._lock:
            for each in self._labelled:
                each.clear()
            yield
            self._until = self._now() + (self._fresh_s if fresh_s is None else fresh_s)

    def collect(self) -> Iterable[Metric]:
        """What was measured last, while it is fresh."""
        with self._lock:
            if self._until is None or self._now() > self._until:
                return []
            return list(self._registry.collect())

    def describe(self) -> Iterable[Metric]:
        """Its names, so that no other metric takes one of them."""
        return list(self._registry.collect())


BUILD = gauge("build_info", "1, with the version of the package that runs", ("version",))
BUILD.labels(version("eni-ledger")).set(1)


class _OfCluster(CollectorRegistry):
    """The registry, with the cluster's id on every metric of ours.

    A label of the process and not of the scrape: a fleet's Prometheus then needs no relabelling,
    and a sum over clusters is never taken by mistake.
    """

    cluster = ""

    def collect(self) -> Iterator[Metric]:
        for family in REGISTRY.collect():
            if self.cluster and family.name.startswith(PREFIX):
                family.samples = [
                    sample._replace(labels={"cluster": self.cluster, **sample.labels})
                    for sample in family.samples
                ]
            yield family


_EXPOSED = _OfCluster()


def identify(cluster: str) -> None:
    """Put the label `cluster` on every metric of ours from now on; "" puts none."""
    _EXPOSED.cluster = cluster


def exposition() -> tuple[bytes, str]:
    """Every metric in Prometheus' text format, and its content type."""
    return generate_latest(_EXPOSED), CONTENT_TYPE_LATEST
