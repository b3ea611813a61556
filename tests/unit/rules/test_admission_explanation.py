"""explain tells the same as admission does, in words a user can act on."""

from typing import Any

import pytest

from ledger.rules.admission_explanation import Explanation, explain_pod
from ledger.rules.admission_pods import ClusterView, PodPolicy, admit_pod
from ledger.rules.podnetworkings import PodNetworking
from tests.unit.rules.admission_cases import (
    ENI_CONFIG,
    FOO,
    apply_patch,
    pod_object,
    ready_podnetworking,
)

POLICY = PodPolicy()
HOUR = {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1h"}


def explained(pod: dict[str, Any], *podnetworkings: PodNetworking, **view: Any) -> Explanation:
    whole = {"namespace_labels": {}, "eni_config": ENI_CONFIG, **view}
    return explain_pod(pod, "example", ClusterView(podnetworkings, **whole), POLICY)


def test_a_pod_that_will_get_its_own_eni() -> None:
    found = explained(
        pod_object(labels={"foo": "bar"}),
        ready_podnetworking(allocationType=HOUR),
        podeni={"spec": {"zone": "zone-h", "allocations": [{}]}},
    )
    assert found.verdict == "It gets an ENI of its own from PodNetworking example."
    assert (found.resource, found.zones) == ("aliyun/member-eni", ("zone-g", "zone-h"))
    assert found.previous_zones == ("zone-h",)
    assert any("kept for 1h0m0s after the Pod is gone" in limit for limit in found.limits)


def test_the_documents_faq_why_is_the_podnetworking_not_used() -> None:
    not_ready = ready_podnetworking("a", status="Fail")
    other_labels = ready_podnetworking("b", selector={"podSelector": {"matchLabels": {"x": "y"}}})
    fixed = ready_podnetworking("c", allocationType=HOUR)
    pod = pod_object(labels={"foo": "bar"}, owner_kind="ReplicaSet")
    found = explained(pod, not_ready, other_labels, fixed)
    assert found.verdict == "It keeps the ordinary network: none of 3 PodNetworkings matches it."
    assert {each.name: each.outcome for each in found.report.considered} == {
        "a": "not ready",
        "b": "pod selector",
        "c": "not stateful",
    }
    assert found.networks == ()


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        (pod_object(hostNetwork=True), "host network"),
        (pod_object(annotations={"k8s.aliyun.com/pod-eni": "yes"}), "'yes', which is not true"),
        (pod_object(), "there is no PodNetworking"),
    ],
)
def test_ordinary_pods(pod: dict[str, Any], said: str) -> None:
    found = explained(pod)
    assert found.verdict.startswith("It keeps the ordinary network")
    assert said in found.verdict
    assert not found.refused


def test_a_refusal_is_the_one_that_admission_would_give() -> None:
    pod = pod_object(annotations={"k8s.aliyun.com/pod-networks": "{"})
    found = explained(pod)
    assert found.refused
    assert "pod-networks: not JSON" in found.verdict


def admitted(view: ClusterView) -> dict[str, Any]:
    pod = pod_object(labels={"foo": "bar"})
    after: dict[str, Any] = apply_patch(pod, admit_pod(pod, "example", view, POLICY).patch)
    after["metadata"]["uid"] = "u-1"
    return after


def test_an_admitted_pod_is_told_what_has_changed_since() -> None:
    view = ClusterView((ready_podnetworking("old"),), {}, None, ENI_CONFIG)
    pod = admitted(view)
    same = explained(pod, *view.podnetworkings)
    assert same.admitted
    assert same.verdict == "It was admitted with an ENI of its own, from PodNetworking old."
    changed = explained(pod, ready_podnetworking("new"))
    assert "Created now it would get new" in changed.verdict
    assert "Created now it would match none" in explained(pod).verdict


def test_a_pod_that_was_created_while_admission_was_away_is_noticed() -> None:
    pod = pod_object(labels={"foo": "bar"})
    pod["metadata"]["uid"] = "u-1"
    found = explained(pod, ready_podnetworking())
    assert "should have an ENI of its own and was not admitted" in found.verdict
    assert not found.admitted


@pytest.mark.parametrize(
    ("allocation", "kept"),
    [
        ({"type": "Fixed"}, "kept until its PodENI is deleted"),
        ({"type": "Fixed", "releaseStrategy": "Never"}, "kept until its PodENI is deleted"),
        (
            {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1m"},
            "(below the minimum of 5m0s)",
        ),
        ({"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1d"}, "is no duration"),
    ],
)
def test_how_long_a_fixed_ip_is_kept(allocation: dict[str, str], kept: str) -> None:
    found = explained(
        pod_object(labels={"foo": "bar"}), ready_podnetworking(allocationType=allocation)
    )
    assert any(kept in limit for limit in found.limits)


def test_namespaces_count() -> None:
    by_namespace = ready_podnetworking(selector={"namespaceSelector": FOO})
    assert explained(pod_object(), by_namespace).networks == ()
    assert explained(pod_object(), by_namespace, namespace_labels={"foo": "bar"}).networks
