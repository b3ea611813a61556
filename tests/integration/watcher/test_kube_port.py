"""The Kubernetes port over HTTPS, against both API servers."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from consumers.kube import wire
from consumers.kube.lightkube_adapter import LightkubeAdapter
from consumers.kube.names import FINALIZER
from consumers.kube.port import AlreadyExists, Conflict, EventNote, NotFound, ObjectRef, Throttled
from consumers.runtime.settings import KubeSettings
from deploy.local.kubernetes.launch import Launched, LaunchOptions, launched
from deploy.local.parts.kube_api import KubeApi
from tests.integration.conftest import KubePart

CRDS = tuple(sorted(Path("deploy/crds").resolve().glob("*.yaml")))
NAMESPACE = "kube-port"
SPEC = {"zone": "z", "allocations": [{"ipv4": "10.0.0.9", "eni": {"id": "eni-1"}}]}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    with launched(tmp_path_factory.mktemp("kubernetes"), LaunchOptions(crds=CRDS)) as server:
        yield server


@pytest.fixture(scope="module")
def client(kube_part: KubePart, request: pytest.FixtureRequest) -> Iterator[httpx2.Client]:
    """An API with a namespace of these tests' own."""
    name = "simulator" if kube_part == "simulated" else "genuine_kube"
    server: KubeApi = request.getfixturevalue(name)
    with wire.connect(KubeSettings(kubeconfig=server.kubeconfig)) as connected:
        body = {"metadata": {"name": NAMESPACE}}
        connected.post("/api/v1/namespaces", json=body).raise_for_status()
        yield connected


def test_a_podeni_from_create_to_delete(client: httpx2.Client) -> None:
    kube = LightkubeAdapter(client, page_size=1)
    assert kube.get_podeni(NAMESPACE, "web-0") is None
    metadata = {"namespace": NAMESPACE, "name": "web-0", "finalizers": [FINALIZER]}
    created = kube.create_podeni({"metadata": metadata, "spec": SPEC})
    with pytest.raises(AlreadyExists):
        kube.create_podeni({"metadata": metadata, "spec": SPEC})
    kube.create_podeni({"metadata": {"namespace": NAMESPACE, "name": "web-1"}, "spec": SPEC})
    listed = [each["metadata"] for each in kube.list_podenis()]
    ours = [each["name"] for each in listed if each["namespace"] == NAMESPACE]
    assert ours == ["web-0", "web-1"]

    bound = kube.replace_podeni_status(
        created | {"status": {"phase": "Bind", "trunkENIID": "eni-t"}}
    )
    assert bound["status"]["phase"] == "Bind"
    with pytest.raises(Conflict):
        kube.replace_podeni(created)
    labelled = dict(bound["metadata"]) | {"labels": {"k8s.aliyun.com/node": "n1"}}
    replaced = kube.replace_podeni(bound | {"metadata": labelled, "status": {"phase": "ignored"}})
    assert replaced["status"]["phase"] == "Bind", "status has its own door"

    uid, version = replaced["metadata"]["uid"], replaced["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        kube.delete_podeni(NAMESPACE, "web-0", uid, created["metadata"]["resourceVersion"])
    with pytest.raises(Conflict):
        kube.delete_podeni(NAMESPACE, "web-0", "another-uid", version)
    kube.delete_podeni(NAMESPACE, "web-0", uid, version)
    deleting = kube.get_podeni(NAMESPACE, "web-0")
    assert deleting is not None
    assert deleting["metadata"]["deletionTimestamp"]
    deleting["metadata"]["finalizers"] = []
    kube.replace_podeni(deleting)
    assert kube.get_podeni(NAMESPACE, "web-0") is None
    with pytest.raises(NotFound):
        kube.delete_podeni(NAMESPACE, "web-0", uid, version)


def test_looks_and_events(client: httpx2.Client) -> None:
    kube = LightkubeAdapter(client)
    assert kube.cluster_uid()
    absent = kube.look_at_pod(NAMESPACE, "none")
    assert absent.pod is None
    assert absent.resource_version > 0
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "seen"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    client.post(f"/api/v1/namespaces/{NAMESPACE}/pods", json=pod).raise_for_status()
    seen = kube.look_at_pod(NAMESPACE, "seen")
    assert seen.pod is not None
    assert int(seen.pod["metadata"]["resourceVersion"]) <= seen.resource_version
    assert kube.get_node("none") is None
    assert kube.get_podnetworking("none") is None

    note = EventNote(
        ObjectRef.of(seen.pod), "AttachENISucceed", "AttachENI", "attached eni x", "reconciler"
    )
    kube.publish_event(note)
    events = client.get(f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events").json()["items"]
    assert [event["reason"] for event in events] == ["AttachENISucceed"]


def test_throttling_says_how_long(simulator: Launched) -> None:
    fault = {"verb": "get", "resource": "podenis", "code": 429, "retry_after": 3}
    with wire.connect(KubeSettings(kubeconfig=simulator.kubeconfig)) as client:
        client.post("/_sim/faults", json=fault).raise_for_status()
        with pytest.raises(Throttled) as caught:
            LightkubeAdapter(client).get_podeni(NAMESPACE, "web-0")
    assert caught.value.retry_after == 3.0
