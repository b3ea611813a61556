"""Per kind: the defaults, resets and rules that kube-apiserver applies to what it stores.

Only what the clients of this project can see: Pods, Namespaces, Services, workloads and CRDs. Pure
functions that change the given new object in place.
"""

import copy
from collections.abc import Iterator
from typing import Any

from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import Json, cause, invalid

_POD_DEFAULTS: Json = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
    "enableServiceLinks": True,
}
_CONTAINER_DEFAULTS: Json = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
}
_STATUS_METADATA_WRITABLE = frozenset({"Pod", "Node", "Namespace", "Service"})
_STATUS_KEPT_ON_CREATE = frozenset({"Node"})
_WORKLOADS = frozenset({"StatefulSet", "Deployment", "ReplicaSet", "DaemonSet"})


def complete(obj: Json, found: ResourceType) -> None:
    """Fills in the defaults that a built-in kind gets when it is decoded, in place."""
    if found.custom:
        return
    spec = obj.get("spec")
    if found.kind == "Pod" and isinstance(spec, dict):
        _complete_pod_spec(spec, with_policies=True)
        if spec.get("hostNetwork"):
            _copy_host_ports(spec)
    elif found.kind in _WORKLOADS and isinstance(spec, dict):
        _complete_workload(spec, found.kind)
    elif found.kind == "Namespace":
        _complete_namespace(obj)
    elif found.kind == "Service" and isinstance(spec, dict):
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        for port in spec.get("ports") or []:
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port.get("port"))
    elif found.kind == "Secret":
        obj.setdefault("type", "Opaque")
    elif found.kind == "CustomResourceDefinition" and isinstance(spec, dict):
        names = spec.get("names") or {}
        if "kind" in names:
            names.setdefault("singular", names["kind"].lower())
            names.setdefault("listKind", f"{names['kind']}List")
        spec.setdefault("conversion", {"strategy": "None"})
    elif found.kind.endswith("WebhookConfiguration"):
        _complete_webhooks(obj, found.kind)


def _complete_pod_spec(spec: Json, with_policies: bool) -> None:
    for field, value in _POD_DEFAULTS.items():
        if with_policies or field != "enableServiceLinks":
            spec.setdefault(field, copy.deepcopy(value))
    for container in _containers(spec):
        image = str(container.get("image") or "")
        untagged = ":" not in image.rsplit("/", 1)[-1] and "@" not in image
        latest = image.endswith(":latest") or untagged
        container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
        for field, value in _CONTAINER_DEFAULTS.items():
            container.setdefault(field, copy.deepcopy(value))
        for port in container.get("ports") or []:
            port.setdefault("protocol", "TCP")
        resources = container.get("resources") or {}
        for name, amount in (resources.get("limits") or {}).items():
            resources.setdefault("requests", {}).setdefault(name, amount)


def _containers(spec: Json) -> Iterator[Json]:
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or []:
            if isinstance(container, dict):
                yield container


def _copy_host_ports(spec: Json) -> None:
    for container in _containers(spec):
        for port in container.get("ports") or []:
            port.setdefault("hostPort", port.get("containerPort"))


def _complete_workload(spec: Json, kind: str) -> None:
    if kind != "DaemonSet":
        spec.setdefault("replicas", 1)
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        _complete_pod_spec(template["spec"], with_policies=False)
    if kind == "StatefulSet":
        spec.setdefault("podManagementPolicy", "OrderedReady")
        spec.setdefault(
            "updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
        )
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault(
            "persistentVolumeClaimRetentionPolicy",
            {"whenDeleted": "Retain", "whenScaled": "Retain"},
        )
    elif kind == "Deployment":
        rolling = {"maxUnavailable": "25%", "maxSurge": "25%"}
        spec.setdefault("strategy", {"type": "RollingUpdate", "rollingUpdate": rolling})
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
    elif kind == "DaemonSet":
        rolling = {"maxUnavailable": 1, "maxSurge": 0}  # type: ignore[dict-item]
        spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": rolling})
        spec.setdefault("revisionHistoryLimit", 10)


def _complete_namespace(obj: Json) -> None:
    metadata = obj["metadata"]
    if metadata.get("name"):
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]
    spec = obj.setdefault("spec", {})
    if isinstance(spec, dict):
        spec.setdefault("finalizers", ["kubernetes"])


def _complete_webhooks(obj: Json, kind: str) -> None:
    for hook in obj.get("webhooks") or []:
        hook.setdefault("failurePolicy", "Fail")
        hook.setdefault("matchPolicy", "Equivalent")
        hook.setdefault("namespaceSelector", {})
        hook.setdefault("objectSelector", {})
        hook.setdefault("timeoutSeconds", 10)
        if kind.startswith("Mutating"):
            hook.setdefault("reinvocationPolicy", "Never")
        for rule in hook.get("rules") or []:
            rule.setdefault("scope", "*")
        service = (hook.get("clientConfig") or {}).get("service")
        if isinstance(service, dict):
            service.setdefault("port", 443)


