"""Watcher and log: how changes of the API server become records, and what is done to them on the way.

The watcher's encoding is the product's; its reflector is replaced by reading the simulated API
server's watches directly. Partitions keep their order unless the story shuffles them.
"""

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from consumers.contract.encode import (
    encode_deleted,
    encode_heartbeat,
    encode_listed,
    encode_observed,
)
from consumers.contract.events import (
    Encoded,
    Heartbeat,
    ListedItem,
    ListedPage,
    Record,
    object_key,
)
from consumers.contract.topics import Entity, entity_topic
from deploy.local.kubernetes.port_adapter import InProcess
from tests.simulation.truth import Truth
from tests.simulation.world import CLUSTER

_GROUP = "/apis/network.alibabacloud.com/v1beta1"
PATHS: dict[Entity, str] = {
    "pod": "/api/v1/pods",
    "node": "/api/v1/nodes",
    "podnetworking": f"{_GROUP}/podnetworkings",
    "podeni": f"{_GROUP}/podenis",
}
PARTITIONS = 2
HEARTBEAT = timedelta(seconds=1)
#: Only of Pods does anything wait for a watermark; the others only have to be there.
HEARTBEAT_OF_OTHERS = timedelta(minutes=5)

Partition = tuple[str, int]


@dataclass(slots=True)
class _Followed:
    """One entity's watch. `position` is the last version delivered."""

    watch: Any
    position: int = 0
    continuous_from: int = 0
    beaten: int = -1


