"""A cluster, a cloud, a broker and a database in which nothing is wrong, over their real protocols.

Cloud and Kubernetes API are the simulators, each a process; watcher and webhook are ours, each a
process; PostgreSQL keeps what it commits, and the login is no superuser.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from consumers.kube import wire
from consumers.kube.port import NotFound
from consumers.kube.reads import ask
from consumers.runtime.settings import KubeSettings
from deploy.local.actors.nodes import eni_config, node_object
from deploy.local.cloud.world import load_world
from deploy.local.kubernetes.launch import LaunchOptions, launched
from deploy.local.parts.child import Child, start_child
from deploy.local.parts.ports import LOOPBACK, free_port
from deploy.local.parts.postgres import PostgresServer, create_database, start_postgres
from deploy.local.stack import plan
from deploy.local.stack.keeper import is_ready
from deploy.local.stack.options import CRDS, DEFAULT_WORLD, StackOptions
from ledger.store import migrate
from tests.integration.processes.ground import wait_for

Json = dict[str, Any]

CLUSTER = "c-doctor"
PREFIX = "doctor"
DEADLINE_S = 120.0
KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
CONFIG = f"{KUBE_SYSTEM}/configmaps/eni-config"
AGENTS = "/apis/apps/v1/namespaces/kube-system/daemonsets/terway-eniip"
TOKEN = f"{KUBE_SYSTEM}/secrets/addon.network.token"
PODNETWORKING = "/apis/network.alibabacloud.com/v1beta1/podnetworkings/example"
LOGIN, PASSWORD = "eni_ledger_doctor", "doctor-of-tests"
AGENT_LABELS = {"app": "terway-eniip"}


class Kube:
    """Plain calls by path on the simulated API server."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.client: httpx2.Client = wire.connect(KubeSettings(kubeconfig=kubeconfig))
        # Between two faults the server may close an idle connection just when it is used again.
        self.client.headers["Connection"] = "close"

    def get(self, path: str) -> Json:
        found: Json = ask(self.client, "get", path, path).json()
        return found

    def create(self, path: str, body: Json) -> Json:
        """POST into the collection that `path`'s object belongs to."""
        collection = path.rpartition("/")[0]
        stored: Json = ask(self.client, "create", path, collection, method="POST", body=body).json()
        return stored

    def put(self, path: str, body: Json) -> Json:
        """Replace whatever version is there."""
        whole = deepcopy(body)
        whole["metadata"]["resourceVersion"] = self.get(path)["metadata"]["resourceVersion"]
        stored: Json = ask(self.client, "update", path, path, method="PUT", body=whole).json()
        return stored

    def delete(self, path: str) -> None:
        options = {"gracePeriodSeconds": 0}
        ask(self.client, "delete", path, path, method="DELETE", body=options)

    def fault(self, **order: Any) -> None:
        """See deploy/local/kubernetes/control.py."""
        ask(self.client, "fault", "", "/_sim/faults", method="POST", body=order)

    def clear_faults(self) -> None:
        ask(self.client, "fault", "", "/_sim/faults", method="DELETE")

    @contextmanager
    def changed(self, path: str, change: Json, subresource: str = "") -> Iterator[None]:
        """The object with `change` merged into it (None removes), for the time of the block."""
        before = self.get(path)
        at = f"{path}/{subresource}" if subresource else path
        self.put(at, merged(before, change))
        yield
        self.put(at, before)

    @contextmanager
    def without(self, path: str) -> Iterator[None]:
        """The cluster without that object, for the time of the block."""
        before = self.get(path)
        self.delete(path)
        yield
        for key in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
            before["metadata"].pop(key, None)
        self.create(path, before)
        if "status" in before:
            self.put_status(path, before["status"])

    @contextmanager
    def having(self, path: str, body: Json) -> Iterator[None]:
        """The cluster with one object more, for the time of the block."""
        self.create(path, body)
        yield
        self.delete(path)

    def put_status(self, path: str, status: Json) -> None:
        try:
            self.put(f"{path}/status", {**self.get(path), "status": status})
        except NotFound:
            return  # a kind without the subresource: create stored it


