"""Whether a shadow would have decided as the incumbent did, PodENI by PodENI. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ledger.rules.allocation import Allocation, Phase
from ledger.rules.found_podenis import Found, Item, read_podeni
from ledger.rules.networks import NetworkRequest, NetworksError, networks_to_allocate
from ledger.rules.takeover import Decision, Facts

#: Decisions that agree with what the incumbent has.
_SAME = ("bound", "reserved", "known", "serving", "departing", "releasing")


@dataclass(frozen=True, slots=True)
class Compared:
    """One interface: what the incumbent has, what the shadow makes of it, and where they differ."""

    namespace: str
    pod: str
    interface: str
    theirs: str
    ours: str
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        return not self.differences


def compare(facts: Facts, decisions: Sequence[Decision]) -> list[Compared]:
    """Every PodENI of the incumbent against our decision, then what only the shadow knows of."""
    by_name: dict[tuple[str, str], list[Decision]] = {}
    for d in decisions:
        by_name.setdefault((d.namespace, d.pod), []).append(d)
    compared = []
    for podeni in facts.podenis:
        found = read_podeni(podeni, facts.pods, facts.enis)
        for d in by_name.get((found.namespace, found.name), []):
            compared.append(_one(found, d))
    return compared + list(_only_ours(facts, by_name))


def _one(found: Found, d: Decision) -> Compared:
    item = next((each for each in found.items if each.interface == d.interface), None)
    differences = [] if d.what in _SAME else [f"{d.what}: {d.why}"]
    differences += d.notes
    if found.serves and item is not None and found.pod is not None:
        differences += _of_terms(item, found.pod.annotation)
    theirs = f"{found.phase or 'Initial'} {d.ipv4}".strip()
    return Compared(d.namespace, d.pod, d.interface, theirs, d.what, tuple(differences))


def _of_terms(item: Item, annotation: str) -> Iterator[str]:
    """Where what was allocated is not what we would have read from the Pod's annotation."""
    try:
        networks = networks_to_allocate(annotation)
    except NetworksError as unusable:
        yield f"we would not serve the Pod: {unusable}"
        return
    asked = next((each for each in networks if each.interface == item.interface), None)
    if asked is None:
        yield f"we would give it no {item.interface}: its annotation does not ask for one"
        return
    if item.lifetime.to_object() != asked.allocation.to_object():
        ours = asked.allocation.to_object()
        yield f"allocationType is {item.lifetime.to_object()}, and its annotation says {ours}"
    yield from _of_network(item, asked)


def _of_network(item: Item, asked: NetworkRequest) -> Iterator[str]:
    vswitch = str(item.raw.get("eni", {}).get("vSwitchID", ""))
    if asked.vswitch_ids and vswitch not in asked.vswitch_ids:
        yield f"vSwitch {vswitch} is none of those it asks for ({', '.join(asked.vswitch_ids)})"
    if set(item.security_groups) != set(asked.security_group_ids):
        groups = ", ".join(asked.security_group_ids)
        yield f"it is in {', '.join(item.security_groups)}, and asks for {groups}"


def _only_ours(
    facts: Facts, by_name: Mapping[tuple[str, str], Sequence[Decision]]
) -> Iterator[Compared]:
    """Pods that the shadow would serve and the incumbent does not."""
    for a in facts.held:
        if (a.namespace, a.pod) not in by_name and _waits(a):
            why = "the Pod asks for an address, and the incumbent has made no PodENI for it"
            yield Compared(a.namespace, a.pod, a.interface, "nothing", a.phase.value, (why,))


def _waits(a: Allocation) -> bool:
    return a.phase is Phase.WANTED and a.reported_gone is None
