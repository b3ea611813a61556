"""Reference §5.2: the order in which vSwitches are tried."""

from collections.abc import Sequence

from ledger.rules.vswitches import VSwitchFacts, no_vswitch_message, order_vswitches


def vswitch(id_: str, zone: str, free: int) -> VSwitchFacts:
    return VSwitchFacts(id_, zone, "10.0.0.0/24", "", free)


def backwards(ids: Sequence[str]) -> Sequence[str]:
    return tuple(reversed(ids))


CANDIDATES = [vswitch("a", "h", 5), vswitch("b", "g", 99), vswitch("c", "h", 50)]


def test_ordered_and_unset_are_as_given() -> None:
    assert order_vswitches("ordered", "h", CANDIDATES, backwards) == ("a", "c")
    assert order_vswitches("", "h", CANDIDATES, backwards) == ("a", "c")


def test_random_is_a_shuffle_that_leaves_the_callers_list_alone() -> None:
    given = list(CANDIDATES)
    assert order_vswitches("random", "h", given, backwards) == ("c", "a")
    assert given == CANDIDATES


def test_most_is_by_free_addresses_descending() -> None:
    assert order_vswitches("most", "h", CANDIDATES, backwards) == ("c", "a")


def test_another_zone_is_skipped_and_one_without_addresses_is_not_first() -> None:
    candidates = [vswitch("full", "h", 0), vswitch("elsewhere", "g", 9), vswitch("good", "h", 1)]
    assert order_vswitches("ordered", "h", candidates, backwards)[0] == "good"


def test_the_error_always_names_the_zone() -> None:
    message = no_vswitch_message("x", ["a"], CANDIDATES)
    assert "no available vSwitch for zone x" in message
