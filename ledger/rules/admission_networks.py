"""The networks of one Pod in admission: read from its annotations, checked before it may start."""

import ipaddress
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ledger.rules.admission_decision import FORBIDDEN
from ledger.rules.admission_limits import (
    allocation_violations,
    choice_violations,
    security_group_violations,
)
from ledger.rules.networks import (
    DEFAULT_INTERFACE,
    ENI_TYPES,
    INTERFACE_LENGTH_MAX,
    SELECTION_POLICIES,
    NetworkReference,
    NetworkRequest,
    NetworksError,
    parse_pod_networks,
    parse_pod_networks_request,
)
from ledger.rules.nodes import EXCLUSIVE_ENI_RESOURCE, MEMBER_ENI_RESOURCE
from ledger.rules.objects import KubeObject, list_at, mapping_at
from ledger.rules.podnetworkings import PodNetworking
from ledger.rules.pods import (
    POD_NETWORKING,
    POD_NETWORKS,
    POD_NETWORKS_REQUEST,
    PodFacts,
    is_fixed_name,
)

EXCLUSIVE_ANNOTATIONS = (POD_NETWORKS, POD_NETWORKS_REQUEST, POD_NETWORKING)


class Refused(Exception):  # noqa: N818 - an answer, not a defect
    """The Pod can't be admitted: the reason, for its user, and the HTTP status of the denial."""

    def __init__(self, reason: str, code: int = FORBIDDEN) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Referenced:
    """The networks that pod-networks-request names, and the zones where all of them are."""

    networks: tuple[NetworkRequest, ...] = ()
    zones: frozenset[str] = frozenset()


def check_exclusive(pod: PodFacts) -> None:
    """Refuse two of the three network annotations on one Pod, whatever their values (§2.1)."""
    present = [name for name in EXCLUSIVE_ANNOTATIONS if name in pod.annotations]
    if len(present) > 1:
        raise Refused(
            f"annotations {' and '.join(present)} are mutually exclusive: remove all but one"
        )


def already_admitted(obj: KubeObject, pod: PodFacts, inject_resource: bool) -> bool:
    """Whether the Pod carries the output of an admission, ours or the incumbent's.

    That is: complete networks, pod-eni, at most one annotation that they came from, and the
    resource for exactly that many networks. Such a Pod must pass unchanged, because the API server
    may ask twice and because both systems may be installed; the incumbent would deny it for
    carrying two of the three annotations.
    """
    if not pod.wants_pod_eni:
        return False
    try:
        networks = parse_pod_networks(pod.annotations.get(POD_NETWORKS, ""))
        # One that names nothing is no source: such a Pod is matched, and keeps the empty annotation.
        referenced = parse_pod_networks_request(pod.annotations.get(POD_NETWORKS_REQUEST, ""))
    except NetworksError:
        return False
    if referenced and POD_NETWORKING in pod.annotations:
        return False
    complete = all(
        each.interface
        and (each.interface != DEFAULT_INTERFACE or (each.vswitch_ids and each.security_group_ids))
        for each in networks
    )
    if not networks or not complete:
        return False
    return not inject_resource or _requested_enis(obj) == len(networks)


def annotated_networks(pod: PodFacts) -> tuple[NetworkRequest, ...]:
    """The networks of the annotation pod-networks. Raises Refused when it can't be read."""
    try:
        return parse_pod_networks(pod.annotations.get(POD_NETWORKS, ""))
    except NetworksError as wrong:
        raise Refused(str(wrong)) from wrong


