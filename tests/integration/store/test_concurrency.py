"""Intakes and reconcilers side by side on the same Pods: eight connections, no deadlock, nothing lost.

Real threads, each with a database connection of its own, on the real clock. The cloud and the API
server are the simulators in this process, behind a lock each.
"""

import itertools
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import structlog
import yaml

from consumers.contract.encode import encode_deleted, encode_observed
from consumers.contract.events import Encoded, Record
from consumers.contract.topics import Entity, entity_topic
from consumers.intake.taking_in import take_in
from consumers.kube.lightkube_adapter import LightkubeAdapter
from consumers.reconciler.dispatch import work_once
from consumers.reconciler.tools import Tools
from consumers.runtime.settings import (
    BreakerSettings,
    CloudSettings,
    RateLimit,
    ReconcilerSettings,
    Settings,
)
from deploy.local.actors.nodes import node_object
from deploy.local.cloud.port_adapter import simulated_cloud
from deploy.local.cloud.simulator import Simulator
from deploy.local.cloud.world import World, load_world
from deploy.local.kubernetes.core import Core
from deploy.local.kubernetes.port_adapter import CoreTransport, InProcess
from deploy.local.kubernetes.sources import Sources
from ledger.store.database import Database
from ledger.store.incarnations import confirm_incarnation
from ledger.store.inputs import begin_offset
from ledger.store.rebuild import check
from ledger.store.sweeps import begin_sweeping

ROOT = Path(__file__).parents[3]
CLUSTER = "c-concurrent"
GROUP = "/apis/network.alibabacloud.com/v1beta1"
PATHS: dict[Entity, str] = {
    "pod": "/api/v1/pods",
    "node": "/api/v1/nodes",
    "podeni": f"{GROUP}/podenis",
}
NODES = ("node-h1", "node-h2")
INTAKES, RECONCILERS = 4, 4
PODS = 16
DEADLINE_S = 110.0

pytestmark = pytest.mark.timeout(180)


class Side:
    """The cluster and the cloud beside the ledger, and the log between them.

    Everything in it is guarded by one lock: the simulators are written for one thread.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        world = load_world(ROOT / "deploy/local/worlds/demo.yaml")
        quick = world.latencies.model_copy(update={"attach": 0.05, "detach": 0.05, "delete": 0.05})
        unlimited: dict[str, Any] = {"latencies": quick, "rate_limits": {}}
        self.world: World = world.model_copy(update=unlimited)
        self.cloud = Simulator(self.world, now=_now, random=random.Random(1))
        self.kube = InProcess(Core(Sources.seeded(2, _now)))
        self.random = random.Random(3)
        self.log: dict[tuple[Entity, int], list[Record]] = {}
        self.touched = itertools.count()
        self._install()
        self._watches = {
            entity: self.kube.watch_since(path, {"resourceVersion": "0"})
            for entity, path in PATHS.items()
        }

    def create_pod(self, number: int, node: str) -> None:
        """Every third Pod has two interfaces: two allocations under one lock order."""
        interfaces = ("eth0", "eth1") if number % 3 == 0 else ("eth0",)
        networks = [
            {
                "interface": interface,
                "vSwitchOptions": ["vsw-bpxxxx"],
                "securityGroupIDs": ["sg-bpxxxx"],
                "allocationType": {"type": "Elastic"},
            }
            for interface in interfaces
        ]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"web-{number}",
                "namespace": "example",
                "annotations": {
                    "k8s.aliyun.com/pod-eni": "true",
                    "k8s.aliyun.com/pod-networks": json.dumps({"podNetworks": networks}),
                },
            },
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
        }
        with self.lock:
            self.kube.create("/api/v1/namespaces/example/pods", pod)

    def delete_pod(self, number: int) -> None:
        with self.lock:
            path = f"/api/v1/namespaces/example/pods/web-{number}"
            self.kube.delete(path, {"gracePeriodSeconds": 0})

    def touch_nodes(self) -> None:
        """Node events make the Pods due that wait for an address on them."""
        with self.lock:
            for node in NODES:
                change = {"metadata": {"labels": {"touched": str(next(self.touched))}}}
                self.kube.patch(f"/api/v1/nodes/{node}", change)

    def publish(self) -> None:
        """Each change goes to two partitions, in any order: order and once are the ledger's task."""
        with self.lock:
            for entity, watch in self._watches.items():
                for event in watch.poll():
                    if event.type == "BOOKMARK":
                        continue
                    encode = encode_deleted if event.type == "DELETED" else encode_observed
                    message = encode(CLUSTER, entity, event.object, epoch=0)
                    for partition in self.random.sample(range(INTAKES), 2):
                        self._append(entity, partition, message)

    def since(self, partition: int, read: dict[Entity, int], most: int) -> list[Record]:
        """What a partition of each topic holds that was not read yet, in a random mixture."""
        with self.lock:
            return [
                record
                for entity in PATHS
                for record in self.log.get((entity, partition), [])[read.get(entity, 0) :][:most]
            ]

    def created(self) -> int:
        with self.lock:
            return sum(
                call.api == "CreateNetworkInterface" and call.effect for call in self.cloud.calls()
            )

    def member_enis(self) -> list[str]:
        with self.lock:
            return [
                eni.id
                for eni in self.cloud.model.enis()
                if dict(eni.tags).get("creator") == "eni-ledger"
            ]

    def _append(self, entity: Entity, partition: int, message: Encoded) -> None:
        records = self.log.setdefault((entity, partition), [])
        topic = entity_topic(entity)
        records.append(Record(topic, partition, len(records), *message))

    def _install(self) -> None:
        self.kube.core.create_default_namespaces()
        for name in ("podnetworkings", "podenis"):
            crd = yaml.safe_load((ROOT / f"deploy/crds/{name}.yaml").read_text())
            self.kube.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        self.kube.create("/api/v1/namespaces", {"metadata": {"name": "example"}})
        for index, spec in enumerate(self.world.nodes()):
            self.kube.create("/api/v1/nodes", node_object(spec, index, "2026-01-01T00:00:00Z"))


