"""Shows the ledger in figures: what is true of the cluster, whichever process is asked.

Every reconciler measures and shows the same, so that no failover leaves a hole: whoever reads them
takes the maximum over replicas, never the sum. A figure that can't be measured goes away.
"""

import asyncio
from datetime import datetime

import structlog

from consumers.contract.topics import entity_topics
from consumers.reconciler.tools import Tools
from consumers.runtime import metrics
from consumers.runtime.signals import pause
from ledger.audit.figures import Bucket, Figures, read_figures
from ledger.store.database import UNAVAILABLE
from ledger.store.work import Bucket as Limit

_log = structlog.get_logger(__name__)

#: As often as Prometheus usually asks.
MEASURE_EVERY_S = 15.0

LEDGER = metrics.Snapshot(fresh_s=3 * MEASURE_EVERY_S)
MEASURED = LEDGER.gauge("measured_timestamp_seconds", "When the ledger was last measured")
PHASES = LEDGER.gauge("allocations", "Pod interfaces by phase, released ones left out", ("phase",))
PARKED = LEDGER.gauge("allocations_parked", "Pod interfaces that wait for a person")
RESERVATIONS = LEDGER.gauge("reservations", "Addresses kept for Pods that are away", ("rule",))
WAITING = LEDGER.gauge(
    "pods_waiting", "Pods that have waited for their network so many seconds or longer", ("over_s",)
)
OPEN = LEDGER.gauge("cloud_calls_open", "Cloud calls whose outcome is not recorded yet")
OVERDUE = LEDGER.gauge("cloud_calls_overdue", "Those a minute or more past their deadline")
QUARANTINED = LEDGER.gauge(
    "quarantined_enis", "ENIs about which cloud and ledger disagree, less accepted ones", ("kind",)
)
SWEPT = LEDGER.gauge("sweep_age_seconds", "Since cloud and ledger were last compared whole")
BRAKES = LEDGER.gauge("brake", "1 while a scope stands still, by who pulled it", ("scope", "by"))
LETTERS = LEDGER.gauge(
    "dead_letters", "Messages that were not taken in and not sent again", ("error_class",)
)
WORK = LEDGER.gauge("work", "Pieces of work, due or not", ("kind",))
DUE = LEDGER.gauge("work_due", "Pieces of work that are due and that nobody holds", ("kind",))
FAILING = LEDGER.gauge("work_failing", "Pieces of work that failed four times or more", ("kind",))
LATE = LEDGER.gauge("work_overdue_seconds", "How late the latest piece of work is", ("kind",))
VERSION = LEDGER.gauge("watermark", "ResourceVersion up to which all was taken in", ("entity",))
AGE = LEDGER.gauge("watermark_age_seconds", "How long ago that was so in the cluster", ("entity",))
FREE = LEDGER.gauge("vswitch_free_ips", "Free addresses, an estimate", ("vswitch", "zone"))
SIZE = LEDGER.gauge("vswitch_size_ips", "Addresses it has for use", ("vswitch", "zone"))
HELD = LEDGER.gauge(
    "vswitch_held_ips", "Addresses that the ledger holds: in_use or reserved", ("vswitch", "use")
)
SLOTS = LEDGER.gauge(
    "member_slots", "Nodes' slots for member ENIs: attached, waiting or free", ("zone", "use")
)
NODES = LEDGER.gauge(
    "trunk_nodes", "Nodes that take member ENIs, by whether a slot is left", ("zone", "room")
)
RATE = LEDGER.gauge("cloud_budget_calls_per_second", "Our share of an API's rate", ("api",))
USED = LEDGER.gauge("cloud_budget_used_ratio", "Share of the burst that is taken now", ("api",))
BACKING_OFF = LEDGER.gauge(
    "cloud_budget_backing_off", "1 while all replicas leave an API alone, throttled", ("api",)
)
INCARNATION = LEDGER.gauge("incarnation", "Number of this life of the ledger; a restore begins one")


