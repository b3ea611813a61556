"""What was so at a moment: the entries up to it, folded by the rules that wrote the state.

No history of states is kept beside the entries: it would be a second truth. Where entries are in an
archive that was moved away, what was so before is not guessed: it is missing, and said to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from ledger.audit.periods import When
from ledger.rules.allocation import Allocation, Recorded
from ledger.rules.entries import read_entry
from ledger.rules.evolution import fold

_ENTRIES = """
SELECT allocation_id, version, kind, recorded_at, data FROM audit.story
WHERE cluster = %(cluster)s AND allocation_id = ANY(%(ids)s)
  AND (%(at)s::timestamptz IS NULL OR recorded_at <= %(at)s)
ORDER BY allocation_id, version
"""
_AWAY = """
SELECT allocation_id, archive, first_version, oldest FROM audit.archived_entries
WHERE cluster = %(cluster)s AND allocation_id = ANY(%(ids)s) AND NOT here
  AND (%(at)s::timestamptz IS NULL OR oldest <= %(at)s)
ORDER BY allocation_id, first_version
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


class MovedAway(Exception):  # noqa: N818 - names what was found
    """The answer is in archives that were moved away: their names."""

    def __init__(self, archives: Sequence[str]) -> None:
        super().__init__(
            f"what was so then is told by entries in {', '.join(archives)}, and that was moved away: "
            "bring it back and attach it, then ask again (deploy/howto/retention.md)"
        )
        self.archives = tuple(archives)


@dataclass(frozen=True, slots=True)
class Past:
    """Allocations as they were. `missing` names archives that were moved away and tell of others."""

    states: tuple[Allocation, ...]
    missing: tuple[str, ...]


def past_of(
    connection: Connection, cluster: str, allocations: Sequence[UUID], at: datetime | None = None
) -> Past:
    """These allocations as they were at a moment (None: now), in the order of their ids.

    Those that did not exist yet are absent.
    """
    bound = {"cluster": cluster, "ids": list(allocations), "at": at}
    pieces: dict[UUID, list[Any]] = {}
    for piece in connection.exec_driver_sql(_AWAY, bound):
        pieces.setdefault(piece.allocation_id, []).append(piece)
    found = connection.exec_driver_sql(_ENTRIES, bound)
    states: list[Allocation] = []
    for id_, rows in groupby(found, key=lambda row: row.allocation_id):
        story = list(rows)
        following = story[-1].version + 1
        ends = all(piece.first_version != following for piece in pieces.get(id_, ()))
        whole = _from_its_start(story)
        if whole and ends:
            states.append(_fold(whole))
            pieces.pop(id_, None)
        elif not pieces.get(id_):
            states.append(_fold(story))  # nothing is away: whatever is wrong with it is told
    missing = {piece.archive: None for of_one in pieces.values() for piece in of_one}
    return Past(tuple(states), tuple(missing))


def _from_its_start(story: Sequence[Any]) -> Sequence[Any]:
    """The newest unbroken part of it, from the request or from where it was carried forward."""
    begin = len(story) - 1
    while begin > 0 and story[begin - 1].version == story[begin].version - 1:
        begin -= 1
    if story[begin].version == 1:
        return story[begin:]
    carried = (n for n in range(begin, len(story)) if story[n].kind == "carried-forward")
    first = next(carried, None)
    return () if first is None else story[first:]


def _fold(story: Sequence[Any]) -> Allocation:
    return fold(
        Recorded(
            allocation_id=row.allocation_id,
            version=row.version,
            recorded_at=row.recorded_at,
            entry=read_entry(row.kind, row.data),
        )
        for row in story
    )


def states_at(
    connection: Connection, cluster: str, allocations: Sequence[UUID], at: datetime | None = None
) -> list[Allocation]:
    """`past_of`, whole. Raises MovedAway where something of it is missing."""
    past = past_of(connection, cluster, allocations, at)
    if past.missing:
        raise MovedAway(past.missing)
    return list(past.states)


def past_of_pod(
    connection: Connection, cluster: str, namespace: str, pod: str, at: datetime | None = None
) -> Past:
    """Every allocation a Pod name had by a moment (None: now) as it then was, the oldest first."""
    ids = connection.exec_driver_sql(
        _OF_POD, {"cluster": cluster, "namespace": namespace, "pod": pod, "at": at}
    )
    past = past_of(connection, cluster, list(ids.scalars()), at)
    ordered = sorted(past.states, key=lambda state: (state.created_at, state.id))
    return Past(tuple(ordered), past.missing)


def moved_away(connection: Connection, cluster: str, allocations: Sequence[UUID]) -> list[str]:
    """Which entries of these stories are in archives that were moved away, in a line each."""
    found = connection.exec_driver_sql(
        "SELECT namespace, pod, interface, first_version, last_version, archive "
        "FROM audit.archived_entries WHERE cluster = %(cluster)s AND allocation_id = ANY(%(ids)s) "
        "AND NOT here ORDER BY namespace, pod, allocation_id, first_version",
        {"cluster": cluster, "ids": list(allocations)},
    )
    return [
        f"{row.namespace}/{row.pod} {row.interface}: entries {row.first_version} to "
        f"{row.last_version} are kept in archive {row.archive}, which was moved away"
        for row in found
    ]


def unknown_groups(connection: Connection, cluster: str, when: When) -> tuple[str, ...]:
    """Archives that were moved away and tell the security groups of periods that are meant."""
    if not connection.exec_driver_sql(
        "SELECT EXISTS (SELECT FROM audit.archives WHERE NOT here)"
    ).scalar_one():
        return ()
    found = connection.exec_driver_sql(
        "SELECT DISTINCT opened_because ->> 'archive' FROM audit.tenures "  # noqa: S608 - our own words
        f"WHERE cluster = %(cluster)s AND security_groups IS NULL{when.condition} ORDER BY 1",
        {"cluster": cluster, "at": when.at, "since": when.since, "until": when.until},
    )
    return tuple(name for name in found.scalars() if name is not None)


def kept_at(connection: Connection, cluster: str, at: datetime) -> list[Allocation]:
    """The allocations that were kept for Pods that were away at a moment, as they then were.

    Raises MovedAway where something of it is missing.
    """
    ids = connection.exec_driver_sql(_KEPT, {"cluster": cluster, "at": at})
    states = states_at(connection, cluster, list(ids.scalars()), at)
    return [state for state in states if state.retention.rule != "none"]
