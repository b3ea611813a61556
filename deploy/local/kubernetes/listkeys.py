"""How lists and maps of the built-in types merge: the keys of associative lists.

From the `x-kubernetes-patch-merge-key`, `x-kubernetes-list-type` and `x-kubernetes-map-type` marks of the
Kubernetes 1.36 OpenAPI document, by field name: the names are unambiguous among the kinds served here,
but for `ports`, told apart by its items.
"""

from collections.abc import Mapping
from typing import Any

STRATEGIC: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "conditions": "type",
    "addresses": "type",
    "imagePullSecrets": "name",
    "secrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "schedulingGates": "name",
    "resourceClaims": "name",
    "podIPs": "ip",
    "hostIPs": "ip",
    "taints": "key",
    "ownerReferences": "uid",
    "webhooks": "name",
    "finalizers": "",
    "podCIDRs": "",
}
"""Field name to merge key of a strategic merge patch; "" = a list merged as a set of values.

`tolerations` is not here: it is replaced whole, as with a genuine server."""

SERVER_SIDE: Mapping[str, tuple[str, ...]] = {
    **{name: (key,) for name, key in STRATEGIC.items() if key and name not in ("taints",)},
    "ports": ("containerPort", "protocol"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "claims": ("name",),
}
"""Field name to the keys of an associative list under server-side apply."""

SETS = frozenset({"finalizers", "podCIDRs", "shortNames", "categories"})
"""Lists that server-side apply treats as sets of scalars."""

ATOMIC_MAPS = frozenset({"selector", "podSelector", "namespaceSelector", "objectSelector",
                         "labelSelector", "nodeSelector", "nodeSelectorTerms", "fieldRef",
                         "resourceFieldRef", "secretKeyRef", "configMapKeyRef", "scaleTargetRef",
                         "nodeRef", "involvedObject", "regarding", "related"})  # fmt: skip
"""Maps of built-in types that server-side apply owns whole."""

DEFAULTED_KEYS: Mapping[str, Any] = {"protocol": "TCP"}
"""Keys of an associative list that have a default, and it."""


def strategic_key(field: str, items: list[Any] | None = None) -> str | None:
    """The merge key of a list field in a strategic merge patch; None = the list is replaced."""
    if field == "ports" and _service_ports(items):
        return "port"
    return STRATEGIC.get(field)


def server_side_keys(field: str, items: list[Any] | None = None) -> tuple[str, ...] | None:
    """The keys of an associative list under server-side apply; None = the list is no such."""
    if field == "ports" and _service_ports(items):
        return ("port", "protocol")
    return SERVER_SIDE.get(field)


def _service_ports(items: list[Any] | None) -> bool:
    """A Service's port has `port`, a container's has `containerPort`."""
    return any(isinstance(item, dict) and "port" in item for item in items or [])