class _Guarded(httpx2.BaseTransport):
    """One request at a time."""

    def __init__(self, side: Side) -> None:
        self._lock = side.lock
        self._inner = CoreTransport(side.kube)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        with self._lock:
            return self._inner.handle_request(request)


class Crowd:
    """The threads: each plays its part until told to stop; the first failure is kept."""

    def __init__(self, dsn: str, side: Side) -> None:
        self._dsn = dsn
        self._side = side
        self._stop = threading.Event()
        self._start = threading.Barrier(INTAKES + RECONCILERS)
        self.failures: list[BaseException] = []
        self.turns: Counter[str] = Counter()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        with ThreadPoolExecutor(INTAKES + RECONCILERS) as pool:
            for number in range(INTAKES):
                pool.submit(self._guarded, self._take_in, number)
            for number in range(RECONCILERS):
                pool.submit(self._guarded, self._reconcile, number)
            try:
                yield
            finally:
                self._stop.set()
        assert not self.failures, self.failures

    def _guarded(self, part: Callable[[int, Database], None], number: int) -> None:
        # One connection each, so that a transaction within a transaction would show.
        database = Database(self._dsn, pool_size=1, statement_timeout_s=20)
        try:
            self._start.wait(DEADLINE_S)
            part(number, database)
        except BaseException as failure:  # noqa: BLE001 - shown by the test's thread
            self.failures.append(failure)
            self._stop.set()
        finally:
            database.close()

    def _take_in(self, number: int, database: Database) -> None:
        dice = random.Random(number)
        read: dict[Entity, int] = {}
        expected: dict[tuple[str, int], int] = {}
        with database.transaction() as connection:
            for entity in PATHS:
                topic = entity_topic(entity)
                expected[topic, number] = begin_offset(connection, topic, number, 0)[0]
        while not self._stop.is_set():
            records = self._side.since(number, read, dice.choice((1, 5, 40)))
            if not records:
                self._stop.wait(0.01)
                continue
            take_in(database, records, expected, 1 << 20, uuid.uuid4)
            for entity in PATHS:
                taken = [r.offset for r in records if r.topic == entity_topic(entity)]
                if taken:
                    read[entity] = expected[entity_topic(entity), number] = taken[-1] + 1
            self.turns["intake"] += 1

    def _reconcile(self, number: int, database: Database) -> None:
        tools = self._tools(number, database)
        while not self._stop.is_set():
            if work_once(tools):
                self.turns["reconciler"] += 1
            else:
                self._stop.wait(0.02)

    def _tools(self, number: int, database: Database) -> Tools:
        client = httpx2.Client(transport=_Guarded(self._side), base_url="http://kube")
        numbers = itertools.count(number * 1_000_000)
        kube = LightkubeAdapter(client, now=_now, new_id=lambda: f"{next(numbers):016x}")
        cloud = simulated_cloud(self._side.cloud, now=_now)
        transport = cloud._transport

        def guarded(api: str, parameters: Any, subject: str) -> Any:
            with self._side.lock:
                return transport(api, parameters, subject)

        cloud._transport = guarded
        dice = random.Random(number)
        return Tools(database, cloud, kube, _settings(self._side.world), uuid.uuid4, dice)


