"""Reference §2.1: what a Pod looks like after admission, and which Pods are denied."""

import json
from typing import Any

import pytest

from ledger.rules.admission_pods import PodPolicy
from ledger.rules.eni_config import EniConfigError
from tests.compatibility.conftest import Admission
from tests.unit.rules.admission_cases import ENI_CONFIG, pod_object, ready_podnetworking

NETWORKS = "k8s.aliyun.com/pod-networks"
REQUEST = "k8s.aliyun.com/pod-networks-request"
NETWORKING = "k8s.aliyun.com/pod-networking"
MATCHING = {"foo": "bar"}
COMPLETE = {"interface": "eth0", "vSwitchOptions": ["vsw-9"], "securityGroupIDs": ["sg-9"]}


def annotated(*networks: dict[str, Any], **spec: Any) -> dict[str, Any]:
    text = json.dumps({"podNetworks": list(networks)})
    return pod_object(annotations={NETWORKS: text}, **spec)


def test_step_1_undecodable_is_500(admit: Admission) -> None:
    decision = admit({"metadata": {"labels": []}, "spec": {}}).decision
    assert (decision.allowed, decision.code) == (False, 500)


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        (pod_object(labels=MATCHING, hostNetwork=True), "host network"),
        (pod_object(labels=MATCHING, containers=[]), "no containers"),
        (
            pod_object(labels={**MATCHING, "k8s.aliyun.com/ignore-by-terway": "true"}),
            "pod is not managed by terway",
        ),
    ],
)
def test_steps_2_to_4_pods_that_pass(admit: Admission, pod: dict[str, Any], message: str) -> None:
    found = admit(pod, [ready_podnetworking()])
    assert (found.decision.allowed, found.decision.message) == (True, message)
    assert found.decision.patch == ()


def test_step_4_the_opt_out_label_is_exactly_true(admit: Admission) -> None:
    pod = pod_object(labels={**MATCHING, "k8s.aliyun.com/ignore-by-terway": "True"})
    assert NETWORKING in admit(pod, [ready_podnetworking()]).annotations


@pytest.mark.parametrize(
    "pair", [(NETWORKS, REQUEST), (NETWORKS, NETWORKING), (REQUEST, NETWORKING)]
)
def test_step_5_any_two_of_the_three_annotations_are_denied_whatever_their_values(
    admit: Admission, pair: tuple[str, str]
) -> None:
    decision = admit(pod_object(annotations=dict.fromkeys(pair, ""))).decision
    assert (decision.allowed, decision.code) == (False, 403)
    assert "mutually exclusive" in decision.message


def test_step_7_bad_json_is_denied(admit: Admission) -> None:
    decision = admit(pod_object(annotations={NETWORKS: "{"})).decision
    assert (decision.allowed, decision.code) == (False, 403)


def test_step_8_a_request_is_tried_when_networks_are_none(admit: Admission) -> None:
    plain = ready_podnetworking("plain", selector=None)
    pod = pod_object(annotations={REQUEST: '[{"network":"plain"}]'})
    assert admit(pod, [plain]).networks[0]["vSwitchOptions"] == ["vsw-1", "vsw-2"]


def test_step_9_no_match_and_no_wish_is_left_alone(admit: Admission) -> None:
    for annotations in ({}, {"k8s.aliyun.com/pod-eni": "false"}, {"k8s.aliyun.com/pod-eni": "yes"}):
        found = admit(pod_object(annotations=annotations), [ready_podnetworking()])
        assert (found.decision.message, found.decision.patch) == ("not match", ())


@pytest.mark.parametrize("wish", ["1", "t", "true", "TRUE"])
def test_step_9_a_wish_without_a_match_gets_the_defaults(admit: Admission, wish: str) -> None:
    found = admit(pod_object(annotations={"k8s.aliyun.com/pod-eni": wish}))
    assert found.networks == [
        {
            "vSwitchOptions": list(ENI_CONFIG.vswitch_ids),
            "securityGroupIDs": list(ENI_CONFIG.security_group_ids),
            "interface": "eth0",
            "allocationType": {"type": "Elastic"},
        }
    ]


def test_step_9_every_pod_gets_the_defaults_in_crd_mode(admit: Admission) -> None:
    assert admit(pod_object(), policy=PodPolicy(every_pod=True)).networks[0]["interface"] == "eth0"


def test_step_9_a_match_is_copied_and_named(admit: Admission) -> None:
    hour = {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1h"}
    matching = ready_podnetworking(
        allocationType=hour,
        eniOptions={"eniType": "Trunk"},
        vSwitchSelectOptions={"vSwitchSelectionPolicy": "most"},
    )
    found = admit(pod_object(labels=MATCHING), [matching])
    assert found.annotations[NETWORKING] == "example"
    assert found.networks == [
        {
            "vSwitchOptions": ["vsw-1", "vsw-2"],
            "securityGroupIDs": ["sg-1"],
            "interface": "eth0",
            "eniOptions": {"eniType": "Trunk"},
            "vSwitchSelectOptions": {"vSwitchSelectionPolicy": "most"},
            "allocationType": hour,
        }
    ]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            {"securityGroupIDs": [f"sg-{at}" for at in range(11)]},
            "security group can not more than",
        ),
        ({"interface": ""}, "interface name"),
        ({"interface": "ethernet0"}, "interface name"),
    ],
)
def test_step_10_networks_that_are_denied(
    admit: Admission, network: dict[str, Any], message: str
) -> None:
    decision = admit(annotated({**COMPLETE, **network})).decision
    assert (decision.allowed, decision.code) == (False, 403)
    assert message in decision.message