def referenced_networks(pod: PodFacts, podnetworkings: Iterable[PodNetworking]) -> Referenced:
    """The networks of the annotation pod-networks-request (reference §2.4). Raises Refused."""
    try:
        references = parse_pod_networks_request(pod.annotations.get(POD_NETWORKS_REQUEST, ""))
    except NetworksError as wrong:
        raise Refused(str(wrong)) from wrong
    if not references:
        return Referenced()
    known = {each.name: each for each in podnetworkings}
    named = [_referenced(each, known) for each in references]
    first = named[0]
    for each in named[1:]:
        if each.eni_type != first.eni_type:
            raise Refused(
                f"PodNetworking {each.name} has different eni attach type {each.eni_type} from "
                f"{first.name} ({first.eni_type}): all networks of a Pod need the same"
            )
    zones = frozenset.intersection(*(each.zones for each in named))
    if not zones and all(each.zones for each in named):
        raise Refused(
            f"PodNetworkings {', '.join(each.name for each in named)} have no zone in common: "
            f"add vSwitches so that one zone has them all"
        )
    networks = tuple(
        replace(
            podnetworking.network(reference.interface),
            default_route=True if reference.default_route else None,
            extra_routes=reference.extra_routes,
        )
        for reference, podnetworking in zip(references, named, strict=True)
    )
    return Referenced(networks, zones)


def check_networks(
    pod: PodFacts, networks: Sequence[NetworkRequest], custom_kinds: Collection[str]
) -> None:
    """Refuse what no Pod can have, whoever wrote it (reference §2.1 step 10, §6.10)."""
    seen: set[str] = set()
    for network in networks:
        for violation in security_group_violations(network.security_group_ids):
            raise Refused(violation)
        if not 1 <= len(network.interface) <= INTERFACE_LENGTH_MAX:
            raise Refused(
                f"interface name {network.interface!r} must have 1 to {INTERFACE_LENGTH_MAX} "
                f"characters"
            )
        if network.interface in seen:
            raise Refused(f"duplicated interface {network.interface}: give each its own name")
        seen.add(network.interface)
        if network.allocation.fixed and not is_fixed_name(pod, custom_kinds):
            raise Refused(
                f"fixed ip only support for fixed name pod: it belongs to a "
                f"{', '.join(sorted(pod.owner_kinds))}; use a StatefulSet, or type Elastic"
            )
    if DEFAULT_INTERFACE not in seen:
        raise Refused(f"no network is for {DEFAULT_INTERFACE}: every Pod needs that interface")
    if sum(network.default_route is True for network in networks) > 1:
        raise Refused("more than one interface asks for the default route: leave it to one")


def check_written(networks: Sequence[NetworkRequest]) -> None:
    """Refuse values in a user's own annotation that can't be honoured.

    What a PodNetworking says was checked when it was written; old ones are not held to new rules.
    """
    for network in networks:
        violations = [
            *allocation_violations(network.allocation),
            *choice_violations("eniType", network.eni_type, ENI_TYPES),
            *choice_violations(
                "vSwitchSelectionPolicy", network.selection_policy, SELECTION_POLICIES
            ),
            *(
                f"extraRoutes {each!r} is not a CIDR"
                for each in network.extra_routes
                if not _cidr(each)
            ),
        ]
        if violations:
            raise Refused(f"pod-networks, interface {network.interface}: {'; '.join(violations)}")


def _referenced(reference: NetworkReference, known: dict[str, PodNetworking]) -> PodNetworking:
    podnetworking = known.get(reference.podnetworking)
    if podnetworking is None:
        raise Refused(
            f"PodNetworking {reference.podnetworking} of pod-networks-request not found: create it, "
            f"or correct the name"
        )
    if not podnetworking.ready:
        raise Refused(
            f"PodNetworking {podnetworking.name} of pod-networks-request is not Ready: wait until "
            f"kubectl get podnetworking {podnetworking.name} says so"
        )
    if podnetworking.has_selector or podnetworking.selector_error:
        raise Refused(
            f"PodNetworking {podnetworking.name} has a selector: pod-networks-request can only name "
            f"those without"
        )
    return podnetworking


def _requested_enis(obj: KubeObject) -> int | None:
    """How many ENIs the containers request together; None when none does or it can't be read."""
    total: int | None = None
    try:
        for container in list_at(obj, "spec", "containers"):
            requests = mapping_at(container, "resources", "requests")
            for resource in (MEMBER_ENI_RESOURCE, EXCLUSIVE_ENI_RESOURCE):
                if resource in requests:
                    total = (total or 0) + int(str(requests[resource]))
    except ValueError:
        return None
    return total


def _cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text
