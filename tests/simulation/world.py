"""A whole world in one process on virtual time: the real intake and reconciler and the real
PostgreSQL, against the simulated cloud, Kubernetes API and log. One seed, one story.
"""

import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from consumers.contract.encode import encode_deleted, encode_heartbeat, encode_observed
from consumers.contract.events import Encoded, Heartbeat, Record
from consumers.contract.topics import Entity, entity_topic
from consumers.intake.taking_in import Taken, take_in
from consumers.reconciler.dispatch import work_once
from consumers.reconciler.tools import Tools
from consumers.runtime.settings import CloudSettings, KafkaSettings, RateLimit, Settings
from deploy.local.actors.nodes import node_object
from deploy.local.cloud.simulator import Simulator
from deploy.local.cloud.world import World, load_world
from deploy.local.kubernetes.core import Core
from deploy.local.kubernetes.errors import ApiError
from deploy.local.kubernetes.port_adapter import InProcess
from deploy.local.kubernetes.sources import Sources
from ledger.rules.allocation import Allocation
from ledger.store.incarnations import confirm_incarnation
from ledger.store.inputs import begin_offset
from ledger.store.rebuild import check
from ledger.store.sweeps import begin_sweeping
from tests.simulation.doors import process_tools
from tests.simulation.ground import START, Ground, Reach

ROOT = Path(__file__).parents[2]
CLUSTER = "c-simulated"
PODENIS = "/apis/network.alibabacloud.com/v1beta1/namespaces/{}/podenis"


class Crash(BaseException):
    """The process dies here: whatever it had not committed never happened."""


class SimulatedWorld:
    """Everything, with methods that play the users, the node agents and the clock.

    `boundary` is called with a name before and after each external effect; a test raises Crash
    from it to kill the process at that point.
    """

    def __init__(
        self,
        ground: Ground,
        seed: int = 0,
        world: World | None = None,
        settings: Settings | None = None,
        cloud: Simulator | None = None,
    ) -> None:
        self.ground = ground
        self.dsn = ground.dsn
        self.time = START
        self.random = random.Random(seed)
        self.boundary: Callable[[str], None] = lambda name: None
        self.world = world or demo_world()
        self.cloud = cloud or Simulator(self.world, now=self.now, random=random.Random(seed + 1))
        self.kube = InProcess(Core(Sources.seeded(seed + 2, self.now)))
        self.kube.core.create_default_namespaces()
        self.settings = settings or ample_settings(self.world)
        self.tools = self._tools(self._reach)
        self.database = self.tools.database
        self.log: dict[str, list[Record]] = {}
        self._read: dict[str, int] = {}
        self._watches: dict[Entity, Any] = {}
        self._beaten: dict[Entity, int] = {}
        self._install()

    def another_reconciler(self) -> Tools:
        """The tools of a second process, which nothing interrupts."""
        return self._tools(lambda name: None)

    def _tools(self, reach: Reach) -> Tools:
        return process_tools(
            ground=self.ground,
            cloud=self.cloud,
            kube=self.kube,
            settings=self.settings,
            now=self.now,
            reach=reach,
            dice=random.Random(self.random.random()),
            sleep=lambda seconds: self.advance(timedelta(seconds=seconds)),
        )

    def _reach(self, name: str) -> None:
        """Whatever `boundary` is at that moment."""
        self.boundary(name)

    # ---------------------------------------------------------------------- time

    def now(self) -> datetime:
        return self.time

    def advance(self, by: timedelta) -> None:
        self.time += by
        self.ground.set_clock(self.time)

    # ---------------------------------------------------------------------- users and nodes

    def create_pod(
        self,
        name: str,
        *,
        uid_owner: str = "sts-uid",
        node: str = "node-h1",
        namespace: str = "example",
        networks: Sequence[dict[str, Any]] | None = None,
    ) -> str:
        """A Pod as admission and scheduler leave it; returns its uid."""
        chosen = networks if networks is not None else [fixed("1h")]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "annotations": {
                    "k8s.aliyun.com/pod-eni": "true",
                    "k8s.aliyun.com/pod-networks": json.dumps({"podNetworks": list(chosen)}),
                },
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": uid_owner}
                ],
            },
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
        }
        created = self.kube.create(f"/api/v1/namespaces/{namespace}/pods", pod)
        uid: str = created["metadata"]["uid"]
        return uid

    def delete_pod(self, name: str, namespace: str = "example") -> None:
        """The Pod and its sandbox are gone."""
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self.kube.delete(path, {"gracePeriodSeconds": 0})

    def podeni(self, name: str, namespace: str = "example") -> dict[str, Any] | None:
        try:
            return self.kube.get(f"{PODENIS.format(namespace)}/{name}")
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    # ---------------------------------------------------------------------- the way of an event

    def publish(self) -> int:
        """What the watcher would: every change since the last time, then heartbeats."""
        sent = 0
        for entity, watch in self._watches.items():
            for event in watch.poll():
                if event.type == "BOOKMARK":
                    continue
                encode = encode_deleted if event.type == "DELETED" else encode_observed
                self.append(entity, encode(CLUSTER, entity, event.object, epoch=0))
                sent += 1
        for entity in self._watches:
            # A heartbeat that says what the last one said would only cost time.
            if self._beaten.get(entity) != self.kube.core.store.revision:
                self.heartbeat(entity)
        return sent

    def heartbeat(self, entity: Entity) -> None:
        version = self._beaten[entity] = self.kube.core.store.revision
        beat = Heartbeat(partition=0, continuous_from=0, alive_at=self.time, synced=True)
        self.append(
            entity,
            encode_heartbeat(
                CLUSTER, entity, beat, epoch=0, resource_version=version, time=self.time
            ),
        )

    def append(self, entity: Entity, encoded: Encoded) -> Record:
        topic = entity_topic(entity)
        records = self.log.setdefault(topic, [])
        record = Record(topic, 0, len(records), encoded.key, encoded.value, encoded.headers)
        records.append(record)
        return record

    def take(self, records: Sequence[Record] | None = None) -> Taken:
        """The intake takes in what it has not read, or `records` in place of it."""
        chosen = list(records) if records is not None else self.unread()
        if not chosen:
            return Taken(0, 0, 0, 0)
        expected: dict[tuple[str, int], int] = {}
        with self.database.transaction() as connection:
            for topic in sorted({record.topic for record in chosen}):
                expected[topic, 0] = begin_offset(connection, topic, 0, 0)[0]
        taken = take_in(self.database, chosen, expected, 1 << 20, self.tools.new_id)
        for record in chosen:
            self._read[record.topic] = max(self._read.get(record.topic, 0), record.offset + 1)
        return taken

    def unread(self) -> list[Record]:
        return [
            record
            for topic, records in self.log.items()
            for record in records[self._read.get(topic, 0) :]
        ]

    def work(self, limit: int = 200) -> int:
        """Reconcile until nothing is due now; returns how many turns it took."""
        for turns in range(limit):
            if not work_once(self.tools):
                return turns
        raise AssertionError(f"work did not come to rest within {limit} turns")

    def settle(self, seconds: float = 30, step: float = 1.0) -> None:
        """Let the world go on for a while: events flow, work is done, time passes."""
        for _ in range(int(seconds / step)):
            self.publish()
            self.take()
            self.work()
            self.advance(timedelta(seconds=step))

    # ---------------------------------------------------------------------- what is so

    def allocations(self) -> list[Allocation]:
        rows = self.ground.rows("SELECT state FROM ledger.allocation ORDER BY created_at, id")
        return [Allocation.model_validate(state) for (state,) in rows]

    def member_enis(self) -> dict[str, str]:
        """Id -> status of every ENI that we made."""
        return {
            eni.id: eni.status
            for eni in self.cloud.model.enis()
            if dict(eni.tags).get("creator") == "eni-ledger"
        }

    def mutating_calls(self) -> list[str]:
        return [call.api for call in self.cloud.calls() if call.mutating]

    def check_promises(self) -> None:
        """P1 by the database, P6 by folding every entry again, no ENI that nobody knows."""
        with self.database.transaction() as connection:
            differences = check(connection)
        assert differences == [], differences
        known = {a.address.eni for a in self.allocations() if a.address}
        assert set(self.member_enis()) <= known, "an ENI is leaked"

    @contextmanager
    def killed_at(self, point: str) -> Iterator[list[str]]:
        """The process dies the first time it reaches `point`; the list says whether it did."""
        reached: list[str] = []

        def boundary(name: str) -> None:
            if name == point and not reached:
                reached.append(name)
                raise Crash(name)

        self.boundary = boundary
        try:
            yield reached
        finally:
            self.boundary = lambda name: None

    # ---------------------------------------------------------------------- set-up

    def _install(self) -> None:
        for name in ("podnetworkings", "podenis"):
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            self.kube.create(path, copy.deepcopy(_crd(name)))
        self.kube.create("/api/v1/namespaces", {"metadata": {"name": "example"}})
        for index, spec in enumerate(self.world.nodes()):
            self.kube.create("/api/v1/nodes", node_object(spec, index, "2026-01-01T00:00:00Z"))
        group = "/apis/network.alibabacloud.com/v1beta1"
        paths: dict[Entity, str] = {
            "pod": "/api/v1/pods",
            "node": "/api/v1/nodes",
            "podnetworking": f"{group}/podnetworkings",
            "podeni": f"{group}/podenis",
        }
        for entity, path in paths.items():
            self._watches[entity] = self.kube.watch_since(path, {"resourceVersion": "0"})
        with self.database.transaction() as connection:
            begin_sweeping(connection, CLUSTER)
            confirm_incarnation(connection, CLUSTER, standby_loses_nothing=False)


