"""What was so at a moment: the entries up to it, folded by the rules that wrote the state.

No history of states is kept beside the entries: it would be a second truth.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from uuid import UUID

from sqlalchemy import Connection

from ledger.rules.allocation import Allocation, Recorded, fold
from ledger.rules.entries import read_entry

_ENTRIES = """
SELECT allocation_id, version, kind, recorded_at, data FROM audit.story
WHERE cluster = %(cluster)s AND allocation_id = ANY(%(ids)s)
  AND (%(at)s::timestamptz IS NULL OR recorded_at <= %(at)s)
ORDER BY allocation_id, version
"""
_OF_POD = """
SELECT allocation_id FROM audit.allocations
WHERE cluster = %(cluster)s AND namespace = %(namespace)s AND pod = %(pod)s
  AND (%(at)s::timestamptz IS NULL OR created_at <= %(at)s)
"""
_KEPT = """
SELECT DISTINCT allocation_id FROM audit.tenures
WHERE cluster = %(cluster)s AND kind IN ('leaving', 'reserved')
  AND since <= %(at)s AND (until IS NULL OR until > %(at)s)
"""


def states_at(
    connection: Connection, cluster: str, allocations: Sequence[UUID], at: datetime | None = None
) -> list[Allocation]:
    """These allocations as they were at a moment (None: now), in the order of their ids.

    Those that did not exist yet are absent.
    """
    found = connection.exec_driver_sql(
        _ENTRIES, {"cluster": cluster, "ids": list(allocations), "at": at}
    )
    return [
        fold(
            Recorded(
                allocation_id=row.allocation_id,
                version=row.version,
                recorded_at=row.recorded_at,
                entry=read_entry(row.kind, row.data),
            )
            for row in story
        )
        for _, story in groupby(found, key=lambda row: row.allocation_id)
    ]


def pod_at(
    connection: Connection, cluster: str, namespace: str, pod: str, at: datetime | None = None
) -> list[Allocation]:
    """Every allocation a Pod name had by a moment (None: now) as it then was, the oldest first."""
    ids = connection.exec_driver_sql(
        _OF_POD, {"cluster": cluster, "namespace": namespace, "pod": pod, "at": at}
    )
    states = states_at(connection, cluster, list(ids.scalars()), at)
    return sorted(states, key=lambda state: (state.created_at, state.id))


def kept_at(connection: Connection, cluster: str, at: datetime) -> list[Allocation]:
    """The allocations that were kept for Pods that were away at a moment, as they then were."""
    ids = connection.exec_driver_sql(_KEPT, {"cluster": cluster, "at": at})
    states = states_at(connection, cluster, list(ids.scalars()), at)
    return [state for state in states if state.retention.rule != "none"]
