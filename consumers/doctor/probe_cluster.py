"""Looks at the Kubernetes API: reads, and two dry-runs that our webhooks must refuse.

Nothing is written. Of Secrets only the metadata is asked for, so that no credential travels.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import httpx2
import yaml

from consumers.doctor.attempts import attempt
from consumers.doctor.facts import (
    AgentPod,
    Asked,
    BadNode,
    ClusterFacts,
    ConfigText,
    Crd,
    DaemonSet,
    Hook,
    Incumbent,
    Unseen,
    blind,
)
from consumers.kube.lightkube_adapter import LightkubeAdapter
from consumers.kube.names import (
    ANNOTATION_POD_NETWORKING,
    ANNOTATION_POD_NETWORKS,
    API_VERSION,
    ENI_CONFIG,
    ENI_CONFIG_KEY,
    GROUP,
    INCUMBENT,
    KIND_PODNETWORKING,
    NAMESPACE_LABEL_POD_ENI,
    SYSTEM_NAMESPACE,
)
from consumers.kube.port import KubeError, KubeObject
from consumers.kube.reads import ask, get_object, list_objects
from consumers.kube.resources import (
    CONFIG_MAPS,
    CRDS,
    DAEMON_SETS,
    DEPLOYMENTS,
    MUTATING_WEBHOOKS,
    NAMESPACES,
    NODES,
    PODNETWORKINGS,
    PODS,
    SECRETS,
    VALIDATING_WEBHOOKS,
    Resource,
)
from consumers.kube.wire import decode_object
from consumers.reconciler.incumbent import why_not_master
from ledger.rules.nodes import NodeFacts
from ledger.rules.objects import ObjectError
from ledger.rules.podnetworkings import PodNetworking

TOKEN_SECRET: Final = "addon.network.token"  # noqa: S105 - the name of a Secret
#: The label by which the product document restarts the node agents.
AGENT_LABEL: Final = "app=terway-eniip"
CONTROL_PLANE_LABEL: Final = "component=kube-apiserver"
_PROBE_NAME: Final = "eni-ledger-doctor"
_OUR_LABEL: Final = ("app.kubernetes.io/name", "eni-ledger")
_INCUMBENT_CONFIG: Final = "ctrl-config.yaml"


def look_at_cluster(client: httpx2.Client, facts: ClusterFacts) -> None:
    """Fill in `facts`, one look after the other. Raises nothing: a look that fails says why."""
    facts.version = attempt(lambda: _version(client))
    if isinstance(facts.version, Unseen):
        blind(facts, facts.version)
        return
    facts.nodes = attempt(lambda: tuple(_nodes(list_objects(client, NODES))))
    facts.eni_config = attempt(lambda: _eni_config(client))
    nodes = facts.nodes
    facts.overlays = (
        nodes if isinstance(nodes, Unseen) else attempt(lambda: _overlays(client, nodes))
    )
    facts.podnetworkings = attempt(lambda: _podnetworkings(client))
    facts.uid = attempt(lambda: LightkubeAdapter(client).cluster_uid())
    facts.control_plane = attempt(lambda: _names(client, PODS, CONTROL_PLANE_LABEL))
    facts.token = attempt(lambda: _has_token(client))
    facts.daemon_sets = attempt(
        lambda: tuple(map(_daemon_set, list_objects(client, DAEMON_SETS, SYSTEM_NAMESPACE)))
    )
    facts.agent_pods = attempt(lambda: agent_pods(client))
    facts.crds = attempt(lambda: tuple(_crds(client)))
    facts.mutating = attempt(lambda: tuple(_hooks(client, MUTATING_WEBHOOKS)))
    facts.validating = attempt(lambda: tuple(_hooks(client, VALIDATING_WEBHOOKS)))
    facts.asked_pod = attempt(lambda: _ask_about_a_pod(client))
    facts.asked_podnetworking = attempt(lambda: _ask_about_a_podnetworking(client))
    facts.master = attempt(lambda: why_not_master(LightkubeAdapter(client), datetime.now(UTC)))
    facts.incumbent = attempt(lambda: _incumbent(client))


def agent_pods(client: httpx2.Client) -> tuple[AgentPod, ...]:
    """The node agents' Pods, by name. Raises KubeError."""
    found = list_objects(client, PODS, SYSTEM_NAMESPACE, {"labelSelector": AGENT_LABEL})
    return tuple(sorted(map(_agent_pod, found), key=lambda pod: pod.name))


