"""The entries that take one found interface into the book, as what it is found to be. Pure.

Where a Pod's own event has opened a request already, the ENI is put into that one: the slot is its.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Phase
from ledger.rules.entries import Address, Entry, Place
from ledger.rules.found_podenis import CloudEni, Found, Item

_FOUND = (
    "terms and retention from the PodENI's spec",
    "address, security groups and attachment from the cloud",
    "holder and place from the Pod and the PodENI",
)
_PODENI_PHASES: dict[str, Any] = {"": "Initial", "Binding": "Initial"}
_AT_REST: Any = ""
_MOTIONS: dict[str, Any] = {"InUse": "attached", "Attaching": "attaching", "Detaching": "detaching"}
Story = tuple[Entry, ...]


def fresh_request(found: Found, item: Item, held: Sequence[Allocation]) -> Allocation | None:
    """The request of the Pod that runs now, of which nothing came yet; None where there is none."""
    for a in held:
        its = a.phase is Phase.WANTED and a.interface == item.interface
        if its and a.pod_uid == found.running_uid:
            return a
    return None


def close_unserved(a: Allocation, found: Found) -> Story:
    """Ends a request of an earlier Pod that never got anything; a live look found that Pod gone."""
    how: Literal["absent", "terminal", "replaced"] = "absent"
    if found.pod is not None:
        how = "terminal" if found.pod.uid == a.pod_uid else "replaced"
    looked = e.AbsenceConfirmed(pod_uid=a.pod_uid, found=how)
    return (looked, e.ReleaseDecided(why="never-allocated"), e.Released())


def taken_as_bound(
    found: Found,
    item: Item,
    eni: CloudEni,
    address: Address,
    fresh: Allocation | None,
    cluster: str,
    *,
    lost: str = "",
) -> Story:
    """Its Pod runs on it. `lost`: the cloud shows that it doesn't, which nothing gives back."""
    place = Place(
        node=_node(found),
        instance_id=found.instance_id or "unknown",
        zone=address.zone,
        trunk_eni_id=found.trunk_eni_id,
    )
    entry = _adopted(found, eni, address, place, "bound", "attached")
    entries = (*_opening(found, item, address, fresh, cluster, found.holder), entry)
    if found.deleting:
        entries += (_release_asked(found),)
    if lost:
        step = (
            f"Pod {found.namespace}/{found.name} has no network: delete it, and the next is served"
        )
        entries += (e.Parked(reason=lost, next_step=step),)
    return entries


def taken_on_the_way(
    found: Found,
    item: Item,
    eni: CloudEni,
    address: Address,
    fresh: Allocation | None,
    cluster: str,
) -> Story:
    """On its way to a Pod that runs, or from one that is gone, of which a live look is then made."""
    motion = _MOTIONS.get(eni.status, _AT_REST)
    instance = eni.instance_id or found.instance_id
    place = None
    if motion and instance:
        place = Place(
            node=_node(found),
            instance_id=instance,
            zone=address.zone,
            trunk_eni_id=eni.trunk_eni_id or found.trunk_eni_id,
        )
    motion = motion if place is not None else _AT_REST
    if fresh is not None or found.serves:
        earlier = "" if found.serves else found.holder
        entry = _adopted(found, eni, address, place, "wanted", motion, attached_for=earlier)
        holder = found.running_uid or found.holder
        entries: Story = (*_opening(found, item, address, fresh, cluster, holder), entry)
        return (*entries, _release_asked(found)) if found.deleting else entries
    stands: Any = "bound" if found.phase == "Bind" and motion == "attached" else "wanted"
    entry = _adopted(found, eni, address, place, stands, motion)
    how: Any = {"gone": "deleted", "at its end": "terminal", "replaced": "replaced"}[found.gone]
    reported = e.GoneReported(pod_uid=found.holder, how=how)
    entries = (*_opening(found, item, address, None, cluster, found.holder), entry, reported)
    return (*entries, _release_asked(found)) if found.deleting else entries


