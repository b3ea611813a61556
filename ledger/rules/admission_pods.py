"""Admission of Pods: what a Pod asks for becomes annotations, a resource request and affinity.

Follows the incumbent's order of decisions (reference §2.1), so that the same Pod gets the same
answer. Pure and deterministic; given its own output, or the incumbent's, it changes nothing.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ledger.rules.admission_affinity import require_zones
from ledger.rules.admission_decision import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    UNAVAILABLE,
    Decision,
    allow,
    deny,
    patched,
)
from ledger.rules.admission_networks import (
    Refused,
    already_admitted,
    annotated_networks,
    check_exclusive,
    check_networks,
    check_written,
    referenced_networks,
)
from ledger.rules.eni_config import EniConfig, EniConfigError
from ledger.rules.matching import MatchReport, match
from ledger.rules.networks import DEFAULT_INTERFACE, NetworkRequest, render_pod_networks
from ledger.rules.nodes import EXCLUSIVE_ENI_RESOURCE, MEMBER_ENI_RESOURCE
from ledger.rules.objects import KubeObject, ObjectError, list_at, text_at
from ledger.rules.podnetworkings import PodNetworking
from ledger.rules.pods import (
    POD_ENI,
    POD_NETWORKING,
    POD_NETWORKS,
    PodError,
    PodFacts,
    is_fixed_name,
)

# A namespace with this label and the value "false" opted out (reference §2).
NAMESPACE_OPT_OUT = POD_ENI


@dataclass(frozen=True, slots=True)
class PodPolicy:
    """What the cluster's configuration says about Pods (reference §9)."""

    enable_trunk: bool = True
    inject_resource: bool = True
    custom_kinds: tuple[str, ...] = ()
    every_pod: bool = False  # the incumbent's ipamType "crd"
    excluded_namespaces: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What is known of the cluster when a Pod is admitted.

    `namespace_labels` is None when the namespace is not known yet. `podeni` is the PodENI of the
    Pod's name, where there is one. `eni_config` is None where the ConfigMap doesn't exist, and the
    error where it can't be read.
    """

    podnetworkings: Sequence[PodNetworking] = ()
    namespace_labels: Mapping[str, str] | None = None
    podeni: KubeObject | None = None
    eni_config: EniConfig | EniConfigError | None = None


@dataclass(frozen=True, slots=True)
class PodRequest:
    """What a Pod asks for before gaps are filled: the part that `explain` shows.

    `zones` are where its vSwitches are, empty where nobody constrains them; `report` is None unless
    PodNetworkings were matched; `seen` marks a Pod that was admitted before, `written_by_user`
    networks that nobody checked yet.
    """

    networks: tuple[NetworkRequest, ...] = ()
    zones: frozenset[str] = frozenset()
    podnetworking: str = ""
    report: MatchReport | None = None
    seen: bool = False
    written_by_user: bool = False
    warnings: tuple[str, ...] = ()


def admit_pod(obj: KubeObject, namespace: str, view: ClusterView, policy: PodPolicy) -> Decision:
    """The answer to CREATE of Pod `obj` in `namespace` (the request's, where the Pod has none)."""
    try:
        pod = read_pod(obj, namespace)
    except PodError as wrong:
        return unreadable(wrong)
    return admit_read_pod(obj, pod, view, policy)


def unreadable(wrong: PodError) -> Decision:
    """The answer to something that is no Pod."""
    return deny(str(wrong), INTERNAL_ERROR)


def admit_read_pod(
    obj: KubeObject, pod: PodFacts, view: ClusterView, policy: PodPolicy
) -> Decision:
    """`admit_pod` for a Pod `obj` that was read already, as `pod`."""
    passed = not_ours(pod, view, policy)
    if passed:
        return allow(passed)
    try:
        request = requested(obj, pod, view, policy)
        if not request.networks:
            return allow("not match")
        check_networks(pod, request.networks, policy.custom_kinds)
        if request.written_by_user:
            check_written(request.networks)
        request = replace(request, networks=filled_in(request.networks, view.eni_config))
    except Refused as refused:
        return deny(f"Pod {pod.namespace}/{pod.name or '?'}: {refused}", refused.code)
    zones = previous_zones(pod, request.networks, view, policy)
    after = _mutated(obj, pod, request, zones, policy)
    return patched(obj, after, "ok", [*request.warnings, *_gaps(request.networks)])


def read_pod(obj: KubeObject, namespace: str) -> PodFacts:
    """The facts, with the namespace that the request was made in. Raises PodError."""
    pod = PodFacts.from_object(obj)
    return pod if pod.namespace else replace(pod, namespace=namespace)


def not_ours(pod: PodFacts, view: ClusterView, policy: PodPolicy) -> str:
    """Why the Pod passes whatever it asks for; empty when it is looked at further."""
    if pod.host_network:
        return "host network"
    if pod.container_count == 0:
        return "no containers"
    if pod.ignored:
        return "pod is not managed by terway"
    if pod.namespace in policy.excluded_namespaces:
        return f"namespace {pod.namespace} is excluded"
    if (view.namespace_labels or {}).get(NAMESPACE_OPT_OUT) == "false":
        return f"namespace {pod.namespace} opted out"
    return ""


def requested(obj: KubeObject, pod: PodFacts, view: ClusterView, policy: PodPolicy) -> PodRequest:
    """What the Pod asks for, from its annotations or from the PodNetworking that matches it.

    No networks means that it is an ordinary Pod. Raises Refused.
    """
    seen = already_admitted(obj, pod, policy.inject_resource)
    if not seen:
        check_exclusive(pod)
    annotated = annotated_networks(pod)
    if annotated:
        return PodRequest(annotated, seen=seen, written_by_user=not seen)
    referenced = referenced_networks(pod, view.podnetworkings)
    if referenced.networks:
        return PodRequest(referenced.networks, referenced.zones)
    report = match(pod, view.namespace_labels, view.podnetworkings, policy.custom_kinds)
    if report.undecided:
        raise Refused(
            f"namespace {pod.namespace} is not known here yet, and PodNetworking "
            f"{', '.join(report.undecided)} depends on its labels: create the Pod again",
            UNAVAILABLE,
        )
    chosen = report.chosen
    if chosen is not None:
        return PodRequest(
            networks=(chosen.network(DEFAULT_INTERFACE),),
            zones=chosen.zones,
            podnetworking=chosen.name,
            report=report,
            warnings=_ambiguity(chosen.name, report),
        )
    if policy.every_pod or pod.wants_pod_eni:
        return PodRequest((NetworkRequest(DEFAULT_INTERFACE),), report=report)
    return PodRequest(report=report)


def filled_in(
    networks: tuple[NetworkRequest, ...], eni_config: EniConfig | EniConfigError | None
) -> tuple[NetworkRequest, ...]:
    """The networks with the gaps of eth0 filled from the eni-config; only eth0's (§2.1 step 11).

    Raises Refused when there is a gap anywhere and no eni-config to fill it from.
    """
    if all(each.vswitch_ids and each.security_group_ids for each in networks):
        return networks
    if eni_config is None:
        raise Refused(
            "vSwitchOptions or securityGroupIDs are missing and ConfigMap kube-system/eni-config, "
            "which has the defaults, does not exist: name them, or restore it",
            BAD_REQUEST,
        )
    if isinstance(eni_config, EniConfigError):
        raise Refused(str(eni_config), BAD_REQUEST)
    return tuple(
        replace(
            each,
            vswitch_ids=each.vswitch_ids or eni_config.vswitch_ids,
            security_group_ids=each.security_group_ids or eni_config.security_group_ids,
        )
        if each.interface == DEFAULT_INTERFACE
        else each
        for each in networks
    )


def previous_zones(
    pod: PodFacts, networks: Sequence[NetworkRequest], view: ClusterView, policy: PodPolicy
) -> frozenset[str]:
    """The zone that holds the Pod's fixed IP, when it comes back for it (§2.3); else empty.

    A PodENI that is being deleted, or never had an allocation, holds nothing.
    """
    podeni = view.podeni
    if podeni is None or not is_fixed_name(pod, policy.custom_kinds):
        return frozenset()
    if not any(each.allocation.fixed for each in networks):
        return frozenset()
    try:
        gone = text_at(podeni, "metadata", "deletionTimestamp")
        zone = text_at(podeni, "spec", "zone")
        if gone or not zone or not list_at(podeni, "spec", "allocations"):
            return frozenset()
    except ObjectError:
        return frozenset()  # not a PodENI that could hold an IP
    return frozenset({zone})


def resource_of(networks: Sequence[NetworkRequest], enable_trunk: bool) -> str:
    """The extended resource that the networks are counted in (§2.1 step 13)."""
    exclusive = any(each.eni_type == "ENI" for each in networks)
    return MEMBER_ENI_RESOURCE if enable_trunk and not exclusive else EXCLUSIVE_ENI_RESOURCE


def _mutated(
    obj: KubeObject,
    pod: PodFacts,
    request: PodRequest,
    previous: frozenset[str],
    policy: PodPolicy,
) -> dict[str, Any]:
    networks = request.networks
    after = _copied(obj)
    metadata = after.get("metadata") or {}
    if not request.seen:
        annotations = dict(metadata.get("annotations") or {})
        annotations[POD_NETWORKS] = render_pod_networks(networks)
        annotations[POD_ENI] = "true"
        if request.podnetworking:
            annotations[POD_NETWORKING] = request.podnetworking
        after["metadata"] = {**metadata, "annotations": annotations}
    if policy.inject_resource and not request.seen:
        resource = resource_of(networks, policy.enable_trunk)
        _request_resource(after["spec"]["containers"][0], resource, len(networks))
    require_zones(after["spec"], pod, previous, request.zones)
    return after


def _copied(obj: KubeObject) -> dict[str, Any]:
    """A copy of the Pod whose changed parts can be changed; the rest is shared, because copying a
    whole Pod took longer than deciding about it."""
    after = dict(obj)
    spec = dict(after["spec"])
    spec["containers"] = [dict(spec["containers"][0]), *spec["containers"][1:]]
    if "affinity" in spec:
        spec["affinity"] = copy.deepcopy(spec["affinity"])
    return after | {"spec": spec}


def _request_resource(container: dict[str, Any], resource: str, count: int) -> None:
    """Requests and limits of an extended resource must both be there and be equal."""
    resources = container.get("resources") or {}
    for part in ("requests", "limits"):
        quantities = dict(resources.get(part) or {})
        quantities[resource] = str(count)
        resources[part] = quantities
    container["resources"] = resources


def _ambiguity(chosen: str, report: MatchReport) -> tuple[str, ...]:
    if not report.others:
        return ()
    return (
        f"PodNetworking {chosen} was chosen; {', '.join(report.others)} match this Pod too: "
        f"the more specific wins, then the first by name",
    )


def _gaps(networks: Sequence[NetworkRequest]) -> list[str]:
    return [
        f"interface {each.interface} has no vSwitchOptions or no securityGroupIDs: the Pod will "
        f"not start"
        for each in networks
        if not (each.vswitch_ids and each.security_group_ids)
    ]
