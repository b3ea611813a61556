"""The questions people ask of the book, one function each, over the `audit` schema.

What a period is, and how periods are read, is in `periods`; what was so at a moment in `past`; how
full vSwitches and nodes are in `capacity`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from ledger.audit.past import kept_at
from ledger.audit.periods import Because, Key, Tenure, tenures

__all__ = [
    "Because",
    "Key",
    "Reservation",
    "StoryEntry",
    "Tenure",
    "allocations_of_pod",
    "each_story_entry",
    "pods_reporting",
    "reservations",
    "story",
    "tenures",
    "vswitch_around",
]


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


def each_story_entry(
    connection: Connection, cluster: str, allocations: Sequence[UUID]
) -> Iterator[StoryEntry]:
    """Every entry of these allocations, oldest first, as they are read."""
    found = connection.exec_driver_sql(
        "SELECT entry, namespace, pod, interface, version, kind, recorded_at, cause, data, allocation_id "
        "FROM audit.story WHERE cluster = %(cluster)s AND allocation_id = ANY(%(ids)s) ORDER BY entry",
        {"cluster": cluster, "ids": list(allocations)},
        execution_options={"stream_results": True},
    )
    with found:
        for row in found:
            yield StoryEntry(*row)


def story(connection: Connection, cluster: str, allocations: Sequence[UUID]) -> list[StoryEntry]:
    """Every entry of these allocations, oldest first."""
    return list(each_story_entry(connection, cluster, allocations))


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


def reservations(
    connection: Connection, cluster: str, at: datetime | None = None
) -> list[Reservation]:
    """What is, or at a moment was, kept for Pods that are away, the first to expire first."""
    if at is not None:
        return sorted(
            (
                Reservation(
                    state.namespace,
                    state.pod,
                    state.interface,
                    state.address.ipv4,
                    state.address.eni,
                    state.address.zone,
                    state.retention.rule,
                    state.absent_since,
                    state.ttl_due,
                )
                for state in kept_at(connection, cluster, at)
                if state.address is not None
            ),
            key=lambda kept: (
                kept.due is None,
                kept.due.timestamp() if kept.due else 0.0,
                kept.namespace,
                kept.pod,
                kept.interface,
            ),
        )
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


def vswitch_around(connection: Connection, cluster: str, ip: str) -> str | None:
    """The vSwitch this cluster has to do with whose block contains an address; None without one."""
    found = connection.exec_driver_sql(
        "SELECT vswitch FROM audit.vswitch_capacity WHERE cluster = %(cluster)s "
        "AND CASE WHEN size IS NOT NULL THEN cidr::inet >>= %(ip)s::inet END ORDER BY vswitch LIMIT 1",
        {"cluster": cluster, "ip": ip},
    )
    vswitch: str | None = found.scalar_one_or_none()
    return vswitch