def taken_as_superseded(
    found: Found, item: Item, eni: CloudEni, address: Address, cluster: str
) -> Story:
    """An elastic one whose Pod was found replaced: the slot is the later Pod's, and this one goes back."""
    entries = taken_on_the_way(found, item, eni, address, None, cluster)
    looked = e.AbsenceConfirmed(pod_uid=found.holder, found="replaced")
    opening = tuple(entry for entry in entries if entry.kind in ("requested", "adopted"))
    return (*opening, looked, e.ReleaseDecided(why="elastic"))


def taken_as_reserved(
    found: Found, item: Item, eni: CloudEni, address: Address, cluster: str, now: datetime
) -> Story:
    """Kept for its name: until podLastSeen + releaseAfter, as the incumbent would, or for ever."""
    since = found.last_seen or now
    due = None
    if found.retention.after_s is not None:
        due = since + timedelta(seconds=found.retention.after_s)
    entry = _adopted(found, eni, address, None, "reserved", "").model_copy(
        update={"absent_since": since, "ttl_due": due}
    )
    return (*_opening(found, item, address, None, cluster, found.holder), entry)


def taken_as_disputed(
    found: Found,
    item: Item,
    address: Address,
    fresh: Allocation | None,
    cluster: str,
    holder: UUID,
    why: str,
) -> Story:
    """Its PodENI names what another allocation holds: only the PodENI is its own, and it waits."""
    uid = _uid(found, fresh)
    entry = _adopted(found, None, address, None, "disputed", "")
    parked = e.Parked(
        reason=why,
        next_step="Find out in the cloud which one holds it, delete Pod and PodENI of the other, then "
        "`eni-ledger verify --repair`",
        disputed=address,
        with_allocation=holder,
    )
    return (*_opening(found, item, address, fresh, cluster, uid), entry, parked)


def taken_as_missing(
    found: Found, item: Item, address: Address, fresh: Allocation | None, cluster: str
) -> Story:
    """The cloud does not show it: that is recorded, and nothing is done before a person says so."""
    uid = _uid(found, fresh)
    entry = _adopted(found, None, address, None, "wanted", "")
    runs = f"Pod {found.namespace}/{found.name} has no network: delete it, and the next is served"
    step = runs if found.serves else "if so, `eni-ledger verify --repair` lets its PodENI go"
    parked = e.Parked(
        reason=f"the cloud does not show {address.eni} ({address.ipv4})",
        next_step=f"Make sure that it is gone, and that region and account are right; {step}",
    )
    gone = e.EniGone(expected=False)
    return (*_opening(found, item, address, fresh, cluster, uid), entry, gone, parked)


def _uid(found: Found, fresh: Allocation | None) -> str:
    return fresh.pod_uid if fresh is not None else found.holder


def _opening(
    found: Found,
    item: Item,
    address: Address,
    fresh: Allocation | None,
    cluster: str,
    uid: str,
) -> Story:
    if fresh is not None:
        return ()
    requested = e.Requested(
        cluster=cluster,
        namespace=found.namespace,
        pod=found.name,
        interface=item.interface,
        pod_uid=uid,
        node=_node(found),
        terms=item.terms(address),
        retention=found.retention,
    )
    return (requested,)


def _node(found: Found) -> str:
    """The node of the Pod that runs, else the one that the PodENI was last bound on."""
    return found.pod.node if found.pod is not None and found.serves else found.node


def _adopted(
    found: Found,
    eni: CloudEni | None,
    address: Address,
    place: Place | None,
    stands: Literal["bound", "wanted", "reserved", "disputed"],
    motion: Literal["", "attaching", "attached", "detaching"],
    attached_for: str = "",
) -> e.Adopted:
    return e.Adopted(
        address=address,
        place=place,
        vlan=eni.vlan if eni is not None and motion in ("attached", "detaching") else None,
        eni_type=eni.type if eni is not None else "",
        podeni_uid=found.uid,
        inferred=_FOUND,
        stands=stands,
        podeni_phase=_PODENI_PHASES.get(found.phase, found.phase),
        motion=motion,
        attached_for=attached_for,
    )


def _release_asked(found: Found) -> e.ReleaseRequested:
    return e.ReleaseRequested(
        how="podeni-deleted",
        by="a user or the incumbent",
        reason="the PodENI was being deleted when it was adopted",
        podeni_uid=found.uid,
    )
