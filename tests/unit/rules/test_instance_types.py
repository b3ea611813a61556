"""What an instance carries, whose slot an allocation takes, and when a look is worth a call."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ledger.rules.instance_types import Carrier, InstanceTypeFacts, carrier_of, no_room
from ledger.rules.placing import carrier_on, outdated, place_for, vswitches_to_look_at
from ledger.rules.vswitches import VSwitchFacts
from tests.unit.rules.lives import START, TERMS, Life, node, place_on, vswitches

NODE = node()
TRUNK_TYPE = InstanceTypeFacts(
    "ecs.g7.2xlarge", START, trunk_supported=True, eni_quantity=4, eni_total_quantity=24
)
SMALL_TYPE = InstanceTypeFacts("ecs.t6", START, eni_quantity=2, eni_total_quantity=2)


@pytest.mark.parametrize(
    ("ordinary", "total", "supported", "members", "most"),
    [
        (4, 24, True, 20, 22),
        (4, 24, False, 0, 0),  # quotas are published for types without trunk support too
        (4, 3, True, 0, 1),
        (2, 1, True, 0, 0),
    ],
)
def test_members_are_what_a_type_has_beside_its_ordinary_enis(
    ordinary: int, total: int, supported: bool, members: int, most: int
) -> None:
    facts = InstanceTypeFacts("t", START, True, supported, ordinary, total)
    assert facts.member_limit == members
    assert facts.most_members == most
    assert facts.most_exclusive == ordinary - 1


@pytest.mark.parametrize(
    ("advertised", "carried", "room"),
    [
        (None, 19, True),
        (None, 20, False),
        (10, 19, True),  # a node that advertises less only steers the scheduler
        (21, 20, True),
        (21, 21, False),
        (99, 21, True),
        (99, 22, False),  # more than the type can carry at all is not believed
    ],
)
def test_room_under_a_trunk(advertised: int | None, carried: int, room: bool) -> None:
    on = replace(NODE, member_eni_allocatable=advertised)
    why = no_room(on, TRUNK_TYPE, carried, trunk=True)
    assert (why is None) is room
    if why is not None:
        assert NODE.name in why
        assert TRUNK_TYPE.id in why


def test_room_for_whole_enis() -> None:
    assert no_room(NODE, TRUNK_TYPE, 2, trunk=False) is None
    assert "allows 3 ENIs beside its primary one" in str(no_room(NODE, TRUNK_TYPE, 3, trunk=False))


def test_a_type_that_is_not_known_refuses_nobody() -> None:
    assert no_room(NODE, InstanceTypeFacts("new", START, known=False), 999, trunk=True) is None


def test_a_type_without_trunk_support_is_told_also_where_no_trunk_is() -> None:
    for on in (NODE, replace(NODE, trunk_eni_id=None)):
        why = place_for(Life().a, on, enable_trunk=True, limits=SMALL_TYPE)
        assert "does not support a trunk" in str(why)
    exclusive = replace(NODE, exclusive_eni=True)
    assert not isinstance(place_for(Life().a, exclusive, enable_trunk=True, limits=SMALL_TYPE), str)


def test_an_ignored_node_gets_no_eni() -> None:
    why = place_for(Life().a, replace(NODE, ignored=True, instance_id=""), enable_trunk=True)
    assert "takes no part" in str(why)


def test_limits_are_stale_after_a_day() -> None:
    assert not TRUNK_TYPE.stale(START + timedelta(hours=23))
    assert TRUNK_TYPE.stale(START + timedelta(hours=24))


def test_whose_slot_an_allocation_takes() -> None:
    life, here = Life(), Carrier("i-node-h1", "eni-trunk-node-h1")
    assert carrier_of(life.a) is None
    assert carrier_of(life.placed().a) == here, "a place is a slot before the ENI is there"
    assert carrier_of(life.bound().a) == here
    life.gone()
    assert carrier_of(life.a) == here, "as long as it is attached"
    assert carrier_of(life.taken_off().a) is None
    assert carrier_of(Life().created().gone().a) is None, "a Pod that is gone needs no slot"
    assert carrier_on(NODE, enable_trunk=True) == here
    assert carrier_on(NODE, enable_trunk=False) == Carrier("i-node-h1", None)


def test_a_replaced_node_or_trunk_makes_a_place_outdated() -> None:
    place = place_on()
    assert not outdated(place, NODE)
    assert outdated(place, replace(NODE, instance_id="i-new"))
    assert outdated(place, replace(NODE, trunk_eni_id="eni-new"))
    assert not outdated(place, replace(NODE, trunk_eni_id=None)), "missing for a moment"


def to_look_at(policy: str, *known: VSwitchFacts, minutes: float) -> tuple[str, ...]:
    ids = ("vsw-a", "vsw-b", "vsw-g")
    terms = TERMS.model_copy(update={"vswitch_ids": ids, "selection_policy": policy})
    now = START + timedelta(minutes=minutes)
    return vswitches_to_look_at(Life(terms=terms).a, "zone-h", vswitches(*known), now)


def looked_at(id_: str, free: int = 9, zone: str = "zone-h") -> VSwitchFacts:
    return VSwitchFacts(id_, zone, "10.0.0.0/24", "", free, START)


A, B, ELSEWHERE = looked_at("vsw-a"), looked_at("vsw-b"), looked_at("vsw-g", zone="zone-g")


def test_w4_counts_are_looked_at_again_where_they_matter() -> None:
    assert to_look_at("ordered", A, minutes=0) == ("vsw-b", "vsw-g"), "the unknown ones"
    assert to_look_at("ordered", A, B, ELSEWHERE, minutes=999) == ()
    assert to_look_at("most", A, B, ELSEWHERE, minutes=4.9) == ()
    assert to_look_at("most", A, B, ELSEWHERE, minutes=5) == ("vsw-a", "vsw-b")
    empty = looked_at("vsw-a", free=0)
    assert to_look_at("ordered", empty, B, ELSEWHERE, minutes=1.9) == ()
    assert to_look_at("ordered", empty, B, ELSEWHERE, minutes=2) == ("vsw-a",)
    other = looked_at("vsw-b", zone="zone-g")
    assert to_look_at("most", empty, other, ELSEWHERE, minutes=99) == (), "there is no choice"
