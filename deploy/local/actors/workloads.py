"""The simulated controllers of StatefulSets, Deployments and ReplicaSets, and garbage collection.

Simplified on purpose: a Deployment's new ReplicaSet replaces the old one at once; volume claims
are not made; orphaning deletes are not honoured.
"""

import base64
import hashlib
import json
from collections.abc import Iterable

from deploy.local.actors.actions import (
    Action,
    Create,
    Delete,
    Json,
    Scale,
    View,
    controller_of,
    deleting,
    key,
    meta,
    patch_if_changed,
    ready,
    status_of,
    terminal,
)

REVISION = "controller-revision-hash"
TEMPLATE_HASH = "pod-template-hash"

#: The kinds whose controllers are played here.
_OWNERS = ("StatefulSet", "ReplicaSet", "Deployment")


def control_workloads(view: View) -> list[Action]:
    """What every controller does next."""
    actions: list[Action] = []
    for stateful in view.all("StatefulSet"):
        if not deleting(stateful):
            actions += _stateful_set(stateful, _owned(view, "Pod", stateful))
    for deployment in view.all("Deployment"):
        if not deleting(deployment):
            actions += _deployment(deployment, _owned(view, "ReplicaSet", deployment))
    for replica_set in view.all("ReplicaSet"):
        if not deleting(replica_set):
            actions += _replica_set(replica_set, _owned(view, "Pod", replica_set))
    return actions + _collect_garbage(view)


def template_hash(template: Json) -> str:
    """Ten letters and digits that change with the template."""
    text = json.dumps(template, sort_keys=True).encode()
    return base64.b32encode(hashlib.sha256(text).digest()).decode().lower()[:10]


def _stateful_set(stateful: Json, pods: list[Json]) -> list[Action]:
    spec, name = stateful["spec"], meta(stateful)["name"]
    wanted, revision = spec.get("replicas", 1), f"{name}-{template_hash(spec['template'])}"
    by_ordinal = {_ordinal(pod, name): pod for pod in pods}
    actions: list[Action] = [_delete(pod) for pod in pods if terminal(pod) and not deleting(pod)]
    updated = [pod for pod in pods if _revision(pod) == revision and not deleting(pod)]
    done = len(updated) == len(pods)
    status = _replica_status(stateful, pods) | {
        "updateRevision": revision,
        "currentRevision": revision if done else status_of(stateful).get("currentRevision"),
        "updatedReplicas": len(updated),
        "currentReplicas": len(updated) if done else len(pods) - len(updated),
    }
    actions += patch_if_changed("StatefulSet", stateful, status)

    in_order = spec.get("podManagementPolicy") != "Parallel"
    for ordinal in range(wanted):
        pod = by_ordinal.get(ordinal)
        if pod is None:
            actions.append(Create("Pod", _stateful_pod(stateful, ordinal, revision)))
        if in_order and (pod is None or not ready(pod)):
            return actions  # one at a time: the next waits for this one

    surplus = sorted(ordinal for ordinal in by_ordinal if ordinal >= wanted)
    if surplus:
        last = by_ordinal[surplus[-1]]
        return actions if deleting(last) else [*actions, _delete(last)]
    stale = [ordinal for ordinal, pod in sorted(by_ordinal.items()) if _revision(pod) != revision]
    if stale and all(ready(pod) for pod in pods):
        actions.append(_delete(by_ordinal[stale[-1]]))
    return actions


def _stateful_pod(stateful: Json, ordinal: int, revision: str) -> Json:
    name = f"{meta(stateful)['name']}-{ordinal}"
    pod = _pod_from_template(stateful, "StatefulSet", name)
    pod["metadata"]["labels"] |= {
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(ordinal),
        REVISION: revision,
    }
    pod["spec"] |= {"hostname": name, "subdomain": stateful["spec"].get("serviceName", "")}
    return pod


def _deployment(deployment: Json, replica_sets: list[Json]) -> list[Action]:
    spec, (namespace, name) = deployment["spec"], key(deployment)
    wanted, current = spec.get("replicas", 1), template_hash(spec["template"])
    actions: list[Action] = []
    newest: Json | None = None
    for replica_set in replica_sets:
        is_newest = meta(replica_set)["name"] == f"{name}-{current}"
        newest = replica_set if is_newest else newest
        replicas = wanted if is_newest else 0
        if replica_set["spec"].get("replicas", 1) != replicas:
            actions.append(Scale("ReplicaSet", namespace, meta(replica_set)["name"], replicas))
    if newest is None:
        actions.append(Create("ReplicaSet", _new_replica_set(deployment, current, wanted)))
    counts = (newest or {}).get("status") or {}
    available = counts.get("readyReplicas", 0)
    status = {
        "observedGeneration": meta(deployment).get("generation", 1),
        "replicas": counts.get("replicas", 0),
        "updatedReplicas": counts.get("replicas", 0),
        "readyReplicas": available,
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted - available) or None,
    }
    return actions + list(patch_if_changed("Deployment", deployment, status))


