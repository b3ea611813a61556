"""Validation of PodNetworkings ratchets, warns and never blocks on what was there before."""

from typing import Any

import pytest

from ledger.rules.admission_podnetworkings import mutate_podnetworking, validate_podnetworking
from ledger.rules.eni_config import EniConfig, EniConfigError
from tests.unit.rules.admission_cases import (
    ENI_CONFIG,
    apply_patch,
    podnetworking_object,
    ready_podnetworking,
)

SHORT = {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1m"}
HOUR = {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1h"}


def groups(count: int) -> list[str]:
    return [f"sg-{at}" for at in range(count)]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"allocationType": SHORT}, "shorter than the minimum of 5m0s"),
        ({"allocationType": {**HOUR, "releaseAfter": "-1h"}}, "shorter than the minimum"),
        ({"allocationType": {"type": "Sticky"}}, "allocationType.type 'Sticky' is not known"),
        ({"allocationType": {"type": "Fixed", "releaseStrategy": "Later"}}, "'Later' is not known"),
        ({"eniOptions": {"eniType": "Bond"}}, "eniType 'Bond' is not known"),
        (
            {"vSwitchSelectOptions": {"vSwitchSelectionPolicy": "least"}},
            "vSwitchSelectionPolicy 'least'",
        ),
        (
            {"selector": {"podSelector": {"matchLabels": {"a b": "c"}}}},
            "spec.selector.podSelector.matchLabels",
        ),
        (
            {"selector": {"namespaceSelector": {"matchExpressions": [{"key": "a"}]}}},
            "spec.selector.namespaceSelector.matchExpressions[0].operator",
        ),
    ],
)
def test_what_cannot_work_is_refused_on_create_and_on_update(
    spec: dict[str, Any], message: str
) -> None:
    new = podnetworking_object(**spec)
    for old in (None, podnetworking_object()):
        decision = validate_podnetworking(new, old, True)
        assert (decision.allowed, decision.code) == (False, 403)
        assert decision.message.startswith("PodNetworking example: ")
        assert message in decision.message


def test_what_was_wrong_before_does_not_stop_an_edit_of_something_else() -> None:
    old = podnetworking_object(allocationType=SHORT)
    edited = podnetworking_object(allocationType=SHORT, securityGroupIDs=["sg-2"])
    decision = validate_podnetworking(edited, old, True)
    assert decision.allowed
    assert any("tolerated: it was so before" in warning for warning in decision.warnings)


def test_what_was_wrong_before_may_not_become_wrong_in_another_way() -> None:
    old = podnetworking_object(allocationType=SHORT)
    worse = podnetworking_object(allocationType={**SHORT, "releaseAfter": "2m"})
    assert not validate_podnetworking(worse, old, True).allowed
    mended = podnetworking_object(allocationType=HOUR)
    assert validate_podnetworking(mended, old, True).allowed
    assert not validate_podnetworking(old, mended, True).allowed


def test_a_deletion_in_progress_is_never_held_up() -> None:
    dying = podnetworking_object(vSwitchOptions=[])
    dying["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert validate_podnetworking(dying, podnetworking_object(), True).allowed


@pytest.mark.parametrize(
    ("spec", "warning"),
    [
        ({"allocationType": {"type": "Fixed"}}, "Fixed without releaseStrategy"),
        ({"allocationType": {**HOUR, "type": "Elastic"}}, "no effect unless the type is Fixed"),
        ({"allocationType": {**SHORT, "type": "Elastic"}}, "no effect unless the type is Fixed"),
        ({"securityGroupIDs": groups(6)}, "6 security groups: the product document allows 5"),
        ({"selector": None}, "only the annotation k8s.aliyun.com/pod-networks-request"),
        ({"vSwitchOptions": ["a", "b", "a"]}, "vSwitchOptions names a more than once"),
        ({}, "use a NetworkPolicy"),
    ],
)
def test_what_is_probably_not_meant_is_warned_about(spec: dict[str, Any], warning: str) -> None:
    decision = validate_podnetworking(podnetworking_object(**spec), None, True)
    assert decision.allowed
    assert any(warning in each for each in decision.warnings), decision.warnings
    assert all(len(each) <= 256 for each in decision.warnings)


def test_the_note_on_security_groups_is_not_repeated_when_they_stay() -> None:
    old = podnetworking_object()
    edited = podnetworking_object(allocationType=HOUR)
    assert validate_podnetworking(edited, old, True).warnings == ()


def test_the_same_selectors_elsewhere_are_pointed_out_with_the_one_that_wins() -> None:
    decision = validate_podnetworking(
        podnetworking_object("b"), None, True, [ready_podnetworking("a"), ready_podnetworking("b")]
    )
    assert any("PodNetworking a has the same selectors" in each for each in decision.warnings)
    assert any("Pods get a," in each for each in decision.warnings)


def test_a_name_yet_to_be_generated_is_shown_as_such() -> None:
    new = podnetworking_object(vSwitchOptions=[])
    new["metadata"] = {"generateName": "net-"}
    assert "PodNetworking net-:" in validate_podnetworking(new, None, True).message


def test_wrong_types_are_a_bad_request() -> None:
    broken = podnetworking_object(vSwitchOptions="vsw-1")
    assert validate_podnetworking(broken, None, True).code == 400
    assert mutate_podnetworking(broken, ENI_CONFIG).code == 400
    assert validate_podnetworking(podnetworking_object(), broken, True).allowed


def test_only_gaps_are_filled_and_only_with_what_there_is() -> None:
    new = podnetworking_object(securityGroupIDs=None)
    patched = apply_patch(new, mutate_podnetworking(new, ENI_CONFIG).patch)
    assert patched["spec"]["securityGroupIDs"] == ["sg-default"]
    assert patched["spec"]["vSwitchOptions"] == ["vsw-1", "vsw-2"]
    assert mutate_podnetworking(new, EniConfig()).patch == ()
    assert mutate_podnetworking({"metadata": {"name": "x"}}, ENI_CONFIG).patch == (
        {
            "op": "add",
            "path": "/spec",
            "value": {
                "vSwitchOptions": list(ENI_CONFIG.vswitch_ids),
                "securityGroupIDs": list(ENI_CONFIG.security_group_ids),
            },
        },
    )


def test_an_unreadable_eni_config_is_named() -> None:
    decision = mutate_podnetworking(
        podnetworking_object(vSwitchOptions=None), EniConfigError("eni_conf is not JSON")
    )
    assert (decision.allowed, decision.code) == (False, 400)
    assert "eni_conf is not JSON" in decision.message
