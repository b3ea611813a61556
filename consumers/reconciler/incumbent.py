"""Whether terway-controlplane is the master of PodENIs here: two masters never act at once.

It may keep running for shared-ENI IPAM, with its PodENI controllers switched off (design: "Living
with the incumbent"); then it is no master. Looked at before we act, and again and again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import yaml

from consumers.kube.names import ANNOTATION_RESTART_DUE, INCUMBENT, SYSTEM_NAMESPACE
from consumers.kube.port import Kube, KubeError

#: Its controllers that write PodENIs or make their ENIs; on unless its configuration says otherwise.
PODENI_CONTROLLERS = ("pod", "pod-eni", "eni")
#: Three times its lease duration (reference §9): older than this, nobody holds it.
LEASE_DEAD_AFTER = timedelta(seconds=45)
_CONFIG_KEY = "ctrl-config.yaml"


def why_not_master(kube: Kube, now: datetime) -> str | None:
    """Why we must not act on PodENIs now, for a person to read; None when nobody else does.

    `now` is compared with the Lease's renewal. What can't be looked at counts as a master.
    """
    try:
        deployment = kube.get_deployment(SYSTEM_NAMESPACE, INCUMBENT)
        if deployment is not None and _replicas(deployment) > 0:
            config = _configuration(kube, deployment)
            running = [name for name in PODENI_CONTROLLERS if _enabled(name, config)]
            if running:
                return (
                    f"Deployment {SYSTEM_NAMESPACE}/{INCUMBENT} runs with its controllers "
                    f"{', '.join(running)} on: nothing is done beside it; scale it to 0, or set "
                    f"controllers to -pod,-pod-eni,-eni,-pod-networking in its {_CONFIG_KEY}"
                )
            return _being_replaced(deployment)
        lease = kube.get_lease(SYSTEM_NAMESPACE, INCUMBENT)
    except KubeError as failed:
        return f"whether {INCUMBENT} runs can't be looked at: {failed}"
    renewed = _renewed(lease) if lease is not None else None
    if renewed is not None and now - renewed < LEASE_DEAD_AFTER:
        return (
            f"Lease {SYSTEM_NAMESPACE}/{INCUMBENT} was renewed at {renewed:%H:%M:%S}: a replica of the "
            "incumbent still runs; nothing is done beside it"
        )
    return None


def _being_replaced(deployment: Mapping[str, Any]) -> str | None:
    """Replicas that read an earlier configuration may still have those controllers on."""
    metadata = deployment.get("metadata", {})
    if ANNOTATION_RESTART_DUE in (metadata.get("annotations") or {}):
        return (
            f"Deployment {SYSTEM_NAMESPACE}/{INCUMBENT} was not restarted since its {_CONFIG_KEY} was "
            "changed, so its replicas may go by the earlier one; nothing is done beside them: give the "
            "`eni-ledger handover` command again that was broken off"
        )
    status = deployment.get("status", {})
    replicas, updated = int(status.get("replicas", 0)), int(status.get("updatedReplicas", 0))
    seen = status.get("observedGeneration")
    unseen = seen is not None and int(seen) < int(metadata.get("generation", 0))
    if updated >= replicas and not unseen:
        return None
    return (
        f"Deployment {SYSTEM_NAMESPACE}/{INCUMBENT} is being restarted: replicas of its earlier "
        "configuration still run; nothing is done beside them"
    )


def _replicas(deployment: Mapping[str, Any]) -> int:
    wanted = deployment.get("spec", {}).get("replicas", 1)
    running = deployment.get("status", {}).get("replicas", 0)
    return max(int(wanted), int(running))


def _configuration(kube: Kube, deployment: Mapping[str, Any]) -> Sequence[str]:
    """The `controllers` of the configuration it mounts; empty where it says nothing."""
    template = deployment.get("spec", {}).get("template", {}).get("spec", {})
    names = [
        volume["configMap"]["name"]
        for volume in template.get("volumes") or []
        if volume.get("configMap", {}).get("name")
    ]
    for name in [*names, INCUMBENT]:
        found = kube.get_config_map(SYSTEM_NAMESPACE, name)
        text = (found or {}).get("data", {}).get(_CONFIG_KEY)
        if text is not None:
            return _controllers(text)
    return ()


def _controllers(text: str) -> Sequence[str]:
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError:
        return ()
    found = parsed.get("controllers") if isinstance(parsed, dict) else None
    if isinstance(found, str):
        found = found.split(",")
    return [str(item).strip() for item in found or []]


def _enabled(name: str, controllers: Sequence[str]) -> bool:
    """The incumbent's rule: the first of `x`, `-x` and `*` decides, else the built-in default, on."""
    for item in controllers:
        if item in (name, "*"):
            return True
        if item == f"-{name}":
            return False
    return True


def _renewed(lease: Mapping[str, Any]) -> datetime | None:
    text = lease.get("spec", {}).get("renewTime")
    holder = lease.get("spec", {}).get("holderIdentity")
    return datetime.fromisoformat(text) if text and holder else None
