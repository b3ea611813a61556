"""Objects that admission tests start from, and the patch applied as an API server applies it."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ledger.rules.eni_config import EniConfig
from ledger.rules.podnetworkings import PodNetworking

FOO = {"matchLabels": {"foo": "bar"}}
ENI_CONFIG = EniConfig(("vsw-default-1", "vsw-default-2"), ("sg-default",))


def pod_object(
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owner_kind: str = "StatefulSet",
    **spec: Any,
) -> dict[str, Any]:
    """A Pod as the API server shows it in CREATE; an owner_kind of "" is a Pod without owner."""
    metadata: dict[str, Any] = {"name": "my-nginx-0", "namespace": "example"}
    if labels:
        metadata["labels"] = dict(labels)
    if annotations:
        metadata["annotations"] = dict(annotations)
    if owner_kind:
        owner = {"apiVersion": "apps/v1", "kind": owner_kind, "name": "owner", "uid": "u"}
        metadata["ownerReferences"] = [owner]
    containers = [{"name": "nginx", "image": "nginx", "resources": {}}]
    return {"metadata": metadata, "spec": {"containers": containers, **spec}}


def podnetworking_object(name: str = "example", **spec: Any) -> dict[str, Any]:
    """A PodNetworking that is complete unless `spec` says otherwise; None removes a field."""
    fields: dict[str, Any] = {
        "eniOptions": {"eniType": "Default"},
        "vSwitchSelectOptions": {"vSwitchSelectionPolicy": "ordered"},
        "vSwitchOptions": ["vsw-1", "vsw-2"],
        "securityGroupIDs": ["sg-1"],
        "selector": {"podSelector": FOO},
        **spec,
    }
    return {
        "apiVersion": "network.alibabacloud.com/v1beta1",
        "kind": "PodNetworking",
        "metadata": {"name": name},
        "spec": {key: value for key, value in fields.items() if value is not None},
    }


def ready_podnetworking(
    name: str = "example",
    zones: Sequence[str] = ("zone-g", "zone-h"),
    status: str = "Ready",
    **spec: Any,
) -> PodNetworking:
    vswitches = [{"id": f"vsw-{at}", "zone": zone} for at, zone in enumerate(zones, 1)]
    status_object = {"status": status, "vSwitches": vswitches}
    return PodNetworking.from_object(
        {**podnetworking_object(name, **spec), "status": status_object}
    )


def apply_patch(obj: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> Any:
    """RFC 6902 add and replace, strict: an `add` needs its parent, a `replace` its target."""
    document: Any = copy.deepcopy(obj)
    for operation in operations:
        steps = [
            step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]
        ]
        parent = document
        for step in steps[:-1]:
            parent = parent[int(step)] if isinstance(parent, list) else parent[step]
        last, value = steps[-1], copy.deepcopy(operation["value"])
        if isinstance(parent, list):
            if operation["op"] == "add":
                parent.insert(len(parent) if last == "-" else int(last), value)
            else:
                parent[int(last)] = value
        else:
            assert operation["op"] == "add" or last in parent
            parent[last] = value
    return document
