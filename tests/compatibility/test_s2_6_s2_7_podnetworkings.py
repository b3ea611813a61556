"""Reference §2.6, §2.7: PodNetworkings at CREATE."""

from typing import Any

import pytest

from ledger.rules.admission_decision import Decision
from ledger.rules.admission_podnetworkings import mutate_podnetworking, validate_podnetworking
from ledger.rules.eni_config import EniConfigError
from tests.unit.rules.admission_cases import ENI_CONFIG, FOO, apply_patch, podnetworking_object


def created(inject_resource: bool = True, **spec: Any) -> Decision:
    return validate_podnetworking(podnetworking_object(**spec), None, inject_resource)


def test_s2_6_a_complete_one_is_not_touched() -> None:
    assert mutate_podnetworking(podnetworking_object(), ENI_CONFIG).patch == ()


@pytest.mark.parametrize("gap", ["vSwitchOptions", "securityGroupIDs"])
def test_s2_6_whichever_list_is_empty_is_filled(gap: str) -> None:
    nothing: tuple[Any, ...] = (None, [])
    for empty in nothing:
        obj = podnetworking_object("example", **{gap: empty})
        after = apply_patch(obj, mutate_podnetworking(obj, ENI_CONFIG).patch)
        assert after["spec"]["vSwitchOptions"]
        assert after["spec"]["securityGroupIDs"]
        defaults = [list(ENI_CONFIG.vswitch_ids), list(ENI_CONFIG.security_group_ids)]
        assert after["spec"][gap] in defaults


def test_s2_6_no_eni_config_is_left_to_the_validation_and_a_broken_one_denied() -> None:
    gap = podnetworking_object(vSwitchOptions=None)
    decision = mutate_podnetworking(gap, None)
    assert (decision.allowed, decision.message) == (True, "no terway eni-config found")
    assert not mutate_podnetworking(gap, EniConfigError("broken")).allowed


def test_s2_7_step_2_an_eni_type_without_selector_needs_injection() -> None:
    trunk = {"eniType": "Trunk"}
    assert not created(False, selector=None, eniOptions=trunk).allowed
    assert created(True, selector=None, eniOptions=trunk).allowed
    assert created(False, selector=None).allowed
    assert created(False, selector={"podSelector": FOO}, eniOptions=trunk).allowed


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"vSwitchOptions": []}, "vSwitchOptions is not set"),
        ({"securityGroupIDs": []}, "security group is not set"),
        (
            {"securityGroupIDs": [f"sg-{at}" for at in range(11)]},
            "security group can not more than 10",
        ),
        (
            {"allocationType": {"type": "Fixed", "releaseStrategy": "TTL"}},
            "invalid releaseAfter",
        ),
        (
            {"allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1d"}},
            "invalid releaseAfter",
        ),
        (
            {"allocationType": {"type": "Elastic", "releaseStrategy": "TTL", "releaseAfter": "1d"}},
            "invalid releaseAfter",
        ),
        (
            {"allocationType": {"type": "Fixed", "releaseStrategy": "Never", "releaseAfter": "1h"}},
            "must be empty",
        ),
    ],
)
def test_s2_7_steps_3_to_7_denials(spec: dict[str, Any], message: str) -> None:
    decision = created(**spec)
    assert (decision.allowed, decision.code) == (False, 403)
    assert message in decision.message


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"securityGroupIDs": [f"sg-{at}" for at in range(10)]},
        {"allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "2h45m"}},
        {"allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "5m0s"}},
        {"allocationType": {"type": "Fixed", "releaseStrategy": "Never"}},
        {"allocationType": {"type": "Fixed"}},
        {"selector": {"podSelector": {}}},
    ],
)
def test_s2_7_step_8_the_rest_is_checked(spec: dict[str, Any]) -> None:
    decision = created(**spec)
    assert (decision.allowed, decision.message) == (True, "checked")
