"""Reference §2.4: several networks, by reference to PodNetworkings."""

import json
from typing import Any

import pytest

from ledger.rules.podnetworkings import PodNetworking
from tests.compatibility.conftest import Admission
from tests.unit.rules.admission_cases import FOO, pod_object, ready_podnetworking


def requesting(*references: dict[str, Any]) -> dict[str, Any]:
    return pod_object(annotations={"k8s.aliyun.com/pod-networks-request": json.dumps(references)})


def plain(name: str, **spec: Any) -> PodNetworking:
    return ready_podnetworking(name, **{"selector": None, **spec})


def test_each_is_copied_with_its_interface_route_and_routes(admit: Admission) -> None:
    found = admit(
        requesting(
            {"network": "a"},
            {
                "network": "b",
                "interfaceName": "eth1",
                "defaultRoute": True,
                "routes": [{"dst": "10.0.0.0/8"}],
            },
        ),
        [plain("a"), plain("b", vSwitchOptions=["vsw-b"])],
    )
    eth0, eth1 = found.networks
    assert (eth0["interface"], eth1["interface"]) == ("eth0", "eth1")
    assert "defaultRoute" not in eth0
    assert "extraRoutes" not in eth0
    assert (eth1["defaultRoute"], eth1["extraRoutes"]) == (True, [{"dst": "10.0.0.0/8"}])
    assert eth1["vSwitchOptions"] == ["vsw-b"]
    assert found.resources[0]["limits"] == {"aliyun/member-eni": "2"}
    assert "k8s.aliyun.com/pod-networking" not in found.annotations


def test_a_default_route_that_is_false_is_not_copied(admit: Admission) -> None:
    found = admit(requesting({"network": "a", "defaultRoute": False}), [plain("a")])
    assert "defaultRoute" not in found.networks[0]


@pytest.mark.parametrize(
    ("podnetworkings", "message"),
    [
        ([], "PodNetworking a of pod-networks-request not found"),
        ([plain("a", status="Fail")], "is not Ready"),
        ([plain("a", status="")], "is not Ready"),
        ([plain("a", selector={"podSelector": FOO})], "has a selector"),
        ([plain("a", selector={"namespaceSelector": {}})], "has a selector"),
    ],
)
def test_what_a_reference_cannot_name(
    admit: Admission, podnetworkings: list[PodNetworking], message: str
) -> None:
    decision = admit(requesting({"network": "a"}), podnetworkings).decision
    assert (decision.allowed, decision.code) == (False, 403)
    assert message in decision.message


def test_all_need_the_same_eni_type(admit: Admission) -> None:
    decision = admit(
        requesting({"network": "a"}, {"network": "b", "interfaceName": "eth1"}),
        [plain("a"), plain("b", eniOptions={"eniType": "Trunk"})],
    ).decision
    assert "has different eni attach type" in decision.message


def test_two_without_an_interface_are_duplicates(admit: Admission) -> None:
    decision = admit(
        requesting({"network": "a"}, {"network": "b"}), [plain("a"), plain("b")]
    ).decision
    assert "duplicated interface eth0" in decision.message


def test_the_zones_are_those_that_all_have(admit: Admission) -> None:
    found = admit(
        requesting({"network": "a"}, {"network": "b", "interfaceName": "eth1"}),
        [plain("a", zones=("zone-g", "zone-h")), plain("b", zones=("zone-h", "zone-i"))],
    )
    assert found.zone_terms == [[["zone-h"]]]
