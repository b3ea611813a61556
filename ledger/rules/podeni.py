"""The PodENI that shows a Pod's allocations, and the next write that brings it there.

The shape is the incumbent's (reference §1.2) and the node agent reads it (§6.10). The order of
writes is a contract: out of Bind first, then label and uid, then one status write with everything
the agent needs and `Bind`; so an agent never sees Bind beside half of the facts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ledger.rules.allocation import Allocation, Phase
from ledger.rules.entries import Terms

API_VERSION = "network.alibabacloud.com/v1beta1"
KIND = "PodENI"
FINALIZER = "network.alibabacloud.com/pod-eni"
DOCUMENT_FINALIZER = "pod-eni"
NODE_LABEL = "k8s.aliyun.com/node"
POD_UID_ANNOTATION = "k8s.aliyun.com/pod-uid"

Object = dict[str, Any]


class ForeignPodEni(Exception):  # noqa: N818 - a finding, not a malfunction
    """A PodENI of this name exists and names ENIs that aren't these allocations'."""


@dataclass(frozen=True, slots=True)
class Write:
    """One call of the Kubernetes API; `obj` carries the resourceVersion it was decided on."""

    verb: Literal["create", "replace", "replace-status", "delete"]
    obj: Object


def next_write(
    live: Object | None,
    phase: str,
    allocations: Sequence[Allocation],
    now: datetime,
    *,
    beside: Sequence[Allocation] = (),
    carry_default_route: bool = False,
) -> Write | None:
    """The write to make next towards `phase`, or None when the PodENI is there.

    `live` is the PodENI as just read (None: absent), `beside` what else is held under the name.
    `defaultRoute` is written with `carry_default_route` only: the incumbent drops it (reference
    §5.3d), and a node agent then gives eth0 the default route. Raises ForeignPodEni where the name
    is taken.
    """
    if phase == "Gone":
        return _towards_gone(live, allocations)
    if live is None:
        if phase not in ("Initial", "Bind"):
            return None
        return Write("create", _new(allocations, carry_default_route))
    if phase == "Deleting" and not _may_show(live, allocations):
        return None
    _refuse_foreign(live, [*allocations, *beside])
    if phase in ("Initial", "Bind"):
        if live["metadata"].get("deletionTimestamp"):
            return _let_go(live, allocations)
        spec = _spec(allocations, carry_default_route)
        return _towards_bind(live, phase, allocations, spec, now)
    return _towards_unbound(live, phase, allocations, now)


def next_restoring_write(
    live: Object | None,
    allocations: Sequence[Allocation],
    now: datetime,
    *,
    pod_runs: bool = False,
    carry_default_route: bool = False,
) -> Write | None:
    """The write to make next so that a PodENI shows what its allocations at rest hold; None: it does.

    BOUND is written back in place and never leaves Bind; RESERVED goes back to Unbind. `pod_runs`
    is whether a live look has just found the very Pod running: a Bind for another uid is then a
    hand's work and no later truth. What others own stays: their labels and annotations, status.msg,
    defaultRoute (it follows a setting at the next bind). Raises ForeignPodEni.
    """
    bound = allocations[0].phase is Phase.BOUND
    if live is None:
        return Write("create", _new(allocations, carry_default_route)) if bound else None
    _refuse_foreign(live, allocations)
    status = live.get("status", {})
    dressed = _dressed(live, _metadata(allocations), _spec(allocations, False))
    if not bound:
        wanted = _reserved_status(status, allocations)
        if _said(status) != _said(wanted):
            _refuse_in_use(live, allocations)
            return Write("replace-status", {**live, "status": wanted})
        return Write("replace", dressed) if dressed != live else None
    if not pod_runs:
        _refuse_bound_for_another(live, allocations[0].pod_uid)
    if dressed != live:
        return Write("replace", dressed)
    wanted = _bound_status(allocations, now)
    if _same_but_seen(status, _bound_in_place(status, wanted)):
        return None
    return Write("replace-status", {**live, "status": _bound_in_place(status, wanted)})


def _towards_bind(
    live: Object, phase: str, allocations: Sequence[Allocation], spec: Object, now: datetime
) -> Write | None:
    metadata = _metadata(allocations)
    status = live.get("status", {})
    dressed = _dressed(live, metadata, spec)
    if _bound_for(live) in _found_gone(allocations) - {allocations[0].pod_uid}:
        return Write("replace-status", {**live, "status": {**status, "phase": "Detaching"}})
    if dressed != live:
        _refuse_bound_for_another(live, allocations[0].pod_uid)
        return Write("replace", dressed)
    if phase == "Initial":
        return None
    wanted = _bound_status(allocations, now)
    if _same_but_seen(status, wanted):
        return None
    return Write("replace-status", {**live, "status": wanted})


def _towards_unbound(
    live: Object, phase: str, allocations: Sequence[Allocation], now: datetime
) -> Write | None:
    status = live.get("status", {})
    if status.get("phase") == phase:
        return None
    _refuse_in_use(live, allocations)
    wanted = {**status, "phase": phase}
    if phase in ("Detaching", "Deleting"):
        wanted["podLastSeen"] = kube_time(_last_seen(allocations, now))
    if phase == "Unbind":
        wanted = _reserved_status(status, allocations)
    return Write("replace-status", {**live, "status": wanted})


def _towards_gone(live: Object | None, allocations: Sequence[Allocation]) -> Write | None:
    if live is None:
        return None
    uids = {a.podeni_uid for a in allocations}
    if live["metadata"].get("uid") not in uids:
        return None
    if not live["metadata"].get("deletionTimestamp"):
        return Write("delete", live)
    return without_finalizers(live)


def _may_show(live: Object, allocations: Sequence[Allocation]) -> bool:
    """Whether this PodENI is that of these allocations: by their record of it or, where they have
    none (a process was killed between write and record), by the ENIs it names."""
    if any(a.podeni_uid for a in allocations):
        return True
    ours = {a.address.eni for a in allocations if a.address}
    shown = live.get("spec", {}).get("allocations", [])
    return any(item.get("eni", {}).get("id") in ours for item in shown)


def _let_go(live: Object, allocations: Sequence[Allocation]) -> Write:
    """A user deleted the PodENI while its Pod is being served: it goes, and is made anew."""
    if _bound_for(live) not in _found_gone(allocations):
        _refuse_bound_for_another(live, allocations[0].pod_uid)
    write = without_finalizers(live)
    if write is None:
        others = ", ".join(live["metadata"].get("finalizers", []))
        raise ForeignPodEni(
            f"PodENI {live['metadata'].get('namespace')}/{live['metadata'].get('name')} is being "
            f"deleted and waits for the finalizers {others}: it is made anew once it is gone"
        )
    return write


def without_finalizers(live: Object) -> Write | None:
    """The write that takes our finalizers off; None when they are."""
    finalizers = live["metadata"].get("finalizers", [])
    kept = [name for name in finalizers if name not in (FINALIZER, DOCUMENT_FINALIZER)]
    if kept == finalizers:
        return None
    return Write("replace", {**live, "metadata": {**live["metadata"], "finalizers": kept}})


def _refuse_foreign(live: Object, allocations: Sequence[Allocation]) -> None:
    ours = {a.address.eni for a in allocations if a.address}
    theirs = {item.get("eni", {}).get("id") for item in live.get("spec", {}).get("allocations", [])}
    if live["metadata"].get("uid") in {a.podeni_uid for a in allocations} or theirs <= ours:
        return
    raise ForeignPodEni(
        f"PodENI {live['metadata'].get('namespace')}/{live['metadata'].get('name')} names "
        f"{', '.join(sorted(str(eni) for eni in theirs - ours))}, which this ledger did not "
        "allocate for it: delete it if nothing uses it, or adopt it"
    )


def _refuse_in_use(live: Object, allocations: Sequence[Allocation]) -> None:
    """A PodENI leaves Bind only for a Pod that was found gone (P11).

    Bound for another uid, reality is ahead of this ledger: it was restored to an earlier moment, or
    somebody else binds. Taking it out of Bind would cut off a running Pod.
    """
    if _bound_for(live) not in {"", *_found_gone(allocations)}:
        raise ForeignPodEni(_in_use(live))


def why_in_use(live: Object | None, a: Allocation) -> str | None:
    """Why the ENI of an allocation may not be taken away, as far as its PodENI tells (P11).

    A PodENI leaves Bind before its ENI is taken away. One that names the ENI and is still bound,
    for a Pod that was not found gone, knows of a Pod that this ledger does not.
    """
    if live is None or a.address is None:
        return None
    shown = live.get("spec", {}).get("allocations", [])
    if all(item.get("eni", {}).get("id") != a.address.eni for item in shown):
        return None
    return None if _bound_for(live) in {"", *_found_gone([a])} else _in_use(live)


def shown_together(a: Allocation, others: Sequence[Allocation]) -> bool:
    """Whether the PodENI that shows `a` also shows one of the others."""
    return a.podeni_uid is not None and any(a.podeni_uid == other.podeni_uid for other in others)


def an_earlier_one_goes(ordered: Sequence[Allocation], later: Sequence[Allocation]) -> bool:
    """Whether a PodENI of this name is still to be deleted, which shows none of the later ones.

    They have nothing to do with it: whatever they wrote into it, a deletion of it would be theirs.
    """
    return any(
        a.phase is Phase.RELEASING and a.podeni_phase is not None and not shown_together(a, later)
        for a in ordered
    )


def _found_gone(allocations: Sequence[Allocation]) -> set[str]:
    """The Pod uids that these allocations served and that a live look found gone.

    Also earlier ones: a process killed between writing Bind and recording it leaves a PodENI in
    Bind for a Pod whose successor may have claimed the address since.
    """
    served = {a.pod_uid for a in allocations if a.phase is Phase.WANTED}
    found_gone = {a.attachment.pod_uid if a.attachment else a.pod_uid for a in allocations}
    found_gone |= {a.pod_uid for a in allocations if a.phase is not Phase.WANTED}
    found_gone |= {uid for a in allocations for uid in a.found_gone}
    return found_gone - served


def _refuse_bound_for_another(live: Object, pod_uid: str) -> None:
    """Label and uid change outside Bind only; a Bind of this very Pod may be completed."""
    if _bound_for(live) not in ("", pod_uid):
        raise ForeignPodEni(_in_use(live))


def _bound_for(live: Object) -> str:
    """The Pod uid that the PodENI is bound for; "" when it isn't in Bind."""
    if live.get("status", {}).get("phase") != "Bind":
        return ""
    uid: str = live["metadata"].get("annotations", {}).get(POD_UID_ANNOTATION, "unknown")
    return uid