async def keep_measured(tools: Tools, stop: asyncio.Event) -> None:
    """Measure until `stop`. What goes wrong is logged and tried again: work does not wait for it."""
    while not stop.is_set():
        try:
            await asyncio.to_thread(measure, tools)
        except UNAVAILABLE as unavailable:
            _log.warning("not measured: PostgreSQL is unavailable", cause=str(unavailable))
        except Exception:  # noqa: BLE001 - the boundary: a defect here must not stop allocations
            _log.exception("measuring failed: this is a defect, please report it")
        await pause(stop, MEASURE_EVERY_S)


def measure(tools: Tools) -> None:
    """Measure once, and show it."""
    settings = tools.settings
    entities = entity_topics(settings.kafka.topic_prefix)
    with tools.database.transaction() as connection:
        figures = read_figures(
            connection, settings.cluster_id, settings.cloud.region_id, list(entities)
        )
    with LEDGER.renewed():
        MEASURED.set(figures.at.timestamp())
        _show_holdings(figures)
        _show_troubles(figures)
        _show_work(figures)
        for topic, mark in figures.watermarks.items():
            VERSION.labels(entities[topic]).set(mark.resource_version)
            if mark.age_s is not None:
                AGE.labels(entities[topic]).set(mark.age_s)
        for api, bucket in figures.buckets.items():
            limit = tools.bucket(api)
            RATE.labels(api).set(limit.per_second)
            USED.labels(api).set(used_ratio(bucket, limit, figures.at))
            BACKING_OFF.labels(api).set(
                bool(bucket.backoff_until and bucket.backoff_until > figures.at)
            )
        INCARNATION.set(figures.incarnation)


def used_ratio(bucket: Bucket, limit: Limit, at: datetime) -> float:
    """The share of the burst that is taken at a moment, 0 to 1; above 1 while a throttling is paid off."""
    passed = max(0.0, (at - bucket.filled_at).total_seconds())
    tokens = min(float(limit.burst), bucket.tokens + passed * limit.per_second)
    return 1 - tokens / limit.burst


def _show_holdings(figures: Figures) -> None:
    for phase, count in figures.phases.items():
        PHASES.labels(phase).set(count)
    for rule, count in figures.reservations.items():
        RESERVATIONS.labels(rule).set(count)
    for over, count in figures.waiting.items():
        WAITING.labels(str(over)).set(count)
    for id_, vswitch in figures.vswitches.items():
        FREE.labels(id_, vswitch.zone).set(vswitch.free)
        if vswitch.size is not None:
            SIZE.labels(id_, vswitch.zone).set(vswitch.size)
        HELD.labels(id_, "in_use").set(vswitch.in_use)
        HELD.labels(id_, "reserved").set(vswitch.reserved)
    for zone, slots in figures.slots.items():
        SLOTS.labels(zone, "attached").set(slots.attached)
        SLOTS.labels(zone, "waiting").set(slots.waiting)
        SLOTS.labels(zone, "free").set(slots.free)
        NODES.labels(zone, "yes").set(slots.nodes - slots.full)
        NODES.labels(zone, "no").set(slots.full)


def _show_troubles(figures: Figures) -> None:
    PARKED.set(figures.parked)
    OPEN.set(figures.calls_open)
    OVERDUE.set(figures.calls_overdue)
    for kind, count in figures.quarantined.items():
        QUARANTINED.labels(kind).set(count)
    if figures.swept_s is not None:
        SWEPT.set(figures.swept_s)
    for scope, by in figures.brakes:
        BRAKES.labels(scope, by).set(1)
    for error_class, count in figures.dead_letters.items():
        LETTERS.labels(error_class).set(count)


def _show_work(figures: Figures) -> None:
    for kind, work in figures.work.items():
        WORK.labels(kind).set(work.pieces)
        DUE.labels(kind).set(work.due)
        FAILING.labels(kind).set(work.failing)
        LATE.labels(kind).set(work.overdue_s)
