"""Why a Pod gets the network it gets: the same decisions as admission, told instead of applied.

Answers the product document's FAQ ("why is the PodNetworking not used?") for a Pod that exists, or
for one that is yet to be created.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from ledger.rules.admission_networks import Refused, already_admitted
from ledger.rules.admission_pods import (
    ClusterView,
    PodPolicy,
    admit_pod,
    filled_in,
    not_ours,
    previous_zones,
    read_pod,
    requested,
    resource_of,
)
from ledger.rules.changes import CHANGES
from ledger.rules.durations import format_go_duration
from ledger.rules.matching import MatchReport, match
from ledger.rules.networks import (
    MINIMUM_RELEASE_AFTER,
    NEVER,
    SECURITY_GROUPS_MAX,
    TTL,
    NetworkRequest,
)
from ledger.rules.objects import KubeObject
from ledger.rules.pods import POD_ENI, POD_NETWORKING, POD_NETWORKS, PodFacts, is_fixed_name


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer. `verdict` is one sentence; `refused` says that admission would deny the Pod.

    `networks`, `resource` and the zones are what is requested (now, or at its creation where the Pod
    was admitted); they are empty for a Pod that stays on the shared network.
    """

    pod: PodFacts
    verdict: str
    refused: bool
    admitted: bool
    stateful: bool
    report: MatchReport
    networks: tuple[NetworkRequest, ...] = ()
    resource: str = ""
    zones: tuple[str, ...] = ()
    previous_zones: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def explain_pod(
    obj: KubeObject, namespace: str, view: ClusterView, policy: PodPolicy
) -> Explanation:
    """Explain `obj`, which exists when it has a uid. Raises PodError when it is no Pod."""
    pod = read_pod(obj, namespace)
    report = match(pod, view.namespace_labels, view.podnetworkings, policy.custom_kinds)
    base = Explanation(
        pod=pod,
        verdict="",
        refused=False,
        admitted=already_admitted(obj, pod, policy.inject_resource),
        stateful=is_fixed_name(pod, policy.custom_kinds),
        report=report,
    )
    passed = not_ours(pod, view, policy)
    if passed:
        return replace(base, verdict=f"It keeps the ordinary network: {passed}.")
    decision = admit_pod(obj, namespace, view, policy)
    if not decision.allowed:
        return replace(base, verdict=f"Admission refuses it: {decision.message}.", refused=True)
    request = requested(obj, pod, view, policy)
    networks = _filled(request.networks, view)
    if not networks:
        return replace(base, verdict=_ordinary(pod, report))
    return replace(
        base,
        verdict=_own_eni(base, networks),
        networks=networks,
        resource=resource_of(networks, policy.enable_trunk),
        zones=tuple(sorted(request.zones)),
        previous_zones=tuple(sorted(previous_zones(pod, networks, view, policy))),
        limits=_limits(networks),
        warnings=decision.warnings,
    )


def as_document(explanation: Explanation) -> dict[str, Any]:
    """The answer as JSON; keys are stable."""
    report = explanation.report
    return {
        "pod": f"{explanation.pod.namespace}/{explanation.pod.name}",
        "verdict": explanation.verdict,
        "refused": explanation.refused,
        "admitted": explanation.admitted,
        "stateful": explanation.stateful,
        "chosen": report.chosen.name if report.chosen else None,
        "considered": [
            {"podNetworking": each.name, "outcome": each.outcome, "reason": each.reason}
            for each in report.considered
        ],
        "networks": [network.to_object() for network in explanation.networks],
        "resource": explanation.resource or None,
        "zones": list(explanation.zones),
        "previousZones": list(explanation.previous_zones),
        "limits": list(explanation.limits),
        "warnings": list(explanation.warnings),
        "changes": [asdict(change) for change in CHANGES],
    }


def _filled(networks: tuple[NetworkRequest, ...], view: ClusterView) -> tuple[NetworkRequest, ...]:
    try:
        return filled_in(networks, view.eni_config)
    except Refused:  # an admitted Pod's gaps beside eth0 are told as a warning of the decision
        return networks


def _ordinary(pod: PodFacts, report: MatchReport) -> str:
    count = len(report.considered)
    if count == 0:
        cause = "there is no PodNetworking"
    elif count == 1:
        cause = f"PodNetworking {report.considered[0].name}, the only one, does not match it"
    else:
        cause = f"none of {count} PodNetworkings matches it"
    eni = pod.annotations.get(POD_ENI)
    said = "" if eni is None else f" (annotation {POD_ENI} is {eni!r}, which is not true)"
    return f"It keeps the ordinary network: {cause}{said}."


def _own_eni(known: Explanation, networks: tuple[NetworkRequest, ...]) -> str:
    pod, chosen = known.pod, known.report.chosen
    enis = "an ENI of its own" if len(networks) == 1 else f"{len(networks)} ENIs of its own"
    if known.admitted:
        source = pod.annotations.get(POD_NETWORKING)
        origin = f"from PodNetworking {source}" if source else f"from its {POD_NETWORKS}"
        changed = ""
        if source and (chosen is None or chosen.name != source):
            now = f"get {chosen.name}" if chosen else "match none"
            changed = f" Created now it would {now}: changes never reach a Pod that exists."
        return f"It was admitted with {enis}, {origin}.{changed}"
    if pod.uid:
        return (
            f"It should have {enis} and was not admitted: when it was created, admission did not "
            f"answer, or its PodNetworking did not exist or was not Ready yet. Delete the Pod, so "
            f"that it is created anew."
        )
    source = f" from PodNetworking {chosen.name}" if chosen else ""
    return f"It gets {enis}{source}."


def _limits(networks: tuple[NetworkRequest, ...]) -> tuple[str, ...]:
    """What a user should know about what is requested; only what applies to these networks."""
    limits = [
        f"at most {SECURITY_GROUPS_MAX} security groups per interface; they don't apply between "
        f"Pods of one node",
        "the ENI is made in a vSwitch of the node's zone; a zone without one can't run the Pod",
    ]
    for network in networks:
        allocation = network.allocation
        if not allocation.fixed:
            continue
        if allocation.release_strategy == TTL and allocation.release_after is not None:
            kept = f"for {format_go_duration(allocation.release_after)} after the Pod is gone"
            if allocation.release_after < MINIMUM_RELEASE_AFTER:
                kept += f" (below the minimum of {format_go_duration(MINIMUM_RELEASE_AFTER)})"
        elif allocation.release_strategy in ("", NEVER):
            kept = "until its PodENI is deleted"
        else:
            kept = "until its PodENI is deleted: its releaseAfter is no duration"
        limits.append(
            f"{network.interface}: fixed IP, kept {kept}; the Pod can only come back in the same "
            f"zone, and later changes of its PodNetworking don't apply to it"
        )
    return tuple(limits)
