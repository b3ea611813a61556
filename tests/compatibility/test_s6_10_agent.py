"""Reference §6.10: what the node agent accepts, held against every write we make.

`accepts` is the agent's own test, written from the reference.
"""

import json
from dataclasses import replace
from typing import Any

import pytest

from ledger.rules import entries as e
from ledger.rules.admission_networks import Refused, check_networks
from ledger.rules.allocation import Allocation
from ledger.rules.networks import NetworkRequest, NetworksError, networks_to_allocate
from ledger.rules.podeni import next_write
from ledger.rules.pods import PodFacts
from tests.unit.rules.lives import Life

TRUNK_1, TRUNK_2 = "eni-trunk-node-h1", "eni-trunk-node-h2"


def accepts(podeni: dict[str, Any], pod_uid: str, trunk: str | None) -> bool:
    """Whether the agent of the node with this trunk wires the Pod; asserts what is a hard error."""
    metadata, status = podeni["metadata"], podeni.get("status", {})
    if metadata.get("deletionTimestamp") or status.get("phase") != "Bind":
        return False
    if metadata["annotations"].get("k8s.aliyun.com/pod-uid") != pod_uid:
        return False
    if trunk is not None:
        assert status["trunkENIID"] == trunk, "PodENI used a different trunk"
    listed = podeni["spec"]["allocations"]
    assert listed
    assert sum(bool(item.get("defaultRoute")) for item in listed) <= 1
    assert any(item["interface"] in ("", "eth0") for item in listed)
    for item in listed:
        info = status["eniInfos"][item["eni"]["id"]]
        assert info["status"] == "Bind"
        assert ("vid" in info) is (trunk is not None), "the VLAN on the trunk"
        assert item["ipv4"]
        assert item["ipv4CIDR"]
    return True


def written(
    live: dict[str, Any] | None, phase: str, allocations: list[Allocation]
) -> list[dict[str, Any]]:
    """Every state the PodENI goes through on its way to `phase`, as the API server would keep it."""
    states: list[dict[str, Any]] = []
    for _ in range(9):
        write = next_write(live, phase, allocations, Life().now)
        if write is None:
            return states
        live = {**write.obj, "metadata": {**write.obj["metadata"], "uid": "pe-1"}}
        if write.verb == "create":
            live.pop("status", None)
        states.append(live)
    raise AssertionError(f"no end of writing {phase}")


def test_only_the_last_write_of_a_bind_is_accepted_and_it_is_complete() -> None:
    states = written(None, "Bind", [Life().created().shown("Initial").attached().a])
    assert [accepts(state, "uid-1", TRUNK_1) for state in states] == [False] * (len(states) - 1) + [
        True
    ]


def test_several_interfaces_are_accepted() -> None:
    lives = [Life(), Life(number=2, interface="eth1")]
    allocations = [life.created().shown("Initial").attached(1000 + life.number).a for life in lives]
    assert accepts(written(None, "Bind", allocations)[-1], "uid-1", TRUNK_1)


def test_a_whole_eni_is_accepted_by_an_agent_without_a_trunk() -> None:
    life = Life().placed()
    assert life.a.place is not None
    life.tell(e.Placed(place=life.a.place.model_copy(update={"trunk_eni_id": None})))
    address = Life().created().a.address
    life.call("CreateNetworkInterface", address, vswitch_id="vsw-h").shown("Initial")
    life.call("AttachNetworkInterface", eni="eni-1", instance_id="i-node-h1")
    life.tell(
        e.Attached(instance_id="i-node-h1", trunk_eni_id=None, vlan=None, eni_type="Secondary")
    )
    podeni = written(None, "Bind", [life.a])[-1]
    assert accepts(podeni, "uid-1", None)
    (info,) = podeni["status"]["eniInfos"].values()
    assert info["type"] == "Secondary"


def test_no_write_of_a_rebind_is_accepted_for_the_wrong_pod_or_on_the_wrong_node() -> None:
    life = Life().created().shown("Initial").attached()
    live = written(None, "Bind", [life.a])[-1]
    life.shown("Bind").gone()
    seen = written(live, "Detaching", [life.a])
    life.shown("Detaching").taken_off()
    seen += written(seen[-1], "Unbind", [life.a])
    life.shown("Unbind").tell(e.Claimed(pod_uid="uid-2", node="node-h2"))
    life.placed().attached(vlan=1007)
    seen += written(seen[-1], "Bind", [life.a])
    for state in seen:
        assert not accepts(state, "uid-1", TRUNK_1)
    assert [accepts(state, "uid-2", TRUNK_2) for state in seen].count(True) == 1
    assert accepts(seen[-1], "uid-2", TRUNK_2)


def test_what_the_agent_fails_on_never_gets_that_far() -> None:
    eth0 = NetworkRequest("eth0", ("vsw-h",), ("sg-1",), default_route=True)
    eth1 = replace(eth0, interface="eth1")
    with pytest.raises(Refused):
        check_networks(PodFacts("shop", "web-0"), (eth0, eth1), ())
    with pytest.raises(Refused):
        check_networks(PodFacts("shop", "web-0"), (replace(eth1, default_route=None),), ())
    shown = [network.to_object() for network in (eth0, eth1)]
    with pytest.raises(NetworksError, match="default route"):
        networks_to_allocate(json.dumps({"podNetworks": shown}))
