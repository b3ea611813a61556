"""What a new cluster has before anybody uses it: its Nodes and kube-system/eni-config."""

import json

from deploy.local.actors.actions import Json
from deploy.local.cloud.world import NodeSpec, World

MEMBER_ENI = "aliyun/member-eni"
MAX_MEMBER_ENI = "k8s.aliyun.com/max-member-eni-ip"
PODS_PER_NODE = 110


def node_object(spec: NodeSpec, index: int, now: str) -> Json:
    """A core Node as kubelet and node agent register it (reference §7.1, §7.2).

    `index`: its place in the world; gives an address where the world names none.
    """
    address = spec.internal_ip or f"100.127.255.{index + 1}"
    resources = {
        "cpu": str(spec.cpu),
        "memory": f"{int(spec.memory_gib)}Gi",
        "pods": str(PODS_PER_NODE),
    }
    annotations = dict(spec.annotations)
    if spec.member_enis:
        resources[MEMBER_ENI] = str(spec.member_enis)
        annotations[MAX_MEMBER_ENI] = str(spec.member_enis)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": spec.name,
            "labels": dict(spec.labels),
            "annotations": annotations,
        },
        "spec": {"providerID": spec.provider_id},
        "status": {
            "capacity": resources,
            "allocatable": dict(resources),
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": spec.name},
            ],
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "KubeletReady",
                    "message": "simulated by deploy.local.actors",
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": now,
                }
            ],
        },
    }


def eni_config(world: World) -> Json:
    """The ConfigMap that every ACK cluster with Terway has (reference §9)."""
    vswitches: dict[str, list[str]] = {}
    for vswitch in world.vswitches:
        vswitches.setdefault(vswitch.zone, []).append(vswitch.id)
    dual = any(vswitch.ipv6_cidr for vswitch in world.vswitches)
    content = {
        "version": "1",
        "min_pool_size": 0,
        "enable_eni_trunking": True,
        "credential_path": "/var/addon/token-config",
        "ip_stack": "dual" if dual else "ipv4",
        "vswitches": vswitches,
        "security_group": world.security_groups[0],
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "kube-system", "name": "eni-config"},
        "data": {"eni_conf": json.dumps(content, indent=2)},
    }
