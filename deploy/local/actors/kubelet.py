"""The simulated kubelet and node agent of every node: when a Pod runs, and at which address.

A Trunk Pod waits for its PodENI as the data plane does (reference §6.10); every other Pod gets a
shared address. Containers are not run: they are reported as running.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.local.actors.actions import (
    Action,
    Delete,
    Json,
    View,
    deleting,
    key,
    meta,
    patch_if_changed,
    status_of,
    terminal,
)

POD_ENI = "k8s.aliyun.com/pod-eni"
POD_UID = "k8s.aliyun.com/pod-uid"
TRUNK_ON = "k8s.aliyun.com/trunk-on"

#: What Go's strconv.ParseBool takes for true; the incumbent reads the annotation so.
GO_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of a Pod, IPv4 first."""

    ips: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a Pod has no network yet, in the node agent's words."""

    reason: str


def tend_pods(view: View, now: str) -> list[Action]:
    """What the kubelets do next with the Pods of their nodes. `now`: RFC 3339, seconds."""
    nodes = {meta(node)["name"]: (index, node) for index, node in enumerate(view.all("Node"))}
    shared = _SharedAddresses(view.all("Pod"))
    actions: list[Action] = []
    for pod in view.all("Pod"):
        placed = nodes.get(pod["spec"].get("nodeName") or "")
        if placed is None:
            continue
        namespace, name = key(pod)
        index, node = placed
        if deleting(pod):
            actions.append(Delete("Pod", namespace, name, meta(pod)["uid"], now=True))
        elif not terminal(pod) and status_of(pod).get("phase") != "Running":
            network = _network(pod, node, index, view.get("PodENI", namespace, name), shared)
            wanted = (
                _running(pod, node, network, now)
                if isinstance(network, Addresses)
                else _waiting(pod, network)
            )
            actions += patch_if_changed("Pod", pod, wanted)
    return actions


def pod_eni_network(pod: Json, node: Json, pod_eni: Json | None) -> Addresses | Waiting:
    """The node agent's contract (reference §6.10): the addresses of a Trunk Pod, or what lacks."""
    if pod_eni is None:
        return Waiting("PodENI is not there yet")
    status, allocations = status_of(pod_eni), (pod_eni.get("spec") or {}).get("allocations") or []
    uid = (meta(pod_eni).get("annotations") or {}).get(POD_UID)
    trunk = (meta(node).get("annotations") or {}).get(TRUNK_ON)
    if deleting(pod_eni):
        return Waiting("PodENI is being deleted")
    if status.get("phase") != "Bind":
        return Waiting(f"PodENI is in phase {status.get('phase') or 'Initial'}, not Bind")
    if uid != meta(pod)["uid"]:
        return Waiting(f"PodENI belongs to Pod uid {uid}")
    if trunk and status.get("trunkENIID") != trunk:
        return Waiting(f"PodENI used a different trunk: {status.get('trunkENIID')}, not {trunk}")
    main = next((one for one in allocations if one.get("interface", "") in ("", "eth0")), None)
    if main is None:
        return Waiting("PodENI has no allocation for eth0")
    return Addresses(tuple(main[field] for field in ("ipv4", "ipv6") if main.get(field)))


def _network(
    pod: Json, node: Json, node_index: int, pod_eni: Json | None, shared: "_SharedAddresses"
) -> Addresses | Waiting:
    if pod["spec"].get("hostNetwork"):
        return Addresses((_node_address(node),))
    if (meta(pod).get("annotations") or {}).get(POD_ENI) in GO_TRUE:
        return pod_eni_network(pod, node, pod_eni)
    return Addresses((shared.take(node_index),))


class _SharedAddresses:
    """Addresses of Pods without an ENI of their own: 100.64.<node>.<n>, the lowest free n.

    The range belongs to no simulated vSwitch, so that it can't be taken for a Pod's own IP.
    """

    def __init__(self, pods: list[Json]) -> None:
        self._taken = {status_of(pod).get("podIP") for pod in pods}

    def take(self, node_index: int) -> str:
        candidates = (f"100.64.{node_index % 256}.{n}" for n in range(2, 255))
        address = next(each for each in candidates if each not in self._taken)
        self._taken.add(address)
        return address


def _waiting(pod: Json, network: Waiting) -> Json:
    containers = [
        {
            "name": container["name"],
            "image": container.get("image", ""),
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating", "message": network.reason}},
        }
        for container in pod["spec"]["containers"]
    ]
    return {"phase": "Pending", "containerStatuses": containers}


def _running(pod: Json, node: Json, network: Addresses, now: str) -> Json:
    host = _node_address(node)
    containers = [
        {
            "name": container["name"],
            "image": container.get("image", ""),
            "imageID": "",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": now}},
        }
        for container in pod["spec"]["containers"]
    ]
    types = ("PodReadyToStartContainers", "PodScheduled", "Initialized", "ContainersReady", "Ready")
    return {
        "phase": "Running",
        "startTime": now,
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "podIP": network.ips[0],
        "podIPs": [{"ip": address} for address in network.ips],
        "containerStatuses": containers,
        "conditions": [
            {"type": each, "status": "True", "lastTransitionTime": now} for each in types
        ],
    }


def _node_address(node: Mapping[str, object]) -> str:
    addresses = status_of(node).get("addresses") or []
    found: str = next(each["address"] for each in addresses if each["type"] == "InternalIP")
    return found
