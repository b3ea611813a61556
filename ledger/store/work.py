"""What is due, who works on it, and how fast the cloud may be called."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from ledger.store.named_sql import queries
from ledger.store.rows import columns

# The channel that wakes reconcilers; beside it they poll, so a lost notification costs a second.
CHANNEL = "eni_ledger_work"


class WorkKey(NamedTuple):
    """What the work is about: kind "pod" or "podnetworking"; the namespace is empty for the latter."""

    cluster: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Work held by one worker. `signals` is what had come in when it was claimed, `waiting_for` what
    the last worker on it was waiting for."""

    key: WorkKey
    token: UUID
    signals: int
    attempt: int
    waiting_for: str | None = None


class ClaimLost(Exception):  # noqa: N818 - names what happened
    """Somebody else works on it now: what this worker found out must not be recorded (P10)."""


def signal(connection: Connection, keys: Collection[WorkKey], at: datetime) -> None:
    """Something came in for these: they are due, and a worker on one will look again."""
    if not keys:
        return
    connection.exec_driver_sql(queries("work")["signal"], {"at": at, **columns(sorted(keys))})


def waiting_on_nodes(connection: Connection, nodes: Collection[tuple[str, str]]) -> set[WorkKey]:
    """The work of Pods that wait for an address on one of these (cluster, node): due when the node's
    facts change. To be signalled together with all else that a transaction signals, because only
    within one statement are work's rows locked in order."""
    if not nodes:
        return set()
    clusters, names = zip(*sorted(nodes), strict=True)
    found = connection.exec_driver_sql(
        queries("work")["waiting_on_nodes"], {"cluster": list(clusters), "node": list(names)}
    )
    return {WorkKey(row.cluster, "pod", row.namespace, row.pod) for row in found}


def signal_unplaced(
    connection: Connection, instances: Collection[tuple[str, str]], at: datetime
) -> None:
    """A slot was freed on these (cluster, instance id): whoever waits for a place there is due."""
    if not instances:
        return
    clusters, ids = zip(*sorted(instances), strict=True)
    connection.exec_driver_sql(
        queries("work")["signal_unplaced"],
        {"at": at, "cluster": list(clusters), "instance": list(ids)},
    )


def notify(connection: Connection) -> None:
    """Wake the reconcilers when this transaction commits. Once a batch: NOTIFY serialises commits."""
    connection.exec_driver_sql(f"NOTIFY {CHANNEL}")


def claim(
    connection: Connection, cluster: str, token: UUID, at: datetime, hold: timedelta, limit: int = 1
) -> list[Claim]:
    """Take due work that nobody holds, oldest first, without waiting for other workers."""
    found = connection.exec_driver_sql(
        queries("work")["claim"],
        {"cluster": cluster, "token": token, "at": at, "until": at + hold, "limit": limit},
    )
    return [
        Claim(
            WorkKey(row.cluster, row.kind, row.namespace, row.name),
            token,
            row.signals,
            row.attempt,
            row.waiting_for,
        )
        for row in found
    ]


def hold_on(connection: Connection, held: Claim, until: datetime) -> None:
    """Prove, under the row's lock, that the claim is still ours, and keep it. Raises ClaimLost."""
    kept = connection.exec_driver_sql(
        queries("work")["hold"], {**held.key._asdict(), "token": held.token, "until": until}
    )
    if kept.rowcount != 1:
        raise ClaimLost(f"{held.key.kind} {held.key.namespace}/{held.key.name}")


def finish(
    connection: Connection,
    held: Claim,
    due_at: datetime | None,
    at: datetime,
    *,
    attempt: int = 0,
    waiting_for: str | None = None,
) -> None:
    """Give work back until `due_at`; None: nothing more is due. Due at once if more came in meanwhile.

    A claim that was lost is left alone.
    """
    connection.exec_driver_sql(
        queries("work")["finish"],
        {
            **held.key._asdict(),
            "token": held.token,
            "signals": held.signals,
            "due_at": due_at,
            "at": at,
            "attempt": attempt,
            "waiting_for": waiting_for,
        },
    )


def next_due(connection: Connection, cluster: str) -> datetime | None:
    """When the next work is due; None when none is."""
    found: datetime | None = connection.exec_driver_sql(
        queries("work")["next_due"], {"cluster": cluster}
    ).scalar_one()
    return found


class Bucket(NamedTuple):
    """A token bucket: one API in one account and region, shared by all replicas."""

    account: str
    region: str
    api: str
    per_second: float
    burst: int


def take_permit(connection: Connection, bucket: Bucket) -> datetime | None:
    """Take one permit: None when taken, else when to ask again. Locks the bucket until the commit."""
    sql, bound = queries("work"), bucket._asdict()
    if connection.exec_driver_sql(sql["take_permit"], bound).one_or_none() is not None:
        return None
    again: datetime = connection.exec_driver_sql(sql["permit_again"], bound).scalar_one()
    return again


def crowd(connection: Connection, cluster: str, waiting_for: str) -> int:
    """How much work of a cluster waits for this."""
    found: int = connection.exec_driver_sql(
        queries("work")["crowd"], {"cluster": cluster, "waiting_for": waiting_for}
    ).scalar_one()
    return found


def back_off(connection: Connection, bucket: Bucket, until: datetime) -> None:
    """The cloud throttled: no replica calls this API before `until` (P9)."""
    connection.exec_driver_sql(
        queries("work")["back_off"],
        {"account": bucket.account, "region": bucket.region, "api": bucket.api, "until": until},
    )


def waiting(
    connection: Connection, cluster: str, limit: int
) -> Sequence[tuple[WorkKey, datetime, int, str | None]]:
    """What is waiting and for what, longest first: (key, due, attempt, reason)."""
    found = connection.exec_driver_sql(
        "SELECT cluster, kind, namespace, name, due_at, attempt, waiting_for FROM ledger.work "
        "WHERE cluster = %(cluster)s ORDER BY due_at, namespace, name LIMIT %(limit)s",
        {"cluster": cluster, "limit": limit},
    )
    return [
        (
            WorkKey(row.cluster, row.kind, row.namespace, row.name),
            row.due_at,
            row.attempt,
            row.waiting_for,
        )
        for row in found
    ]
