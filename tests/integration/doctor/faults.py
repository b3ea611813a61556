"""What can be wrong with a world, one thing at a time, and what the doctor must say of it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumers.contract.encode import encode_observed
from consumers.contract.kafka_client import (
    connection_options,
    ensure_topics,
    producer_options,
    started,
)
from consumers.contract.topics import entity_topic, entries_topic
from consumers.runtime.settings import KafkaSettings
from deploy.local import clock
from deploy.local.parts.ports import free_port
from deploy.local.parts.postgres import create_database
from ledger.store import migrate
from tests.integration.doctor.ground import (
    AGENTS,
    CLUSTER,
    KUBE_SYSTEM,
    LOGIN,
    PASSWORD,
    PODNETWORKING,
    TOKEN,
    Ground,
    daemon_set,
    dsn_of,
)

#: Makes the fault for the time of the block; yields settings that differ meanwhile, or None.
Put = Callable[[Ground], AbstractContextManager[dict[str, str] | None]]
BLOCKS, WARNS, UNSEEN = "blocks", "warns", "could not look"


@dataclass(frozen=True)
class Fault:
    """`id` is found with this severity, its text `says` so; `also` are its consequences."""

    name: str
    put: Put
    id: str
    severity: str
    says: str
    also: tuple[str, ...] = ()


def _set(**settings: str) -> Put:
    """Only settings differ."""

    @contextmanager
    def put(_ground: Ground) -> Iterator[dict[str, str]]:
        yield {f"ENI_LEDGER_{name}": value for name, value in settings.items()}

    return put


def _changed(path: str, change: Any, subresource: str = "") -> Put:
    """An object of the cluster has other fields."""

    @contextmanager
    def put(ground: Ground) -> Iterator[None]:
        with ground.kube.changed(path, change, subresource):
            yield

    return put


def _node(change: Any, subresource: str = "") -> Put:
    """One node has other fields."""

    @contextmanager
    def put(ground: Ground) -> Iterator[None]:
        with ground.kube.changed(ground.node(), change, subresource):
            yield

    return put


def _configured(change: Any, *, restarted: bool = True) -> Put:
    @contextmanager
    def put(ground: Ground) -> Iterator[None]:
        with ground.configured(change, restarted=restarted):
            yield

    return put


def _cloud(**fault: Any) -> Put:
    @contextmanager
    def put(ground: Ground) -> Iterator[dict[str, str]]:
        ground.cloud_fault(**fault)
        yield {"ENI_LEDGER_CLOUD__READ_TIMEOUT_S": "1"}
        assert ground.control.delete("/_sim/faults").status_code == 200

    return put


def _kube_fault(**order: Any) -> Put:
    @contextmanager
    def put(ground: Ground) -> Iterator[None]:
        ground.kube.fault(**order)
        yield
        ground.kube.clear_faults()

    return put


# --- the cluster ----------------------------------------------------------------------------------


@contextmanager
def _without_token(ground: Ground) -> Iterator[None]:
    with ground.kube.without(TOKEN):
        yield


@contextmanager
def _without_agents(ground: Ground) -> Iterator[None]:
    with ground.kube.without(AGENTS):
        yield


@contextmanager
def _dedicated_and_nothing_granted(ground: Ground) -> Iterator[None]:
    """Its control plane runs as Pods, its nodes have no trunk, and it has no token."""
    path = f"{KUBE_SYSTEM}/pods/kube-apiserver-master-0"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "kube-apiserver-master-0",
            "labels": {"component": "kube-apiserver", "tier": "control-plane"},
        },
        "spec": {"hostNetwork": True, "containers": [{"name": "c", "image": "i"}]},
    }
    bare = {"metadata": {"annotations": {"k8s.aliyun.com/trunk-on": None}}}
    with ground.kube.having(path, pod), ground.kube.without(TOKEN), _all_nodes(ground, bare):
        yield


@contextmanager
def _all_nodes(ground: Ground, change: Any) -> Iterator[None]:
    befores = [ground.kube.get(ground.node(number)) for number in range(len(ground.nodes))]
    with _each_changed(ground, 0, change):
        yield
    assert len(befores) == len(ground.nodes)


@contextmanager
def _each_changed(ground: Ground, number: int, change: Any) -> Iterator[None]:
    if number == len(ground.nodes):
        yield
        return
    with (
        ground.kube.changed(ground.node(number), change),
        _each_changed(ground, number + 1, change),
    ):
        yield


@contextmanager
def _lame_agent(ground: Ground) -> Iterator[None]:
    ground.agent_is(ground.nodes[1], ready=False)
    with ground.kube.changed(AGENTS, {"status": {"numberReady": 3}}, "status"):
        yield
    ground.agent_is(ground.nodes[1], ready=True)


@contextmanager
def _overlay(ground: Ground) -> Iterator[None]:
    path = f"{KUBE_SYSTEM}/configmaps/slow-nodes"
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "slow-nodes"},
        "data": {"eni_conf": '{"enable_eni_trunking": false}'},
    }
    label = {"metadata": {"labels": {"terway-config": "slow-nodes"}}}
    with ground.kube.having(path, config), ground.kube.changed(ground.node(), label):
        yield


@contextmanager
def _one_zone_without_vswitch(ground: Ground) -> Iterator[None]:
    only = {"spec": {"vSwitchOptions": ["vsw-bpxxxx"]}}
    zones = {"vswitches": {"cn-hangzhou-h": ["vsw-bpxxxx"], "cn-hangzhou-i": None}}
    with ground.kube.changed(PODNETWORKING, only), ground.configured(zones):
        yield


# --- webhooks and the incumbent -------------------------------------------------------------------


@contextmanager
def _incumbents_webhook(ground: Ground) -> Iterator[None]:
    """As the incumbent's chart installs it; nothing listens there."""
    kind = "mutatingwebhookconfigurations"
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "terway-controlplane"},
        "webhooks": [
            {
                "name": "mutating.terway-controlplane.io",
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "resources": ["pods"],
                        "operations": ["CREATE"],
                    }
                ],
                "clientConfig": {"url": f"https://127.0.0.1:{free_port()}/mutating"},
                "failurePolicy": "Ignore",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 2,
            }
        ],
    }
    path = f"/apis/admissionregistration.k8s.io/v1/{kind}/terway-controlplane"
    with ground.kube.having(path, configuration):
        yield


