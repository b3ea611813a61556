"""Which Pods admission missed: they should have got an address of their own and carry no word of it.

The webhook's failurePolicy lets Pods pass while it is down, and such a Pod then runs on the shared
network without anybody having said so. It can't be put right (a Pod's network is made once), but it
must be known.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from ledger.rules.matching import match
from ledger.rules.podnetworkings import PodNetworking
from ledger.rules.pods import POD_ENI, POD_NETWORKS, POD_NETWORKS_REQUEST, PodFacts


@dataclass(frozen=True, slots=True)
class Missed:
    """A Pod that admission missed: what it should have got, and why that is thought so."""

    podnetworking: str
    why: str


@dataclass(frozen=True, slots=True)
class NamespaceUnknown:
    """It depends on the labels of a namespace that nobody has shown us yet: ask again."""


def could_be_missed(pod: PodFacts) -> bool:
    """Whether the question arises at all: it runs somewhere, and takes no part with us."""
    return bool(pod.node_name) and not (pod.takes_part or pod.ignored or pod.sandbox_exited)


def missed_by_admission(
    pod: PodFacts,
    namespace_labels: Mapping[str, str] | None,
    podnetworkings: Iterable[PodNetworking],
    *,
    custom_kinds: Collection[str] | None,
    excluded_namespaces: Collection[str] = (),
) -> Missed | NamespaceUnknown | None:
    """What `pod` should have got, had admission seen it; None where nothing.

    A PodNetworking made after the Pod never reached it. `custom_kinds` None takes a Pod of any kind
    for a stateful one: good for finding suspects.
    """
    if not could_be_missed(pod) or pod.namespace in excluded_namespaces:
        return None
    if (namespace_labels or {}).get(POD_ENI) == "false":
        return None
    for annotation in (POD_NETWORKS, POD_NETWORKS_REQUEST):
        if pod.annotations.get(annotation):
            return Missed("", f"its annotation {annotation} asks for networks of its own")
    asked = pod if custom_kinds is not None else replace(pod, owners=())
    older = [each for each in podnetworkings if each.created <= pod.created]
    report = match(asked, namespace_labels, older, custom_kinds or ())
    if report.undecided:
        return NamespaceUnknown()
    if report.chosen is None:
        return None
    return Missed(report.chosen.name, f"PodNetworking {report.chosen.name} matches it")
