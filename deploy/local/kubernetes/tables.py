"""Prints objects as `kubectl get` shows them: the Table form of lists and watch events.

Columns of built-in kinds as `kubectl get` has them (the ones of use here); custom resources by their
`additionalPrinterColumns`, whose JSONPaths are read in the simple dotted form plus `[n]` and `[*]`.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import Json
from deploy.local.kubernetes.selectors import read_path

Cell = Callable[[Json, datetime], Any]
Column = tuple[str, str, int, Cell]
"""(name, type, priority: 0 always or 1 only with -o wide, how to fill it)"""


def age(stamp: str | None, now: datetime) -> str:
    """Elapsed time in kubectl's short form: 5s, 3m4s, 2h, 3d."""
    if not stamp:
        return "<unknown>"
    seconds = max(int((now - datetime.fromisoformat(stamp)).total_seconds()), 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        rest = seconds % 60
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        rest = minutes % 60
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    return f"{days}d"


def _name(obj: Json, _now: datetime) -> Any:
    return obj["metadata"].get("name", "")


def _age(obj: Json, now: datetime) -> Any:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _at(path: str, missing: Any = "<none>") -> Cell:
    def read(obj: Json, _now: datetime) -> Any:
        value = read_path(obj, path)
        return missing if value in (None, "", []) else value

    return read


def _statuses(obj: Json) -> list[Json]:
    return (obj.get("status") or {}).get("containerStatuses") or []


def _pod_ready(obj: Json, _now: datetime) -> str:
    ready = sum(1 for status in _statuses(obj) if status.get("ready"))
    return f"{ready}/{len((obj.get('spec') or {}).get('containers') or [])}"


def _pod_status(obj: Json, _now: datetime) -> str:
    status = obj.get("status") or {}
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    for container in _statuses(obj):
        state = container.get("state") or {}
        reason = (state.get("waiting") or state.get("terminated") or {}).get("reason")
        if reason:
            return str(reason)
    return str(status.get("reason") or status.get("phase") or "Unknown")


def _pod_restarts(obj: Json, _now: datetime) -> int:
    return sum(int(status.get("restartCount", 0)) for status in _statuses(obj))


def _node_status(obj: Json, _now: datetime) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or []
    ready = [c.get("status") for c in conditions if c.get("type") == "Ready"]
    text = "Unknown" if not ready else ("Ready" if ready[0] == "True" else "NotReady")
    return text + (",SchedulingDisabled" if (obj.get("spec") or {}).get("unschedulable") else "")


def _node_roles(obj: Json, _now: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = [
        k.removeprefix(prefix) for k in obj["metadata"].get("labels") or {} if k.startswith(prefix)
    ]
    return ",".join(sorted(roles)) or "<none>"


def _node_address(obj: Json, _now: datetime) -> str:
    addresses = (obj.get("status") or {}).get("addresses") or []
    found = [a.get("address") for a in addresses if a.get("type") == "InternalIP"]
    return str(found[0]) if found else "<none>"


def _count(path: str) -> Cell:
    def read(obj: Json, _now: datetime) -> int:
        return len(read_path(obj, path) or ())

    return read


def _ratio(over: str, under: str) -> Cell:
    def read(obj: Json, _now: datetime) -> str:
        return f"{read_path(obj, over) or 0}/{read_path(obj, under) or 0}"

    return read


def _event_object(obj: Json, _now: datetime) -> str:
    involved = obj.get("involvedObject") or obj.get("regarding") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _event_last_seen(obj: Json, now: datetime) -> Any:
    for field in ("lastTimestamp", "deprecatedLastTimestamp", "eventTime", "firstTimestamp"):
        if obj.get(field):
            return age(obj[field], now)
    return _age(obj, now)


def _message(obj: Json, _now: datetime) -> Any:
    return obj.get("message") or obj.get("note") or ""


_AGE: Column = ("Age", "string", 0, _age)
_WORKLOAD: list[Column] = [("Ready", "string", 0, _ratio("status.readyReplicas", "spec.replicas"))]
_BUILT_IN: dict[str, list[Column]] = {
    "Pod": [
        ("Ready", "string", 0, _pod_ready),
        ("Status", "string", 0, _pod_status),
        ("Restarts", "string", 0, _pod_restarts),
        _AGE,
        ("IP", "string", 1, _at("status.podIP")),
        ("Node", "string", 1, _at("spec.nodeName")),
    ],
    "Node": [
        ("Status", "string", 0, _node_status),
        ("Roles", "string", 0, _node_roles),
        _AGE,
        ("Version", "string", 0, _at("status.nodeInfo.kubeletVersion", "")),
        ("Internal-IP", "string", 1, _node_address),
    ],
    "Namespace": [("Status", "string", 0, _at("status.phase", "")), _AGE],
    "ConfigMap": [("Data", "string", 0, _count("data")), _AGE],
    "Secret": [("Type", "string", 0, _at("type", "")), ("Data", "string", 0, _count("data")), _AGE],
    "Service": [
        ("Type", "string", 0, _at("spec.type")),
        ("Cluster-IP", "string", 0, _at("spec.clusterIP")),
        _AGE,
    ],
    "StatefulSet": [*_WORKLOAD, _AGE],
    "Deployment": [
        *_WORKLOAD,
        ("Up-To-Date", "string", 0, _at("status.updatedReplicas", 0)),
        ("Available", "string", 0, _at("status.availableReplicas", 0)),
        _AGE,
    ],
    "ReplicaSet": [
        ("Desired", "integer", 0, _at("spec.replicas", 0)),
        ("Current", "integer", 0, _at("status.replicas", 0)),
        ("Ready", "integer", 0, _at("status.readyReplicas", 0)),
        _AGE,
    ],
    "DaemonSet": [
        ("Desired", "integer", 0, _at("status.desiredNumberScheduled", 0)),
        ("Ready", "integer", 0, _at("status.numberReady", 0)),
        _AGE,
    ],
    "Lease": [("Holder", "string", 0, _at("spec.holderIdentity", "")), _AGE],
    "CustomResourceDefinition": [("Created At", "date", 0, _at("metadata.creationTimestamp"))],
    "MutatingWebhookConfiguration": [("Webhooks", "integer", 0, _count("webhooks")), _AGE],
    "ValidatingWebhookConfiguration": [("Webhooks", "integer", 0, _count("webhooks")), _AGE],
}
_EVENT: list[Column] = [
    ("Last Seen", "string", 0, _event_last_seen),
    ("Type", "string", 0, _at("type", "")),
    ("Reason", "string", 0, _at("reason", "")),
    ("Object", "string", 0, _event_object),
    ("Message", "string", 0, _message),
]

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\*)\]|\['([^']+)'\]")