def _new_replica_set(deployment: Json, current: str, replicas: int) -> Json:
    namespace, name = key(deployment)
    spec = deployment["spec"]
    template = json.loads(json.dumps(spec["template"]))
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels[TEMPLATE_HASH] = current
    selector = spec["selector"].get("matchLabels") or {}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "namespace": namespace,
            "name": f"{name}-{current}",
            "labels": dict(labels),
            "ownerReferences": [_owner(deployment, "Deployment")],
        },
        "spec": {
            "replicas": replicas,
            "selector": {**spec["selector"], "matchLabels": {**selector, TEMPLATE_HASH: current}},
            "template": template,
        },
    }


def _replica_set(replica_set: Json, pods: list[Json]) -> list[Action]:
    wanted = replica_set["spec"].get("replicas", 1)
    staying = [pod for pod in pods if not deleting(pod) and not terminal(pod)]
    names = {meta(pod)["name"] for pod in pods}
    actions: list[Action] = list(
        patch_if_changed("ReplicaSet", replica_set, _replica_status(replica_set, pods))
    )
    for name in _fresh_names(replica_set, names, wanted - len(staying)):
        actions.append(Create("Pod", _pod_from_template(replica_set, "ReplicaSet", name)))
    surplus = sorted(staying, key=lambda pod: (ready(pod), meta(pod)["name"]))
    return actions + [_delete(pod) for pod in surplus[: max(0, len(staying) - wanted)]]


def _fresh_names(replica_set: Json, taken: set[str], count: int) -> list[str]:
    """Names that are the same for the same history, and not those of Pods that are there."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        seed = f"{meta(replica_set)['uid']}/{meta(replica_set).get('resourceVersion')}/{number}"
        name = f"{meta(replica_set)['name']}-{template_hash({'seed': seed})[:5]}"
        number += 1
        if name not in taken:
            found.append(name)
    return found


def _collect_garbage(view: View) -> list[Action]:
    """Delete what belonged to an owner that is gone."""
    alive = {meta(owner)["uid"] for kind in _OWNERS for owner in view.all(kind)}
    actions: list[Action] = []
    for kind in ("ReplicaSet", "Pod"):
        for obj in view.all(kind):
            owner = controller_of(obj)
            if owner is None or owner["kind"] not in _OWNERS or owner["uid"] in alive:
                continue
            if not deleting(obj):
                actions.append(_delete(obj, kind))
    return actions


def _pod_from_template(owner: Json, kind: str, name: str) -> Json:
    template = owner["spec"]["template"]
    metadata = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": meta(owner)["namespace"],
            "name": name,
            "labels": dict(metadata.get("labels") or {}),
            "annotations": dict(metadata.get("annotations") or {}),
            "ownerReferences": [_owner(owner, kind)],
        },
        "spec": json.loads(json.dumps(template["spec"])),
    }


def _owner(owner: Json, kind: str) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "name": meta(owner)["name"],
        "uid": meta(owner)["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _replica_status(owner: Json, pods: Iterable[Json]) -> Json:
    there = [pod for pod in pods if not deleting(pod)]
    up = sum(ready(pod) for pod in there)
    return {
        "observedGeneration": meta(owner).get("generation", 1),
        "replicas": len(there),
        "readyReplicas": up,
        "availableReplicas": up,
    }


def _owned(view: View, kind: str, owner: Json) -> list[Json]:
    uid = meta(owner)["uid"]
    return [obj for obj in view.all(kind) if (controller_of(obj) or {}).get("uid") == uid]


def _revision(pod: Json) -> str | None:
    found: str | None = (meta(pod).get("labels") or {}).get(REVISION)
    return found


def _ordinal(pod: Json, owner: str) -> int:
    return int(meta(pod)["name"].removeprefix(f"{owner}-"))


def _delete(obj: Json, kind: str = "Pod") -> Delete:
    namespace, name = key(obj)
    return Delete(kind, namespace, name, meta(obj)["uid"])
