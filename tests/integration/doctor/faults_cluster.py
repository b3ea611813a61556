"""What can be wrong in a cluster, one thing at a time, and what the doctor must say of it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from deploy.local.parts.ports import free_port
from tests.integration.doctor.fault import (
    BLOCKS,
    UNSEEN,
    WARNS,
    Fault,
    changed,
    cloud,
    configured,
    kube_fault,
    node,
    set_to,
)
from tests.integration.doctor.ground import (
    AGENTS,
    KUBE_SYSTEM,
    PODNETWORKING,
    TOKEN,
    Ground,
    daemon_set,
)

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
    with ExitStack() as every:
        for number in range(len(ground.nodes)):
            every.enter_context(ground.kube.changed(ground.node(number), change))
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


_NO_ZONE = {
    "topology.kubernetes.io/zone": None,
    "failure-domain.beta.kubernetes.io/zone": None,
}
CLUSTER_FAULTS: tuple[Fault, ...] = (
    Fault(
        "no cluster id",
        set_to(CLUSTER_ID=""),
        "settings",
        BLOCKS,
        "ENI_LEDGER_CLUSTER_ID",
        ("kafka-heartbeats",),
    ),
    Fault(
        "another region",
        node({"metadata": {"labels": {"topology.kubernetes.io/region": "cn-beijing"}}}),
        "node-region",
        BLOCKS,
        "cn-beijing",
    ),
    Fault("no token", _without_token, "network-token", BLOCKS, "without Secret"),
    Fault(
        "token not to be seen",
        kube_fault(verb="get", resource="secrets", code=403, times=1),
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
        changed(AGENTS, daemon_set("registry.example.com/acs/terway:v1.9.3") | {"status": {}}),
        "terway-version",
        WARNS,
        "terway is v1.9.3",
    ),
    Fault(
        "no JSON",
        configured('{\n  "min_pool_size": 0,\n  "enable_eni_trunking": true,\n  ...\n}'),
        "eni-config-json",
        BLOCKS,
        "line 4 column 3",
    ),
    Fault(
        "trunking off",
        configured({"enable_eni_trunking": False}),
        "eni-config-trunking",
        BLOCKS,
        "is False",
    ),
    Fault(
        "no credential path",
        configured({"credential_path": None}),
        "eni-config-credential",
        BLOCKS,
        "is not there",
    ),
    Fault(
        "no default group",
        configured({"security_group": None}),
        "eni-config-defaults",
        WARNS,
        "no security_group",
    ),
    Fault("an overlay", _overlay, "eni-config-overlays", WARNS, "kube-system/slow-nodes"),
    Fault(
        "agents older than their config",
        configured({"max_pool_size": 7}, restarted=False),
        "eni-config-in-effect",
        WARNS,
        "4 of 4 agents",
    ),
    Fault(
        "a node without zone",
        node({"metadata": {"labels": _NO_ZONE}}),
        "nodes-readable",
        WARNS,
        "has no label topology.kubernetes.io/zone",
    ),
    Fault(
        "a type without trunk",
        node({"metadata": {"labels": {"node.kubernetes.io/instance-type": "ecs.t6-c1m2.large"}}}),
        "node-types",
        WARNS,
        "1 of 4 nodes",
    ),
    Fault(
        "a node without trunk",
        node({"metadata": {"annotations": {"k8s.aliyun.com/trunk-on": None}}}),
        "trunk-enis",
        WARNS,
        "no annotation k8s.aliyun.com/trunk-on",
    ),
    Fault(
        "a trunk that is none",
        node({"metadata": {"annotations": {"k8s.aliyun.com/trunk-on": "eni-bp1primary0h1"}}}),
        "trunk-enis",
        WARNS,
        "eni-bp1primary0h1 is of type Primary",
    ),
    Fault(
        "nothing advertised",
        node({"status": {"allocatable": {"aliyun/member-eni": None}}}, "status"),
        "member-resource",
        WARNS,
        "advertise no aliyun/member-eni",
    ),
    Fault(
        "an unknown vSwitch",
        changed(PODNETWORKING, {"spec": {"vSwitchOptions": ["vsw-bpxxxx", "vsw-nosuch"]}}),
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
        cloud(kind="ip_exhaustion", vswitch_id="vsw-bpyyyy"),
        "vswitch-addresses",
        BLOCKS,
        "cn-hangzhou-i: 0 free",
    ),
    Fault(
        "a failed PodNetworking",
        changed(
            PODNETWORKING, {"status": {"status": "Fail", "message": "no such vSwitch"}}, "status"
        ),
        "podnetworkings",
        WARNS,
        "example (no such vSwitch)",
    ),
    Fault(
        "webhooks of another name",
        set_to(WEBHOOK__NAME="zz-ledger"),
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
        configured({"ipam_type": "crd"}),
        "central-ipam",
        BLOCKS,
        "ordinary Pods get no address",
    ),
)

A_CRD_MISSING = Fault(
    "a CRD missing",
    _without_a_crd,
    "crds",
    BLOCKS,
    "podenis.network.alibabacloud.com",
)
#: The world is not put right again after it.
DEAD_WEBHOOK = Fault(
    "a dead webhook",
    _dead_webhook,
    "webhook-answers-pods",
    BLOCKS,
    "let through",
    ("webhook-answers-podnetworkings",),
)