def prepare_create(obj: Json, found: ResourceType, now: str) -> None:
    """Resets what a creator can't decide (status, mostly), in place."""
    if found.status and found.kind not in _STATUS_KEPT_ON_CREATE:
        obj.pop("status", None)
    match found.kind if not found.custom else "":
        case "Pod":
            obj["status"] = {"phase": "Pending", "qosClass": _qos(obj.get("spec") or {})}
        case "Namespace":
            obj["status"] = {"phase": "Active"}
        case "StatefulSet" | "Deployment" | "ReplicaSet":
            obj["status"] = {"replicas": 0}
            if found.kind == "StatefulSet":
                obj["status"]["availableReplicas"] = 0
        case "DaemonSet":
            names = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled")
            obj["status"] = dict.fromkeys((*names, "numberReady"), 0)
        case "Service":
            obj["status"] = {"loadBalancer": {}}
        case "CustomResourceDefinition":
            obj["status"] = _crd_status(obj, now)
        case "Secret":
            _merge_string_data(obj)


def _qos(spec: Json) -> str:
    """Pod quality of service from cpu and memory of its containers."""
    containers = list(_containers(spec))
    named = [c.get("resources") or {} for c in containers]
    wanted = ("cpu", "memory")
    limits = [{k: v for k, v in (r.get("limits") or {}).items() if k in wanted} for r in named]
    requests = [{k: v for k, v in (r.get("requests") or {}).items() if k in wanted} for r in named]
    if not any(limits) and not any(requests):
        return "BestEffort"
    guaranteed = all(len(li) == 2 and li == re for li, re in zip(limits, requests, strict=True))
    return "Guaranteed" if guaranteed else "Burstable"


def _crd_status(crd: Json, now: str) -> Json:
    def condition(kind: str, reason: str, message: str) -> Json:
        return {"type": kind, "status": "True", "reason": reason, "message": message,
                "lastTransitionTime": now}  # fmt: skip

    spec = crd.get("spec") or {}
    stored = [v["name"] for v in spec.get("versions") or [] if v.get("storage")]
    return {
        "acceptedNames": copy.deepcopy(spec.get("names") or {}),
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition(
                "Established", "InitialNamesAccepted", "the initial names have been accepted"
            ),
        ],
        "storedVersions": stored,
    }


def _merge_string_data(obj: Json) -> None:
    """A Secret's write-only `stringData` becomes base64 `data`."""
    import base64

    for key, text in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(str(text).encode()).decode()


def prepare_update(new: Json, live: Json, found: ResourceType, subresource: str) -> Json:
    """Takes only the part of `new` that this endpoint may write; returns the object to store."""
    if subresource == "status":
        merged = {key: value for key, value in live.items() if key != "status"}
        merged["metadata"] = new["metadata"]
        if found.custom or found.kind not in _STATUS_METADATA_WRITABLE:
            kept = {k: v for k, v in live["metadata"].items() if k != "managedFields"}
            merged["metadata"] = kept
        if new.get("status") is not None:
            merged["status"] = new["status"]
        return merged
    if found.status:
        new.pop("status", None)
        if "status" in live:
            new["status"] = live["status"]
    if found.kind == "Secret" and not found.custom:
        _merge_string_data(new)
    if found.kind == "CustomResourceDefinition":
        new["status"] = {
            **live.get("status", {}),
            "acceptedNames": copy.deepcopy(new["spec"].get("names") or {}),
        }
    if found.kind == "Namespace":
        new["spec"] = live.get("spec", {})
    return new


def check_update(new: Json, live: Json, found: ResourceType) -> None:
    """422 where an immutable part of a built-in object changes."""
    if found.custom:
        return
    name = live["metadata"]["name"]
    if found.kind == "Pod" and _fixed_pod_part(new) != _fixed_pod_part(live):
        text = (
            "Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
            "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
            "previously negative)"
        )
        raise invalid("", "Pod", name, [cause("FieldValueForbidden", "spec", text)])
    if found.kind in ("StatefulSet", "Deployment", "ReplicaSet", "DaemonSet"):
        before, after = live["spec"].get("selector"), new["spec"].get("selector")
        if before != after:
            text = f"Invalid value: {after}: field is immutable"
            raise invalid(found.group, found.kind, name,
                          [cause("FieldValueInvalid", "spec.selector", text)])  # fmt: skip
    if found.kind in ("ConfigMap", "Secret") and live.get("immutable"):
        changed = any(new.get(key) != live.get(key) for key in ("data", "binaryData", "immutable"))
        if changed:
            text = "Forbidden: field is immutable when `immutable` is set"
            raise invalid("", found.kind, name, [cause("FieldValueForbidden", "data", text)])


def _fixed_pod_part(pod: Json) -> Json:
    """The part of a Pod's spec that no plain update may change."""
    free = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds",
            "schedulingGates", "ephemeralContainers")  # fmt: skip
    spec: dict[str, Any] = {k: v for k, v in pod.get("spec", {}).items() if k not in free}
    for field in ("containers", "initContainers"):
        if spec.get(field):
            spec[field] = [{k: v for k, v in c.items() if k != "image"} for c in spec[field]]
    return spec
