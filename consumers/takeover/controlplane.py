"""terway-controlplane as it stands: its Deployment, configuration and webhooks, and changing them.

It may also run shared-ENI IPAM (design: "Living with the incumbent"). Then it is never scaled down:
only its PodENI controllers and its webhook are switched off.
"""

import copy
import json
from dataclasses import dataclass
from typing import Any, Final

import yaml

from consumers.kube.names import (
    ANNOTATION_RESTART_DUE,
    ENI_CONFIG,
    ENI_CONFIG_KEY,
    INCUMBENT,
    SYSTEM_NAMESPACE,
)
from consumers.kube.objects import Objects
from consumers.kube.port import KubeObject
from consumers.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    MUTATING_WEBHOOKS,
    VALIDATING_WEBHOOKS,
    Resource,
)

CONFIG_KEY: Final = "ctrl-config.yaml"
#: Its controllers that have to do with PodENIs.
PODENI_CONTROLLERS: Final = ("pod", "pod-eni", "eni", "pod-networking")
SWITCHED_OFF: Final = tuple(f"-{name}" for name in PODENI_CONTROLLERS)
SHARED_IPAM: Final = ("multi-ip-node", "multi-ip-pod")
WEBHOOKS: Final = (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)
_RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"
#: What the API server adds to an object, and refuses or ignores in one that is made.
_SERVERS: Final = (
    "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One look at it. `webhooks` has its configurations by resource; `shared_ipam` says how it is known
    that shared-ENI IPAM runs in it, "" where it doesn't."""

    deployment: KubeObject | None
    config_map: KubeObject | None
    webhooks: dict[Resource, KubeObject]
    shared_ipam: str

    @property
    def replicas(self) -> int:
        if self.deployment is None:
            return 0
        return int(self.deployment.get("spec", {}).get("replicas", 1))

    @property
    def config(self) -> dict[str, Any]:
        return config_of(self.config_map)

    @property
    def switched_off(self) -> bool:
        """Whether its configuration has PodENI controllers and webhook off."""
        return switched_off(self.config) == self.config

    @property
    def restart_due(self) -> bool:
        """Whether its replicas may not have read the configuration as it is now."""
        return restart_due(self.deployment or {})


def look_at_controlplane(objects: Objects) -> ControlPlane:
    """Look at all of it. Raises KubeError."""
    deployment = objects.get(DEPLOYMENTS, INCUMBENT, SYSTEM_NAMESPACE)
    config_map = None
    for name in _config_maps(deployment):
        found = objects.get(CONFIG_MAPS, name, SYSTEM_NAMESPACE)
        if found is not None and CONFIG_KEY in (found.get("data") or {}):
            config_map = found
            break
    webhooks = {each: objects.get(each, INCUMBENT) for each in WEBHOOKS}
    present = {resource: hook for resource, hook in webhooks.items() if hook is not None}
    eni_config = objects.get(CONFIG_MAPS, ENI_CONFIG, SYSTEM_NAMESPACE)
    shared = _shared_ipam(config_of(config_map), eni_config) if deployment is not None else ""
    return ControlPlane(deployment, config_map, present, shared)


def config_of(config_map: KubeObject | None) -> dict[str, Any]:
    """Its ctrl-config.yaml; empty where there is none. Raises yaml.YAMLError."""
    text = ((config_map or {}).get("data") or {}).get(CONFIG_KEY, "")
    parsed = yaml.safe_load(text)
    return parsed if isinstance(parsed, dict) else {}


def switched_off(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with PodENI controllers and webhook off; the first mention of one decides."""
    listed = config.get("controllers") or []
    listed = listed.split(",") if isinstance(listed, str) else list(listed)
    others = [each for each in listed if str(each).strip().lstrip("-") not in PODENI_CONTROLLERS]
    return {**config, "controllers": [*SWITCHED_OFF, *others], "disableWebhook": True}


def with_config(config_map: KubeObject, config: dict[str, Any]) -> KubeObject:
    """The ConfigMap with another configuration; its other keys stay."""
    text = yaml.safe_dump(config, sort_keys=False)
    return {**config_map, "data": {**(config_map.get("data") or {}), CONFIG_KEY: text}}


def scaled(deployment: KubeObject, replicas: int) -> KubeObject:
    """The Deployment with another number of replicas."""
    return {**deployment, "spec": {**deployment["spec"], "replicas": replicas}}


def restart_due(deployment: KubeObject) -> bool:
    """Whether a hand-over began to change its configuration and has not restarted it since."""
    annotations = deployment.get("metadata", {}).get("annotations") or {}
    return ANNOTATION_RESTART_DUE in annotations


def to_be_restarted(deployment: KubeObject) -> KubeObject:
    """The Deployment with the mark that its configuration is about to change. It restarts nothing."""
    made = copy.deepcopy(deployment)
    annotations = made["metadata"].get("annotations") or {}
    made["metadata"]["annotations"] = {**annotations, ANNOTATION_RESTART_DUE: "true"}
    return made


def restarted(deployment: KubeObject, at: str) -> KubeObject:
    """The Deployment as `kubectl rollout restart` leaves it, without the mark: a new replica reads the
    configuration."""
    made = copy.deepcopy(deployment)
    template = made["spec"]["template"].setdefault("metadata", {})
    template["annotations"] = {**(template.get("annotations") or {}), _RESTARTED: at}
    marks = made["metadata"].get("annotations") or {}
    marks.pop(ANNOTATION_RESTART_DUE, None)
    if not marks:
        made["metadata"].pop("annotations", None)
    return made


def portable(obj: KubeObject, api_version: str, kind: str) -> KubeObject:
    """The object without what a server added: as `kubectl apply -f` takes it."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _SERVERS}
    rest = {
        key: value
        for key, value in obj.items()
        if key not in ("metadata", "status", "apiVersion", "kind")
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def _config_maps(deployment: KubeObject | None) -> list[str]:
    template = (deployment or {}).get("spec", {}).get("template", {}).get("spec", {})
    names = [
        volume["configMap"]["name"]
        for volume in template.get("volumes") or []
        if volume.get("configMap", {}).get("name")
    ]
    return [*names, INCUMBENT]


def _shared_ipam(config: dict[str, Any], eni_config: KubeObject | None) -> str:
    if config.get("centralizedIPAM"):
        return f"centralizedIPAM is on in its {CONFIG_KEY}"
    text = ((eni_config or {}).get("data") or {}).get(ENI_CONFIG_KEY, "")
    try:
        parsed = json.loads(text) if text else {}
    except json.JSONDecodeError:
        parsed = {"ipam_type": "crd"}  # what can't be read is taken for the careful case
    if isinstance(parsed, dict) and parsed.get("ipam_type") == "crd":
        return f"ipam_type is crd in {SYSTEM_NAMESPACE}/{ENI_CONFIG}"
    listed = config.get("controllers") or []
    listed = listed.split(",") if isinstance(listed, str) else listed
    on = [str(each).strip() for each in listed if str(each).strip() in (*SHARED_IPAM, "*")]
    return f"controllers {', '.join(on)} are listed in its {CONFIG_KEY}" if on else ""
