"""Pods that admission missed: whom to suspect, what to judge by, and the remark in the book."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection

from ledger.rules.objects import ObjectError, text_map_at
from ledger.rules.podnetworkings import PodNetworking
from ledger.store.book import append_remark
from ledger.store.inputs import ObjectKey, Observation, read_observations
from ledger.store.named_sql import queries
from ledger.store.rows import columns

_log = structlog.get_logger(__name__)

KIND = "missed-by-admission"


class PodUid(NamedTuple):
    """One Pod, not only its name."""

    cluster: str
    entity: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Around:
    """What admission would have known: PodNetworkings, and namespace -> labels (absent: unknown)."""

    podnetworkings: tuple[PodNetworking, ...]
    namespaces: Mapping[str, Mapping[str, str]]


def seen_scheduled(connection: Connection, pods: Sequence[PodUid]) -> set[ObjectKey]:
    """Those of these Pods that were seen on a node before."""
    if not pods:
        return set()
    found = connection.exec_driver_sql(queries("inputs")["seen_scheduled"], columns(sorted(pods)))
    return {ObjectKey(*row) for row in found}


def around(connection: Connection, cluster: str, namespaces: Sequence[str]) -> Around:
    """The PodNetworkings as last observed, and the labels of these namespaces.

    The namespaces are not read where there is no PodNetworking at all.
    """
    objects = connection.exec_driver_sql(
        queries("inputs")["read_podnetworkings"], {"cluster": cluster}
    ).scalars()
    podnetworkings = []
    for obj in objects:
        try:
            podnetworkings.append(PodNetworking.from_object(obj))
        except ObjectError as unreadable:
            _log.warning("left out of matching", cause=str(unreadable))
    if not podnetworkings:
        return Around((), {})
    keys = [ObjectKey(cluster, "namespace", "", name) for name in sorted(set(namespaces))]
    labels = {
        key.name: text_map_at(seen.object, "metadata", "labels")
        for key, seen in read_observations(connection, keys).items()
        if seen.alive and seen.object is not None
    }
    return Around(tuple(podnetworkings), labels)


def is_remarked(connection: Connection, cluster: str, uid: str) -> bool:
    """Whether the book says of this Pod already that admission missed it."""
    found = connection.exec_driver_sql(
        queries("inputs")["is_remarked"], {"cluster": cluster, "uid": uid}
    )
    return found.one_or_none() is not None


def remark(
    connection: Connection, seen: Observation, told: Mapping[str, Any], now: datetime
) -> None:
    """Write into the book that admission missed a Pod. Once a Pod: the database refuses a second."""
    data = {"namespace": seen.key.namespace, "pod": seen.key.name, "uid": seen.uid, **told}
    append_remark(connection, seen.key.cluster, KIND, data, seen.cause, now)
