"""Appends entries, and with them, in the same transaction, everything that follows from them.

`record` is the only writer of `entry`, `allocation`, `tenure` and `cloud_call`. Callers read the
allocations they decide about `FOR UPDATE` first; PostgreSQL refuses a second live claim whoever
writes it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Recorded
from ledger.rules.entries import Address, Entry
from ledger.rules.evolution import evolve
from ledger.rules.tenures import Turnover
from ledger.store import rows
from ledger.store.named_sql import queries

Cause = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """Entries to append to one allocation. `before` is None where the first one opens it."""

    allocation_id: UUID
    before: Allocation | None
    entries: tuple[Entry, ...]
    cause: Cause


class Reached(NamedTuple):
    """What a story led to: the state, and the ids of the entries that were appended, in order."""

    state: Allocation
    entries: tuple[int, ...]


def record(connection: Connection, stories: Sequence[Story], now: datetime) -> list[Allocation]:
    """`append`, for those who need no entry's id: the states reached, one a story, in order."""
    return [reached.state for reached in append(connection, stories, now)]


def append(connection: Connection, stories: Sequence[Story], now: datetime) -> list[Reached]:
    """Append and project; returns what was reached, one a story, in order.

    `now` is the ledger's clock, read after the locks. Raises ImpossibleEntry for entries that can't
    follow, and sqlalchemy's IntegrityError where a claim is taken (the transaction is then void, so
    a caller that expects it uses a savepoint).
    """
    if not stories:
        return []
    sql = queries("book")
    # A clock that stepped back must not open a period before the one it follows.
    now = max([now, *(story.before.changed_at for story in stories if story.before)])
    written: list[rows.EntryRow] = []
    reached: list[Allocation] = []
    ending: list[rows.EndingRow] = []
    beginning: list[rows.TenureRow] = []
    for story in stories:
        state = story.before
        turnover = Turnover()
        for entry in story.entries:
            recorded = Recorded(
                allocation_id=story.allocation_id,
                version=(state.version if state else 0) + 1,
                recorded_at=now,
                entry=entry,
            )
            earlier, state = state, evolve(state, recorded)
            turnover.follow(earlier, state)
            written.append(rows.entry_row(state.cluster, recorded, story.cause))
        assert state is not None, "a story has at least one entry"
        reached.append(state)
        if turnover.closed_by is not None:
            ending.append(rows.EndingRow(state.id, turnover.closed_by))
        if turnover.opened is not None:
            beginning.append(rows.tenure_row(state, *turnover.opened))
    ids = _append_entries(connection, written, now)
    if ending:
        connection.exec_driver_sql(sql["close_tenures"], {"at": now, **rows.columns(ending)})
    connection.exec_driver_sql(
        sql["write_allocations"], rows.columns([rows.allocation_row(state) for state in reached])
    )
    if beginning:
        connection.exec_driver_sql(sql["open_tenures"], {"at": now, **rows.columns(beginning)})
    for story, state in zip(stories, reached, strict=True):
        for entry in story.entries:
            _project_call(connection, state, entry, now)
    return [
        Reached(
            state,
            tuple(
                ids[state.id, state.version - behind]
                for behind in reversed(range(len(story.entries)))
            ),
        )
        for story, state in zip(stories, reached, strict=True)
    ]


def _append_entries(
    connection: Connection, written: Sequence[rows.EntryRow], now: datetime
) -> dict[tuple[UUID | None, int | None], int]:
    """Returns the ids, by allocation and version."""
    found = connection.exec_driver_sql(
        queries("book")["append_entries"], {"at": now, **rows.columns(written)}
    )
    return {(row.allocation_id, row.version): row.id for row in found}


def _project_call(connection: Connection, state: Allocation, entry: Entry, now: datetime) -> None:
    sql = queries("book")
    match entry:
        case e.CallIntended():
            connection.exec_driver_sql(
                sql["open_calls"],
                {
                    "intent": entry.intent,
                    "allocation_id": state.id,
                    "cluster": state.cluster,
                    "api": entry.api,
                    "client_token": entry.client_token,
                    "parameters": json.dumps(entry.parameters),
                    "at": now,
                    "deadline": entry.deadline,
                },
            )
        case e.CallRepeated():
            connection.exec_driver_sql(
                sql["extend_call"], {"intent": entry.intent, "deadline": entry.deadline}
            )
        case e.CallDone() | e.CallRefused() | e.CallUndone():
            connection.exec_driver_sql(
                sql["settle_call"],
                {
                    "intent": entry.intent,
                    "at": now,
                    "outcome": entry.kind.removeprefix("call-"),
                    "code": entry.code if isinstance(entry, e.CallRefused) else None,
                    "request_id": entry.request_id,
                },
            )