def merged(value: Any, change: Any) -> Any:
    """JSON merge patch (RFC 7386)."""
    if not isinstance(change, dict):
        return change
    whole = dict(value) if isinstance(value, dict) else {}
    for key, part in change.items():
        if part is None:
            whole.pop(key, None)
        else:
            whole[key] = merged(whole.get(key), part)
    return whole


@dataclass
class Ground:
    """Where everything is, and how the doctor is told."""

    kube: Kube
    control: httpx2.Client
    postgres: PostgresServer
    broker: str
    settings: dict[str, str]
    webhook: Child
    nodes: tuple[str, ...]
    directory: Path

    def cloud_fault(self, **fault: Any) -> None:
        """See deploy/local/cloud/README.md."""
        assert self.control.post("/_sim/faults", json=fault).status_code < 300

    def sql(self, statement: str, database: str = "eni_ledger") -> None:
        """As the superuser."""
        with psycopg.connect(self.postgres.dsn(database), autocommit=True) as connection:
            connection.execute(statement)

    def config(self) -> Json:
        """The eni-config's JSON."""
        found: Json = json.loads(self.kube.get(CONFIG)["data"]["eni_conf"])
        return found

    @contextmanager
    def configured(
        self, text: str | Mapping[str, Any], *, restarted: bool = True
    ) -> Iterator[None]:
        """The eni-config with this text (or with these keys changed), for the time of the block."""
        if not isinstance(text, str):
            text = json.dumps(merged(self.config(), text))
        if not restarted:  # longer ago than in the second of the change
            self.stamp_agents(datetime.now(UTC) - timedelta(hours=1))
        with self.kube.changed(CONFIG, {"data": {"eni_conf": text}}):
            if restarted:
                self.stamp_agents()
            yield
        self.stamp_agents()

    def stamp_agents(self, started: datetime | None = None) -> None:
        """As if every agent had been restarted at that time, or just now."""
        for node in self.nodes:
            self.agent_is(node, ready=True, started=started)

    def agent_is(self, node: str, *, ready: bool, started: datetime | None = None) -> None:
        """What kubelet says of the agent on a node."""
        status = {
            "phase": "Running",
            "startTime": (started or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        }
        self.kube.put_status(f"{KUBE_SYSTEM}/pods/terway-eniip-{node}", status)

    def node(self, number: int = 0) -> str:
        """The path of a Node."""
        return f"/api/v1/nodes/{self.nodes[number]}"


def agent_pod(node: str, name: str = "") -> Json:
    """The Pod that the DaemonSet controller makes for a node."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name or f"terway-eniip-{node}", "labels": AGENT_LABELS},
        "spec": {
            "nodeName": node,
            "hostNetwork": True,
            "containers": [{"name": "terway", "image": "acs/terway:v1.14.2"}],
        },
    }


def daemon_set(image: str = "registry.example.com/acs/terway:v1.14.2") -> Json:
    """The node agent's DaemonSet."""
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "terway-eniip"},
        "spec": {
            "selector": {"matchLabels": AGENT_LABELS},
            "template": {
                "metadata": {"labels": AGENT_LABELS},
                "spec": {"containers": [{"name": "terway", "image": image}]},
            },
        },
    }


def furnish(kube: Kube) -> tuple[str, ...]:
    """What a managed cluster has: nodes, token, eni-config, agents; and one PodNetworking."""
    world = load_world(DEFAULT_WORLD)
    specs = world.nodes()
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for index, spec in enumerate(specs):
        node = node_object(spec, index, now)
        path = f"/api/v1/nodes/{spec.name}"
        kube.create(path, node)
        kube.put_status(path, node["status"])
    kube.create(CONFIG, eni_config(world))
    token = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "addon.network.token"}}
    kube.create(TOKEN, token | {"type": "Opaque", "stringData": {"addon.token.config": "secret"}})
    kube.create(AGENTS, daemon_set())
    count = len(specs)
    status = {
        "desiredNumberScheduled": count,
        "numberReady": count,
        "currentNumberScheduled": count,
    }
    kube.put_status(AGENTS, status | {"numberMisscheduled": 0})
    for spec in specs:
        kube.create(f"{KUBE_SYSTEM}/pods/terway-eniip-{spec.name}", agent_pod(spec.name))
    return tuple(spec.name for spec in specs)


