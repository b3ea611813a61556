"""A fleet: several reconciler processes on one ledger, with the two simulators as processes, too.

No Kafka: the test itself takes in what it says happened, by the intake's own function. So a figure
or a verdict about reconcilers is about them alone.
"""

import json
import os
import signal
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import yaml
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import Namespace, Node, Pod

from consumers.contract.encode import encode_deleted, encode_heartbeat, encode_observed
from consumers.contract.events import Encoded, Heartbeat, Record
from consumers.contract.topics import Entity, entity_topic
from consumers.intake.taking_in import take_in
from deploy.local.actors.nodes import node_object
from deploy.local.cloud.world import World, load_world
from deploy.local.kubernetes.launch import LaunchOptions, launched
from deploy.local.parts.child import Child, start_child
from deploy.local.parts.ports import LOOPBACK, free_port
from deploy.local.stack import plan
from deploy.local.stack.options import CRDS, DEFAULT_WORLD, StackOptions
from ledger.store.database import Database
from ledger.store.inputs import begin_offset

CLUSTER = "c-fleet"
NAMESPACE = "example"
DEADLINE_S = 120.0

Json = dict[str, Any]
Row = tuple[Any, ...]

_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def wait_for(look: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """What `look` returns once it is true; fails with `what` when it never is."""
    until = time.monotonic() + deadline_s
    while not (found := look()):
        assert time.monotonic() < until, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.02)
    return found


def fetch(url: str, body: Json | None = None) -> Json:
    """The JSON of a GET, or of a POST of `body`."""
    data = None if body is None else json.dumps(body).encode()
    with _http.open(urllib.request.Request(url, data=data), timeout=30) as answer:
        found: Json = json.loads(answer.read())
    return found


def write_world(path: Path, *, instances: int, **latencies: float) -> World:
    """The demonstration's world with more instances, in a cloud that limits no rates."""
    told = yaml.safe_load(DEFAULT_WORLD.read_text())
    del told["rate_limits"]
    told["latencies"] = {"attach": 0.1, "detach": 0.1, "delete": 0.1} | latencies
    told["instances"] = [
        {
            "id": f"i-fleet{n:04}",
            "node": f"node-{n}",
            "zone": "cn-hangzhou-h",
            "type": "ecs.g7.2xlarge",
            "private_ip": f"192.168.31.{n + 1}",
            "primary_eni": f"eni-primary{n:04}",
            "trunk_eni": f"eni-trunk{n:04}",
        }
        for n in range(instances)
    ]
    path.write_text(yaml.safe_dump(told))
    return load_world(path)