def append_remark(
    connection: Connection,
    cluster: str,
    kind: str,
    data: Mapping[str, Any],
    cause: Cause,
    now: datetime,
) -> int:
    """Append an entry that belongs to no allocation: a command, a brake, an alarm. Returns its id."""
    row = rows.EntryRow(cluster, None, None, kind, json.dumps(dict(cause)), json.dumps(dict(data)))
    [appended] = _append_entries(connection, [row], now).values()
    return appended


def read_pod(connection: Connection, cluster: str, namespace: str, pod: str) -> list[Allocation]:
    """The allocations under a Pod name that aren't released, unlocked, in a stable order."""
    found = connection.exec_driver_sql(
        queries("book")["read_pod"], {"cluster": cluster, "namespace": namespace, "pod": pod}
    )
    return [Allocation.model_validate(state) for state in found.scalars()]


def lock_pods(
    connection: Connection, pods: Sequence[tuple[str, str, str, str]]
) -> dict[tuple[str, str, str], list[Allocation]]:
    """Lock, in key order, the allocations of these (cluster, namespace, pod, uid).

    Released ones are among them only where they served that very uid. Names without any are absent.
    """
    if not pods:
        return {}
    cluster, namespace, pod, uid = (list(column) for column in zip(*pods, strict=True))
    found = connection.exec_driver_sql(
        queries("book")["allocations_of_pods"],
        {"cluster": cluster, "namespace": namespace, "pod": pod, "uid": uid},
    )
    return _by_pod(Allocation.model_validate(state) for state in found.scalars())


def lock_allocations(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Allocation]:
    """Lock these allocations in key order and read them again."""
    found = connection.exec_driver_sql(queries("book")["lock_allocations"], {"id": list(ids)})
    states = (Allocation.model_validate(state) for state in found.scalars())
    return {state.id: state for state in states}


def clusters_with_reservations(connection: Connection) -> list[str]:
    """The clusters in which a TTL is running."""
    found = connection.exec_driver_sql(
        "SELECT DISTINCT cluster FROM ledger.allocation "
        "WHERE ttl_due IS NOT NULL AND phase IN ('leaving', 'reserved') ORDER BY cluster"
    )
    return list(found.scalars())


def lock_reservations(connection: Connection, cluster: str) -> list[Allocation]:
    """Lock, in key order, every reservation of a cluster that has a TTL."""
    found = connection.exec_driver_sql(queries("book")["lock_reservations"], {"cluster": cluster})
    return [Allocation.model_validate(state) for state in found.scalars()]


def holders_of(
    connection: Connection,
    claimant: UUID,
    address: Address,
    trunk: str | None = None,
    vlan: int | None = None,
) -> list[Allocation]:
    """Other allocations with a live claim on one of these, oldest first, unlocked."""
    found = connection.exec_driver_sql(
        queries("book")["holder_of_claim"],
        {
            "id": claimant,
            "vpc": address.vpc,
            "ipv4": address.ipv4,
            "ipv6": address.ipv6,
            "eni": address.eni,
            "trunk": trunk,
            "vlan": vlan,
        },
    )
    return [Allocation.model_validate(state) for state in found.scalars()]


def not_before_last_end(connection: Connection, address: Address, now: datetime) -> datetime:
    """`now`, or the end of the last period of this address where a stepped-back clock is behind it."""
    last = connection.exec_driver_sql(
        queries("book")["last_end_of_keys"],
        {"vpc": address.vpc, "ipv4": address.ipv4, "ipv6": address.ipv6, "eni": address.eni},
    ).scalar_one_or_none()
    return now if last is None else max(now, last)


def unseen_since(connection: Connection, a: Allocation) -> datetime | None:
    """Since when the allocation has had its ENI, where no look has shown it yet; None where one has."""
    eni = a.address.eni if a.address else None
    found: datetime | None = connection.exec_driver_sql(
        queries("book")["unseen_since"], {"id": a.id, "eni": eni}
    ).scalar_one_or_none()
    return found


def read_newest_life(connection: Connection, allocation_id: UUID) -> list[Recorded]:
    """The entries of an allocation since a Pod last asked for it, in order."""
    found = connection.exec_driver_sql(queries("book")["newest_life"], {"id": allocation_id})
    return [
        Recorded(
            allocation_id=allocation_id,
            version=row.version,
            recorded_at=row.recorded_at,
            entry=e.read_entry(row.kind, row.data),
        )
        for row in found
    ]


def _by_pod(states: Iterable[Allocation]) -> dict[tuple[str, str, str], list[Allocation]]:
    found: dict[tuple[str, str, str], list[Allocation]] = {}
    for state in states:
        found.setdefault((state.cluster, state.namespace, state.pod), []).append(state)
    return found
