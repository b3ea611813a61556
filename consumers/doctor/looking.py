"""Runs every probe at once, each with what it needs, and takes what they saw by the deadline.

A probe that hangs is left behind: its thread ends with its own time-outs, or with the process.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from typing import Final

from consumers.cloud.aliyun import aliyun_cloud, import_sdk
from consumers.cloud.settings import cloud_settings
from consumers.doctor.attempts import cause_of
from consumers.doctor.facts import ClusterFacts, Facts, Meant, Unseen, blind
from consumers.doctor.judging import Part
from consumers.doctor.naming import named_by_cluster
from consumers.doctor.probe_clocks import (
    look_at_cloud_clock,
    look_at_database_clock,
    look_at_kubernetes_clock,
)
from consumers.doctor.probe_cloud import Wanted, look_at_cloud
from consumers.doctor.probe_cluster import look_at_cluster
from consumers.doctor.probe_database import look_at_database
from consumers.doctor.probe_kafka import look_at_kafka
from consumers.kube import wire
from consumers.runtime.settings import KubeSettings, Settings


def meant_by(settings: Settings, cluster_kind: str = "") -> Meant:
    """What the settings say that should be so. `cluster_kind`: managed, dedicated, or "" to tell."""
    return Meant(
        cluster_id=settings.cluster_id,
        region_id=settings.cloud.region_id,
        vpc_id=settings.cloud.vpc_id,
        local_stack=settings.local_stack,
        synchronous_standby=settings.postgres.synchronous_standby,
        topic_prefix=settings.kafka.topic_prefix,
        message_bytes_max=settings.kafka.message_bytes_max,
        webhook_name=settings.webhook.name,
        cluster_kind=cluster_kind,
    )


def look_around(
    settings: Settings, parts: Collection[Part], deadline_s: float, cluster_kind: str = ""
) -> Facts:
    """Everything that the checks of these parts need, as far as it could be seen in time."""
    facts = Facts(meant_by(settings, cluster_kind))
    needed = {name for part in parts for name in _NEEDED[part]}
    if "cloud" in needed:
        # Before anything is timed: on a busy machine this alone took 20 s, in which no other thread
        # got to run, and the database's connection timed out.
        import_sdk()
    probes = _probes(settings, facts, needed, deadline_s)
    running = [(probe, _started(probe.look)) for probe in probes]
    until = time.monotonic() + deadline_s
    for probe, end in running:
        try:
            end.result(max(0.0, until - time.monotonic()))
        except NotInTime:
            probe.failed(Unseen(f"no answer within {deadline_s:g} s"))
        except Exception as failure:  # noqa: BLE001 - the failure of a probe is what is reported
            probe.failed(Unseen(cause_of(failure)))
    return facts


#: Which facts the checks of a part rest on.
_NEEDED: Final[Mapping[Part, frozenset[str]]] = {
    Part.SETTINGS: frozenset({"cluster", "database"}),
    Part.CLUSTER: frozenset({"cluster"}),
    Part.NODES: frozenset({"cluster", "cloud"}),
    Part.VSWITCHES: frozenset({"cluster", "cloud"}),
    Part.WEBHOOKS: frozenset({"cluster"}),
    Part.INCUMBENT: frozenset({"cluster"}),
    Part.CLOUD: frozenset({"cloud"}),
    Part.KAFKA: frozenset({"kafka"}),
    Part.DATABASE: frozenset({"database"}),
    Part.CLOCKS: frozenset({"clocks"}),
}


@dataclass(frozen=True, slots=True)
class _Probe:
    """One thread's work: the facts it fills in, or (`only`) the one of them."""

    target: object
    look: Callable[[], None]
    only: str = ""

    def failed(self, cause: Unseen) -> None:
        """What it had not seen yet was not seen for this cause."""
        blind(self.target, cause, self.only)


def _probes(
    settings: Settings, facts: Facts, needed: Collection[str], deadline_s: float
) -> list[_Probe]:
    cluster_seen = threading.Event()
    kube, postgres, clocks = settings.kube, settings.postgres, facts.clocks
    probes: list[_Probe] = []
    if "cluster" in needed:
        probes.append(_Probe(facts.cluster, lambda: _cluster(kube, facts.cluster, cluster_seen)))
    else:
        cluster_seen.set()
    if "cloud" in needed:
        probes.append(
            _Probe(facts.cloud, lambda: _cloud(settings, facts, cluster_seen, deadline_s))
        )
    if "kafka" in needed:
        probes.append(_Probe(facts.kafka, lambda: look_at_kafka(settings.kafka, facts.kafka)))
    if "database" in needed:
        id_ = settings.cluster_id
        probes.append(
            _Probe(facts.database, lambda: look_at_database(postgres, id_, facts.database))
        )
    if "clocks" in needed:
        probes += [
            _Probe(clocks, lambda: look_at_database_clock(postgres, clocks), "database"),
            _Probe(clocks, lambda: _kubernetes_clock(kube, facts), "kubernetes"),
            _Probe(
                clocks,
                lambda: look_at_cloud_clock(cloud_settings(settings.cloud), clocks),
                "cloud",
            ),
        ]
    return probes


def _cluster(settings: KubeSettings, facts: ClusterFacts, seen: threading.Event) -> None:
    try:
        with wire.connect(settings) as client:
            look_at_cluster(client, facts)
    finally:
        seen.set()


def _kubernetes_clock(settings: KubeSettings, facts: Facts) -> None:
    with wire.connect(settings) as client:
        look_at_kubernetes_clock(client, facts.clocks)


def _cloud(
    settings: Settings, facts: Facts, cluster_seen: threading.Event, deadline_s: float
) -> None:
    cloud = aliyun_cloud(cloud_settings(settings.cloud))

    def named() -> Wanted:
        cluster_seen.wait(deadline_s)
        return named_by_cluster(facts.cluster)

    look_at_cloud(cloud, facts.cloud, named)


def _started(look: Callable[[], None]) -> "Future[None]":
    """`look` in a thread that keeps nobody from leaving."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            look()
        except BaseException as failure:  # noqa: BLE001 - handed over to who waits
            done.set_exception(failure)
        else:
            done.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    return done
