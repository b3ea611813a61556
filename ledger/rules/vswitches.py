"""Which vSwitch to try first: only those of the node's zone, in the order the policy wants.

Free addresses are an estimate, because others use a vSwitch too: they decide the order and never
that a vSwitch is not tried (the incumbent blacklists one for 20 minutes, reference §5.2).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class VSwitchFacts:
    """One vSwitch as last seen, at `looked_at`. `ipv6_cidr` is "" without IPv6, `free_estimate`
    None if unknown."""

    id: str
    zone: str
    cidr: str
    ipv6_cidr: str = ""
    free_estimate: int | None = None
    looked_at: datetime | None = None


Shuffle = Callable[[Sequence[str]], Sequence[str]]


def order_vswitches(
    policy: str,
    zone: str,
    candidates: Sequence[VSwitchFacts],
    shuffle: Shuffle,
    recently_exhausted: Collection[str] = (),
) -> tuple[str, ...]:
    """The vSwitches of `zone` among `candidates`, in the order to try them, each id once.

    `ordered` (also "" and anything unknown) keeps the given order, `random` is `shuffle` of it,
    `most` puts the largest estimate first and unknown ones after known ones. Whatever the policy, a
    vSwitch estimated empty goes behind the others, and one that refused recently
    (`recently_exhausted`) goes last. Empty when the zone has none.
    """
    here = {each.id: each for each in candidates if each.zone == zone}
    ids: Sequence[str] = tuple(here)
    if policy == "random":
        ids = tuple(shuffle(ids))
    elif policy == "most":
        ids = sorted(ids, key=lambda id_: -_free_or_minus_one(here[id_]))

    def misfortune(id_: str) -> int:
        if id_ in recently_exhausted:
            return 2
        return 1 if here[id_].free_estimate == 0 else 0

    return tuple(sorted(ids, key=misfortune))


def no_vswitch_message(zone: str, wanted: Sequence[str], candidates: Sequence[VSwitchFacts]) -> str:
    """Why `order_vswitches` found nothing for `zone`; begins as the incumbent's error does."""
    zones = {each.id: each.zone for each in candidates}
    listed = ", ".join(
        f"{id_} ({'zone ' + zones[id_] if id_ in zones else 'not found'})" for id_ in wanted
    )
    return (
        f"no available vSwitch for zone {zone}: of {listed or 'none'}; add a vSwitch of this zone "
        f"to vSwitchOptions, or schedule the Pod to a zone that has one"
    )


def _free_or_minus_one(vswitch: VSwitchFacts) -> int:
    return -1 if vswitch.free_estimate is None else vswitch.free_estimate