def _in_use(live: Object) -> str:
    return (
        f"PodENI {live['metadata'].get('namespace')}/{live['metadata'].get('name')} is bound for "
        f"Pod uid {_bound_for(live)}, which this ledger has not found gone: it stays bound; look at "
        "`eni-ledger verify`, and whether the ledger was restored or another controller runs"
    )


def _new(allocations: Sequence[Allocation], carry_default_route: bool) -> Object:
    first = allocations[0]
    metadata = _metadata(allocations)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": first.pod,
            "namespace": first.namespace,
            "finalizers": [FINALIZER],
            **metadata,
        },
        "spec": _spec(allocations, carry_default_route),
    }


def _metadata(allocations: Sequence[Allocation]) -> Object:
    first = allocations[0]
    return {
        "labels": {NODE_LABEL: first.node},
        "annotations": {POD_UID_ANNOTATION: first.pod_uid},
    }


def _dressed(live: Object, metadata: Object, spec: Object) -> Object:
    """`live` with our labels, annotations, finalizer and spec; what others wrote stays."""
    old = live["metadata"]
    finalizers = list(old.get("finalizers", []))
    if FINALIZER not in finalizers and DOCUMENT_FINALIZER not in finalizers:
        finalizers.append(FINALIZER)
    merged = {
        **old,
        "labels": {**old.get("labels", {}), **metadata["labels"]},
        "annotations": {**old.get("annotations", {}), **metadata["annotations"]},
        "finalizers": finalizers,
    }
    return {**live, "metadata": merged, "spec": _overlaid_spec(live.get("spec", {}), spec)}


