"""Which PodNetworking a Pod gets, and why not the others.

Where several match, the incumbent takes whichever its cache lists first (reference §3, W12). Here
the order is fixed, and everyone may rely on it:

1. one with both selectors before one with a single selector;
2. then the one with more requirements (labels and expressions, both selectors together);
3. then the name that sorts first.

So the more specific wins, and neither time of creation nor order of delivery plays a part.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ledger.rules.podnetworkings import PodNetworking
from ledger.rules.pods import PodFacts, is_fixed_name

CHOSEN = "chosen"
ALSO_MATCHES = "also matches"
NOT_READY = "not ready"
NO_SELECTOR = "no selector"
INVALID_SELECTOR = "invalid selector"
NOT_STATEFUL = "not stateful"
POD_SELECTOR = "pod selector"
NAMESPACE_SELECTOR = "namespace selector"
NAMESPACE_UNKNOWN = "namespace unknown"


@dataclass(frozen=True, slots=True)
class Considered:
    """One PodNetworking and what came of it; `outcome` is one of this module's constants."""

    podnetworking: PodNetworking
    outcome: str
    reason: str

    @property
    def name(self) -> str:
        return self.podnetworking.name


@dataclass(frozen=True, slots=True)
class MatchReport:
    """Every PodNetworking with its outcome, in the documented order.

    `undecided` names those that depend on labels of a namespace nobody has shown us yet: while
    there are any, `chosen` is None and the question must be asked again.
    """

    chosen: PodNetworking | None
    considered: tuple[Considered, ...]

    @property
    def others(self) -> tuple[str, ...]:
        """The names of those that matched too and were not chosen."""
        return tuple(each.name for each in self.considered if each.outcome == ALSO_MATCHES)

    @property
    def undecided(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.considered if each.outcome == NAMESPACE_UNKNOWN)


def match(
    pod: PodFacts,
    namespace_labels: Mapping[str, str] | None,
    podnetworkings: Iterable[PodNetworking],
    custom_kinds: Collection[str] = (),
) -> MatchReport:
    """Choose the PodNetworking of `pod`; `namespace_labels` None means the namespace is unknown.

    Says nothing about whether the Pod takes part at all (host network, the opt-out label): that is
    decided before.
    """
    considered = [
        _consider(pod, namespace_labels, each, custom_kinds)
        for each in sorted(podnetworkings, key=precedence)
    ]
    undecided = any(each.outcome == NAMESPACE_UNKNOWN for each in considered)
    matching = [each for each in considered if each.outcome == ALSO_MATCHES]
    if undecided or not matching:
        return MatchReport(None, tuple(considered))
    chosen = matching[0]
    others = ", ".join(each.name for each in matching[1:])
    reason = (
        f"matches; preferred to {others}: more specific or first by name" if others else "matches"
    )
    winner = Considered(chosen.podnetworking, CHOSEN, reason)
    return MatchReport(
        chosen.podnetworking,
        tuple(winner if each is chosen else each for each in considered),
    )


def precedence(podnetworking: PodNetworking) -> tuple[int, int, str]:
    """The sort key of the documented order: smaller comes first."""
    selectors = [
        each
        for each in (podnetworking.pod_selector, podnetworking.namespace_selector)
        if each is not None
    ]
    requirements = sum(len(each.requirements) for each in selectors)
    return (-len(selectors), -requirements, podnetworking.name)


def _consider(
    pod: PodFacts,
    namespace_labels: Mapping[str, str] | None,
    podnetworking: PodNetworking,
    custom_kinds: Collection[str],
) -> Considered:
    outcome, reason = _outcome(pod, namespace_labels, podnetworking, custom_kinds)
    return Considered(podnetworking, outcome, reason)


def _outcome(
    pod: PodFacts,
    namespace_labels: Mapping[str, str] | None,
    podnetworking: PodNetworking,
    custom_kinds: Collection[str],
) -> tuple[str, str]:
    if not podnetworking.ready:
        status = podnetworking.status or "not looked at yet"
        detail = f": {podnetworking.status_message}" if podnetworking.status_message else ""
        return NOT_READY, f"its status is {status}{detail}"
    if podnetworking.selector_error:
        return INVALID_SELECTOR, podnetworking.selector_error
    if not podnetworking.has_selector:
        return NO_SELECTOR, "it has no selector: only pod-networks-request can name it"
    if podnetworking.allocation.fixed and not is_fixed_name(pod, custom_kinds):
        kinds = ", ".join(sorted(pod.owner_kinds))
        return NOT_STATEFUL, f"it gives fixed IPs, and the Pod belongs to a {kinds}"
    if podnetworking.pod_selector is not None:
        unmet = podnetworking.pod_selector.first_unmet(pod.labels)
        if unmet is not None:
            return POD_SELECTOR, f"podSelector wants {unmet}, the Pod {_has(unmet.key, pod.labels)}"
    if podnetworking.namespace_selector is not None:
        if namespace_labels is None:
            return NAMESPACE_UNKNOWN, f"the labels of namespace {pod.namespace} are not known yet"
        unmet = podnetworking.namespace_selector.first_unmet(namespace_labels)
        if unmet is not None:
            return NAMESPACE_SELECTOR, (
                f"namespaceSelector wants {unmet}, namespace {pod.namespace} "
                f"{_has(unmet.key, namespace_labels)}"
            )
    return ALSO_MATCHES, "matches, but another one is preferred"


def _has(key: str, labels: Mapping[str, str]) -> str:
    return f"has {key}={labels[key]}" if key in labels else f"has no label {key}"
