"""What must be so before a cluster is given back to the incumbent, and how its records are made to agree.

Pure. The incumbent acts on its NetworkInterfaces as soon as it starts: one that still says Detaching
would cut off a Pod that runs (reference §6.5). And it ends a reservation by podLastSeen (§6.6).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from ledger.rules.allocation import Allocation, Phase
from ledger.rules.found_podenis import Item, PodSeen, read_podeni
from ledger.rules.objects import text_at
from ledger.rules.podeni import API_VERSION, NODE_LABEL, POD_UID_ANNOTATION, Object, kube_time
from ledger.rules.pods import POD_ENI

Name = tuple[str, str]

RECORD_FINALIZER: Final = "network.alibabacloud.com/eni"
#: Phases in which the incumbent takes an ENI away, of a PodENI (reference §6.1) or a record (§6.5).
_TAKEN_AWAY: Final = ("Detaching", "Deleting")


def in_flight(a: Allocation) -> str | None:
    """What is still going on with an allocation; None where it may be given back as it is."""
    if a.intent is not None:
        return f"{a.intent.api} is not settled"
    if a.parked:
        return None
    if a.reported_gone is not None:
        return "its Pod was said to be gone, and is looked at"
    if a.phase is Phase.BOUND:
        attached = a.attachment is not None and a.attachment.motion == "attached"
        return None if attached and a.podeni_phase == "Bind" else "it is not bound yet"
    if a.phase is Phase.RESERVED:
        if a.release_requested is not None:
            return "it is being released"
        if a.address is not None and a.podeni_uid is None:
            return "no PodENI shows it, so the incumbent would lose it: release it first"
        return None
    if a.phase is Phase.WANTED and a.address is None and a.podeni_uid is None:
        return None
    return f"it is {a.phase.value}"


def dangers(
    podenis: Sequence[Object],
    pods: Mapping[Name, PodSeen | None],
    records: Mapping[str, Object],
    held: Sequence[Allocation],
) -> list[str]:
    """What the incumbent, finding things as they are, would take from whom: each with the next step.

    `pods` has the name of each PodENI; `held` is what the ledger gives back. The records of what is held
    are put right, so they are no danger.
    """
    bound = {(a.namespace, a.pod): a.pod_uid for a in held if a.phase is Phase.BOUND}
    kept = [a for a in held if a.phase in (Phase.BOUND, Phase.RESERVED) and a.address is not None]
    mended = {(a.namespace, a.pod) for a in kept}
    told: list[str] = []
    named: dict[str, list[str]] = {}
    for podeni in podenis:
        name = (podeni["metadata"]["namespace"], podeni["metadata"]["name"])
        items = read_podeni(podeni, {}, {}).items
        for item in items:
            named.setdefault(item.eni, []).append("/".join(name))
        pod = pods.get(name)
        if pod is not None and pod.runs and _uses(podeni, pod, items, bound.get(name)):
            unmended = {} if name in mended else records
            told += [
                f"PodENI {'/'.join(name)} {why}" for why in _taken(podeni, pod, items, unmended)
            ]
    for eni, names in sorted(named.items()):
        if len(names) > 1:
            told.append(
                f"{eni} is named by PodENIs {' and '.join(names)}: with the one that ends, the incumbent "
                "would delete it for both; delete the PodENI that does not hold it, then "
                "`eni-ledger verify --repair`"
            )
    for a in kept:
        if a.address is not None and a.address.eni not in named:
            told.append(
                f"{a.address.eni} of {a.namespace}/{a.pod} is named by no PodENI: the incumbent would "
                "not know it, and collect it; see `eni-ledger verify`"
            )
    return told


def _uses(podeni: Object, pod: PodSeen, items: Collection[Item], bound: str | None) -> bool:
    """Whether this Pod runs on it: by its annotation, by the address it reports, or by the ledger."""
    holder = text_at(podeni, "metadata", "annotations", POD_UID_ANNOTATION)
    return pod.uid in (holder, bound) or bool({item.ipv4 for item in items} & set(pod.ips))


def _taken(
    podeni: Object, pod: PodSeen, items: Collection[Item], records: Mapping[str, Object]
) -> Iterator[str]:
    """Why the incumbent would take it from the Pod that runs on it."""
    phase = text_at(podeni, "status", "phase")
    holder = text_at(podeni, "metadata", "annotations", POD_UID_ANNOTATION)
    if podeni["metadata"].get("deletionTimestamp"):  # §6.4
        yield (
            "was deleted while its Pod runs, and the incumbent would detach the ENI at once: delete the "
            "Pod, and its ENI is released with it"
        )
    elif phase in _TAKEN_AWAY:  # §6.1
        yield f"is in phase {phase} while its Pod runs: delete the Pod, or put the PodENI right"
    elif holder != pod.uid:  # §5.3c
        yield (
            f"is for Pod uid {holder or '(none)'}, and uid {pod.uid} runs on it: put its annotation "
            f"{POD_UID_ANNOTATION} right, or delete the Pod"
        )
    elif not pod.asks and text_at(podeni, "status", "trunkENIID"):  # §6.6
        yield (
            f"has a Pod without annotation {POD_ENI}: the incumbent would collect it; set it to "
            '"true", or delete the Pod'
        )
    for item in items:
        record = records.get(item.eni) or {"metadata": {}}
        says = text_at(record, "status", "phase")
        if record["metadata"].get("deletionTimestamp") or says in _TAKEN_AWAY:  # §6.5
            yield (
                f"is not this ledger's, and its NetworkInterface {item.eni} says {says or 'deleting'} "
                "while its Pod runs: put the record right, or delete the Pod"
            )


def fresh_last_seen(podeni: Object, held: Sequence[Allocation], now: datetime) -> Object | None:
    """The PodENI whose podLastSeen lets no reservation end sooner than the ledger's; None: it does.

    A bound one was seen now. For a reserved one it is what makes podLastSeen + releaseAfter the time
    at which the ledger would have ended it.
    """
    found = read_podeni(podeni, {}, {})
    status = podeni.get("status") or {}
    if found.problem is not None or found.retention.rule == "none":
        return None
    seen = now
    times = [item.lifetime.release_after for item in found.items]
    after = [each for each in times if each is not None]
    dues = [a.ttl_due for a in held if a.phase is Phase.RESERVED and a.ttl_due is not None]
    if dues and after and found.phase == "Unbind":
        # The incumbent keeps all while one is kept: the longest releaseAfter has to reach the due.
        seen = max(dues) - max(after)
    if found.last_seen is not None and found.last_seen >= seen.replace(microsecond=0):
        return None
    return {**podeni, "status": {**status, "podLastSeen": _not_before(seen)}}


def _not_before(moment: datetime) -> str:
    """In whole seconds, upwards: never sooner."""
    up = moment if moment.microsecond == 0 else moment + timedelta(seconds=1)
    return kube_time(up)


@dataclass(frozen=True, slots=True)
class RecordWrite:
    """One write of a NetworkInterface. "renew": take its finalizer off, and make it anew."""

    verb: Literal["create", "replace", "replace-status", "renew", "forget"]
    obj: Object


def next_record_write(record: Object | None, podeni: Object, item: Item) -> RecordWrite | None:
    """The write that brings the incumbent's record of an ENI nearer to its PodENI; None: it agrees."""
    metadata, spec, status = _wanted(podeni, item)
    if record is None:
        made = {"apiVersion": API_VERSION, "kind": "NetworkInterface", "metadata": metadata}
        return RecordWrite("create", {**made, "spec": spec})
    live = record["metadata"]
    if live.get("deletionTimestamp"):
        return RecordWrite("renew", record)
    labels = {k: v for k, v in (live.get("labels") or {}).items() if k != NODE_LABEL}
    labels |= metadata["labels"]
    kept = {**(record.get("spec") or {}), **spec}
    dressed = {**live, "labels": labels, "finalizers": _finalizers(live)}
    if (live.get("labels") or {}) != labels or dressed["finalizers"] != live.get("finalizers"):
        return RecordWrite("replace", {**record, "metadata": dressed, "spec": kept})
    if (record.get("spec") or {}) != kept:
        return RecordWrite("replace", {**record, "metadata": dressed, "spec": kept})
    if _said(record.get("status") or {}) != _said(status):
        return RecordWrite("replace-status", {**record, "status": status})
    return None