def _overlaid_spec(live: Object, ours: Object) -> Object:
    """Our spec over the live one, ENI by ENI: defaults that the server filled in are no difference."""
    shown = {item.get("eni", {}).get("id"): item for item in live.get("allocations", [])}
    allocations = []
    for item in ours["allocations"]:
        base = shown.get(item["eni"]["id"], {})
        allocations.append(_overlaid(_without_ours(base), _in_its_words(base, item)))
    return {**live, **ours, "allocations": allocations}


def _in_its_words(base: Object, item: Object) -> Object:
    """`item` as the live one says the same in other words: no difference, and no reason to write.

    The incumbent leaves a single interface without a name, and carries a strategy that an Elastic
    allocation makes no use of.
    """
    said = dict(item)
    if base and item["interface"] == "eth0" and not base.get("interface"):
        del said["interface"]
    asked = base.get("allocationType") or {}
    if item["allocationType"] == {"type": "Elastic"} and asked.get("type") == "Elastic":
        said["allocationType"] = asked
    return said


# Fields that say what was allocated: where we show none, nobody else may.
_OURS_ALONE = ("allocationType", "extraRoutes", "ipv6", "ipv6CIDR")


def _without_ours(item: Object) -> Object:
    return {key: value for key, value in item.items() if key not in _OURS_ALONE or not value}