def _json_path(obj: Json, path: str) -> Any:
    """The value of a simple JSONPath; several (`[*]`) come joined by commas."""
    values: list[Any] = [obj]
    for field, index, quoted in _STEP.findall(path.replace("\\.", "\0")):
        name = (field or quoted).replace("\0", ".")
        following: list[Any] = []
        for value in values:
            if index and isinstance(value, list):
                following += value if index == "*" else value[int(index) : int(index) + 1]
            elif name and isinstance(value, dict) and name in value:
                following.append(value[name])
        values = following
    if len(values) > 1:
        return ",".join(str(value) for value in values)
    return values[0] if values else None


def _custom_column(column: Json) -> Column:
    path, kind = column["jsonPath"], column["type"]

    def read(obj: Json, now: datetime) -> Any:
        value = _json_path(obj, path)
        if value is None:
            return None
        if kind == "date":
            return age(value, now) if isinstance(value, str) else "<unknown>"
        return value if isinstance(value, str | int | float | bool) else str(value)

    return column["name"], kind, int(column.get("priority") or 0), read


def _columns(found: ResourceType) -> list[Column]:
    if found.custom:
        custom = [_custom_column(column) for column in found.columns]
        return custom or [_AGE]
    return _EVENT if found.kind == "Event" else _BUILT_IN.get(found.kind, [_AGE])


def table(
    found: ResourceType,
    objects: Sequence[Json],
    list_metadata: Json,
    now: datetime,
    include: str,
) -> Json:
    """A `meta.k8s.io/v1 Table`. `include` is None, Metadata (default) or Object."""
    columns = _columns(found)
    if found.kind != "Event" or found.custom:
        columns = [("Name", "string", 0, _name), *columns]
    definitions = [
        {"name": name, "type": kind, "format": "name" if name == "Name" else "",
         "description": name, "priority": priority}
        for name, kind, priority, _ in columns
    ]  # fmt: skip
    rows = []
    for obj in objects:
        row: Json = {"cells": [read(obj, now) for _, _, _, read in columns]}
        if include == "Object":
            row["object"] = obj
        elif include != "None":
            row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                             "metadata": obj["metadata"]}  # fmt: skip
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }
