"""Where an interface goes, and why it can't go there, in words that say what to do."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.rules.entries import Terms
from ledger.rules.nodes import NodeFacts
from ledger.rules.placing import ASK_FULL_VSWITCH_AGAIN, NoVSwitch, choose_vswitch, place_for
from ledger.rules.vswitches import VSwitchFacts
from tests.unit.rules.lives import START, TERMS, Life, node, place_on, unshuffled, vswitches

NODE = node()
EXCLUSIVE = replace(NODE, exclusive_eni=True)


def wanting(eni_type: str = "Default") -> Allocation:
    return Life(terms=TERMS.model_copy(update={"eni_type": eni_type})).a


def refused(a: Allocation, on: NodeFacts, *, enable_trunk: bool = True) -> str:
    answer = place_for(a, on, enable_trunk=enable_trunk)
    assert isinstance(answer, str)
    return answer


def test_on_a_node_with_a_trunk_it_goes_under_the_trunk() -> None:
    assert place_for(wanting(), NODE, enable_trunk=True) == e.Placed(place=place_on())
    assert place_for(wanting("Trunk"), NODE, enable_trunk=True) == e.Placed(place=place_on())


@pytest.mark.parametrize(
    ("on", "enable_trunk"),
    [
        (EXCLUSIVE, True),
        (NODE, False),
        (EXCLUSIVE, False),
        (replace(EXCLUSIVE, trunk_eni_id=None), True),
    ],
)
@pytest.mark.parametrize("eni_type", ["Default", "ENI"])
def test_without_trunks_it_gets_a_whole_eni(
    on: NodeFacts, enable_trunk: bool, eni_type: str
) -> None:
    placed = place_for(wanting(eni_type), on, enable_trunk=enable_trunk)
    assert isinstance(placed, e.Placed)
    assert placed.place.trunk_eni_id is None


def test_w9_a_fixed_ip_stays_in_its_zone() -> None:
    """The incumbent attaches anyway and repeats the error for ever."""
    why = refused(Life().created().a, node(zone="zone-g"))
    assert "192.168.0.10 lives in zone zone-h" in why
    assert "zone-g" in why
    assert "release the IP" in why


@pytest.mark.parametrize(
    ("a", "on", "enable_trunk", "why"),
    [
        (wanting(), node("node-x"), True, "node node-h1 has not been seen yet"),
        (wanting("Trunk"), EXCLUSIVE, True, "asks for a Trunk ENI"),
        (wanting("Trunk"), NODE, False, "asks for a Trunk ENI"),
        (wanting("ENI"), NODE, True, "asks for a whole ENI"),
        (wanting(), node(trunk=False), True, "trunk eni id not found"),
    ],
)
def test_why_it_can_not_be_there(
    a: Allocation, on: NodeFacts, enable_trunk: bool, why: str
) -> None:
    assert why in refused(a, on, enable_trunk=enable_trunk)


# ---------------------------------------------------------------------------- vSwitches

H1 = VSwitchFacts("vsw-h", "zone-h", "10.0.0.0/24", "", 5)
H2 = VSwitchFacts("vsw-h2", "zone-h", "10.0.1.0/24", "", 50)
G1 = VSwitchFacts("vsw-g", "zone-g", "10.0.2.0/24", "", 500)
KNOWN = vswitches(H1, H2, G1)


def choosing(policy: str = "ordered", full: dict[str, int] | None = None) -> Allocation:
    """`full`: vSwitch -> how many seconds before now it said so."""
    terms = Terms(
        vswitch_ids=("vsw-g", "vsw-h", "vsw-h2"),
        security_group_ids=("sg",),
        selection_policy=policy,
    )
    moments = {id_: START - timedelta(seconds=ago) for id_, ago in (full or {}).items()}
    return Life(terms=terms).a.model_copy(update={"exhausted_vswitches": moments})


def chosen(a: Allocation, zone: str = "zone-h") -> VSwitchFacts | NoVSwitch:
    return choose_vswitch(a, zone, KNOWN, unshuffled, START)


def test_only_the_zone_of_the_node_counts() -> None:
    assert chosen(choosing()) == H1
    assert chosen(choosing(), "zone-g") == G1
    assert chosen(choosing("most")) == H2


def test_a_vswitch_that_just_said_full_is_passed_over() -> None:
    assert chosen(choosing(full={"vsw-h": 0})) == H2
    assert chosen(choosing(full={"vsw-h": 119})) == H2


def test_w4_and_is_asked_again_after_two_minutes() -> None:
    assert chosen(choosing(full={"vsw-h": 120})) == H1


def test_all_full_is_told_with_the_time_of_the_next_try() -> None:
    none = chosen(choosing(full={"vsw-h": 90, "vsw-h2": 30}))
    assert none == NoVSwitch(
        "no ip left in vsw-h, vsw-h2", START - timedelta(seconds=90) + ASK_FULL_VSWITCH_AGAIN
    )


def test_a_zone_without_a_vswitch_waits_for_other_terms() -> None:
    none = chosen(choosing(), "zone-x")
    assert isinstance(none, NoVSwitch)
    assert none.again_at is None
    assert "no available vSwitch for zone zone-x" in none.why


def test_a_vswitch_that_does_not_exist_keeps_nobody_from_the_others() -> None:
    a = choosing()
    assert choose_vswitch(a, "zone-h", vswitches(H2), unshuffled, START) == H2
