"""Who held what, from when to when, and why: one function a question, over the `audit` schema."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection

Key = Literal["ip", "eni", "mac", "pod"]

_WHERE: Mapping[Key, str] = {
    "ip": "(ipv4 = %(value)s::inet OR ipv6 = %(value)s::inet)",
    "eni": "eni = %(value)s",
    "mac": "mac = %(value)s",
    "pod": "namespace = split_part(%(value)s, '/', 1) AND pod = split_part(%(value)s, '/', 2)",
}


@dataclass(frozen=True, slots=True)
class Because:
    """The entry that opened or closed a period, and what led to it."""

    entry: int
    kind: str
    cause: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tenure:
    """A period in which an ENI and its addresses served one holder in one way.

    `until` is None while it lasts. `kind`: preparing, bound, leaving, reserved or releasing.
    """

    cluster: str
    vpc: str
    ipv4: str | None
    ipv6: str | None
    eni: str
    mac: str
    vswitch: str
    kind: str
    namespace: str
    pod: str
    interface: str
    pod_uid: str
    node: str
    vlan: int | None
    since: datetime
    until: datetime | None
    opened: Because
    closed: Because | None
    allocation_id: UUID


@dataclass(frozen=True, slots=True)
class StoryEntry:
    """One entry of an allocation's story."""

    entry: int
    namespace: str
    pod: str
    interface: str
    version: int
    kind: str
    recorded_at: datetime
    cause: dict[str, Any]
    data: dict[str, Any]
    allocation_id: UUID


@dataclass(frozen=True, slots=True)
class Reservation:
    """An address kept for a Pod that is away; `due` is None where it never expires."""

    namespace: str
    pod: str
    interface: str
    ipv4: str
    eni: str
    zone: str
    rule: str
    absent_since: datetime | None
    due: datetime | None


def tenures(
    connection: Connection, cluster: str, key: Key, value: str, at: datetime | None = None
) -> list[Tenure]:
    """The periods of an address, an ENI, a MAC or a Pod (`namespace/name`), oldest first.

    With `at`, only what held at that moment. Raises sqlalchemy's DataError for an `ip` that is none.
    """
    moment = "" if at is None else "AND since <= %(at)s AND (until IS NULL OR %(at)s < until)"
    found = connection.exec_driver_sql(
        f"SELECT *, host(ipv4) AS ipv4_text, host(ipv6) AS ipv6_text FROM audit.tenures "  # noqa: S608 - our own words
        f"WHERE cluster = %(cluster)s AND {_WHERE[key]} {moment} ORDER BY since, opened_by_entry",
        {"cluster": cluster, "value": value, "at": at},
    )
    return [_tenure(row) for row in found]


def story(connection: Connection, cluster: str, allocations: Sequence[UUID]) -> list[StoryEntry]:
    """Every entry of these allocations, oldest first."""
    found = connection.exec_driver_sql(
        "SELECT entry, namespace, pod, interface, version, kind, recorded_at, cause, data, allocation_id "
        "FROM audit.story WHERE cluster = %(cluster)s AND allocation_id = ANY(%(ids)s) ORDER BY entry",
        {"cluster": cluster, "ids": list(allocations)},
    )
    return [StoryEntry(*row) for row in found]


def allocations_of_pod(
    connection: Connection, cluster: str, namespace: str, pod: str
) -> list[Mapping[str, Any]]:
    """Every allocation a Pod name ever had, newest first, as `audit.allocations` has them."""
    found = connection.exec_driver_sql(
        "SELECT * FROM audit.allocations WHERE cluster = %(cluster)s AND namespace = %(namespace)s "
        "AND pod = %(pod)s ORDER BY created_at DESC, allocation_id",
        {"cluster": cluster, "namespace": namespace, "pod": pod},
    )
    return [dict(row) for row in found.mappings()]


def reservations(connection: Connection, cluster: str) -> list[Reservation]:
    """What is kept for Pods that are away, the first to expire first."""
    found = connection.exec_driver_sql(
        "SELECT namespace, pod, interface, host(ipv4), eni, zone, rule, absent_since, ttl_due "
        "FROM audit.reservations WHERE cluster = %(cluster)s "
        "ORDER BY ttl_due NULLS LAST, namespace, pod, interface",
        {"cluster": cluster},
    )
    return [Reservation(*row) for row in found]


def pods_reporting(connection: Connection, cluster: str, ip: str) -> list[str]:
    """Pods (`namespace/name`) whose newest event shows this address, though we never gave it out."""
    found = connection.exec_driver_sql(
        "SELECT namespace || '/' || pod FROM audit.reported_addresses "
        "WHERE cluster = %(cluster)s AND ip = %(ip)s ORDER BY 1",
        {"cluster": cluster, "ip": ip},
    )
    return list(found.scalars())


def _tenure(row: Any) -> Tenure:
    closed = None
    if row.closed_by_entry is not None:
        closed = Because(row.closed_by_entry, row.closed_by_kind, row.closed_because)
    return Tenure(
        row.cluster,
        row.vpc,
        row.ipv4_text,
        row.ipv6_text,
        row.eni,
        row.mac,
        row.vswitch,
        row.kind,
        row.namespace,
        row.pod,
        row.interface,
        row.pod_uid,
        row.node,
        row.vlan,
        row.since,
        row.until,
        Because(row.opened_by_entry, row.opened_by_kind, row.opened_because),
        closed,
        row.allocation_id,
    )