def fixed(release_after: str | None = None, strategy: str = "TTL", **more: Any) -> dict[str, Any]:
    """A network with a fixed IP, as admission writes it."""
    allocation = {"type": "Fixed", "releaseStrategy": strategy}
    if release_after:
        allocation["releaseAfter"] = release_after
    return {**_network(), "allocationType": allocation, **more}


def elastic(**more: Any) -> dict[str, Any]:
    """A network whose IP goes back with its Pod."""
    return {**_network(), "allocationType": {"type": "Elastic"}, **more}


def _network() -> dict[str, Any]:
    return {
        "interface": "eth0",
        "vSwitchOptions": ["vsw-bpxxxx"],
        "securityGroupIDs": ["sg-bpxxxx"],
    }


@cache
def _crd(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / f"deploy/crds/{name}.yaml").read_text())
    return read


@cache
def demo_world() -> World:
    """The world of `make demo`, read once."""
    return load_world(ROOT / "deploy/local/worlds/demo.yaml")


def ample_settings(world: World) -> Settings:
    """Budgets that never bind, for tests of one thing at a time."""
    ample = RateLimit(per_minute=60_000, burst=1000)
    apis = ("Create", "Attach", "Detach", "Delete")
    limits = {f"{api}NetworkInterface": ample for api in apis}
    limits |= {"DescribeNetworkInterfaces": ample, "DescribeVSwitches": ample}
    return Settings(
        cluster_id=CLUSTER,
        local_stack=True,
        kafka=KafkaSettings(),
        cloud=CloudSettings(
            region_id=world.region, vpc_id=world.vpc.id, rate_limits=limits, budget_share=1.0
        ),
    )
