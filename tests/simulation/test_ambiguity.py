"""Where several PodNetworkings match a Pod, its event says which was chosen, and by what order."""

import json
from typing import Any

from tests.simulation.world import SimulatedWorld, elastic

PODNETWORKINGS = "/apis/network.alibabacloud.com/v1beta1/podnetworkings"
FOO = {"podSelector": {"matchLabels": {"foo": "bar"}}}


def make_podnetworking(world: SimulatedWorld, name: str, selector: dict[str, Any]) -> None:
    world.kube.create(
        PODNETWORKINGS,
        {
            "apiVersion": "network.alibabacloud.com/v1beta1",
            "kind": "PodNetworking",
            "metadata": {"name": name},
            "spec": {
                "selector": selector,
                "securityGroupIDs": ["sg-bpxxxx"],
                "vSwitchOptions": ["vsw-bpxxxx"],
            },
        },
    )
    world.settle(3)


def admitted_pod(world: SimulatedWorld, chosen: str) -> None:
    annotations = {
        "k8s.aliyun.com/pod-eni": "true",
        "k8s.aliyun.com/pod-networking": chosen,
        "k8s.aliyun.com/pod-networks": json.dumps({"podNetworks": [elastic()]}),
    }
    world.kube.create(
        "/api/v1/namespaces/example/pods",
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "labels": {"foo": "bar"}, "annotations": annotations},
            "spec": {"nodeName": "node-h1", "containers": [{"name": "c", "image": "i"}]},
        },
    )
    world.settle(15)


def notes(world: SimulatedWorld) -> list[str]:
    found = world.kube.list("/apis/events.k8s.io/v1/namespaces/example/events")["items"]
    return [item["note"] for item in found if item["reason"] == "SeveralPodNetworkingsMatch"]


def test_the_choice_among_several_is_told_on_the_pod(world: SimulatedWorld) -> None:
    make_podnetworking(world, "a-general", FOO)
    make_podnetworking(world, "b-exact", {**FOO, "namespaceSelector": {}})
    admitted_pod(world, "b-exact")
    (note,) = notes(world)
    assert "b-exact was chosen" in note
    assert "a-general" in note


def test_one_match_is_no_news(world: SimulatedWorld) -> None:
    make_podnetworking(world, "a-general", FOO)
    make_podnetworking(world, "b-other", {"podSelector": {"matchLabels": {"foo": "else"}}})
    admitted_pod(world, "a-general")
    assert notes(world) == []
