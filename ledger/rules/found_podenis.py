"""A PodENI of another controller, read with what the Pods and the cloud say beside it.

Pure, and forgiving where objects of older versions differ (no uid annotation, no interface name);
what can't be read is `problem`.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from ledger.rules.entries import Address, Retention, Terms
from ledger.rules.networks import MINIMUM_RELEASE_AFTER, AllocationType
from ledger.rules.objects import ObjectError, list_at, mapping_at, text_at, texts_at
from ledger.rules.pod_decisions import retention_for
from ledger.rules.podeni import DOCUMENT_FINALIZER, FINALIZER, POD_UID_ANNOTATION, Object

CLUSTER_TAG: Final = "ack.aliyun.com"
INCUMBENT_CREATOR: Final = "terway-controller"
_CREATORS: Final = (INCUMBENT_CREATOR, "eni-ledger")
_PHASES: Final = ("", "Binding", "Bind", "Detaching", "Unbind", "Deleting")


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A Pod as a live look found it. `runs`: not terminal. `ips` are what it reports, `annotation` the
    networks that it asks for, `asks` whether its annotation pod-eni says that it wants any."""

    uid: str
    node: str
    runs: bool
    ips: tuple[str, ...] = ()
    annotation: str = ""
    asks: bool = True


@dataclass(frozen=True, slots=True)
class CloudEni:
    """An ENI as the cloud shows it."""

    address: Address
    status: str
    instance_id: str | None
    trunk_eni_id: str | None
    vlan: int | None
    type: str
    tags: Mapping[str, str]

    def foreign(self, cluster: str) -> str | None:
        """Why it is not this cluster's, by its tags; None where it is."""
        of, creator = self.tags.get(CLUSTER_TAG), self.tags.get("creator")
        if of != cluster:
            return f"is tagged {CLUSTER_TAG}={of or '(none)'}, and this cluster is {cluster}"
        if creator not in _CREATORS:
            return (
                f"is tagged creator={creator or '(none)'}: made by neither of the two controllers"
            )
        return None

    def by_incumbent(self, cluster: str) -> bool:
        return self.foreign(cluster) is None and self.tags.get("creator") == INCUMBENT_CREATOR

    def where(self) -> str:
        """Where it is attached, for people."""
        if self.instance_id is None:
            return "on nothing"
        return f"on {self.instance_id} under {self.trunk_eni_id or 'no trunk'}"