@dataclass
class Fleet:
    """The ledger, the simulators and the replicas; and what the test plays."""

    directory: Path
    dsn: str
    world: World
    ecs: str
    settings: Mapping[str, str]
    client: Any  # lightkube's overloads ask for kinds known to the type checker
    replicas: list[Child] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    _offsets: dict[str, int] = field(default_factory=dict)

    # ------------------------------------------------------------------ replicas

    def start(self, **settings: str) -> int:
        """One more reconciler, ready; returns its number."""
        number, port = len(self.replicas), free_port()
        child = start_child(
            f"reconciler {number}",
            plan.eni_ledger_command("run", "reconciler"),
            log=self.directory / f"reconciler-{number}.log",
            environment=plan.part_environment({**self.settings, **settings}, port),
        )
        self.replicas.append(child)
        self.ports.append(port)
        child.wait_ready(lambda: self._ready(port), DEADLINE_S, "it was ready")
        return number

    def freeze(self, number: int) -> None:
        """SIGSTOP; returns when the kernel has stopped all of it."""
        os.kill(self.replicas[number].pid, signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        os.kill(self.replicas[number].pid, signal.SIGCONT)

    def metric(self, number: int, name: str) -> float:
        """The sum of one metric's values over its labels."""
        url = f"http://{LOOPBACK}:{self.ports[number]}/metrics"
        with _http.open(url, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def log_of(self, number: int) -> list[Json]:
        lines = (self.directory / f"reconciler-{number}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def _ready(self, port: int) -> bool:
        try:
            return bool(fetch(f"http://{LOOPBACK}:{port}/readyz")["ready"])
        except OSError:
            return False

    # ------------------------------------------------------------------ what happens and is heard

    def create_pod(self, name: str, node: str, network: Json) -> None:
        """A Pod as admission and scheduler leave it, and its event."""
        self.create_pods([(name, node)], network)

    def create_pods(self, names: Sequence[tuple[str, str]], network: Json) -> None:
        """(name, node) of each; all their events are taken in at once."""
        made = [self.make(name, node, network) for name, node in names]
        self.hear("pod", [encode_observed(CLUSTER, "pod", each, epoch=0) for each in made])

    def make(self, name: str, node: str, network: Json) -> Json:
        """A Pod as admission and scheduler leave it; nobody has heard of it."""
        pod: Any = Pod.from_dict(
            {
                "metadata": {
                    "name": name,
                    "namespace": NAMESPACE,
                    "annotations": {
                        "k8s.aliyun.com/pod-eni": "true",
                        "k8s.aliyun.com/pod-networks": json.dumps({"podNetworks": [network]}),
                    },
                },
                "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
            }
        )
        made: Json = self.client.create(pod).to_dict()
        return made

    def delete_pod(self, name: str, *, heard: bool = True) -> Json:
        """Gone with its sandbox; returns what it was, at the version of its end."""
        last = self.client.get(Pod, name, namespace=NAMESPACE).to_dict()
        self.client.delete(Pod, name, namespace=NAMESPACE, grace_period=0)
        last["metadata"]["resourceVersion"] = str(self.version())
        if heard:
            self.hear("pod", [encode_deleted(CLUSTER, "pod", last, epoch=0)])
        return dict(last)

    def version(self) -> int:
        """The API server's newest."""
        listed = self.client.list(Pod, namespace=NAMESPACE)
        list(listed)
        return int(listed.resourceVersion)

    def beat(self, entity: Entity = "pod") -> None:
        """A heartbeat: everything up to now was told."""
        now = datetime.now(UTC)
        beat = Heartbeat(partition=0, continuous_from=0, alive_at=now, synced=True)
        version = self.version()
        self.hear(
            entity,
            [encode_heartbeat(CLUSTER, entity, beat, epoch=0, resource_version=version, time=now)],
        )

    def hear(self, entity: Entity, messages: Sequence[Encoded]) -> None:
        """Take messages in, as an intake does."""
        topic = entity_topic(entity)
        database = Database(self.dsn, pool_size=1)
        with database.transaction() as connection:
            first = begin_offset(connection, topic, 0, 0)[0]
        records = [Record(topic, 0, first + n, *each) for n, each in enumerate(messages)]
        take_in(database, records, {(topic, 0): first}, 1 << 20, uuid.uuid4)
        database.close()

    # ------------------------------------------------------------------ what is so

    def calls(self, since: int = 0) -> list[Json]:
        """What the cloud was asked, by its own log."""
        found: list[Json] = fetch(f"http://{self.ecs}/_sim/calls?since={since}")["calls"]
        return found

    def effects(self, api: str) -> list[Json]:
        return [call for call in self.calls() if call["api"] == api and call["effect"]]

    def member_enis(self) -> list[Json]:
        found = fetch(f"http://{self.ecs}/_sim/enis")["enis"]
        return [eni for eni in found if eni["tags"].get("creator") == "eni-ledger"]

    def fault(self, **fault: Any) -> None:
        fetch(f"http://{self.ecs}/_sim/faults", fault)

    def rows(self, query: str, *parameters: Any) -> list[Row]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query, parameters).fetchall()

    def phases(self) -> dict[str, str]:
        """Pod -> phase, of what is not released."""
        query = "SELECT pod, phase FROM ledger.allocation WHERE phase <> 'released'"
        return dict(self.rows(query))


@contextmanager
def running_fleet(
    directory: Path,
    dsn: str,
    settings: Mapping[str, str],
    *,
    instances: int = 4,
    **latencies: float,
) -> Iterator[Fleet]:
    """Everything but the reconcilers; `settings` are more ENI_LEDGER_ variables of all of them."""
    directory.mkdir(parents=True, exist_ok=True)
    world = write_world(directory / "world.yaml", instances=instances, **latencies)
    port, key = free_port(), world.access_keys[0]
    ecs = f"{LOOPBACK}:{port}"
    command = plan.cloud_command(StackOptions(world=directory / "world.yaml"), port)
    cloud = start_child("the cloud simulator", command, log=directory / "cloud.log")
    with launched(directory / "kubernetes", LaunchOptions(crds=[CRDS])) as server:
        variables = {
            "CLUSTER_ID": CLUSTER,
            "POSTGRES__DSN": dsn,
            "KUBE__KUBECONFIG": str(server.kubeconfig),
            "CLOUD__REGION_ID": world.region,
            "CLOUD__VPC_ID": world.vpc.id,
            "CLOUD__ECS_ENDPOINT": ecs,
            "CLOUD__VPC_ENDPOINT": ecs,
            "CLOUD__PROTOCOL": "http",
            "CLOUD__ACCESS_KEY_ID": key.id,
            "CLOUD__ACCESS_KEY_SECRET": key.secret,
        }
        told = {f"ENI_LEDGER_{name}": value for name, value in {**variables, **settings}.items()}
        client = Client(KubeConfig.from_file(str(server.kubeconfig)).get())
        fleet = Fleet(directory, dsn, world, ecs, told, client)
        try:
            cloud.wait_ready(lambda: _answers(ecs), DEADLINE_S, "it answered")
            namespace: Any = Namespace.from_dict({"metadata": {"name": NAMESPACE}})
            client.create(namespace)
            _register_nodes(fleet)
            yield fleet
        finally:
            for replica in fleet.replicas:
                replica.kill()
            cloud.stop()
            client.close()


def _register_nodes(fleet: Fleet) -> None:
    messages = []
    for index, spec in enumerate(fleet.world.nodes()):
        node: Any = Node.from_dict(node_object(spec, index, "2026-01-01T00:00:00Z"))
        made = fleet.client.create(node)
        messages.append(encode_observed(CLUSTER, "node", made.to_dict(), epoch=0))
    fleet.hear("node", messages)


def _answers(ecs: str) -> bool:
    try:
        return bool(fetch(f"http://{ecs}/_sim/health"))
    except OSError:
        return False
