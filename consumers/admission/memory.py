"""What admission remembers of the cluster: everything an answer needs, kept current by watches.

An answer never waits for the API server, Kafka or PostgreSQL: when they are away, admission goes on
from what it saw last. Only a process that has not seen everything once yet has no answer.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from consumers.kube.names import ENI_CONFIG, SYSTEM_NAMESPACE
from consumers.kube.reflector import Event, Observed
from consumers.kube.store import Store
from ledger.rules.eni_config import EniConfig, EniConfigError
from ledger.rules.objects import KubeObject, ObjectError, list_at, mapping_at, text_map_at
from ledger.rules.podnetworkings import PodNetworking, PodNetworkingError

_log = structlog.get_logger(__name__)


class Memory(Protocol):
    """What answers are made from."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The resources of which no whole list was seen yet; empty: ready to answer."""
        ...

    def podnetworkings(self) -> Sequence[PodNetworking]:
        """All readable PodNetworkings, by name."""
        ...

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """The labels of a namespace; None when it is not known."""
        ...

    def podeni(self, namespace: str, name: str) -> KubeObject | None:
        """The PodENI of that name, at least its deletionTimestamp, zone and allocations."""
        ...

    def eni_config(self) -> EniConfig | EniConfigError | None:
        """The defaults of the cluster; None where the ConfigMap doesn't exist."""
        ...

    async def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until `condition` holds, looked at after every change; False when time ran out."""
        ...


class WatchedMemory:
    """The Memory that reflectors fill: one sink per resource. Belongs to one event loop."""

    def __init__(self) -> None:
        self._stores = {
            resource: Store() for resource in ("podnetworkings", "namespaces", "podenis", "config")
        }
        self._podnetworkings: tuple[PodNetworking, ...] | None = None
        self._changed = asyncio.Condition()

    async def take_podnetworkings(self, events: Sequence[Event]) -> None:
        """Sink of the reflector of PodNetworkings."""
        self._podnetworkings = None
        await self._take("podnetworkings", events)

    async def take_namespaces(self, events: Sequence[Event]) -> None:
        """Sink of the reflector of namespaces."""
        await self._take("namespaces", [_trimmed(event, _namespace) for event in events])

    async def take_podenis(self, events: Sequence[Event]) -> None:
        """Sink of the reflector of PodENIs. Only what an answer needs of each is kept."""
        await self._take("podenis", [_trimmed(event, _podeni) for event in events])

    async def take_config(self, events: Sequence[Event]) -> None:
        """Sink of the reflector of the eni-config."""
        await self._take("config", events)

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name, store in self._stores.items() if not store.synced)

    def podnetworkings(self) -> Sequence[PodNetworking]:
        if self._podnetworkings is None:
            self._podnetworkings = tuple(_readable(self._stores["podnetworkings"].list()))
        return self._podnetworkings

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        found = self._stores["namespaces"].get(name)
        return None if found is None else text_map_at(found, "metadata", "labels")

    def podeni(self, namespace: str, name: str) -> KubeObject | None:
        return self._stores["podenis"].get(name, namespace)

    def eni_config(self) -> EniConfig | EniConfigError | None:
        found = self._stores["config"].get(ENI_CONFIG, SYSTEM_NAMESPACE)
        if found is None:
            return None
        try:
            return EniConfig.from_object(found)
        except EniConfigError as wrong:
            return wrong

    async def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            return condition()
        return True

    async def _take(self, resource: str, events: Sequence[Event]) -> None:
        store = self._stores[resource]
        was_synced = store.synced
        await store.apply(events)
        if store.synced and not was_synced:
            _log.info("known", resource=resource, objects=len(store))
        async with self._changed:
            self._changed.notify_all()


def _readable(objects: Sequence[KubeObject]) -> list[PodNetworking]:
    """One object that can't be read must not hide the others."""
    readable = []
    for obj in objects:
        try:
            readable.append(PodNetworking.from_object(obj))
        except PodNetworkingError as wrong:
            _log.warning("left out of matching", cause=str(wrong))
    return readable


def _trimmed(event: Event, trim: Callable[[KubeObject], dict[str, object]]) -> Event:
    if not isinstance(event, Observed):
        return event
    return dataclasses.replace(event, object=trim(event.object))


def _namespace(obj: KubeObject) -> dict[str, object]:
    return {"metadata": {"labels": text_map_at(obj, "metadata", "labels")}}


def _podeni(obj: KubeObject) -> dict[str, object]:
    """Whether it has an allocation, where, and whether it is being deleted."""
    try:
        metadata, spec = mapping_at(obj, "metadata"), mapping_at(obj, "spec")
        return {
            "metadata": {"deletionTimestamp": metadata.get("deletionTimestamp")},
            "spec": {
                "zone": spec.get("zone"),
                "allocations": [{}] * bool(list_at(spec, "allocations")),
            },
        }
    except ObjectError:
        return {}  # a CRD without our schema let it in: it holds no zone
