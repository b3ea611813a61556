"""Checks of nodes and vSwitches: whether Pods have somewhere to get a member ENI from. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from consumers.cloud.port import IN_USE, TRUNK, Eni, VSwitch
from consumers.doctor.facts import BadNode, Facts
from consumers.doctor.judging import (
    Check,
    NotMade,
    Part,
    Verdict,
    blocks,
    fine,
    listed,
    seen,
    warns,
)
from consumers.doctor.naming import carrying, default_vswitches, vswitches_of
from ledger.rules.nodes import NodeFacts

#: Fewer free addresses than this in all vSwitches of a zone, and somebody should know.
FEW_ADDRESSES: Final = 16
_RESTART: Final = (
    "kubectl delete pod -n kube-system -l app=terway-eniip --field-selector spec.nodeName="
)


def _nodes(facts: Facts) -> tuple[NodeFacts, ...]:
    """Nodes that could have a trunk: not ignored, not for whole ENIs only."""
    return tuple(n for n in carrying(seen(facts.cluster.nodes)) if not n.exclusive_eni)


def _readable(facts: Facts) -> Verdict:
    found = seen(facts.cluster.nodes)
    bad = [each for each in found if isinstance(each, BadNode)]
    if not found:
        return blocks("the cluster has no node", "add nodes of a type that supports trunk ENIs")
    if bad:
        return warns(
            f"{len(bad)} of {len(found)} nodes lack what an attach needs: "
            f"{listed([each.problem for each in bad])}",
            "see that the cloud controller manager runs; it sets providerID, region, zone and type",
        )
    return fine(f"{len(found)} nodes say what an attach needs")


def _without_members(facts: Facts) -> set[str]:
    """Instance types that can carry no member ENI."""
    limits = {each.instance_type: each for each in seen(facts.cloud.instance_types)}
    return {
        n.instance_type
        for n in _nodes(facts)
        if n.instance_type not in limits or limits[n.instance_type].member_limit == 0
    }


def _types(facts: Facts) -> Verdict:
    nodes, without = _nodes(facts), _without_members(facts)
    if not nodes:
        raise NotMade("no node to look at")
    lacking = sorted(n.name for n in nodes if n.instance_type in without)
    if not lacking:
        room = {each.instance_type: each.member_limit for each in seen(facts.cloud.instance_types)}
        total = sum(room[n.instance_type] for n in nodes)
        return fine(f"{len(nodes)} nodes have room for {total} member ENIs")
    told = (
        f"{len(lacking)} of {len(nodes)} nodes are of a type without EniTrunkSupported or without room "
        f"for member ENIs ({listed(sorted(without))}): {listed(lacking)}"
    )
    fix = (
        "add nodes of a type that DescribeInstanceTypes shows with EniTrunkSupported=true and "
        "EniTotalQuantity above EniQuantity"
    )
    if len(lacking) == len(nodes):
        return blocks(told, fix)
    return warns(told, fix)


def _trunks(facts: Facts) -> Verdict:
    without = _without_members(facts)
    nodes = [n for n in _nodes(facts) if n.instance_type not in without]
    there = {each.id: each for each in seen(facts.cloud.trunks)}
    wrong = {n.name: problem for n in nodes if (problem := _trunk_problem(n, there))}
    if not nodes:
        return fine("no node could have one")
    if not wrong:
        return fine(f"{len(nodes)} nodes have their trunk ENI, in use")
    told = f"{len(wrong)} of {len(nodes)} nodes that could have a trunk ENI do not: " + listed(
        [f"{name} ({problem})" for name, problem in sorted(wrong.items())]
    )
    fix = f"restart the agent of the node: {_RESTART}{min(wrong)}"
    return blocks(told, fix) if len(wrong) == len(nodes) else warns(told, fix)


def _trunk_problem(node: NodeFacts, there: dict[str, Eni]) -> str:
    if node.trunk_eni_id is None:
        return "no annotation k8s.aliyun.com/trunk-on"
    eni = there.get(node.trunk_eni_id)
    if eni is None:
        return f"the cloud has no {node.trunk_eni_id}"
    if eni.type != TRUNK:
        return f"{eni.id} is of type {eni.type}"
    if eni.status != IN_USE or eni.instance_id != node.instance_id:
        return f"{eni.id} is {eni.status} on {eni.instance_id or 'nothing'}"
    return ""


def _advertised(facts: Facts) -> Verdict:
    nodes = [n for n in _nodes(facts) if n.trunk_eni_id]
    silent = sorted(n.name for n in nodes if not n.member_eni_allocatable)
    if not silent:
        total = sum(n.member_eni_allocatable or 0 for n in nodes)
        return fine(f"{len(nodes)} nodes with a trunk advertise {total} aliyun/member-eni")
    return warns(
        f"{len(silent)} nodes have a trunk and advertise no aliyun/member-eni: {listed(silent)}; no Pod "
        "with an ENI of its own is scheduled there",
        f"restart the agent of the node: {_RESTART}{silent[0]}",
    )


# --- vSwitches ------------------------------------------------------------------------------------


def _named(facts: Facts) -> dict[str, str]:
    """vSwitch id -> who names it."""
    named: dict[str, str] = {}
    for podnetworking in seen(facts.cluster.podnetworkings):
        for id_ in podnetworking.vswitch_ids:
            named.setdefault(id_, f"PodNetworking {podnetworking.name}")
    config = seen(facts.cluster.eni_config)
    for id_ in default_vswitches(config.text) if config else ():
        named.setdefault(id_, "eni-config")
    return named


def _exist(facts: Facts) -> Verdict:
    named, there = _named(facts), seen(facts.cloud.vswitches)
    wrong = []
    for id_, who in sorted(named.items()):
        vswitch = there.get(id_)
        if vswitch is None:
            wrong.append(f"{id_} ({who}) does not exist in {facts.meant.region_id}")
        elif facts.meant.vpc_id and vswitch.vpc_id not in ("", facts.meant.vpc_id):
            wrong.append(f"{id_} ({who}) is in VPC {vswitch.vpc_id}, not {facts.meant.vpc_id}")
    if wrong:
        return blocks(
            listed(wrong), "correct the id where it is named, or ENI_LEDGER_CLOUD__VPC_ID"
        )
    return fine(f"{len(named)} vSwitches are named, and all are in {facts.meant.vpc_id}")


def _in_zones(facts: Facts) -> dict[str, list[VSwitch]]:
    """Zone -> the vSwitches there that something names."""
    zones: dict[str, list[VSwitch]] = {}
    there = seen(facts.cloud.vswitches)
    for id_ in sorted(_named(facts)):
        vswitch = there.get(id_)
        if vswitch is not None:
            zones.setdefault(vswitch.zone, []).append(vswitch)
    return zones


def _zones(facts: Facts) -> Verdict:
    nodes, zones = _nodes(facts), _in_zones(facts)
    there = seen(facts.cloud.vswitches)
    bare = sorted({n.zone for n in nodes} - set(zones))
    wrong = [f"zone {zone} has nodes and no vSwitch" for zone in bare]
    wrong += _misplaced(facts, there)
    node_zones = {n.zone for n in nodes}
    for podnetworking in seen(facts.cluster.podnetworkings):
        asked = [there.get(id_) for id_ in podnetworking.vswitch_ids]
        found = {vswitch.zone for vswitch in asked if vswitch is not None}
        if found and not found & node_zones:
            wrong.append(
                f"PodNetworking {podnetworking.name} has vSwitches only in {listed(sorted(found))}, "
                "where no node is"
            )
    if wrong:
        return warns(
            listed(wrong), "make a vSwitch in the nodes' zone and name it in vSwitchOptions"
        )
    return fine(f"nodes and vSwitches are in {listed(sorted(zones)) or 'no zone'}")


def _misplaced(facts: Facts, there: Mapping[str, VSwitch | None]) -> Iterable[str]:
    config = seen(facts.cluster.eni_config)
    for zone, ids in vswitches_of(config.text).items() if config else ():
        for id_ in ids:
            vswitch = there.get(id_)
            if vswitch is not None and vswitch.zone != zone:
                yield f"eni-config lists {id_} under {zone}, it is in {vswitch.zone}"


def _free(facts: Facts) -> Verdict:
    zones = {n.zone for n in _nodes(facts)}
    free = {
        zone: sum(each.available_ips for each in vswitches)
        for zone, vswitches in _in_zones(facts).items()
        if zone in zones
    }
    told = ", ".join(f"{zone}: {count} free" for zone, count in sorted(free.items()))
    fix = "add a vSwitch in that zone to the PodNetworkings (and to the eni-config), or free addresses"
    if any(count == 0 for count in free.values()):
        return blocks(f"no address is left in a zone with nodes ({told})", fix)
    if any(count < FEW_ADDRESSES for count in free.values()):
        return warns(f"few addresses are left ({told})", fix)
    return fine(told or "no vSwitch is named")


CHECKS: Final = (
    Check(
        "nodes-readable", Part.NODES, "An attach needs a node's instance, zone and type.", _readable
    ),
    Check(
        "node-types",
        Part.NODES,
        "Only some instance types can have a trunk ENI, and members are counted by type.",
        _types,
    ),
    Check("trunk-enis", Part.NODES, "A member ENI is attached under its node's trunk.", _trunks),
    Check("member-resource", Part.NODES, "The scheduler counts member ENIs by it.", _advertised),
    Check("vswitches-exist", Part.VSWITCHES, "ENIs are made in them.", _exist),
    Check(
        "vswitch-zones",
        Part.VSWITCHES,
        "An ENI attaches only in its own zone: Pods elsewhere can't be created.",
        _zones,
    ),
    Check("vswitch-addresses", Part.VSWITCHES, "Without a free address no Pod starts.", _free),
)
