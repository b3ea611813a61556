"""Small Kubernetes objects for the tests of the actors."""

from deploy.local.actors.actions import Json, View, key

ZONE = "topology.kubernetes.io/zone"


def node(name: str, zone: str = "h", index: int = 1, **more: Json) -> Json:
    return {
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {ZONE: zone},
            "annotations": {"k8s.aliyun.com/trunk-on": f"eni-trunk-{name}"},
        },
        "spec": dict(more.get("spec") or {}),
        "status": {
            "allocatable": {"aliyun/member-eni": "2"},
            "addresses": [{"type": "InternalIP", "address": f"192.168.0.{index}"}],
        },
    }


def pod(name: str, *, uid: str = "", node: str = "", enis: int = 0, **more: Json) -> Json:
    requests = {"aliyun/member-eni": str(enis)} if enis else {}
    spec: Json = {"containers": [{"name": "main", "resources": {"requests": requests}}]}
    if node:
        spec["nodeName"] = node
    metadata: Json = {"namespace": "example", "name": name, "uid": uid or f"uid-{name}"}
    return {
        "kind": "Pod",
        "metadata": metadata | (more.get("metadata") or {}),
        "spec": spec | (more.get("spec") or {}),
        "status": more.get("status") or {},
    }


def running() -> Json:
    return {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def workload(kind: str, name: str, replicas: int) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"namespace": "example", "name": name, "uid": f"uid-{name}", "generation": 1},
        "spec": {
            "replicas": replicas,
            "serviceName": "service",
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main"}]},
            },
        },
    }


def view(*objects: Json) -> View:
    found = View()
    for obj in objects:
        found.objects.setdefault(obj["kind"], {})[key(obj)] = obj
    return found
