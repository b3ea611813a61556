"""Reference §5.3: what a scheduled Pod gets, and what it doesn't."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.rules.placing import place_for
from ledger.rules.pod_decisions import PodDecision, SeenPod, decide_pod
from ledger.rules.podeni import next_write
from ledger.rules.pods import PodFacts
from tests.unit.rules.lives import Life, node

COMPLETE = {"vSwitchOptions": ["vsw-h"], "securityGroupIDs": ["sg-1"]}


def decided(
    *networks: Mapping[str, Any],
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    held: Sequence[Allocation] = (),
    uid: str = "uid-1",
    **spec: Any,
) -> PodDecision:
    """What follows from a scheduled Pod with these networks."""
    written = {
        "k8s.aliyun.com/pod-eni": "true",
        "k8s.aliyun.com/pod-networks": json.dumps({"podNetworks": list(networks)}),
    }
    pod = PodFacts.from_object(
        {
            "metadata": {
                "namespace": "shop",
                "name": "web-0",
                "uid": uid,
                "labels": dict(labels or {}),
                "annotations": written if annotations is None else dict(annotations),
            },
            "spec": {"nodeName": "node-h1", "containers": [{"name": "c"}], **spec},
        }
    )
    return decide_pod(SeenPod("c1", "shop", "web-0", uid, pod), held, lambda: UUID(int=1))


def requests(decision: PodDecision) -> list[e.Requested]:
    return [d.entry for d in decision.decisions if isinstance(d.entry, e.Requested)]


def test_a_b_who_is_left_alone() -> None:
    assert requests(decided(COMPLETE, hostNetwork=True)) == []
    assert requests(decided(COMPLETE, labels={"k8s.aliyun.com/ignore-by-terway": "true"})) == []
    assert requests(decided(COMPLETE, nodeName="")) == []
    assert requests(decided(COMPLETE, annotations={})) == []
    assert requests(decided(COMPLETE, annotations={"k8s.aliyun.com/pod-eni": "false"})) == []


def test_a_an_ignored_node_gets_no_eni() -> None:
    virtual = node()
    object_ = {
        "metadata": {"name": virtual.name, "labels": {"type": "virtual-kubelet"}},
        "spec": {},
    }
    assert isinstance(
        place_for(Life().a, type(virtual).from_object(object_), enable_trunk=True), str
    )


def test_c_what_exists_is_never_made_a_second_time() -> None:
    for life in (Life(), Life().created(), Life().bound()):
        assert requests(decided(COMPLETE, held=[life.a])) == []


def test_c_a_new_pod_under_an_old_binding_waits_for_it_to_be_detached() -> None:
    decision = decided(COMPLETE, held=[Life().bound().a], uid="uid-2")
    assert [type(d.entry) for d in decision.decisions] == [e.GoneReported]


@pytest.mark.parametrize("network", [{"vSwitchOptions": ["vsw-h"]}, {"securityGroupIDs": ["sg-1"]}])
def test_d_a_gap_is_an_error_and_nothing_is_made_of_the_others(network: dict[str, Any]) -> None:
    decision = decided(COMPLETE, network | {"interface": "eth1"})
    assert decision.decisions == ()
    assert "eth1" in str(decision.problem)


def test_d_nothing_asked_for_is_told_in_the_incumbents_words() -> None:
    assert "podNetworking is empty" in str(decided().problem)


def test_d_the_interface_defaults_to_eth0() -> None:
    (request,) = requests(decided(COMPLETE))
    assert request.interface == "eth0"


def test_d_the_terms_are_the_annotations() -> None:
    allocation = {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1h"}
    (request,) = requests(
        decided(COMPLETE | {"allocationType": allocation, "extraRoutes": [{"dst": "10.0.0.0/8"}]})
    )
    assert (request.terms.allocation_type, request.terms.release_after) == ("Fixed", "1h")
    assert request.terms.extra_routes == ("10.0.0.0/8",)
    assert request.retention == e.Retention(rule="ttl", after_s=3600)


def test_d_w11_what_the_incumbent_drops_is_kept_in_the_terms() -> None:
    (request,) = requests(
        decided(
            COMPLETE
            | {
                "defaultRoute": True,
                "resourceGroupID": "rg-1",
                "networkInterfaceTrafficMode": "HighPerformance",
            }
        )
    )
    terms = request.terms
    assert (terms.default_route, terms.resource_group_id) == (True, "rg-1")
    assert terms.traffic_mode == "HighPerformance"


def test_e_the_podeni_has_the_incumbents_metadata_and_no_attachment_options() -> None:
    write = next_write(None, "Initial", [Life().created().a], Life().now)
    assert write is not None
    metadata, spec = write.obj["metadata"], write.obj["spec"]
    assert metadata["finalizers"] == ["network.alibabacloud.com/pod-eni"]
    assert metadata["annotations"] == {"k8s.aliyun.com/pod-uid": "uid-1"}
    assert metadata["labels"] == {"k8s.aliyun.com/node": "node-h1"}
    assert "ownerReferences" not in metadata
    assert spec["zone"] == "zone-h"
    (shown,) = spec["allocations"]
    assert "attachmentOptions" not in shown["eni"]
    assert shown["ipv4CIDR"] == "192.168.0.0/19"


@pytest.mark.parametrize("carry", [False, True])
def test_e_the_default_route_is_dropped_unless_the_setting_says_otherwise(carry: bool) -> None:
    life = Life(terms=Life().a.terms.model_copy(update={"default_route": True})).created()
    write = next_write(None, "Initial", [life.a], life.now, carry_default_route=carry)
    assert write is not None
    (shown,) = write.obj["spec"]["allocations"]
    assert shown.get("defaultRoute", False) is carry


def test_5_5_a_reused_eni_keeps_its_terms_whatever_the_new_pod_asks_for() -> None:
    reserved = Life().reserved()
    other = {"vSwitchOptions": ["vsw-other"], "securityGroupIDs": ["sg-other"]}
    (only,) = decided(other, held=[reserved.a], uid="uid-2").decisions
    assert isinstance(only.entry, e.Claimed)
    claimed = reserved.tell(only.entry).a
    assert (claimed.terms.vswitch_ids, claimed.terms.security_group_ids) == (("vsw-h",), ("sg-1",))
    assert claimed.address == Life().created().a.address
