"""Takes an ENI into the book that a running Pod uses and this ledger does not know: its lost tail.

Pure. After a restore to an earlier moment there are ENIs whose intents this ledger never wrote. One
is adopted only where everything agrees on one holder: a PodENI in Bind names it, that very Pod runs,
the cloud shows it in use where the PodENI says, and no allocation serves another Pod there (P1, P11).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Phase
from ledger.rules.entries import Address, Entry, Place, Retention, Terms
from ledger.rules.networks import AllocationType
from ledger.rules.pod_decisions import retention_for
from ledger.rules.podeni import POD_UID_ANNOTATION, Object

_INFERRED = (
    "terms and retention from the PodENI's spec",
    "address, security groups and attachment from the cloud",
    "place from the Pod and the PodENI's status",
)


@dataclass(frozen=True, slots=True)
class UsedEni:
    """An ENI as the cloud shows it in use."""

    address: Address
    instance_id: str
    trunk_eni_id: str | None
    vlan: int | None
    eni_type: str


@dataclass(frozen=True, slots=True)
class Adoption:
    """Entries that take one interface into the book; `before` is None where they open its story."""

    allocation_id: UUID
    before: Allocation | None
    entries: tuple[Entry, ...]


def adopt(
    cluster: str,
    podeni: Object,
    running: tuple[str, str],
    used: Mapping[str, UsedEni],
    held: Sequence[Allocation],
    new_id: Callable[[], UUID],
) -> tuple[Adoption, ...] | str:
    """What takes a PodENI's interfaces into the book, all of them or none; or why not.

    `running` are uid and node of the Pod, from a live look; `used` the ENIs in use, by id; `held`
    the allocations under the name that aren't released.
    """
    uid, node = running
    metadata, status = podeni["metadata"], podeni.get("status", {})
    if metadata.get("deletionTimestamp") or status.get("phase") != "Bind":
        return "its PodENI is not in phase Bind"
    if metadata.get("annotations", {}).get(POD_UID_ANNOTATION) != uid:
        return "its PodENI is bound for another Pod than the one that runs"
    items: list[Object] = podeni.get("spec", {}).get("allocations", [])
    retention = retention_for([_lifetime(item) for item in items])
    found = []
    for item in items:
        eni = used.get(item.get("eni", {}).get("id", ""))
        if eni is None or not _agrees(item, eni, status):
            return f"the cloud shows {item.get('eni', {}).get('id')} otherwise than its PodENI"
        serving = [a for a in held if a.serving and a.interface == _interface(item)]
        if any(not _free_for(a, uid, eni.address.eni) for a in serving):
            return f"allocation {serving[0].id} ({serving[0].phase}) serves {_interface(item)}"
        found.append(_adoption(cluster, podeni, uid, node, item, eni, retention, serving, new_id))
    return tuple(found)


def _free_for(a: Allocation, uid: str, eni: str) -> bool:
    """Opened by this Pod's own event, and nothing is in use or under way yet; or its address was
    claimed by that event, and is on the way to a Bind that was made already."""
    if a.phase is not Phase.WANTED or a.pod_uid != uid or a.intent is not None or a.parked:
        return False
    unused = a.attachment is None and a.podeni_phase is None
    return unused or (a.address is not None and a.address.eni == eni)


def _adoption(
    cluster: str,
    podeni: Object,
    uid: str,
    node: str,
    item: Object,
    eni: UsedEni,
    retention: Retention,
    serving: Sequence[Allocation],
    new_id: Callable[[], UUID],
) -> Adoption:
    metadata = podeni["metadata"]
    # A ledger that never looked at the vSwitch knows no CIDR, and would write that into the PodENI:
    # a node agent derives the gateway from it.
    words = {
        "ipv4_cidr": eni.address.ipv4_cidr or item.get("ipv4CIDR", ""),
        "ipv6_cidr": eni.address.ipv6_cidr or item.get("ipv6CIDR", ""),
    }
    adopted = e.Adopted(
        address=eni.address.model_copy(update=words),
        place=Place(
            node=node,
            instance_id=eni.instance_id,
            zone=eni.address.zone,
            trunk_eni_id=eni.trunk_eni_id,
        ),
        vlan=eni.vlan,
        eni_type=eni.eni_type,
        podeni_uid=metadata["uid"],
        inferred=_INFERRED,
    )
    if serving:
        return Adoption(serving[0].id, serving[0], (adopted,))
    requested = e.Requested(
        cluster=cluster,
        namespace=metadata["namespace"],
        pod=metadata["name"],
        interface=_interface(item),
        pod_uid=uid,
        node=node,
        terms=_terms(item, eni.address),
        retention=retention,
    )
    return Adoption(new_id(), None, (requested, adopted))


def _agrees(item: Object, eni: UsedEni, status: Mapping[str, Any]) -> bool:
    return (
        item.get("ipv4", "") == eni.address.ipv4
        and item.get("eni", {}).get("mac", eni.address.mac) == eni.address.mac
        and status.get("instanceID") == eni.instance_id
        and (status.get("trunkENIID") or None) == eni.trunk_eni_id
    )


def _interface(item: Object) -> str:
    return str(item.get("interface") or "eth0")


def _lifetime(item: Object) -> AllocationType:
    return AllocationType.from_object(item.get("allocationType", {}))


def _terms(item: Object, address: Address) -> Terms:
    lifetime = _lifetime(item)
    return Terms(
        vswitch_ids=(address.vswitch,),
        security_group_ids=address.security_group_ids,
        resource_group_id=item.get("eni", {}).get("resourceGroupID", ""),
        extra_routes=tuple(route["dst"] for route in item.get("extraRoutes", [])),
        allocation_type="Fixed" if lifetime.fixed else "Elastic",
        release_strategy=lifetime.release_strategy,
        release_after=lifetime.release_after_text,
    )
