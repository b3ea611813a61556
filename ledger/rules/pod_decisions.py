"""What a newly seen Pod or PodENI means for the allocations under its name.

Pure and level-triggered: the newest observation and the current allocations decide, whatever was
missed in between, and the same observation decided again yields nothing. What is heard here is
hearsay: it can request an address and raise a question, but never detach or release anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Phase
from ledger.rules.entries import Entry, Retention, Terms
from ledger.rules.networks import (
    NEVER,
    AllocationType,
    NetworkRequest,
    NetworksError,
    networks_to_allocate,
)
from ledger.rules.pods import POD_NETWORKS, PodFacts


@dataclass(frozen=True, slots=True)
class SeenPod:
    """The newest observation under one Pod name. `pod` is None when the object is gone."""

    cluster: str
    namespace: str
    name: str
    uid: str
    pod: PodFacts | None

    @property
    def running_uid(self) -> str | None:
        """The uid that may be using the network now."""
        return self.uid if self.pod is not None and not self.pod.sandbox_exited else None


@dataclass(frozen=True, slots=True)
class Decision:
    """One entry to append to one allocation (a new one where the entry is Requested)."""

    allocation_id: UUID
    entry: Entry


@dataclass(frozen=True, slots=True)
class PodDecision:
    """What to append, and why the Pod can't be served, in words for its event."""

    decisions: tuple[Decision, ...] = ()
    problem: str | None = None


def decide_pod(
    seen: SeenPod, allocations: Sequence[Allocation], new_id: Callable[[], UUID]
) -> PodDecision:
    """What follows from an observation of a Pod.

    `allocations` are all under this name that aren't released, and any that served this very uid.
    """
    reports = tuple(_reports(seen, allocations))
    if not _wants_network(seen):
        return PodDecision(reports)
    if any(a.pod_uid == seen.uid and not a.serving for a in allocations):
        # This uid was already found gone: the observation is older than our live look.
        return PodDecision(reports)
    try:
        networks = networks_to_allocate(_annotation(seen))
    except NetworksError as unusable:
        return PodDecision(reports, str(unusable))
    if not networks:
        return PodDecision(reports, _NOTHING_ASKED)
    return PodDecision(reports + tuple(_requests(seen, networks, allocations, new_id)))


_NOTHING_ASKED = (
    "podNetworking is empty: the Pod has the annotation k8s.aliyun.com/pod-eni but none that says "
    "which networks; it was not admitted by our webhook: check the webhook and recreate the Pod"
)


def decide_podeni(
    uid: str,
    deleting: bool,
    by: str,
    allocations: Sequence[Allocation],
    reason: str = "the PodENI was deleted",
) -> tuple[Decision, ...]:
    """What follows from a PodENI that a user deletes: its allocations are to be released (P3).

    `deleting` is whether it has a deletionTimestamp, or was looked for and is gone; `by` names who,
    as far as it can be known.
    """
    if not deleting:
        return ()
    return tuple(
        Decision(
            a.id,
            e.ReleaseRequested(how="podeni-deleted", by=by, reason=reason, podeni_uid=uid),
        )
        for a in allocations
        if a.serving and a.podeni_uid == uid and a.release_requested is None
    )


def retention_of(networks: Sequence[NetworkRequest]) -> Retention:
    """How long a Pod's addresses outlive it: one answer for all its interfaces.

    A PodENI carries all of them, so any fixed one keeps all, and the longest keeps them. Fixed
    without a strategy, or with a release time nobody can read, is kept for ever (reference §6.6).
    """
    return retention_for([network.allocation for network in networks])


def retention_for(lifetimes: Sequence[AllocationType]) -> Retention:
    """`retention_of`, by what each interface is allocated as."""
    fixed = [allocation for allocation in lifetimes if allocation.fixed]
    if not fixed:
        return Retention(rule="none")
    times = []
    for allocation in fixed:
        after = allocation.release_after
        if allocation.release_strategy in (NEVER, "") or after is None or after.days < 0:
            return Retention(rule="never")
        times.append(after.total_seconds())
    return Retention(rule="ttl", after_s=max(times))