def _overlaid(base: Object, over: Object) -> Object:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            value = _overlaid(below, value)  # noqa: PLW2901 - the merged value is the value
        merged[key] = value
    return merged


def _spec(allocations: Sequence[Allocation], carry_default_route: bool) -> Object:
    zone = next((a.address.zone for a in allocations if a.address), "")
    shown = [_allocation(a) for a in allocations]
    for a, item in zip(allocations, shown, strict=True):
        if carry_default_route and a.terms.default_route:
            item["defaultRoute"] = True
    return {"zone": zone, "allocations": shown}


def _allocation(a: Allocation) -> Object:
    assert a.address is not None
    address = a.address
    eni: Object = {
        "id": address.eni,
        "mac": address.mac,
        "securityGroupIDs": list(address.security_group_ids),
        "vSwitchID": address.vswitch,
        "zone": address.zone,
    }
    if address.resource_group_id:
        eni["resourceGroupID"] = address.resource_group_id
    shown: Object = {
        "allocationType": _allocation_type(a.terms),
        "eni": eni,
        "interface": a.interface,
        "ipv4": address.ipv4,
        "ipv4CIDR": address.ipv4_cidr,
    }
    if address.ipv6:
        shown |= {"ipv6": address.ipv6, "ipv6CIDR": address.ipv6_cidr}
    if a.terms.extra_routes:
        shown["extraRoutes"] = [{"dst": destination} for destination in a.terms.extra_routes]
    return shown


def _allocation_type(terms: Terms) -> Object:
    shown: Object = {"type": terms.allocation_type}
    if terms.allocation_type == "Fixed":
        if terms.release_strategy:
            shown["releaseStrategy"] = terms.release_strategy
        if terms.release_after:
            shown["releaseAfter"] = terms.release_after
    return shown


def _bound_status(allocations: Sequence[Allocation], now: datetime) -> Object:
    place = next(a.place for a in allocations if a.place)
    return {
        "eniInfos": {a.address.eni: _eni_info(a) for a in allocations if a.address},
        "instanceID": place.instance_id,
        "phase": "Bind",
        "podLastSeen": kube_time(now),
        "trunkENIID": place.trunk_eni_id or "",
    }


def _eni_info(a: Allocation) -> Object:
    assert a.address is not None
    info: Object = {"id": a.address.eni, "status": "Bind"}
    if a.attachment is not None:
        info["type"] = a.attachment.eni_type
        if a.attachment.vlan is not None:
            info["vid"] = a.attachment.vlan
    return info


def _bound_in_place(status: Mapping[str, Any], wanted: Mapping[str, Any]) -> Object:
    """What is bound, with what others wrote beside it (status.msg, an ENI's further facts)."""
    infos = status.get("eniInfos", {})
    ours = {eni: {**infos.get(eni, {}), **info} for eni, info in wanted["eniInfos"].items()}
    return {**status, **wanted, "eniInfos": ours}


def _reserved_status(status: Mapping[str, Any], allocations: Sequence[Allocation]) -> Object:
    """Unbind: the ENI infos stay with what they say of the past, the VLAN id among it."""
    infos = status.get("eniInfos", {})
    ours = {
        a.address.eni: {"id": a.address.eni, **infos.get(a.address.eni, {}), "status": "Unbind"}
        for a in allocations
        if a.address
    }
    fresh = {"phase": "Unbind", "instanceID": "", "trunkENIID": "", "eniInfos": ours}
    kept = {} if "podLastSeen" in status else {"podLastSeen": kube_time(allocations[0].changed_at)}
    return {**status, **kept, **fresh}


def _last_seen(allocations: Sequence[Allocation], now: datetime) -> datetime:
    return next((a.absent_since for a in allocations if a.absent_since), now)


def _same_but_seen(status: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Equal apart from podLastSeen, which alone is no reason to write (P8)."""
    return _said({**status, "podLastSeen": ""}) == _said({**wanted, "podLastSeen": ""})


def _said(status: Mapping[str, Any]) -> Object:
    """Without empty texts: the incumbent leaves such fields out, and means the same."""
    return {key: value for key, value in status.items() if value != ""}


def kube_time(moment: datetime) -> str:
    """A metav1.Time: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