class Wire:
    """The log with its producer. `tell` takes a line for the trace."""

    def __init__(
        self,
        kube: InProcess,
        truth: Truth,
        rng: random.Random,
        now: Callable[[], datetime],
        tell: Callable[[str, str], None],
    ) -> None:
        self.log: dict[Partition, list[Record]] = {}
        self.polled: dict[Partition, int] = {}
        self.incarnation = 0
        self.frozen: dict[Partition, datetime] = {}
        self.down_until = now()
        self.duplicating = 0
        self.shuffle_until = now()
        self._kube = kube
        self._truth = truth
        self._rng = rng
        self._now = now
        self._tell = tell
        self._next_beat = self._others_beat = now()
        self._followed = {entity: _Followed(self._watch(entity, "0")) for entity in PATHS}

    # ------------------------------------------------------------------ producing

    def publish(self) -> None:
        """Everything that changed since the last time, and a heartbeat where it says something new."""
        if self._now() < self.down_until:
            return
        for entity, followed in self._followed.items():
            for event in followed.watch.poll():
                encode = encode_deleted if event.type == "DELETED" else encode_observed
                self._send(entity, encode(CLUSTER, entity, event.object, epoch=0))
            followed.position = self._version
        if self._now() >= self._next_beat:
            self._beat()

    def next_beat(self) -> datetime | None:
        """When a heartbeat has something new to say; None while it has not."""
        if self._followed["pod"].beaten == self._version:
            return None
        return max(self._next_beat, self.down_until)

    def _beat(self) -> None:
        others = self._now() >= self._others_beat
        if others:
            self._others_beat = self._now() + HEARTBEAT_OF_OTHERS
        for entity, followed in self._followed.items():
            if followed.beaten == self._version or not (others or entity == "pod"):
                continue
            followed.beaten = self._version
            for partition in range(PARTITIONS):
                beat = Heartbeat(partition, followed.continuous_from, self._now(), synced=True)
                encoded = encode_heartbeat(
                    CLUSTER,
                    entity,
                    beat,
                    epoch=0,
                    resource_version=followed.position,
                    time=self._now(),
                )
                self.append((entity_topic(entity), partition), encoded)
        self._next_beat = self._now() + HEARTBEAT

    def _send(self, entity: Entity, encoded: Encoded) -> None:
        partition = (entity_topic(entity), zlib.crc32(encoded.key) % PARTITIONS)
        self.append(partition, encoded)
        if self.duplicating:
            self.duplicating -= 1
            elsewhere = (partition[0], self._rng.randrange(PARTITIONS))
            self.append(elsewhere, encoded)
        if self._now() < self.shuffle_until:
            self._swap_newest(partition)

    def append(self, partition: Partition, encoded: Encoded) -> None:
        records = self.log.setdefault(partition, [])
        records.append(
            Record(*partition, len(records), encoded.key, encoded.value, encoded.headers)
        )

    def _swap_newest(self, partition: Partition) -> None:
        """The newest record changes places with one of the three before it that nobody read yet."""
        records = self.log[partition]
        last = len(records) - 1
        other = max(self.polled.get(partition, 0), last - self._rng.randrange(1, 4))
        if other >= last:
            return
        records[last], records[other] = (
            records[other]._replace(offset=last),
            records[last]._replace(offset=other),
        )

    # ------------------------------------------------------------------ trouble

    def replay(self, count: int) -> None:
        """A producer sends its newest records again, as after a lost acknowledgement."""
        for partition in sorted(self.log):
            for record in self.log[partition][-count:]:
                self.append(
                    partition, Encoded(record.key or b"", record.value or b"", record.headers)
                )

    def restart(self) -> None:
        """The broker came back empty: offsets begin again at 0, and the watcher lists anew."""
        self.incarnation += 1
        for records in self.log.values():
            records.clear()
        self.polled.clear()
        self.relist()

    def freeze(self, until: datetime) -> None:
        """One partition is not to be had for a while."""
        if self.log:
            self.frozen[self._rng.choice(sorted(self.log))] = until

    def lose_watch(self) -> None:
        """Watches break and are resumed where they stood: no gap."""
        for entity, followed in self._followed.items():
            if followed.position:
                followed.watch = self._watch(entity, str(followed.position))

    def relist(self) -> None:
        """Watches broke and can't be resumed: list, and say from where on nothing was missed."""
        for entity, followed in self._followed.items():
            listed = self._kube.list(PATHS[entity])
            version = int(listed["metadata"]["resourceVersion"])
            for item in listed["items"]:
                self._send(entity, encode_observed(CLUSTER, entity, item, epoch=0))
            for page in self._pages(listed["items"]):
                encoded = encode_listed(CLUSTER, entity, page, epoch=0, resource_version=version)
                self._send(entity, encoded)
            followed.watch = self._watch(entity, str(version))
            followed.position = followed.continuous_from = version
            followed.beaten = -1

    def forge_deleted(self, held: list[tuple[str, str]]) -> None:
        """Somebody says that running Pods (among those that hold an address) are gone."""
        for name, pod in self._truth.running().items():
            if name in held and self._rng.random() < 0.7:
                forged = {**pod, "apiVersion": "v1", "kind": "Pod"}
                version = str(self._version + self._rng.randrange(1, 5))
                forged["metadata"] = {**pod["metadata"], "resourceVersion": version}
                self._forge("pod", encode_deleted(CLUSTER, "pod", forged, epoch=0))
                self._tell("forger", f"{'/'.join(name)} is deleted, as of version {version}")

    def forge_pod(self, like: dict[str, Any], number: int) -> None:
        """Somebody says that a Pod runs that never was."""
        name = f"ghost-{number}"
        uid = f"00000000-0000-4000-8000-{number:012d}"
        forged = {**like, "apiVersion": "v1", "kind": "Pod"}
        forged["metadata"] = {**like["metadata"], "name": name, "uid": uid}
        self._forge("pod", encode_observed(CLUSTER, "pod", forged, epoch=0))
        self._tell("forger", f"{name} runs")

    def forge_empty_list(self) -> None:
        """A list of Pods that holds nobody, as a wrong kubeconfig gives."""
        page = ListedPage("", None, ())
        encoded = encode_listed(CLUSTER, "pod", page, epoch=0, resource_version=self._version)
        self._forge("pod", encoded)
        self._tell("forger", f"there is no Pod, as of version {self._version}")

    def _forge(self, entity: Entity, encoded: Encoded) -> None:
        self.append((entity_topic(entity), self._rng.randrange(PARTITIONS)), encoded)

    # ------------------------------------------------------------------ reading the API server

    @property
    def _version(self) -> int:
        return self._kube.core.store.revision

    def _watch(self, entity: Entity, version: str) -> Any:
        return self._kube.watch_since(PATHS[entity], {"resourceVersion": version})

    def _pages(self, items: list[dict[str, Any]]) -> list[ListedPage]:
        """The list as one page, or cut in two at a key."""
        listed = sorted(
            ListedItem(
                object_key(item["metadata"].get("namespace", ""), item["metadata"]["name"]),
                item["metadata"]["uid"],
                int(item["metadata"]["resourceVersion"]),
            )
            for item in items
        )
        if len(listed) < 2:
            return [ListedPage("", None, tuple(listed))]
        cut = self._rng.randrange(1, len(listed))
        middle = listed[cut].key
        return [
            ListedPage("", middle, tuple(listed[:cut])),
            ListedPage(middle, None, tuple(listed[cut:])),
        ]
