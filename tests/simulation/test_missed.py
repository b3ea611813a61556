"""Pods created while the webhook was down: noticed, recorded, told of once; nobody else is accused."""

from typing import Any

from tests.simulation.world import SimulatedWorld, elastic

PODNETWORKINGS = "/apis/network.alibabacloud.com/v1beta1/podnetworkings"
FOO = {"matchLabels": {"foo": "bar"}}


def make_podnetworking(
    world: SimulatedWorld, selector: dict[str, Any], allocation: str = "Elastic"
) -> None:
    world.kube.create(
        PODNETWORKINGS,
        {
            "apiVersion": "network.alibabacloud.com/v1beta1",
            "kind": "PodNetworking",
            "metadata": {"name": "example"},
            "spec": {
                "allocationType": {"type": allocation},
                "selector": selector,
                "securityGroupIDs": ["sg-bpxxxx"],
                "vSwitchOptions": ["vsw-bpxxxx"],
            },
        },
    )
    world.settle(3)
    status = world.kube.get(f"{PODNETWORKINGS}/example")["status"]
    assert status["status"] == "Ready"


def plain_pod(
    world: SimulatedWorld, name: str, namespace: str = "example", **metadata: Any
) -> dict[str, Any]:
    """A Pod that passed while no webhook was there, already on a node."""
    return world.kube.create(
        f"/api/v1/namespaces/{namespace}/pods",
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"foo": "bar"}, **metadata},
            "spec": {"nodeName": "node-h1", "containers": [{"name": "c", "image": "i"}]},
        },
    )


def touch(world: SimulatedWorld, name: str) -> None:
    pod = world.kube.get(f"/api/v1/namespaces/example/pods/{name}")
    pod["status"] = {"phase": "Running"}
    world.kube.update(f"/api/v1/namespaces/example/pods/{name}/status", pod)
    world.settle(2)


def remarks(world: SimulatedWorld) -> list[Any]:
    query = "SELECT data FROM ledger.entry WHERE kind = 'missed-by-admission' ORDER BY id"
    return [data for (data,) in world.ground.rows(query)]


def notes(world: SimulatedWorld, namespace: str = "example") -> list[str]:
    found = world.kube.list(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
    return [item["note"] for item in found if item["reason"] == "MissedByAdmission"]


def test_a_missed_pod_is_recorded_and_told_once(world: SimulatedWorld) -> None:
    make_podnetworking(world, {"podSelector": FOO})
    uid = plain_pod(world, "missed")["metadata"]["uid"]
    world.settle(3)
    (remark,) = remarks(world)
    assert remark == {
        "namespace": "example",
        "pod": "missed",
        "uid": uid,
        "node": "node-h1",
        "podnetworking": "example",
        "why": "PodNetworking example matches it",
    }
    (note,) = notes(world)
    assert "recreate it" in note
    assert world.allocations() == []

    touch(world, "missed")
    world.take(world.log["eni-ledger.pod.v1"])  # all of it once more
    world.settle(3)
    assert len(remarks(world)) == len(notes(world)) == 1
    world.delete_pod("missed")
    plain_pod(world, "missed")
    world.settle(3)
    assert len(remarks(world)) == len(notes(world)) == 2, "another Pod, another remark"
    world.check_promises()


def test_who_was_not_meant_is_not_accused(world: SimulatedWorld) -> None:
    make_podnetworking(world, {"podSelector": FOO})
    plain_pod(world, "other-labels", labels={"foo": "baz"})
    plain_pod(world, "opted-out", labels={"foo": "bar", "k8s.aliyun.com/ignore-by-terway": "true"})
    plain_pod(world, "in-kube-system", namespace="kube-system")
    world.create_pod("admitted", networks=[elastic()])
    world.settle(10)
    assert remarks(world) == []
    assert notes(world) == notes(world, "kube-system") == []


def test_a_podnetworking_made_later_was_not_missed(world: SimulatedWorld) -> None:
    plain_pod(world, "earlier")
    world.settle(3)
    make_podnetworking(world, {"podSelector": FOO})
    touch(world, "earlier")
    assert remarks(world) == []


def test_fixed_ips_are_not_missed_by_pods_of_a_deployment(world: SimulatedWorld) -> None:
    make_podnetworking(world, {"podSelector": FOO}, "Fixed")
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "rs"}
    plain_pod(world, "web", ownerReferences=[owner])
    world.settle(3)
    assert remarks(world) == []
    plain_pod(world, "bare")
    world.settle(3)
    assert [remark["pod"] for remark in remarks(world)] == ["bare"]


def test_networks_asked_for_by_annotation_are_missed_too(world: SimulatedWorld) -> None:
    request = {"k8s.aliyun.com/pod-networks-request": '[{"network": "example"}]'}
    plain_pod(world, "asks", annotations=request)
    world.settle(3)
    assert "asks for networks" in notes(world)[0]


def test_a_namespace_nobody_has_shown_yet_is_waited_for(world: SimulatedWorld) -> None:
    make_podnetworking(world, {"namespaceSelector": FOO})
    plain_pod(world, "missed")
    world.settle(3)
    assert remarks(world) == []
    namespace = world.kube.get("/api/v1/namespaces/example")
    namespace["metadata"]["labels"] = {"foo": "bar"}
    world.kube.update("/api/v1/namespaces/example", namespace)
    watch = world.kube.watch_since("/api/v1/namespaces", {"resourceVersion": "0"})
    world._watches["namespace"] = watch
    world.settle(8)
    assert [remark["pod"] for remark in remarks(world)] == ["missed"]
    assert len(notes(world)) == 1
