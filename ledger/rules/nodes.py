"""What a node says about itself that an allocation needs (reference §7.1)."""

from dataclasses import dataclass

from ledger.rules.objects import (
    KubeObject,
    ObjectError,
    flag_at,
    mapping_at,
    resource_version,
    text_at,
    text_map_at,
)
from ledger.rules.pods import IGNORE_BY_TERWAY

TRUNK_ON = "k8s.aliyun.com/trunk-on"
EXCLUSIVE_MODE = "k8s.aliyun.com/exclusive-mode-eni-type"
CONFIG_OVERLAY = "terway-config"
LINGJUN_WORKER = "alibabacloud.com/lingjun-worker"
MEMBER_ENI_RESOURCE = "aliyun/member-eni"
EXCLUSIVE_ENI_RESOURCE = "aliyun/eni"

REGION_LABEL = "topology.kubernetes.io/region"
ZONE_LABEL = "topology.kubernetes.io/zone"
LEGACY_ZONE_LABEL = "failure-domain.beta.kubernetes.io/zone"
INSTANCE_TYPE_LABEL = "node.kubernetes.io/instance-type"


class NodeError(ObjectError):
    """The node can't carry Pods with their own ENI: names it, what is missing, the next step."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node. The first five are never empty, except on a node that is `ignored`."""

    name: str
    instance_id: str
    region: str
    instance_type: str
    zone: str
    uid: str = ""
    resource_version: int | None = None
    trunk_eni_id: str | None = None
    exclusive_eni: bool = False
    ignored: bool = False
    unschedulable: bool = False
    deleting: bool = False
    member_eni_allocatable: int | None = None
    exclusive_eni_allocatable: int | None = None
    config_overlay: str | None = None

    @classmethod
    def from_object(cls, obj: KubeObject) -> "NodeFacts":
        """Read a core Node. Raises NodeError when something that an attach needs is missing.

        An ignored node (its label, or a virtual kubelet) needs nothing and is never refused.
        """
        name = text_at(obj, "metadata", "name")
        if not name:
            raise NodeError("node without metadata.name: send the whole Node object")
        try:
            return cls._read(name, obj)
        except NodeError:
            raise
        except ObjectError as wrong:
            raise NodeError(f"node {name}: {wrong}; correct the Node object") from wrong

    @classmethod
    def _read(cls, name: str, obj: KubeObject) -> "NodeFacts":
        labels = text_map_at(obj, "metadata", "labels")
        annotations = text_map_at(obj, "metadata", "annotations")
        ignored = labels.get(IGNORE_BY_TERWAY) == "true" or labels.get("type") == "virtual-kubelet"

        def required(label: str, *fallbacks: str) -> str:
            value = next((labels[key] for key in (label, *fallbacks) if labels.get(key)), "")
            if not value and not ignored:
                raise NodeError(
                    f"node {name} has no label {label}: the cloud controller manager sets it; "
                    f"check that it runs, or label the node yourself"
                )
            return value

        allocatable = mapping_at(obj, "status", "allocatable")
        return cls(
            name=name,
            instance_id=_instance_id(name, obj, labels, ignored),
            region=required(REGION_LABEL),
            instance_type=required(INSTANCE_TYPE_LABEL),
            zone=required(ZONE_LABEL, LEGACY_ZONE_LABEL),
            uid=text_at(obj, "metadata", "uid"),
            resource_version=resource_version(obj),
            trunk_eni_id=annotations.get(TRUNK_ON) or None,
            exclusive_eni=labels.get(EXCLUSIVE_MODE, "").lower() == "enionly",
            ignored=ignored,
            unschedulable=flag_at(obj, "spec", "unschedulable"),
            deleting=bool(text_at(obj, "metadata", "deletionTimestamp")),
            member_eni_allocatable=_count(allocatable, MEMBER_ENI_RESOURCE),
            exclusive_eni_allocatable=_count(allocatable, EXCLUSIVE_ENI_RESOURCE),
            config_overlay=labels.get(CONFIG_OVERLAY) or None,
        )


def _instance_id(name: str, obj: KubeObject, labels: dict[str, str], ignored: bool) -> str:
    """The ECS instance of spec.providerID `<region>.<instance>`; all of it on LingJun workers."""
    provider_id = text_at(obj, "spec", "providerID")
    if labels.get(LINGJUN_WORKER) == "true" and provider_id:
        return provider_id
    parts = provider_id.split(".")
    if len(parts) >= 2 and parts[1]:
        return parts[1]
    if ignored:
        return ""
    raise NodeError(
        f"node {name} has spec.providerID {provider_id!r}, <region>.<instance id> is needed: "
        f"the cloud controller manager sets it; check that it runs"
    )


def _count(resources: KubeObject, resource: str) -> int | None:
    """A whole extended resource; None when absent. The API server writes 1000 as `1k`."""
    value = resources.get(resource)
    if value is None:
        return None
    text = str(value)
    digits, factor = (text[:-1], 1000) if text.endswith("k") else (text, 1)
    if not (digits.isascii() and digits.isdecimal()):
        raise ObjectError(f"status.allocatable[{resource!r}] is {value!r}, not a whole number")
    return int(digits) * factor