def _wants_network(seen: SeenPod) -> bool:
    pod = seen.pod
    return (
        pod is not None
        and seen.running_uid is not None
        and pod.wants_pod_eni
        and not pod.ignored
        and not pod.deleting  # its sandbox is never started any more
        and bool(pod.node_name)
    )


def _annotation(seen: SeenPod) -> str:
    return seen.pod.annotations.get(POD_NETWORKS, "") if seen.pod else ""


def _reports(seen: SeenPod, allocations: Sequence[Allocation]) -> list[Decision]:
    """Holders that this observation says are gone, unless that was already said."""
    reports = []
    for a in allocations:
        if a.phase not in (Phase.WANTED, Phase.BOUND) or a.reported_gone is not None:
            continue
        if seen.running_uid == a.pod_uid:
            continue
        if seen.pod is None:
            entry = e.GoneReported(pod_uid=a.pod_uid, how="deleted")
        elif seen.uid == a.pod_uid:
            entry = e.GoneReported(pod_uid=a.pod_uid, how="terminal")
        else:
            entry = e.GoneReported(pod_uid=a.pod_uid, how="replaced")
        reports.append(Decision(a.id, entry))
    return reports


def _requests(
    seen: SeenPod,
    networks: Sequence[NetworkRequest],
    allocations: Sequence[Allocation],
    new_id: Callable[[], UUID],
) -> list[Decision]:
    """A claim on each reservation the Pod finds under its name, a request for each other interface.

    A reservation that the Pod no longer asks for is kept as long as it was promised (P2, P3).
    """
    assert seen.pod is not None
    node = seen.pod.node_name
    serving = {a.interface: a for a in allocations if a.serving}
    if any(a.phase in (Phase.WANTED, Phase.BOUND) for a in serving.values()):
        # This Pod has what it asked for when it was first seen (later changes of its annotation reach
        # no Pod that exists), or an earlier holder has yet to be found gone: decided again when it is.
        return []
    held = [serving[network.interface] for network in networks if network.interface in serving]
    if any(a.release_requested is not None and a.phase in _AWAY for a in held):
        return []  # they are on their way out, perhaps with their PodENI; decided again when they are
    retention = retention_of(networks)
    found = []
    for network in networks:
        reservation = serving.get(network.interface)
        if reservation is None:
            found.append(Decision(new_id(), _request(seen, node, network, retention)))
        elif reservation.phase in _AWAY:
            lifetime = _lifetime(reservation, network, retention)
            claimed = e.Claimed(pod_uid=seen.uid, node=node, lifetime=lifetime)
            found.append(Decision(reservation.id, claimed))
    return found


def _lifetime(a: Allocation, network: NetworkRequest, retention: Retention) -> e.Lifetime | None:
    """How long the address is kept from now on, by the new Pod's annotation; None: as before."""
    asked = network.allocation
    lifetime = e.Lifetime(
        retention=retention,
        allocation_type="Fixed" if asked.fixed else "Elastic",
        release_strategy=asked.release_strategy,
        release_after=asked.release_after_text,
    )
    terms = a.terms
    before = e.Lifetime(
        retention=a.retention,
        allocation_type=terms.allocation_type,
        release_strategy=terms.release_strategy,
        release_after=terms.release_after,
    )
    return lifetime if lifetime != before else None


# Reservations, whether or not their ENI is off yet.
_AWAY = (Phase.LEAVING, Phase.RESERVED)


def _request(
    seen: SeenPod, node: str, network: NetworkRequest, retention: Retention
) -> e.Requested:
    return e.Requested(
        cluster=seen.cluster,
        namespace=seen.namespace,
        pod=seen.name,
        interface=network.interface,
        pod_uid=seen.uid,
        node=node,
        retention=retention,
        terms=Terms(
            vswitch_ids=network.vswitch_ids,
            security_group_ids=network.security_group_ids,
            eni_type=network.eni_type or "Default",
            selection_policy=network.selection_policy or "ordered",
            resource_group_id=network.resource_group_id,
            traffic_mode=network.traffic_mode,
            default_route=network.default_route,
            extra_routes=network.extra_routes,
            allocation_type="Fixed" if network.allocation.fixed else "Elastic",
            release_strategy=network.allocation.release_strategy,
            release_after=network.allocation.release_after_text,
        ),
    )
