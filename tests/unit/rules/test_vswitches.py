"""vSwitch choice: only the zone decides what is tried, estimates decide when."""

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.vswitches import VSwitchFacts, no_vswitch_message, order_vswitches


def vswitch(id_: str, zone: str = "h", free: int | None = 100) -> VSwitchFacts:
    return VSwitchFacts(id_, zone, "10.0.0.0/24", "", free)


def unshuffled(ids: Sequence[str]) -> Sequence[str]:
    return ids


def reverse(ids: Sequence[str]) -> Sequence[str]:
    return tuple(reversed(ids))


def test_ordered_keeps_the_given_order_and_leaves_out_other_zones() -> None:
    candidates = [vswitch("c"), vswitch("b", zone="g"), vswitch("a")]
    assert order_vswitches("ordered", "h", candidates, reverse) == ("c", "a")
    assert order_vswitches("", "h", candidates, reverse) == ("c", "a")
    assert order_vswitches("ordered", "x", candidates, reverse) == ()


def test_most_is_by_estimate_with_unknown_after_known() -> None:
    candidates = [vswitch("few", free=1), vswitch("unknown", free=None), vswitch("many", free=9)]
    assert order_vswitches("most", "h", candidates, reverse) == ("many", "few", "unknown")


def test_most_keeps_the_given_order_among_equals() -> None:
    assert order_vswitches("most", "h", [vswitch("b"), vswitch("a")], reverse) == ("b", "a")


def test_random_is_the_given_shuffle() -> None:
    assert order_vswitches("random", "h", [vswitch("a"), vswitch("b")], reverse) == ("b", "a")


def test_an_empty_one_goes_behind_and_a_recently_exhausted_one_last() -> None:
    candidates = [vswitch("tried"), vswitch("empty", free=0), vswitch("good", free=None)]
    for policy in ("ordered", "most", "random"):
        assert order_vswitches(policy, "h", candidates, unshuffled, {"tried"}) == (
            "good",
            "empty",
            "tried",
        )


def test_a_vswitch_named_twice_is_tried_once() -> None:
    assert order_vswitches("ordered", "h", [vswitch("a"), vswitch("a")], unshuffled) == ("a",)


facts = st.builds(
    VSwitchFacts,
    id=st.sampled_from("abcdef"),
    zone=st.sampled_from("gh"),
    cidr=st.just("10.0.0.0/24"),
    free_estimate=st.none() | st.integers(0, 3),
)


@given(
    st.lists(facts, max_size=8, unique_by=lambda each: each.id),
    st.sampled_from(["ordered", "most", "random"]),
    st.sets(st.sampled_from("abcdef")),
    st.randoms(use_true_random=False),
)
def test_estimates_never_refuse_a_vswitch_of_the_zone(
    candidates: list[VSwitchFacts], policy: str, exhausted: set[str], dice: random.Random
) -> None:
    ordered = order_vswitches(
        policy, "h", candidates, lambda ids: dice.sample(list(ids), len(ids)), exhausted
    )
    assert sorted(ordered) == sorted(each.id for each in candidates if each.zone == "h")


def test_the_message_names_zone_switches_and_next_step() -> None:
    message = no_vswitch_message("h", ["a", "b"], [vswitch("a", zone="g")])
    assert message.startswith("no available vSwitch for zone h: of a (zone g), b (not found); add")