def _version(client: httpx2.Client) -> tuple[int, int]:
    told = decode_object("get", "/version", ask(client, "get", "/version", "/version").content)
    # Managed services say `31+`.
    return int(told["major"]), int(str(told["minor"]).rstrip("+"))


def _names(client: httpx2.Client, resource: Resource, label: str) -> tuple[str, ...]:
    found = list_objects(client, resource, SYSTEM_NAMESPACE, {"labelSelector": label})
    return tuple(sorted(each["metadata"]["name"] for each in found))


def _has_token(client: httpx2.Client) -> bool:
    found = get_object(client, SECRETS, TOKEN_SECRET, SYSTEM_NAMESPACE, metadata_only=True)
    return found is not None


def _daemon_set(obj: KubeObject) -> DaemonSet:
    template = obj.get("spec", {}).get("template", {}).get("spec", {})
    status = obj.get("status") or {}
    return DaemonSet(
        name=obj["metadata"]["name"],
        images=tuple(str(each.get("image", "")) for each in template.get("containers") or ()),
        wanted=int(status.get("desiredNumberScheduled") or 0),
        ready=int(status.get("numberReady") or 0),
    )


def _agent_pod(obj: KubeObject) -> AgentPod:
    metadata, status = obj["metadata"], obj.get("status") or {}
    conditions = {each.get("type"): each.get("status") for each in status.get("conditions") or ()}
    return AgentPod(
        name=metadata["name"],
        uid=metadata["uid"],
        node=obj.get("spec", {}).get("nodeName") or "",
        ready=conditions.get("Ready") == "True" and not metadata.get("deletionTimestamp"),
        started=status.get("startTime") or metadata.get("creationTimestamp") or "",
    )


def _eni_config(client: httpx2.Client) -> ConfigText | None:
    found = get_object(client, CONFIG_MAPS, ENI_CONFIG, SYSTEM_NAMESPACE)
    return None if found is None else config_text(found)


def config_text(config_map: KubeObject) -> ConfigText:
    """What a ConfigMap holds under the eni-config's key ("" where it has none)."""
    metadata = config_map["metadata"]
    written = [each.get("time") or "" for each in metadata.get("managedFields") or ()]
    text = (config_map.get("data") or {}).get(ENI_CONFIG_KEY) or ""
    return ConfigText(str(text), metadata["resourceVersion"], max(written, default=""))


def _overlays(
    client: httpx2.Client, nodes: Iterable[NodeFacts | BadNode]
) -> Mapping[str, str | None]:
    names = {n.config_overlay for n in nodes if isinstance(n, NodeFacts) and n.config_overlay}
    texts: dict[str, str | None] = {}
    for name in sorted(names):
        found = get_object(client, CONFIG_MAPS, name, SYSTEM_NAMESPACE)
        texts[name] = None if found is None else config_text(found).text
    return texts


def _nodes(objects: Iterable[KubeObject]) -> Iterator[NodeFacts | BadNode]:
    for obj in objects:
        try:
            yield NodeFacts.from_object(obj)
        except ObjectError as wrong:
            yield BadNode(obj["metadata"]["name"], str(wrong))


def _podnetworkings(client: httpx2.Client) -> tuple[PodNetworking, ...]:
    return tuple(PodNetworking.from_object(each) for each in list_objects(client, PODNETWORKINGS))


def _crds(client: httpx2.Client) -> Iterator[Crd]:
    for obj in list_objects(client, CRDS):
        if obj["spec"].get("group") != GROUP:
            continue
        versions = obj["spec"].get("versions") or ()
        conditions = {
            each.get("type"): each.get("status")
            for each in (obj.get("status") or {}).get("conditions") or ()
        }
        yield Crd(
            name=obj["metadata"]["name"],
            served=frozenset(each["name"] for each in versions if each.get("served")),
            with_status=frozenset(
                each["name"] for each in versions if "status" in (each.get("subresources") or {})
            ),
            established=conditions.get("Established") == "True",
        )


# --- webhooks -------------------------------------------------------------------------------------