@dataclass(frozen=True, slots=True)
class Item:
    """One allocation of a PodENI's spec. `interface` is eth0 where it names none."""

    eni: str
    ipv4: str
    ipv6: str
    interface: str
    lifetime: AllocationType
    raw: Object

    @property
    def security_groups(self) -> tuple[str, ...]:
        return texts_at(self.raw, "eni", "securityGroupIDs")

    def address(self, eni: CloudEni | None) -> Address:
        """The cloud's facts in the PodENI's words; the PodENI's own where the cloud shows nothing.

        The words matter: a PodENI is written back where it differs from what the book holds.
        """
        raw = self.raw
        said = Address(
            eni=self.eni,
            mac=text_at(raw, "eni", "mac"),
            vpc=text_at(raw, "eni", "vpcID"),
            vswitch=text_at(raw, "eni", "vSwitchID"),
            zone=text_at(raw, "eni", "zone"),
            ipv4=self.ipv4,
            ipv6=self.ipv6 or None,
            ipv4_cidr=text_at(raw, "ipv4CIDR"),
            ipv6_cidr=text_at(raw, "ipv6CIDR"),
            security_group_ids=self.security_groups,
            resource_group_id=text_at(raw, "eni", "resourceGroupID"),
        )
        if eni is None:
            return said
        groups = eni.address.security_group_ids
        same_ipv6 = _same_address(self.ipv6, eni.address.ipv6 or "")
        words = {
            "ipv4_cidr": said.ipv4_cidr or eni.address.ipv4_cidr,
            "ipv6": said.ipv6 if same_ipv6 else eni.address.ipv6,
            "ipv6_cidr": said.ipv6_cidr or eni.address.ipv6_cidr,
            "security_group_ids": self.security_groups
            if set(self.security_groups) == set(groups)
            else groups,
            "resource_group_id": said.resource_group_id,
        }
        return eni.address.model_copy(update=words)

    def terms(self, address: Address) -> Terms:
        """What the Pod was promised, as far as its PodENI tells."""
        return Terms(
            vswitch_ids=(address.vswitch,),
            security_group_ids=address.security_group_ids,
            resource_group_id=address.resource_group_id,
            extra_routes=tuple(text_at(route, "dst") for route in list_at(self.raw, "extraRoutes")),
            allocation_type="Fixed" if self.lifetime.fixed else "Elastic",
            release_strategy=self.lifetime.release_strategy,
            release_after=self.lifetime.release_after_text,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """One PodENI with its Pod. `problem` says why nothing can be made of it.

    `holder` is the uid of the Pod that it is for, `serves` whether that very Pod runs, `gone` in a
    word why not. `as_cloud_shows`: the cloud has all of it in use where the status says.
    """

    namespace: str
    name: str
    uid: str
    created: str
    phase: str
    deleting: bool
    holder: str
    pod: PodSeen | None
    instance_id: str
    trunk_eni_id: str | None
    node: str
    last_seen: datetime | None
    items: tuple[Item, ...]
    retention: Retention
    notes: tuple[str, ...]
    as_cloud_shows: bool
    problem: str | None = None

    @property
    def serves(self) -> bool:
        return self.running_uid is not None and self.running_uid == self.holder

    @property
    def running_uid(self) -> str | None:
        """The uid of the Pod of this name that runs, whichever it is."""
        return self.pod.uid if self.pod is not None and self.pod.runs else None

    @property
    def gone(self) -> str:
        if self.pod is None:
            return "gone"
        return "at its end" if self.pod.uid == self.holder else "replaced"

    def agrees(self, eni: CloudEni) -> bool:
        """Whether the cloud has the ENI in use where the status says."""
        on = (eni.instance_id, eni.trunk_eni_id)
        return eni.status == "InUse" and on == (self.instance_id or None, self.trunk_eni_id)


def read_podeni(
    podeni: Object,
    pods: Mapping[tuple[str, str], PodSeen | None],
    enis: Mapping[str, CloudEni],
) -> Found:
    """Read one PodENI; never raises."""
    metadata = podeni["metadata"]
    pod = pods.get((metadata["namespace"], metadata["name"]))
    try:
        return _read(podeni, pod, enis)
    except (ObjectError, ValueError, KeyError) as unreadable:
        return Found(
            metadata["namespace"], metadata["name"], metadata.get("uid", ""), "", "?", False, "",
            pod, "", None, "", None, (), Retention(rule="never"), (), False,
            problem=f"its PodENI can't be read: {unreadable}",
        )  # fmt: skip


def _read(podeni: Object, pod: PodSeen | None, enis: Mapping[str, CloudEni]) -> Found:
    metadata, status = podeni["metadata"], mapping_at(podeni, "status")
    items = tuple(_item(each) for each in list_at(podeni, "spec", "allocations"))
    retention, notes = _retention(items)
    text = text_at(status, "podLastSeen")
    last_seen = datetime.fromisoformat(text).astimezone(UTC) if text else None
    finalizers = set(metadata.get("finalizers") or ())
    if {FINALIZER, DOCUMENT_FINALIZER} <= finalizers:
        notes += ("it has both finalizers: both are honoured, and taken off at its end",)
    if others := sorted(finalizers - {FINALIZER, DOCUMENT_FINALIZER}):
        notes += (f"it has finalizers of others, who must take them off: {', '.join(others)}",)
    holder = text_at(metadata, "annotations", POD_UID_ANNOTATION)
    phase = text_at(status, "phase")
    if not holder and pod is not None and pod.runs and {item.ipv4 for item in items} & set(pod.ips):
        holder = pod.uid
        notes += ("it names no Pod uid: the Pod that runs reports its address",)
    found = Found(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        created=text_at(metadata, "creationTimestamp"),
        phase=phase,
        deleting=bool(metadata.get("deletionTimestamp")),
        holder=holder or "unknown",
        pod=pod,
        instance_id=text_at(status, "instanceID"),
        trunk_eni_id=text_at(status, "trunkENIID") or None,
        node=text_at(metadata, "labels", "k8s.aliyun.com/node"),
        last_seen=last_seen,
        items=items,
        retention=retention,
        notes=notes,
        as_cloud_shows=False,
        problem=_problem(items, phase, holder, pod),
    )
    shown = [enis.get(item.eni) for item in items]
    agreed = all(eni is not None and found.agrees(eni) for eni in shown)
    return replace(found, as_cloud_shows=agreed)


def _problem(items: tuple[Item, ...], phase: str, holder: str, pod: PodSeen | None) -> str | None:
    if not items:
        return "its PodENI names no ENI"
    interfaces = [item.interface for item in items]
    if len(set(interfaces)) < len(interfaces):
        return f"its PodENI names an interface twice: {', '.join(interfaces)}"
    if not all(item.eni and item.ipv4 for item in items):
        return "its PodENI names an interface without ENI or address"
    if phase not in _PHASES:
        return f"its PodENI is in phase {phase!r}, which is none of the incumbent's"
    if not holder and pod is not None and pod.runs and phase in ("Bind", "Binding"):
        return "its PodENI names no Pod uid, and the Pod of its name does not report its address"
    reported = pod is not None and pod.runs and {item.ipv4 for item in items} & set(pod.ips)
    if holder and pod is not None and reported and pod.uid != holder:
        # Whoever reports an address uses it, whatever an annotation says: nothing follows (P11).
        return (
            f"its PodENI is for Pod uid {holder}, and the Pod of that name that runs, uid {pod.uid}, "
            f"reports its address: put annotation {POD_UID_ANNOTATION} right, or delete the Pod"
        )
    return None


def _item(raw: Object) -> Item:
    return Item(
        eni=text_at(raw, "eni", "id"),
        ipv4=text_at(raw, "ipv4"),
        ipv6=text_at(raw, "ipv6"),
        interface=text_at(raw, "interface") or "eth0",
        lifetime=AllocationType.from_object(mapping_at(raw, "allocationType")),
        raw=raw,
    )


def _retention(items: tuple[Item, ...]) -> tuple[Retention, tuple[str, ...]]:
    """How long it outlives its Pod: by the incumbent's rules, but never below the documented minimum."""
    retention = retention_for([item.lifetime for item in items])
    least = MINIMUM_RELEASE_AFTER.total_seconds()
    if retention.after_s is None or retention.after_s >= least:
        return retention, ()
    note = f"releaseAfter is {retention.after_s:g} s: kept for the documented minimum of 5 minutes"
    return Retention(rule="ttl", after_s=least), (note,)


def _same_address(one: str, other: str) -> bool:
    if not one or not other:
        return one == other
    return ipaddress.ip_address(one) == ipaddress.ip_address(other)
