"""Reference §6.2: attaching, as far as a PodENI and the cloud's calls show it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ledger.rules.allocation import Allocation
from ledger.rules.nodes import NodeFacts
from ledger.rules.placing import place_for
from ledger.rules.planning import Call, LookAtPod, Surroundings, Wait, WritePodEni, plan
from ledger.rules.podeni import next_write
from tests.unit.rules.lives import ELASTIC_TERMS, NONE, START, TERMS, Life, node, vswitches

NODE = node()
EXCLUSIVE = replace(NODE, exclusive_eni=True, trunk_eni_id=None)


def step(allocations: Sequence[Allocation], on: NodeFacts = NODE) -> object:
    surroundings = Surroundings(START, on, vswitches(), tuple, asked=("limits",))
    return plan(allocations, surroundings)


def test_2_the_pod_must_exist_before_anything_is_attached() -> None:
    first = step([Life().a])
    assert isinstance(first, LookAtPod)
    assert first.question == "presence"


def test_2_the_node_must_exist_and_be_readable() -> None:
    for on in (None, "node node-h1 has no label topology.kubernetes.io/zone"):
        waits = plan([Life().a], Surroundings(START, on, vswitches(), tuple))
        assert isinstance(waits, Wait)
        assert waits.problem


def test_3_an_eni_only_pod_is_refused_on_a_trunk_node() -> None:
    a = Life(terms=TERMS.model_copy(update={"eni_type": "ENI"})).a
    assert "has a trunk" in str(place_for(a, NODE, enable_trunk=True))


def test_3_without_the_trunk_annotation_it_is_an_error_in_the_incumbents_words() -> None:
    why = place_for(Life().a, replace(NODE, trunk_eni_id=None), enable_trunk=True)
    assert "trunk eni id not found, this may due to terway agent is not started" in str(
        str(why).replace(f" on node {NODE.name}", "")
    )


@pytest.mark.parametrize("enable_trunk", [True, False])
def test_3_a_node_of_whole_enis_blanks_the_trunk(enable_trunk: bool) -> None:
    on = EXCLUSIVE if enable_trunk else NODE
    placed = place_for(Life().a, on, enable_trunk=enable_trunk)
    assert not isinstance(placed, str)
    assert placed.place.trunk_eni_id is None


def test_4_an_elastic_pod_never_takes_up_what_an_earlier_one_left() -> None:
    left = Life(terms=ELASTIC_TERMS, retention=NONE).bound().gone().releasing("elastic")
    found = step([left.a])
    assert isinstance(found, WritePodEni)
    assert found.phase == "Deleting"


def test_5_the_attach_names_eni_instance_and_trunk_once() -> None:
    ready = Life().created().shown("Initial")
    call = step([ready.a])
    assert isinstance(call, Call)
    assert (call.api, call.parameters) == (
        "AttachNetworkInterface",
        {"eni": "eni-1", "instance_id": "i-node-h1", "trunk_eni_id": "eni-trunk-node-h1"},
    )


def test_5_w8_what_is_attaching_is_looked_at_and_not_attached_again() -> None:
    attaching = Life().created().shown("Initial").attaching()
    looked = plan(
        [attaching.a],
        Surroundings(attaching.now, NODE, vswitches(), tuple, looked=(attaching.id,)),
    )
    assert isinstance(looked, Wait)


def test_6_the_status_says_all_at_once_and_interfaces_are_sorted() -> None:
    lives = [Life(number=number, interface=name) for number, name in ((2, "eth1"), (1, "eth0"))]
    for at, life in enumerate(lives):
        life.created().shown("Initial").attached(vlan=1001 + at)
    found = step([life.a for life in lives])
    assert isinstance(found, WritePodEni)
    assert found.phase == "Bind"
    assert [a.interface for a in found.allocations] == ["eth0", "eth1"]
    made = next_write(None, "Bind", found.allocations, START)
    assert made is not None
    live = {**made.obj, "metadata": {**made.obj["metadata"], "uid": "pe-1"}}
    write = next_write(live, "Bind", found.allocations, START)
    assert write is not None
    assert write.verb == "replace-status"
    status = write.obj["status"]
    assert status["phase"] == "Bind"
    assert (status["instanceID"], status["trunkENIID"]) == ("i-node-h1", "eni-trunk-node-h1")
    assert {(i["id"], i["type"], i["vid"], i["status"]) for i in status["eniInfos"].values()} == {
        ("eni-1", "Member", 1002, "Bind"),
        ("eni-2", "Member", 1001, "Bind"),
    }
