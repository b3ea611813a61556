"""Where an interface goes: which instance and trunk take it, and which vSwitch it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.rules.allocation import Allocation
from ledger.rules.entries import Place, Placed
from ledger.rules.instance_types import Carrier, InstanceTypeFacts, no_room
from ledger.rules.nodes import NodeFacts
from ledger.rules.vswitches import Shuffle, VSwitchFacts, no_vswitch_message, order_vswitches

# A vSwitch that said it is full is asked again after this long; the incumbent's blacklist lasts
# 20 minutes, long after addresses were freed (reference W4).
ASK_FULL_VSWITCH_AGAIN = timedelta(minutes=2)
# `most` compares counts, so they must not be older than this (the incumbent: up to 20 minutes).
COUNTS_STALE_AFTER = timedelta(minutes=5)


#: What has no place for this long has its Pod looked at: nobody else may ever tell that it is gone.
UNSERVED_LOOK = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class NoVSwitch:
    """No vSwitch can be tried now; `again_at` is when one can, None when the terms have to change."""

    why: str
    again_at: datetime | None


def gives_whole_enis(node: NodeFacts, *, enable_trunk: bool) -> bool:
    """Whether Pods of this node get an ENI each instead of a member of its trunk."""
    return node.exclusive_eni or not enable_trunk


def carrier_on(node: NodeFacts, *, enable_trunk: bool) -> Carrier:
    """What ENIs of Pods on this node are attached to; a trunk that isn't there yet is None."""
    exclusive = gives_whole_enis(node, enable_trunk=enable_trunk)
    return Carrier(node.instance_id, None if exclusive else node.trunk_eni_id)


def outdated(place: Place, node: NodeFacts) -> bool:
    """Whether the node was replaced under its name, or has another trunk, since the place was taken.

    A trunk annotation that is missing for a moment is no other trunk.
    """
    if place.instance_id != node.instance_id:
        return True
    return place.trunk_eni_id is not None and node.trunk_eni_id not in (None, place.trunk_eni_id)


def place_for(
    a: Allocation,
    node: NodeFacts,
    *,
    enable_trunk: bool,
    limits: InstanceTypeFacts | None = None,
    carried: int = 0,
) -> Placed | str:
    """The place of an interface on its node, or why it can't be there, for a person to read.

    `limits` are those of the node's instance type, None where they are not known; `carried` counts
    the ENIs of ours that are on the node's carrier, or on their way there.
    """
    if node.name != a.node:
        return f"node {a.node} has not been seen yet"
    if node.ignored:
        return (
            f"node {node.name} takes no part (label k8s.aliyun.com/ignore-by-terway, or a virtual "
            "kubelet): schedule the Pod to another node"
        )
    exclusive = gives_whole_enis(node, enable_trunk=enable_trunk)
    if a.terms.eni_type == "Trunk" and exclusive:
        return (
            f"node {node.name} gives each Pod a whole ENI, and the Pod asks for a Trunk ENI: "
            "schedule it to a node with a trunk, or ask for eniType Default"
        )
    if a.terms.eni_type == "ENI" and not exclusive:
        return (
            f"node {node.name} has a trunk, and the Pod asks for a whole ENI (eniType ENI): the "
            "node agent would take it for a VLAN; use an exclusive-ENI node, or eniType Default"
        )
    full = None if limits is None else no_room(node, limits, carried, trunk=not exclusive)
    if not exclusive and node.trunk_eni_id is None:
        if limits is not None and limits.known and not limits.trunk_supported and full:
            return full
        return (
            f"trunk eni id not found on node {node.name}, this may due to terway agent is not "
            f"started: its annotation k8s.aliyun.com/trunk-on is missing"
        )
    if a.address is not None and a.address.zone != node.zone:
        return (
            f"the fixed IP {a.address.ipv4} lives in zone {a.address.zone} and node {node.name} is "
            f"in {node.zone}: move the Pod back to {a.address.zone}, or release the IP"
        )
    if full is not None:
        return full
    place = Place(
        node=node.name,
        instance_id=node.instance_id,
        zone=node.zone,
        trunk_eni_id=None if exclusive else node.trunk_eni_id,
    )
    return Placed(place=place)


def vswitches_to_look_at(
    a: Allocation, zone: str, known: Mapping[str, VSwitchFacts], now: datetime
) -> tuple[str, ...]:
    """Those nobody has looked at, and those whose count is too old for the choice to be made.

    A count matters to `most`, and to any policy where it says that a vSwitch is empty.
    """
    here = [known[id_] for id_ in a.terms.vswitch_ids if id_ in known and known[id_].zone == zone]
    stale = set()
    for each in here if len(here) > 1 else ():
        age = now - each.looked_at if each.looked_at is not None else None
        compared = a.terms.selection_policy == "most" and (age is None or age >= COUNTS_STALE_AFTER)
        empty = each.free_estimate == 0 and (age is None or age >= ASK_FULL_VSWITCH_AGAIN)
        if compared or empty:
            stale.add(each.id)
    return tuple(id_ for id_ in a.terms.vswitch_ids if id_ not in known or id_ in stale)


def choose_vswitch(
    a: Allocation,
    zone: str,
    known: Mapping[str, VSwitchFacts],
    shuffle: Shuffle,
    now: datetime,
) -> VSwitchFacts | NoVSwitch:
    """The vSwitch to try next: in the Pod's zone, by the Pod's policy, not one that just said no."""
    candidates = [known[id_] for id_ in a.terms.vswitch_ids if id_ in known]
    full = {
        id_: at for id_, at in a.exhausted_vswitches.items() if now - at < ASK_FULL_VSWITCH_AGAIN
    }
    order = order_vswitches(a.terms.selection_policy, zone, candidates, shuffle, full)
    if not order:
        return NoVSwitch(no_vswitch_message(zone, a.terms.vswitch_ids, candidates), None)
    if order[0] in full:
        again_at = min(full[id_] for id_ in order) + ASK_FULL_VSWITCH_AGAIN
        return NoVSwitch(f"no ip left in {', '.join(order)}", again_at)
    return known[order[0]]