def test_step_10_ten_groups_and_five_characters_are_allowed(admit: Admission) -> None:
    ten = [f"sg-{at}" for at in range(10)]
    found = admit(
        annotated({**COMPLETE, "securityGroupIDs": ten}, {**COMPLETE, "interface": "eth10"})
    )
    assert found.decision.allowed


def test_step_10_a_duplicated_interface_is_denied(admit: Admission) -> None:
    decision = admit(annotated(COMPLETE, COMPLETE)).decision
    assert "duplicated interface" in decision.message


def test_step_10_no_allocation_type_is_elastic(admit: Admission) -> None:
    assert admit(annotated(COMPLETE)).networks[0]["allocationType"] == {"type": "Elastic"}


def test_step_10_fixed_is_for_fixed_name_pods(admit: Admission) -> None:
    fixed = {**COMPLETE, "allocationType": {"type": "Fixed", "releaseStrategy": "Never"}}
    decision = admit(annotated(fixed, owner_kind="ReplicaSet")).decision
    assert decision.code == 403
    assert "fixed ip only support for fixed name pod" in decision.message
    assert admit(annotated(fixed)).decision.allowed


def test_step_11_only_the_gaps_of_eth0_are_filled(admit: Admission) -> None:
    found = admit(
        annotated(
            {"interface": "eth0", "securityGroupIDs": ["sg-mine"]},
            {"interface": "eth1", "securityGroupIDs": ["sg-mine"]},
        )
    )
    eth0, eth1 = found.networks
    assert eth0["vSwitchOptions"] == list(ENI_CONFIG.vswitch_ids)
    assert eth0["securityGroupIDs"] == ["sg-mine"]
    assert "vSwitchOptions" not in eth1


@pytest.mark.parametrize("config", [None, EniConfigError("broken")])
def test_step_11_a_gap_without_a_usable_eni_config_is_denied(
    admit: Admission, config: EniConfigError | None
) -> None:
    decision = admit(annotated({"interface": "eth0"}), eni_config=config).decision
    assert (decision.allowed, decision.code) == (False, 400)
    assert admit(annotated(COMPLETE), eni_config=config).decision.allowed


def test_step_12_both_annotations_are_written(admit: Admission) -> None:
    found = admit(pod_object(labels=MATCHING), [ready_podnetworking()])
    assert found.annotations["k8s.aliyun.com/pod-eni"] == "true"
    assert set(json.loads(found.annotations[NETWORKS])) == {"podNetworks"}


@pytest.mark.parametrize(
    ("eni_types", "enable_trunk", "resource"),
    [
        (["Default"], True, "aliyun/member-eni"),
        (["Trunk"], True, "aliyun/member-eni"),
        ([""], True, "aliyun/member-eni"),
        (["ENI"], True, "aliyun/eni"),
        (["Default", "ENI"], True, "aliyun/eni"),
        (["Default"], False, "aliyun/eni"),
        (["Trunk"], False, "aliyun/eni"),
    ],
)
def test_step_13_the_resource_and_its_count(
    admit: Admission, eni_types: list[str], enable_trunk: bool, resource: str
) -> None:
    networks = [
        {**COMPLETE, "interface": f"eth{at}", "eniOptions": {"eniType": eni_type}}
        for at, eni_type in enumerate(eni_types)
    ]
    found = admit(annotated(*networks), policy=PodPolicy(enable_trunk=enable_trunk))
    count = {resource: str(len(networks))}
    assert found.resources == [{"requests": count, "limits": count}]


def test_step_13_only_the_first_container_and_nothing_else_of_it(admit: Admission) -> None:
    own = {"requests": {"cpu": "1", "aliyun/member-eni": "7"}, "limits": {"memory": "1Gi"}}
    containers = [{"name": "a", "resources": own}, {"name": "b"}]
    found = admit(pod_object(labels=MATCHING, containers=containers), [ready_podnetworking()])
    assert found.resources == [
        {
            "requests": {"cpu": "1", "aliyun/member-eni": "1"},
            "limits": {"memory": "1Gi", "aliyun/member-eni": "1"},
        },
        {},
    ]


def test_step_13_nothing_is_injected_where_that_is_switched_off(admit: Admission) -> None:
    policy = PodPolicy(inject_resource=False)
    found = admit(pod_object(labels=MATCHING), [ready_podnetworking()], policy=policy)
    assert found.resources == [{}]
    assert NETWORKS in found.annotations


def test_step_15_the_answer_is_a_patch_of_what_changed_only(admit: Admission) -> None:
    found = admit(pod_object(labels=MATCHING), [ready_podnetworking()])
    assert found.decision.message == "ok"
    touched = {operation["path"].split("/")[1] for operation in found.decision.patch}
    assert touched == {"metadata", "spec"}
    assert {operation["op"] for operation in found.decision.patch} <= {"add", "replace"}