def _now() -> datetime:
    return datetime.now(UTC)


def _settings(world: World) -> Settings:
    ample = RateLimit(per_minute=600_000, burst=10_000)
    apis = ("Create", "Attach", "Detach", "Delete")
    limits = {f"{api}NetworkInterface": ample for api in apis}
    limits |= {"DescribeNetworkInterfaces": ample, "DescribeVSwitches": ample}
    breaker = BreakerSettings(absolute=10_000, share=1.0, share_floor=10_000)
    return Settings(
        cluster_id=CLUSTER,
        local_stack=True,
        reconciler=ReconcilerSettings(look_interval_s=0.05, breaker=breaker),
        cloud=CloudSettings(
            region_id=world.region, vpc_id=world.vpc.id, rate_limits=limits, budget_share=1.0
        ),
    )


class Looks:
    """What is so by the ledger, seen from outside."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()

    def phases(self) -> Counter[str]:
        return Counter(dict(self.rows("SELECT phase, count(*) FROM ledger.allocation GROUP BY 1")))

    def bound(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(Pod, interface) -> (uid, ENI) of what is bound."""
        found = self.rows(
            "SELECT pod, interface, pod_uid, eni FROM ledger.allocation WHERE phase = 'bound'"
        )
        return {(pod, interface): (uid, eni) for pod, interface, uid, eni in found}

    def wait_for(self, condition: Callable[[], bool], crowd: Crowd, side: Side, what: str) -> None:
        """Play the cluster until `condition` holds."""
        until = time.monotonic() + DEADLINE_S
        while not condition():
            assert not crowd.failures, crowd.failures
            if time.monotonic() > until:
                stuck = self.rows(
                    "SELECT name, due_at, attempt, claimed_until, waiting_for FROM ledger.work"
                )
                raise AssertionError(
                    f"not within {DEADLINE_S:g} s: {what}: {self.phases()} {stuck}"
                )
            side.touch_nodes()
            side.publish()
            time.sleep(0.05)

    def close(self) -> None:
        self._connection.close()


def wanted(names: Sequence[int]) -> set[tuple[str, str]]:
    return {
        (f"web-{number}", interface)
        for number in names
        for interface in (("eth0", "eth1") if number % 3 == 0 else ("eth0",))
    }


def test_eight_connections_on_the_same_pods(database: str) -> None:
    """Created, moved to another node under the same name, and deleted, all of it at once."""
    side, everyone = Side(), range(PODS)
    looks = Looks(database)
    store = Database(database, pool_size=1)
    with store.transaction() as connection:
        begin_sweeping(connection, CLUSTER)
        confirm_incarnation(connection, CLUSTER, standby_loses_nothing=False)
    crowd = Crowd(database, side)
    with structlog.testing.capture_logs() as logs, crowd.at_work():
        for number in everyone:
            side.create_pod(number, NODES[number % 2])
        looks.wait_for(
            lambda: set(looks.bound()) == wanted(everyone), crowd, side, "every interface bound"
        )
        first = looks.bound()
        for number in everyone:
            side.delete_pod(number)
            side.create_pod(number, NODES[(number + 1) % 2])
            side.publish()
        looks.wait_for(
            lambda: (
                set(now := looks.bound()) == wanted(everyone)
                and all(now[key][0] != first[key][0] for key in first)
                and len(side.member_enis()) == len(first)
            ),
            crowd,
            side,
            "every successor bound",
        )
        second = looks.bound()
        assert sorted(eni for _, eni in second.values()) == sorted(side.member_enis())
        for number in everyone:
            side.delete_pod(number)
        looks.wait_for(
            lambda: set(looks.phases()) == {"released"} and not side.member_enis(),
            crowd,
            side,
            "everything released",
        )
    interfaces = len(wanted(everyone))
    assert len({eni for _, eni in first.values()} | {eni for _, eni in second.values()}) == (
        2 * interfaces
    ), "each interface of each Pod had an ENI of its own"
    assert side.created() == 2 * interfaces, "exactly one ENI for each"
    with store.transaction() as connection:
        assert check(connection) == []
    [(deadlocks,)] = looks.rows(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert deadlocks == 0
    assert looks.rows("SELECT * FROM ledger.dead_letter") == []
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
    for namespace_path in (
        "/api/v1/namespaces/example/pods",
        f"{GROUP}/namespaces/example/podenis",
    ):
        assert side.kube.list(namespace_path)["items"] == []
    assert crowd.turns["intake"] > PODS
    assert crowd.turns["reconciler"] > PODS
    looks.close()
    store.close()
