"""Paths and small objects that the tests of the simulated API server share."""

from typing import Any

Json = dict[str, Any]
PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
STATEFUL_SETS = "/apis/apps/v1/namespaces/default/statefulsets"
POD_ENIS = "/apis/network.alibabacloud.com/v1beta1/namespaces/default/podenis"
POD_NETWORKINGS = "/apis/network.alibabacloud.com/v1beta1/podnetworkings"
NETWORK = "network.alibabacloud.com/v1beta1"


def pod(name: str, node: str | None = None, labels: dict[str, str] | None = None) -> Json:
    """A Pod with one container, bound where `node` is given."""
    spec: Json = {"containers": [{"name": "app", "image": "nginx"}]}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def config_map(name: str, **data: str) -> Json:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod_eni(name: str, **spec: Any) -> Json:
    """A PodENI."""
    return {"apiVersion": NETWORK, "kind": "PodENI", "metadata": {"name": name}, "spec": spec}


def stateful_set(name: str, replicas: int) -> Json:
    """A StatefulSet."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod(name)["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "serviceName": name,
            "template": template}  # fmt: skip
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": spec,
    }
