"""Admission of Pods beyond the reference: idempotence, refusals that spare a stuck Pod, warnings."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.admission_pods import ClusterView, PodPolicy, admit_pod
from tests.unit.rules.admission_cases import (
    ENI_CONFIG,
    FOO,
    apply_patch,
    pod_object,
    ready_podnetworking,
)

NETWORKS = "k8s.aliyun.com/pod-networks"
VIEW = ClusterView(
    podnetworkings=(ready_podnetworking(),), namespace_labels={}, eni_config=ENI_CONFIG
)
POLICY = PodPolicy()


def networks(*elements: dict[str, Any]) -> dict[str, str]:
    complete = {"interface": "eth0", "vSwitchOptions": ["v"], "securityGroupIDs": ["s"]}
    return {NETWORKS: json.dumps({"podNetworks": [{**complete, **each} for each in elements]})}


def admitted(pod: dict[str, Any], view: ClusterView = VIEW, policy: PodPolicy = POLICY) -> Any:
    decision = admit_pod(pod, "example", view, policy)
    assert decision.allowed, decision.message
    return apply_patch(pod, decision.patch)


PODS = [
    pod_object(labels={"foo": "bar"}),
    pod_object(labels={"foo": "bar"}, affinity={"nodeAffinity": None}),
    pod_object(annotations={"k8s.aliyun.com/pod-eni": "1"}),
    pod_object(annotations=networks({})),
    pod_object(annotations=networks({}, {"interface": "eth1"})),
    pod_object(annotations={"k8s.aliyun.com/pod-networks-request": '[{"network":"plain"}]'}),
    pod_object(labels={"foo": "bar"}, annotations={"k8s.aliyun.com/pod-networks-request": ""}),
    pod_object(),
]


@pytest.mark.parametrize("pod", PODS)
@pytest.mark.parametrize("inject", [True, False])
def test_our_own_output_seen_again_passes_unchanged(pod: dict[str, Any], inject: bool) -> None:
    policy = PodPolicy(inject_resource=inject)
    podeni = {"spec": {"zone": "zone-h", "allocations": [{}]}}
    view = ClusterView(
        (
            ready_podnetworking(allocationType={"type": "Fixed"}),
            ready_podnetworking("plain", selector=None),
        ),
        {},
        podeni,
        ENI_CONFIG,
    )
    first = admitted(pod, view, policy)
    again = admit_pod(first, "example", view, policy)
    assert again.allowed, again.message
    assert again.patch == ()


def test_output_seen_again_passes_even_when_the_podnetworking_has_changed_since() -> None:
    first = admitted(pod_object(labels={"foo": "bar"}))
    changed = ClusterView((ready_podnetworking(zones=("zone-x",)),), {}, None, ENI_CONFIG)
    assert admit_pod(first, "example", changed, POLICY).patch == ()


def test_a_sidecar_put_before_the_first_container_does_not_get_a_second_request() -> None:
    first = admitted(pod_object(labels={"foo": "bar"}))
    first["spec"]["containers"].insert(0, {"name": "proxy"})
    assert admit_pod(first, "example", VIEW, POLICY).patch == ()


def test_the_incumbents_output_passes_unchanged() -> None:
    """It writes its JSON in another order and with other spaces; both are left as they are."""
    network = {
        "allocationType": {"releaseAfter": "1m", "releaseStrategy": "TTL", "type": "Fixed"},
        "eniOptions": {"eniType": "Default"},
        "interface": "eth0",
        "securityGroupIDs": ["sg-1"],
        "vSwitchOptions": ["vsw-1"],
    }
    one = {"aliyun/member-eni": "1"}
    containers = [{"name": "a", "resources": {"requests": one, "limits": one}}]
    pod = pod_object(
        labels={"foo": "bar"},
        annotations={
            NETWORKS: json.dumps({"podNetworks": [network]}, indent=1),
            "k8s.aliyun.com/pod-networking": "example",
            "k8s.aliyun.com/pod-eni": "true",
        },
        containers=containers,
    )
    assert admit_pod(pod, "example", VIEW, POLICY).patch == ()


def test_two_annotations_without_the_rest_of_an_admission_are_not_taken_for_output() -> None:
    pod = pod_object(annotations={**networks({}), "k8s.aliyun.com/pod-networking": "example"})
    decision = admit_pod(pod, "example", VIEW, POLICY)
    assert (decision.allowed, decision.code) == (False, 403)
    assert "mutually exclusive" in decision.message


@pytest.mark.parametrize(
    ("element", "message"),
    [
        ({"eniOptions": {"eniType": "trunk"}}, "eniType 'trunk' is not known: use one of Default"),
        ({"vSwitchSelectOptions": {"vSwitchSelectionPolicy": "least"}}, "'least' is not known"),
        ({"allocationType": {"type": "fixed"}}, "allocationType.type 'fixed' is not known"),
        (
            {"allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1d"}},
            "invalid releaseAfter",
        ),
        (
            {
                "allocationType": {
                    "type": "Fixed",
                    "releaseStrategy": "TTL",
                    "releaseAfter": "4m59s",
                }
            },
            "shorter than the minimum of 5m0s",
        ),
        (
            {"allocationType": {"type": "Fixed", "releaseStrategy": "Never", "releaseAfter": "1h"}},
            "must be empty when releaseStrategy is Never",
        ),
        ({"extraRoutes": [{"dst": "10.0.0.0"}]}, "extraRoutes '10.0.0.0' is not a CIDR"),
        ({"interface": "eth1"}, "no network is for eth0"),
    ],
)
def test_values_that_cannot_be_honoured_are_refused(element: dict[str, Any], message: str) -> None:
    decision = admit_pod(pod_object(annotations=networks(element)), "example", VIEW, POLICY)
    assert (decision.allowed, decision.code) == (False, 403)
    assert "Pod example/my-nginx-0" in decision.message
    assert message in decision.message


def test_two_default_routes_are_refused() -> None:
    pod = pod_object(
        annotations=networks({"defaultRoute": True}, {"interface": "eth1", "defaultRoute": True})
    )
    assert "more than one interface" in admit_pod(pod, "example", VIEW, POLICY).message


def test_an_old_podnetworking_below_the_minimum_still_serves_its_pods() -> None:
    old = ready_podnetworking(
        allocationType={"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1m"}
    )
    view = ClusterView((old,), {}, None, ENI_CONFIG)
    assert admit_pod(pod_object(labels={"foo": "bar"}), "example", view, POLICY).allowed


def test_several_matches_are_told_to_whoever_creates_the_pod() -> None:
    view = ClusterView((ready_podnetworking("b"), ready_podnetworking("a")), {}, None, ENI_CONFIG)
    decision = admit_pod(pod_object(labels={"foo": "bar"}), "example", view, POLICY)
    assert decision.warnings == (
        "PodNetworking a was chosen; b match this Pod too: the more specific wins, "
        "then the first by name",
    )


def test_an_unknown_namespace_is_never_guessed() -> None:
    view = ClusterView(
        (ready_podnetworking(selector={"namespaceSelector": FOO}),), None, None, ENI_CONFIG
    )
    decision = admit_pod(pod_object(), "example", view, POLICY)
    assert (decision.allowed, decision.code) == (False, 503)


def test_excluded_and_opted_out_namespaces_pass() -> None:
    pod = pod_object(labels={"foo": "bar"})
    policy = PodPolicy(excluded_namespaces=frozenset({"example"}))
    assert admit_pod(pod, "example", VIEW, policy).message == "namespace example is excluded"
    view = ClusterView(VIEW.podnetworkings, {"k8s.aliyun.com/pod-eni": "false"})
    assert admit_pod(pod, "example", view, POLICY).message == "namespace example opted out"


def test_the_namespace_of_the_request_counts_where_the_pod_has_none() -> None:
    pod = pod_object(labels={"foo": "bar"})
    del pod["metadata"]["namespace"]
    policy = PodPolicy(excluded_namespaces=frozenset({"example"}))
    assert "excluded" in admit_pod(pod, "example", VIEW, policy).message


def test_a_gap_beside_eth0_is_warned_about() -> None:
    pod = pod_object(annotations=networks({}, {"interface": "eth1", "vSwitchOptions": []}))
    decision = admit_pod(pod, "example", VIEW, POLICY)
    assert decision.allowed
    assert "interface eth1" in decision.warnings[0]


def test_networks_without_a_common_zone_are_refused() -> None:
    view = ClusterView(
        (
            ready_podnetworking("a", zones=("zone-g",), selector=None),
            ready_podnetworking("b", zones=("zone-h",), selector=None),
        ),
        {},
    )
    request = '[{"network":"a"},{"network":"b","interfaceName":"eth1"}]'
    pod = pod_object(annotations={"k8s.aliyun.com/pod-networks-request": request})
    assert "no zone in common" in admit_pod(pod, "example", view, POLICY).message


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "k8s.aliyun.com/pod-eni",
                "k8s.aliyun.com/pod-networks",
                "k8s.aliyun.com/pod-networks-request",
                "k8s.aliyun.com/pod-networking",
            ]
        ),
        st.sampled_from(["true", "false", "", "example"])
        | junk.map(json.dumps)
        | st.lists(junk, max_size=2).map(lambda each: json.dumps({"podNetworks": each})),
    )
)
def test_any_annotations_get_an_answer_and_the_answer_is_final(annotations: dict[str, str]) -> None:
    pod = pod_object(labels={"foo": "bar"}, annotations=annotations)
    decision = admit_pod(pod, "example", VIEW, POLICY)
    assert decision == admit_pod(pod, "example", VIEW, POLICY)
    if decision.allowed:
        again = admit_pod(apply_patch(pod, decision.patch), "example", VIEW, POLICY)
        assert (again.allowed, again.patch) == (True, ())
    else:
        assert decision.code >= 400
