"""The ledger in figures, for metrics: cheap counts over what holds now, taken every few seconds.

Each query reads live rows or an index of what is open, never the past: their cost grows with the
fleet and not with its history. No figure is about one Pod.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from ledger.store.database import ledger_now
from ledger.store.incarnations import BY as RESTORED
from ledger.store.incarnations import newest_incarnation

#: Seconds: how long a Pod may have waited for its network to be counted under each of these.
WAITED_OVER_S = (0, 10, 30, 60, 120, 300)

PHASES = ("wanted", "bound", "leaving", "reserved", "releasing")
RULES = ("ttl", "never")
#: Who pulled a brake: by itself for one of three reasons, or a person.
BY = {"breaker": "breaker", "sweep": "sweep", RESTORED: "restore"}
PERSON = "person"


@dataclass(frozen=True, slots=True)
class Work:
    """Pieces of work of one kind: all, those due that nobody holds, and how late the latest is."""

    pieces: int
    due: int
    failing: int
    overdue_s: float


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far one topic was taken in: the oldest of its partitions. `age_s` is None where its
    producer states no times."""

    resource_version: int
    age_s: float | None


@dataclass(frozen=True, slots=True)
class VSwitch:
    """One vSwitch: its zone, free addresses (an estimate), and what the cluster has in it."""

    zone: str
    free: int
    size: int | None
    in_use: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Slots:
    """The nodes of one zone that take member ENIs: how many, how many of them are full, and their
    slots by use."""

    nodes: int
    full: int
    attached: int
    waiting: int
    free: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """A shared budget as it was left: tokens at `filled_at`, and until when nothing may be asked."""

    tokens: float
    filled_at: datetime
    backoff_until: datetime | None


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement, at `at`. Mappings name what they are keyed by.

    `waiting` is by WAITED_OVER_S and cumulative; `brakes` by (scope, who pulled it); `slots` by zone.
    `swept_s` is None before the first sweep.
    """

    at: datetime
    phases: Mapping[str, int]
    parked: int
    reservations: Mapping[str, int]
    waiting: Mapping[int, int]
    calls_open: int
    calls_overdue: int
    quarantined: Mapping[str, int]
    swept_s: float | None
    brakes: Sequence[tuple[str, str]]
    dead_letters: Mapping[str, int]
    work: Mapping[str, Work]
    watermarks: Mapping[str, Watermark]
    vswitches: Mapping[str, VSwitch]
    slots: Mapping[str, Slots]
    buckets: Mapping[str, Bucket]
    incarnation: int


_PHASES = """
SELECT phase, count(*) AS interfaces, count(parked) AS parked,
       count(*) FILTER (WHERE phase IN ('leaving', 'reserved') AND ipv4 IS NOT NULL
                          AND state #>> '{retention,rule}' = 'ttl') AS ttl,
       count(*) FILTER (WHERE phase IN ('leaving', 'reserved') AND ipv4 IS NOT NULL
                          AND state #>> '{retention,rule}' = 'never') AS never
FROM ledger.allocation WHERE cluster = %(cluster)s AND phase <> 'released' GROUP BY phase ORDER BY phase
"""
# Since the last Pod of that name asked: created_at is the first one's, changed_at the newest entry's.
_WAITING = """
SELECT extract(epoch FROM %(at)s - min(asked.at)) AS waited_s
FROM ledger.allocation a
CROSS JOIN LATERAL (
    SELECT e.recorded_at AS at FROM ledger.entry e
    WHERE e.allocation_id = a.id AND e.kind IN ('requested', 'claimed', 'adopted')
    ORDER BY e.version DESC LIMIT 1) asked
WHERE a.cluster = %(cluster)s AND a.phase = 'wanted'
GROUP BY a.namespace, a.pod ORDER BY 1
"""
_CALLS = """
SELECT count(*) AS open, count(*) FILTER (WHERE deadline < %(at)s - interval '1 minute') AS overdue
FROM ledger.cloud_call WHERE cluster = %(cluster)s AND settled_at IS NULL
"""
_QUARANTINED = """
SELECT kind, count(*) FROM ledger.quarantine
WHERE cluster = %(cluster)s AND accepted_at IS NULL GROUP BY kind ORDER BY kind
"""
_SWEPT = "SELECT finished_at FROM ledger.sweep WHERE cluster = %(cluster)s"
_BRAKES = "SELECT scope, pulled_by FROM ledger.brake WHERE cluster = %(cluster)s ORDER BY scope, pulled_by"
# One that names no cluster is everybody's: better shown twice than to nobody.
_LETTERS = """
SELECT error_class, count(*) FROM audit.dead_letters
WHERE redriven_at IS NULL AND coalesce(cluster, %(cluster)s) = %(cluster)s
GROUP BY error_class ORDER BY error_class
"""
_WORK = """
SELECT kind, count(*) AS pieces,
       count(*) FILTER (WHERE due_at <= %(at)s AND coalesce(claimed_until, %(at)s) <= %(at)s) AS due,
       count(*) FILTER (WHERE attempt > 3) AS failing,
       greatest(0, coalesce(extract(epoch FROM %(at)s - min(due_at)
           FILTER (WHERE coalesce(claimed_until, %(at)s) <= %(at)s)), 0)) AS overdue_s
FROM ledger.work WHERE cluster = %(cluster)s GROUP BY kind ORDER BY kind
"""
_WATERMARKS = """
SELECT topic, min(resource_version) AS version,
       greatest(0, extract(epoch FROM %(at)s - min(produced_at))) AS age_s
FROM ledger.watermark WHERE cluster = %(cluster)s AND topic = ANY(%(topics)s) GROUP BY topic ORDER BY topic
"""
_VSWITCHES = """
SELECT vswitch, zone, free_estimate, size, in_use, reserved FROM audit.vswitch_capacity
WHERE cluster = %(cluster)s ORDER BY vswitch
"""
# By zone and not by node: an alert needs no more, and a fleet has thousands of nodes.
_SLOTS = """
SELECT coalesce(o.object #>> '{metadata,labels,topology.kubernetes.io/zone}',
                o.object #>> '{metadata,labels,failure-domain.beta.kubernetes.io/zone}', '') AS zone,
       count(*) AS nodes, count(*) FILTER (WHERE c.free = 0) AS full_nodes,
       sum(c.attached)::bigint AS attached, sum(c.waiting)::bigint AS waiting,
       sum(c.free)::bigint AS free
FROM audit.node_capacity c
JOIN ledger.observation o ON o.cluster = c.cluster AND o.entity = 'node' AND o.name = c.node AND o.alive
WHERE c.cluster = %(cluster)s AND c.member_slots > 0 GROUP BY 1 ORDER BY 1
"""
_BUCKETS = """
SELECT api, tokens, filled_at, backoff_until FROM ledger.rate_bucket
WHERE region = %(region)s AND account = '' ORDER BY api
"""


def read_figures(
    connection: Connection, cluster: str, region: str, topics: Sequence[str]
) -> Figures:
    """Count. `topics` are the topics whose watermarks matter."""
    at = ledger_now(connection)
    bound = {"cluster": cluster, "region": region, "topics": list(topics), "at": at}
    phases = {row.phase: row for row in connection.exec_driver_sql(_PHASES, bound)}
    calls = connection.exec_driver_sql(_CALLS, bound).one()
    swept = connection.exec_driver_sql(_SWEPT, bound).scalar_one_or_none()
    waited = [float(each) for each in connection.exec_driver_sql(_WAITING, bound).scalars()]
    return Figures(
        at=at,
        phases={phase: phases[phase].interfaces if phase in phases else 0 for phase in PHASES},
        parked=sum(row.parked for row in phases.values()),
        reservations={rule: sum(getattr(row, rule) for row in phases.values()) for rule in RULES},
        waiting={over: sum(each >= over for each in waited) for over in WAITED_OVER_S},
        calls_open=calls.open,
        calls_overdue=calls.overdue,
        quarantined=_counts(connection, _QUARANTINED, bound),
        swept_s=None if swept is None else max(0.0, (at - swept).total_seconds()),
        brakes=[
            (scope, BY.get(by, PERSON)) for scope, by in connection.exec_driver_sql(_BRAKES, bound)
        ],
        dead_letters=_counts(connection, _LETTERS, bound),
        work={
            row.kind: Work(row.pieces, row.due, row.failing, float(row.overdue_s))
            for row in connection.exec_driver_sql(_WORK, bound)
        },
        watermarks={
            row.topic: Watermark(row.version, None if row.age_s is None else float(row.age_s))
            for row in connection.exec_driver_sql(_WATERMARKS, bound)
        },
        vswitches={
            row.vswitch: VSwitch(row.zone, row.free_estimate, row.size, row.in_use, row.reserved)
            for row in connection.exec_driver_sql(_VSWITCHES, bound)
        },
        slots={
            row.zone: Slots(row.nodes, row.full_nodes, row.attached, row.waiting, row.free)
            for row in connection.exec_driver_sql(_SLOTS, bound)
        },
        buckets={
            row.api: Bucket(row.tokens, row.filled_at, row.backoff_until)
            for row in connection.exec_driver_sql(_BUCKETS, bound)
        },
        incarnation=newest_incarnation(connection),
    )


def _counts(connection: Connection, query: str, bound: Mapping[str, object]) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.exec_driver_sql(query, bound)}
