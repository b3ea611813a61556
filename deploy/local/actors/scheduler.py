"""The simulated scheduler: which node a Pod goes to, decided the same way every time.

It honours spec.unschedulable, NoSchedule taints, nodeSelector, required node affinity and extended
resources such as aliyun/member-eni. It knows nothing of CPU, memory, preferences or topology.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deploy.local.actors.actions import (
    Action,
    Bind,
    Json,
    View,
    deleting,
    key,
    meta,
    patch_if_changed,
    status_of,
    terminal,
)


def schedule(view: View) -> list[Action]:
    """Bind every waiting Pod that fits somewhere; say on the others why they don't."""
    nodes = view.all("Node")
    placed = [pod for pod in view.all("Pod") if _node(pod) and not terminal(pod)]
    actions: list[Action] = []
    for pod in view.all("Pod"):
        if _node(pod) or deleting(pod) or terminal(pod):
            continue
        chosen, why_not = choose_node(pod, nodes, placed)
        if chosen is None:
            actions += patch_if_changed("Pod", pod, {"conditions": [_unschedulable(why_not)]})
            continue
        namespace, name = key(pod)
        actions.append(Bind(namespace, name, meta(pod)["uid"], chosen))
        placed.append({**pod, "spec": {**pod["spec"], "nodeName": chosen}})
    return actions


def choose_node(pod: Json, nodes: Sequence[Json], placed: Sequence[Json]) -> tuple[str | None, str]:
    """The fitting node with the fewest Pods, by name among equals; or None and why."""
    refusals: list[str] = []
    fitting: list[tuple[int, str]] = []
    for node in nodes:
        name = meta(node)["name"]
        there = [other for other in placed if _node(other) == name]
        refusal = _refusal(pod, node, there)
        if refusal:
            refusals.append(refusal)
        else:
            fitting.append((len(there), name))
    if fitting:
        return min(fitting)[1], ""
    counted = sorted({f"{refusals.count(each)} {each}" for each in refusals})
    return None, f"0/{len(nodes)} nodes are available: {', '.join(counted) or 'there are none'}."


def requests(pod: Json) -> dict[str, int]:
    """The extended resources (names with a slash) a Pod asks for."""
    spec = pod["spec"]
    total: dict[str, int] = {}
    for container in spec.get("containers") or []:
        for name, amount in _extended(container).items():
            total[name] = total.get(name, 0) + amount
    for container in spec.get("initContainers") or []:  # they run one after another, before
        for name, amount in _extended(container).items():
            total[name] = max(total.get(name, 0), amount)
    return total


def matches(terms: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> bool:
    """Whether one of the nodeSelectorTerms holds; a term without conditions never does."""
    return any(
        bool(conditions := term.get("matchExpressions") or [])
        and all(_holds(condition, labels) for condition in conditions)
        for term in terms
    )


def _refusal(pod: Json, node: Json, there: Sequence[Json]) -> str:
    """Why `node` can't take `pod`, in the scheduler's words; empty when it can."""
    spec, node_spec = pod["spec"], node.get("spec") or {}
    labels = meta(node).get("labels") or {}
    if deleting(node) or node_spec.get("unschedulable"):
        return "node(s) were unschedulable"
    if any(not _tolerated(taint, spec) for taint in node_spec.get("taints") or []):
        return "node(s) had untolerated taint(s)"
    selector = spec.get("nodeSelector") or {}
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    unselected = any(labels.get(name) != value for name, value in selector.items())
    if unselected or (affinity and not matches(affinity.get("nodeSelectorTerms") or [], labels)):
        return "node(s) didn't match Pod's node affinity/selector"
    allocatable = status_of(node).get("allocatable") or {}
    for name, wanted in sorted(requests(pod).items()):
        used = sum(requests(other).get(name, 0) for other in there)
        if used + wanted > int(allocatable.get(name, 0)):
            return f"Insufficient {name}"
    return ""


def _holds(condition: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(condition["key"]), condition.get("values") or []
    match condition["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and int(value) > int(values[0])
        case "Lt":
            return value is not None and int(value) < int(values[0])
        case _:
            return False


def _tolerated(taint: Mapping[str, Any], pod_spec: Json) -> bool:
    if taint.get("effect") not in ("NoSchedule", "NoExecute"):
        return True
    return any(
        toleration.get("effect") in (None, "", taint["effect"])
        and (
            (
                toleration.get("operator") == "Exists"
                and toleration.get("key") in (None, "", taint["key"])
            )
            or (
                toleration.get("key") == taint["key"]
                and toleration.get("value", "") == taint.get("value", "")
            )
        )
        for toleration in pod_spec.get("tolerations") or []
    )


def _extended(container: Mapping[str, Any]) -> dict[str, int]:
    asked = (container.get("resources") or {}).get("requests") or {}
    return {name: int(amount) for name, amount in asked.items() if "/" in name}


def _node(pod: Json) -> str:
    name: str = pod["spec"].get("nodeName") or ""
    return name


def _unschedulable(message: str) -> Json:
    return {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
    }
