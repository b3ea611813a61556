"""Where an interface goes: which instance and trunk take it, and which vSwitch it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.rules.allocation import Allocation
from ledger.rules.entries import Place, Placed
from ledger.rules.nodes import NodeFacts
from ledger.rules.vswitches import Shuffle, VSwitchFacts, no_vswitch_message, order_vswitches

# A vSwitch that said it is full is asked again after this long; the incumbent's blacklist lasts
# 20 minutes, long after addresses were freed (reference W4).
ASK_FULL_VSWITCH_AGAIN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class NoVSwitch:
    """No vSwitch can be tried now; `again_at` is when one can, None when the terms have to change."""

    why: str
    again_at: datetime | None


def place_for(a: Allocation, node: NodeFacts, *, enable_trunk: bool) -> Placed | str:
    """The place of an interface on its node, or why it can't be there, for a person to read."""
    if node.name != a.node:
        return f"node {a.node} has not been seen yet"
    exclusive = node.exclusive_eni or not enable_trunk
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
    if not exclusive and node.trunk_eni_id is None:
        return (
            f"trunk eni id not found on node {node.name}, this may due to terway agent is not "
            f"started: its annotation k8s.aliyun.com/trunk-on is missing"
        )
    if a.address is not None and a.address.zone != node.zone:
        return (
            f"the fixed IP {a.address.ipv4} lives in zone {a.address.zone} and node {node.name} is "
            f"in {node.zone}: move the Pod back to {a.address.zone}, or release the IP"
        )
    place = Place(
        node=node.name,
        instance_id=node.instance_id,
        zone=node.zone,
        trunk_eni_id=None if exclusive else node.trunk_eni_id,
    )
    return Placed(place=place)


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
