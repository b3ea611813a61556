"""The simulated node agent keeps the contract of the data plane (reference §6.10)."""

from typing import Any

import pytest

from deploy.local.actors.actions import Delete, Json, PatchStatus, View
from deploy.local.actors.kubelet import Addresses, Waiting, pod_eni_network, tend_pods
from tests.unit.local.cluster_objects import node, pod, view

NOW = "2026-01-01T00:00:00Z"
TRUNK = {"annotations": {"k8s.aliyun.com/pod-eni": "true"}}


def pod_eni(**changed: Any) -> Json:
    return {
        "kind": "PodENI",
        "metadata": {
            "namespace": "example",
            "name": "x",
            "annotations": {"k8s.aliyun.com/pod-uid": "uid-x"},
        }
        | changed.get("metadata", {}),
        "spec": {
            "allocations": changed.get(
                "allocations", [{"interface": "eth0", "ipv4": "10.0.0.9", "ipv6": "2408::9"}]
            )
        },
        "status": {"phase": "Bind", "trunkENIID": "eni-trunk-a"} | changed.get("status", {}),
    }


def patched(seen: View) -> Json:
    (action,) = tend_pods(seen, NOW)
    assert isinstance(action, PatchStatus)
    return action.status


def test_a_trunk_pod_runs_with_the_addresses_of_its_pod_eni() -> None:
    status = patched(view(node("a"), pod("x", node="a", metadata=TRUNK), pod_eni()))
    assert status["phase"] == "Running"
    assert status["podIP"] == "10.0.0.9"
    assert status["podIPs"] == [{"ip": "10.0.0.9"}, {"ip": "2408::9"}]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"metadata": {"deletionTimestamp": NOW}}, "being deleted"),
        ({"status": {"phase": "Binding"}}, "phase Binding, not Bind"),
        ({"metadata": {"annotations": {"k8s.aliyun.com/pod-uid": "old"}}}, "uid old"),
        ({"status": {"trunkENIID": "eni-trunk-b"}}, "different trunk"),
        ({"allocations": []}, "no allocation"),
    ],
)
def test_it_waits_while_the_contract_is_not_met(changed: Json, reason: str) -> None:
    network = pod_eni_network(pod("x", node="a"), node("a"), pod_eni(**changed))
    assert isinstance(network, Waiting)
    assert reason in network.reason


def test_a_waiting_pod_says_why_once() -> None:
    waits = pod("x", node="a", metadata=TRUNK)
    seen = view(node("a"), waits)
    waits["status"] = patched(seen)
    (container,) = waits["status"]["containerStatuses"]
    assert container["state"]["waiting"]["message"] == "PodENI is not there yet"
    assert tend_pods(seen, NOW) == []


def test_an_allocation_without_interface_is_eth0() -> None:
    found = pod_eni(allocations=[{"ipv4": "10.0.0.9"}])
    assert pod_eni_network(pod("x"), node("a"), found) == Addresses(("10.0.0.9",))


def test_other_pods_share_addresses_and_never_one_address() -> None:
    actions = tend_pods(view(node("a"), pod("x", node="a"), pod("y", node="a")), NOW)
    addresses = [each.status["podIP"] for each in actions if isinstance(each, PatchStatus)]
    assert addresses == ["100.64.0.2", "100.64.0.3"]


def test_host_network_is_the_nodes_address() -> None:
    seen = view(node("a", index=7), pod("x", node="a", spec={"hostNetwork": True}))
    assert patched(seen)["podIP"] == "192.168.0.7"


def test_a_deletion_is_finished() -> None:
    leaving = pod("x", node="a", metadata={"deletionTimestamp": NOW})
    assert tend_pods(view(node("a"), leaving), NOW) == [
        Delete("Pod", "example", "x", "uid-x", now=True)
    ]


def test_pods_of_unknown_nodes_and_finished_pods_are_left_alone() -> None:
    done = pod("done", node="a", status={"phase": "Succeeded"})
    assert tend_pods(view(node("a"), done, pod("x", node="elsewhere")), NOW) == []