def forget_record(record: Object, in_cloud: bool) -> RecordWrite | None:
    """A record that no PodENI names: it goes where its ENI is gone, and is left to the incumbent else."""
    return None if in_cloud else RecordWrite("forget", record)


def _finalizers(live: Mapping[str, Any]) -> list[str]:
    found = list(live.get("finalizers") or [])
    return found if RECORD_FINALIZER in found else [*found, RECORD_FINALIZER]


def _wanted(podeni: Object, item: Item) -> tuple[Object, Object, Object]:
    """Metadata, spec and status of the record, in step with the PodENI."""
    metadata, status = podeni["metadata"], podeni.get("status") or {}
    phase = str(status.get("phase", ""))
    info = dict((status.get("eniInfos") or {}).get(item.eni) or {"id": item.eni})
    node = (metadata.get("labels") or {}).get(NODE_LABEL, "")
    raw = item.raw
    spec: Object = {
        "eni": raw["eni"],
        "podENIRef": {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"]},
    }
    shown = ("ipv4", "ipv6", "ipv4CIDR", "ipv6CIDR", "extraConfig")
    spec |= {key: raw[key] for key in shown if raw.get(key)}
    on: Object = {}
    labels = {}
    if phase == "Bind":
        on = {key: status[key] for key in ("instanceID", "trunkENIID") if status.get(key)}
        on |= {"nodeName": node}
        labels = {NODE_LABEL: node}
    named = {"name": item.eni, "labels": labels, "finalizers": [RECORD_FINALIZER]}
    return named, spec, {"phase": phase, "eniInfo": info, **on}


def _said(status: Mapping[str, Any]) -> Object:
    """Without empty values: left out or empty means the same."""
    return {key: value for key, value in status.items() if value not in ("", None)}