def _hooks(client: httpx2.Client, resource: Resource) -> Iterator[Hook]:
    for obj in list_objects(client, resource):
        labels = obj["metadata"].get("labels") or {}
        for webhook in obj.get("webhooks") or ():
            yield Hook(
                configuration=obj["metadata"]["name"],
                name=str(webhook.get("name")),
                resources=frozenset(
                    resource
                    for rule in webhook.get("rules") or ()
                    for resource in rule.get("resources") or ()
                ),
                ours=labels.get(_OUR_LABEL[0]) == _OUR_LABEL[1],
            )


def _ask_about_a_pod(client: httpx2.Client) -> Asked:
    """A Pod that says which network it wants in two ways at once: refused at admission."""
    namespace = _an_asked_namespace(client)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": _PROBE_NAME,
            "annotations": {ANNOTATION_POD_NETWORKS: "[]", ANNOTATION_POD_NETWORKING: "none"},
        },
        "spec": {"containers": [{"name": "none", "image": "none"}]},
    }
    return _refused(client, PODS, namespace, pod)


def _an_asked_namespace(client: httpx2.Client) -> str:
    """A namespace about whose Pods the webhooks are asked: `default`, else the first one."""
    found = {
        obj["metadata"]["name"]
        for obj in list_objects(client, NAMESPACES)
        if (obj["metadata"].get("labels") or {}).get(NAMESPACE_LABEL_POD_ENI) != "false"
        and not obj["metadata"]["name"].startswith("kube-")
    }
    if not found:
        raise LookupError("every namespace opted out of Pod ENIs, so the webhook is asked of none")
    return "default" if "default" in found else min(found)


def _ask_about_a_podnetworking(client: httpx2.Client) -> Asked:
    """One that keeps addresses for a minute, which is less than allowed: refused at admission.

    The incumbent does not refuse it, so a refusal is ours.
    """
    podnetworking = {
        "apiVersion": API_VERSION,
        "kind": KIND_PODNETWORKING,
        "metadata": {"name": _PROBE_NAME},
        "spec": {
            "allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1m"},
            "selector": {"podSelector": {"matchLabels": {_PROBE_NAME: "none"}}},
            "vSwitchOptions": ["none"],
            "securityGroupIDs": ["none"],
        },
    }
    return _refused(client, PODNETWORKINGS, "", podnetworking)


def _refused(client: httpx2.Client, resource: Resource, namespace: str, body: KubeObject) -> Asked:
    """Who refuses this object. Asked as a dry-run: it would not be kept even if nobody did."""
    target = f"{resource.rbac} {_PROBE_NAME} (dry run)"
    path, dry = resource.path(namespace), {"dryRun": "All"}
    try:
        ask(client, "create", target, path, method="POST", parameters=dry, body=body)
    except KubeError as answer:
        _, quote, rest = answer.message.partition('admission webhook "')
        if quote and " denied the request" in rest:
            return Asked(refused_by=rest.partition('"')[0])
        if "failed calling webhook" in answer.message:
            return Asked(failure=answer.message)
        raise
    return Asked()


# --- the incumbent --------------------------------------------------------------------------------


def _incumbent(client: httpx2.Client) -> Incumbent | None:
    found = get_object(client, DEPLOYMENTS, INCUMBENT, SYSTEM_NAMESPACE)
    if found is None:
        return None
    config = _incumbent_config(client, found)
    return Incumbent(
        replicas=int(found.get("spec", {}).get("replicas", 1)),
        centralized_ipam=config.get("centralizedIPAM") is True,
        webhook_disabled=config.get("disableWebhook") is True,
    )


def _incumbent_config(client: httpx2.Client, deployment: KubeObject) -> Mapping[str, Any]:
    """Its ctrl-config.yaml, from the first ConfigMap it mounts that has one; {} for none."""
    volumes = deployment["spec"].get("template", {}).get("spec", {}).get("volumes") or ()
    mounted = [(each.get("configMap") or {}).get("name") for each in volumes]
    for name in filter(None, [*mounted, INCUMBENT]):
        found = get_object(client, CONFIG_MAPS, name, SYSTEM_NAMESPACE)
        text = ((found or {}).get("data") or {}).get(_INCUMBENT_CONFIG)
        if text is not None:
            read = yaml.safe_load(text)
            return read if isinstance(read, dict) else {}
    return {}