@contextmanager
def _incumbent(ground: Ground) -> Iterator[None]:
    labels = {"app": "terway-controlplane"}
    path = "/apis/apps/v1/namespaces/kube-system/deployments/terway-controlplane"
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "terway-controlplane"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    }
    with ground.kube.having(path, deployment):
        yield


@contextmanager
def _dead_webhook(ground: Ground) -> Iterator[None]:
    ground.webhook.kill()
    yield


@contextmanager
def _without_a_crd(ground: Ground) -> Iterator[None]:
    name = "podenis.network.alibabacloud.com"
    with ground.kube.without(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"):
        yield


# --- Kafka ----------------------------------------------------------------------------------------


def _kafka(ground: Ground, prefix: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=ground.broker, topic_prefix=prefix)


@contextmanager
def _no_watcher(ground: Ground) -> Iterator[dict[str, str]]:
    asyncio.run(ensure_topics(_kafka(ground, "silent")))
    yield {"ENI_LEDGER_KAFKA__TOPIC_PREFIX": "silent"}


@contextmanager
def _entries_in_three_orders(ground: Ground) -> Iterator[dict[str, str]]:
    settings = _kafka(ground, "three")

    async def make() -> None:
        async with started(AIOKafkaAdminClient(**connection_options(settings, "test"))) as admin:
            await admin.create_topics([NewTopic(entries_topic("three"), 3, 1)])
        await ensure_topics(settings)

    asyncio.run(make())
    yield {"ENI_LEDGER_KAFKA__TOPIC_PREFIX": "three"}


@contextmanager
def _foreign_producer(ground: Ground) -> Iterator[dict[str, str]]:
    """Another cluster's producer, which sends Nodes and no heartbeats."""
    settings = _kafka(ground, "foreign")
    node = {"metadata": {"name": "n", "uid": "u", "resourceVersion": "7"}}
    message = encode_observed("c-foreign", "node", node, epoch=1)

    async def send() -> None:
        await ensure_topics(settings)
        async with started(AIOKafkaProducer(**producer_options(settings, "test"))) as producer:
            await producer.send_and_wait(
                entity_topic("node", "foreign"),
                message.value,
                key=message.key,
                headers=list(message.headers),
            )

    asyncio.run(send())
    yield {"ENI_LEDGER_KAFKA__TOPIC_PREFIX": "foreign", "ENI_LEDGER_CLUSTER_ID": "c-foreign"}


# --- PostgreSQL -----------------------------------------------------------------------------------


def _database(make: Callable[[str], object], name: str) -> Put:
    """A database of its own, which `make` prepares by its DSN."""

    @contextmanager
    def put(ground: Ground) -> Iterator[dict[str, str]]:
        make(create_database(ground.postgres.dsn(), name))
        yield {"ENI_LEDGER_POSTGRES__DSN": dsn_of(ground.postgres, name)}

    return put


def _with_moved_clock(dsn: str) -> None:
    migrate.upgrade(dsn)
    clock.install(dsn)


@contextmanager
def _stranger(ground: Ground) -> Iterator[dict[str, str]]:
    ground.sql(f"CREATE ROLE stranger LOGIN PASSWORD '{PASSWORD}'")
    ground.sql("GRANT SELECT ON public.revision TO stranger")
    ground.sql("GRANT USAGE ON SCHEMA ledger TO stranger")
    ground.sql("GRANT SELECT ON ledger.cluster TO stranger")
    yield {"ENI_LEDGER_POSTGRES__DSN": dsn_of(ground.postgres, login="stranger")}


@contextmanager
def _superuser(ground: Ground) -> Iterator[dict[str, str]]:
    yield {"ENI_LEDGER_POSTGRES__DSN": ground.postgres.dsn("eni_ledger")}


@contextmanager
def _careless_commits(ground: Ground) -> Iterator[None]:
    ground.sql(f"ALTER ROLE {LOGIN} SET synchronous_commit = off")
    yield
    ground.sql(f"ALTER ROLE {LOGIN} RESET synchronous_commit")


@contextmanager
def _another_cluster(ground: Ground) -> Iterator[None]:
    ground.sql(f"INSERT INTO ledger.cluster VALUES ('{CLUSTER}', 'another-uid', ledger.now())")
    yield
    ground.sql("DELETE FROM ledger.cluster")


@contextmanager
def _cloud_clock_ahead(ground: Ground) -> Iterator[None]:
    """For good: the simulator's clock goes only forward."""
    assert ground.control.post("/_sim/clock/advance", json={"seconds": 60}).status_code == 200
    yield


_NO_ZONE = {
    "topology.kubernetes.io/zone": None,
    "failure-domain.beta.kubernetes.io/zone": None,
}
_FORBIDDEN = {"kind": "error", "code": "Forbidden.RAM", "status": 403}

FAULTS: tuple[Fault, ...] = (
    Fault(
        "no cluster id",
        _set(CLUSTER_ID=""),
        "settings",
        BLOCKS,
        "ENI_LEDGER_CLUSTER_ID",
        ("kafka-heartbeats",),
    ),
    Fault("another cluster", _another_cluster, "cluster-identity", BLOCKS, "another-uid"),
    Fault(
        "another region",
        _node({"metadata": {"labels": {"topology.kubernetes.io/region": "cn-beijing"}}}),
        "node-region",
        BLOCKS,
        "cn-beijing",
    ),
    Fault("no token", _without_token, "network-token", BLOCKS, "without Secret"),
    Fault(
        "token not to be seen",
        _kube_fault(verb="get", resource="secrets", code=403, times=1),
        "network-token",
        UNSEEN,
        "grant verb get on secrets",
    ),
    Fault(
        "dedicated and nothing granted",
        _dedicated_and_nothing_granted,
        "trunk-permission",
        WARNS,
        "kube-apiserver-master-0",
        ("trunk-enis",),
    ),
    Fault("no agents", _without_agents, "network-plugin", BLOCKS, "no DaemonSet"),
    Fault("an agent not ready", _lame_agent, "agents-ready", WARNS, "3 of 4 agents"),
    Fault(
        "an old terway",
        _changed(AGENTS, daemon_set("registry.example.com/acs/terway:v1.9.3") | {"status": {}}),
        "terway-version",
        WARNS,
        "terway is v1.9.3",
    ),
    Fault(
        "no JSON",
        _configured('{\n  "min_pool_size": 0,\n  "enable_eni_trunking": true,\n  ...\n}'),
        "eni-config-json",
        BLOCKS,
        "line 4 column 3",
    ),
    Fault(
        "trunking off",
        _configured({"enable_eni_trunking": False}),
        "eni-config-trunking",
        BLOCKS,
        "is False",
    ),
    Fault(
        "no credential path",
        _configured({"credential_path": None}),
        "eni-config-credential",
        BLOCKS,
        "is not there",
    ),
    Fault(
        "no default group",
        _configured({"security_group": None}),
        "eni-config-defaults",
        WARNS,
        "no security_group",
    ),
    Fault("an overlay", _overlay, "eni-config-overlays", WARNS, "kube-system/slow-nodes"),
    Fault(
        "agents older than their config",
        _configured({"max_pool_size": 7}, restarted=False),
        "eni-config-in-effect",
        WARNS,
        "4 of 4 agents",
    ),
    Fault(
        "a node without zone",
        _node({"metadata": {"labels": _NO_ZONE}}),
        "nodes-readable",
        WARNS,
        "has no label topology.kubernetes.io/zone",
    ),
    Fault(
        "a type without trunk",
        _node({"metadata": {"labels": {"node.kubernetes.io/instance-type": "ecs.t6-c1m2.large"}}}),
        "node-types",
        WARNS,
        "1 of 4 nodes",
    ),
    Fault(
        "a node without trunk",
        _node({"metadata": {"annotations": {"k8s.aliyun.com/trunk-on": None}}}),
        "trunk-enis",
        WARNS,
        "no annotation k8s.aliyun.com/trunk-on",
    ),
    Fault(
        "a trunk that is none",
        _node({"metadata": {"annotations": {"k8s.aliyun.com/trunk-on": "eni-bp1primary0h1"}}}),
        "trunk-enis",
        WARNS,
        "eni-bp1primary0h1 is of type Primary",
    ),
    Fault(
        "nothing advertised",
        _node({"status": {"allocatable": {"aliyun/member-eni": None}}}, "status"),
        "member-resource",
        WARNS,
        "advertise no aliyun/member-eni",
    ),
    Fault(
        "an unknown vSwitch",
        _changed(PODNETWORKING, {"spec": {"vSwitchOptions": ["vsw-bpxxxx", "vsw-nosuch"]}}),
        "vswitches-exist",
        BLOCKS,
        "vsw-nosuch (PodNetworking example)",
    ),
    Fault(
        "a zone without vSwitch",
        _one_zone_without_vswitch,
        "vswitch-zones",
        WARNS,
        "zone cn-hangzhou-i has nodes and no vSwitch",
    ),
    Fault(
        "a full zone",
        _cloud(kind="ip_exhaustion", vswitch_id="vsw-bpyyyy"),
        "vswitch-addresses",
        BLOCKS,
        "cn-hangzhou-i: 0 free",
    ),
    Fault(
        "a failed PodNetworking",
        _changed(
            PODNETWORKING, {"status": {"status": "Fail", "message": "no such vSwitch"}}, "status"
        ),
        "podnetworkings",
        WARNS,
        "example (no such vSwitch)",
    ),
    Fault(
        "webhooks of another name",
        _set(WEBHOOK__NAME="zz-ledger"),
        "webhooks-installed",
        BLOCKS,
        "zz-ledger for pods",
        ("webhooks-doubled",),
    ),
    Fault(
        "the incumbent's webhook",
        _incumbents_webhook,
        "webhooks-doubled",
        BLOCKS,
        "refuses the Pods",
    ),
    Fault("two masters", _incumbent, "incumbent-controllers", BLOCKS, "pod, pod-eni, eni"),
    Fault(
        "centralised IPAM without its owner",
        _configured({"ipam_type": "crd"}),
        "central-ipam",
        BLOCKS,
        "ordinary Pods get no address",
    ),
    Fault(
        "one right missing",
        _cloud(**_FORBIDDEN, api="ModifyNetworkInterfaceAttribute"),
        "ram-permissions",
        BLOCKS,
        "may not call ModifyNetworkInterfaceAttribute (Forbidden.RAM)",
    ),
    Fault(
        "no right to look at ENIs",
        _cloud(**_FORBIDDEN, api="DescribeNetworkInterfaces"),
        "ram-permissions",
        BLOCKS,
        "not known: CreateNetworkInterface",
        ("trunk-enis",),
    ),
    Fault(
        "a wrong key",
        _set(CLOUD__ACCESS_KEY_SECRET="not-the-one"),
        "cloud-api",
        UNSEEN,
        "SignatureDoesNotMatch",
    ),
    Fault(
        "a silent cloud",
        _cloud(kind="timeout", api="*", effect="before"),
        "cloud-api",
        UNSEEN,
        "could not look",
    ),
    Fault(
        "no broker",
        _set(KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1"),
        "kafka-brokers",
        UNSEEN,
        "127.0.0.1",
    ),
    Fault(
        "no topics", _set(KAFKA__TOPIC_PREFIX="nowhere"), "kafka-topics", BLOCKS, "nowhere.pod.v1"
    ),
    Fault("no watcher", _no_watcher, "kafka-heartbeats", WARNS, "no heartbeat of cluster c-doctor"),
    Fault(
        "a producer without heartbeats",
        _foreign_producer,
        "kafka-heartbeats",
        WARNS,
        "no heartbeat of cluster c-foreign",
    ),
    Fault(
        "entries in three orders",
        _entries_in_three_orders,
        "kafka-entries-order",
        BLOCKS,
        "three.entries.v1 has 3 partitions",
        ("kafka-heartbeats",),
    ),
    Fault(
        "no database",
        _set(POSTGRES__DSN="postgresql://nobody@127.0.0.1:1/nothing"),
        "database",
        UNSEEN,
        "127.0.0.1",
    ),
    Fault(
        "no schema", _database(lambda _dsn: None, "bare"), "database-schema", BLOCKS, "no schema"
    ),
    Fault(
        "an older schema",
        _database(lambda dsn: migrate.upgrade(dsn, "0009"), "older"),
        "database-schema",
        BLOCKS,
        "at revision 0009",
    ),
    Fault(
        "a moved clock",
        _database(_with_moved_clock, "moved"),
        "database-clock",
        BLOCKS,
        "ledger.now() was replaced",
    ),
    Fault("a login without role", _stranger, "database-roles", BLOCKS, "a member of none"),
    Fault("a superuser", _superuser, "database-roles", WARNS, "postgres is a superuser"),
    Fault(
        "commits that may be lost",
        _careless_commits,
        "database-durability",
        BLOCKS,
        "synchronous_commit off",
    ),
    Fault(
        "no standby",
        _set(POSTGRES__SYNCHRONOUS_STANDBY="true"),
        "database-standby",
        BLOCKS,
        "no standby is in step",
    ),
    Fault(
        "no API server",
        _set(KUBE__KUBECONFIG="no-such-kubeconfig"),
        "kubernetes-api",
        UNSEEN,
        "no-such-kubeconfig",
    ),
    Fault(
        "a CRD missing",
        _without_a_crd,
        "crds",
        BLOCKS,
        "podenis.network.alibabacloud.com",
        ("clock-cloud",),
    ),
    Fault(
        "a dead webhook",
        _dead_webhook,
        "webhook-answers-pods",
        BLOCKS,
        "let through",
        ("webhook-answers-podnetworkings", "clock-cloud"),
    ),
)