def _podnetworking(kube: Kube) -> None:
    kube.create(
        PODNETWORKING,
        {
            "apiVersion": "network.alibabacloud.com/v1beta1",
            "kind": "PodNetworking",
            "metadata": {"name": "example"},
            "spec": {
                "selector": {"podSelector": {"matchLabels": {"foo": "bar"}}},
                "vSwitchOptions": ["vsw-bpxxxx", "vsw-bpyyyy"],
                "securityGroupIDs": ["sg-bpxxxx"],
            },
        },
    )
    kube.put_status(PODNETWORKING, {"status": "Ready"})


@contextmanager
def healthy(directory: Path, broker: str) -> Iterator[Ground]:
    """Everything, started and ready; stopped at the end."""
    children: list[Child] = []
    postgres = start_postgres(directory / "postgres", log=directory / "postgres.log")
    try:
        with launched(directory / "kubernetes", LaunchOptions(crds=[CRDS])) as server:
            kube = Kube(server.kubeconfig)
            nodes = furnish(kube)
            cloud = start_cloud(directory, children)
            settings = _settings(server.kubeconfig, cloud, _database(postgres), broker)
            for name in ("webhook", "watcher"):
                children.append(_consumer(name, settings, directory))
            control = httpx2.Client(base_url=f"http://{cloud}")
            ground = Ground(
                kube, control, postgres, broker, settings, children[1], nodes, directory
            )
            ground.stamp_agents()
            _podnetworking(kube)
            try:
                yield ground
            finally:
                control.close()
                kube.client.close()
    finally:
        for child in reversed(children):
            child.stop()
        postgres.stop()


def _database(postgres: PostgresServer) -> str:
    dsn = create_database(postgres.dsn(), "eni_ledger")
    migrate.upgrade(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute(f"CREATE ROLE {LOGIN} LOGIN PASSWORD '{PASSWORD}'")
        roles = "eni_ledger_writer, eni_ledger_reconciler, eni_ledger_auditor"
        connection.execute(f"GRANT {roles} TO {LOGIN}")
    return dsn_of(postgres)


def dsn_of(postgres: PostgresServer, database: str = "eni_ledger", login: str = LOGIN) -> str:
    """How a login without privileges reaches a database."""
    return f"postgresql://{login}:{PASSWORD}@{LOOPBACK}:{postgres.port}/{database}"


def start_cloud(directory: Path, children: list[Child]) -> str:
    """A cloud simulator with the demo's world: host:port."""
    port = free_port()
    child = start_child(
        "the cloud simulator", plan.cloud_command(StackOptions(), port), log=directory / "cloud.log"
    )
    children.append(child)
    url = f"http://{LOOPBACK}:{port}/_sim/health"
    child.wait_ready(lambda: is_ready(url), DEADLINE_S, "it answered")
    return f"{LOOPBACK}:{port}"


def _settings(kubeconfig: Path, cloud: str, dsn: str, broker: str) -> dict[str, str]:
    webhook_port = free_port()
    endpoints = plan.Endpoints(
        postgres_dsn=dsn,
        kafka=broker,
        cloud_port=int(cloud.rpartition(":")[2]),
        kubeconfig=kubeconfig,
        webhook_port=webhook_port,
        console_port=free_port(),
        console_token="never-used-in-this-test",
        cluster_id=CLUSTER,
    )
    settings = dict(plan.settings_environment(endpoints, load_world(DEFAULT_WORLD)))
    del settings["ENI_LEDGER_LOCAL_STACK"]
    return settings | {"ENI_LEDGER_KAFKA__TOPIC_PREFIX": PREFIX}


def _consumer(name: str, settings: Mapping[str, str], directory: Path) -> Child:
    port = free_port()
    child = start_child(
        name,
        plan.eni_ledger_command("run", name),
        log=directory / f"{name}.log",
        environment=plan.part_environment(settings, port),
    )
    url = f"http://{LOOPBACK}:{port}/readyz"
    wait_for(lambda: is_ready(url), f"{name} is ready", DEADLINE_S)
    return child
