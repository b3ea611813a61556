"""The shape in which the product document prints a PodENI: which fields, in which order."""

from collections.abc import Mapping
from typing import Any

import yaml

from deploy.local.demo.surfaces import Json, dig

#: Every field of the document's FAQ example, as a path. "*" stands for the ENI's id.
FIELDS: tuple[tuple[str | int, ...], ...] = (
    ("apiVersion",),
    ("kind",),
    ("metadata", "finalizers"),
    ("metadata", "generation"),
    ("metadata", "name"),
    ("metadata", "namespace"),
    ("spec", "allocations", 0, "allocationType", "type"),
    ("spec", "allocations", 0, "eni", "id"),
    ("spec", "allocations", 0, "eni", "mac"),
    ("spec", "allocations", 0, "eni", "securityGroupIDs"),
    ("spec", "allocations", 0, "eni", "vSwitchID"),
    ("spec", "allocations", 0, "eni", "zone"),
    ("spec", "allocations", 0, "ipv4"),
    ("spec", "allocations", 0, "ipv4CIDR"),
    ("spec", "allocations", 0, "ipv6"),
    ("spec", "allocations", 0, "ipv6CIDR"),
    ("spec", "zone"),
    ("status", "eniInfos", "*", "id"),
    ("status", "eniInfos", "*", "status"),
    ("status", "eniInfos", "*", "vid"),
    ("status", "instanceID"),
    ("status", "phase"),
    ("status", "podLastSeen"),
    ("status", "trunkENIID"),
)

_ROOT_ORDER = ("apiVersion", "kind", "metadata", "spec", "status")

#: The document's order of the keys within any other part of it; others follow, sorted.
_ORDER = (
    "finalizers", "generation", "name", "namespace",
    "allocations", "allocationType", "eni", "id", "mac", "securityGroupIDs", "vSwitchID",
    "ipv4", "ipv4CIDR", "ipv6", "ipv6CIDR", "zone",
    "eniInfos", "status", "vid", "type", "instanceID", "phase", "podLastSeen", "trunkENIID",
)  # fmt: skip

#: Bookkeeping of the API server that the document leaves out too.
_LEFT_OUT = ("managedFields", "creationTimestamp", "resourceVersion", "uid")


def missing_fields(pod_eni: Json) -> list[str]:
    """The document's fields that `pod_eni` lacks, as dotted paths."""
    eni = str(dig(pod_eni, "spec", "allocations", 0, "eni", "id"))
    return [
        ".".join(str(step) for step in path)
        for path in FIELDS
        if dig(pod_eni, *(eni if step == "*" else step for step in path)) in (None, "", [])
    ]


def in_document_order(pod_eni: Json) -> str:
    """`pod_eni` as YAML with the document's fields in its order, then what else there is."""
    metadata = {name: value for name, value in pod_eni["metadata"].items() if name not in _LEFT_OUT}
    shown = {**pod_eni, "metadata": metadata}
    ordered = {name: _ordered(shown[name]) for name in _ROOT_ORDER if name in shown}
    return yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True)


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        known = [name for name in _ORDER if name in value]
        others = sorted(name for name in value if name not in _ORDER)
        return {name: _ordered(value[name]) for name in known + others}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    return value
