"""What the cluster names of the cloud: instance types, trunk ENIs, vSwitches. Pure.

What could not be seen names nothing; the checks that need it then say so themselves.
"""

from consumers.doctor.eni_config_text import EniConfigTextError, parsed
from consumers.doctor.facts import BadNode, ClusterFacts, Unseen
from consumers.doctor.probe_cloud import Wanted
from ledger.rules.eni_config import EniConfig, EniConfigError
from ledger.rules.nodes import NodeFacts


def carrying(nodes: tuple[NodeFacts | BadNode, ...]) -> tuple[NodeFacts, ...]:
    """The nodes that could carry Pods of ours."""
    return tuple(n for n in nodes if isinstance(n, NodeFacts) and not n.ignored and not n.deleting)


def vswitches_of(text: str) -> dict[str, tuple[str, ...]]:
    """Zone -> vSwitch ids of an eni-config; {} for a text that has none."""
    try:
        by_zone = parsed(text).get("vswitches")
    except EniConfigTextError:
        return {}
    if not isinstance(by_zone, dict):
        return {}
    return {
        str(zone): tuple(str(id_) for id_ in ids)
        for zone, ids in by_zone.items()
        if isinstance(ids, list)
    }


def default_vswitches(text: str) -> tuple[str, ...]:
    """The vSwitches that fill a PodNetworking's gap; () where the text can't be used."""
    try:
        return EniConfig.from_text(text).vswitch_ids
    except EniConfigError:
        return ()


def named_by_cluster(facts: ClusterFacts) -> Wanted:
    """What to ask the cloud about."""
    nodes = () if isinstance(facts.nodes, Unseen) else carrying(facts.nodes)
    vswitches: set[str] = set()
    if not isinstance(facts.eni_config, Unseen) and facts.eni_config is not None:
        vswitches |= set(default_vswitches(facts.eni_config.text))
    if not isinstance(facts.podnetworkings, Unseen):
        vswitches |= {id_ for each in facts.podnetworkings for id_ in each.vswitch_ids}
    return Wanted(
        instance_types=tuple(sorted({n.instance_type for n in nodes if n.instance_type})),
        trunk_enis=tuple(sorted({n.trunk_eni_id for n in nodes if n.trunk_eni_id})),
        vswitches=tuple(sorted(vswitches)),
    )
