"""Takes a cluster's PodENIs over from the incumbent: what is found of each, and what the book makes of it.

Pure: facts in, decisions out, each with a name and a reason. Nothing is called and no PodENI is
written. What is not plainly so is left alone, and said (P11); a reservation never ends earlier than
the incumbent would have ended it (P2); one ENI or address has one holder, the others are parked (P1).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Phase
from ledger.rules.entries import Address, Entry
from ledger.rules.found_podenis import CloudEni, Found, Item, PodSeen, read_podeni
from ledger.rules.podeni import Object
from ledger.rules.taking_in import (
    close_unserved,
    fresh_request,
    taken_as_bound,
    taken_as_disputed,
    taken_as_missing,
    taken_as_reserved,
    taken_as_superseded,
    taken_on_the_way,
)

Name = tuple[str, str]
What = Literal[
    "bound", "serving", "reserved", "departing", "releasing",
    "disputed", "missing", "lost", "foreign", "unclear", "known", "orphan",
]  # fmt: skip

#: Decisions that leave everything alone: nothing is recorded.
LEFT_ALONE: frozenset[What] = frozenset({"foreign", "unclear", "known", "orphan"})


@dataclass(frozen=True, slots=True)
class Facts:
    """One look at everything. `pods` has each PodENI's name; None where there is no such Pod.

    `records` are the incumbent's NetworkInterface objects by ENI, `held` what the ledger has that
    isn't released.
    """

    cluster: str
    now: datetime
    podenis: Sequence[Object]
    records: Mapping[str, Object]
    enis: Mapping[str, CloudEni]
    pods: Mapping[Name, PodSeen | None]
    held: Sequence[Allocation]


@dataclass(frozen=True, slots=True)
class Taking:
    """Entries for one allocation; `before` is None where they open its story."""

    allocation_id: UUID
    before: Allocation | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is made of one interface, or of a whole PodENI where `interface` is empty.

    `due` is when its reservation ends; `notes` are things that a person may want to know.
    """

    namespace: str
    pod: str
    interface: str
    eni: str
    ipv4: str
    what: What
    why: str
    due: datetime | None = None
    notes: tuple[str, ...] = ()
    takings: tuple[Taking, ...] = ()


@dataclass(slots=True)
class _Claims:
    """Who holds which ENI and address: the allocation's id and its name, for people."""

    holders: dict[tuple[str, ...], tuple[UUID, str]] = field(default_factory=dict)

    def holder(self, address: Address, but: UUID | None) -> tuple[UUID, str] | None:
        for key in _keys(address):
            found = self.holders.get(key)
            if found is not None and found[0] != but:
                return found
        return None

    def take(self, address: Address, id_: UUID, who: str) -> None:
        for key in _keys(address):
            self.holders.setdefault(key, (id_, who))


def plan_takeover(facts: Facts, new_id: Callable[[], UUID]) -> list[Decision]:
    """A decision for every interface of every PodENI, and for ENIs that no PodENI names.

    In the order in which they are to be recorded: whoever holds something before whoever disputes it.
    Done again after it was recorded, each is "known" or left alone as before.
    """
    claims = _Claims()
    for a in facts.held:
        if a.address is not None:
            claims.take(a.address, a.id, f"{a.namespace}/{a.pod} {a.interface}")
    found = sorted((read_podeni(each, facts.pods, facts.enis) for each in facts.podenis), key=_rank)
    decisions: list[Decision] = []
    for each in found:
        held = [a for a in facts.held if (a.namespace, a.pod) == (each.namespace, each.name)]
        decisions += _decide(each, held, facts, claims, new_id)
    named = {item.eni for each in found for item in each.items}
    return decisions + _orphans(facts, named | {a.address.eni for a in facts.held if a.address})


def _rank(found: Found) -> tuple[int, str, str, str]:
    """Who comes first where two claim the same: the one a running Pod uses, then the older one."""
    used = 0 if found.serves and found.phase == "Bind" and found.as_cloud_shows else 1
    if used and not found.serves:
        used = 2 if found.phase not in ("Deleting", "") and not found.deleting else 3
    return used, found.created, found.namespace, found.name


def _decide(
    found: Found,
    held: Sequence[Allocation],
    facts: Facts,
    claims: _Claims,
    new_id: Callable[[], UUID],
) -> list[Decision]:
    if found.items and all(_is_known(item, found, held) for item in found.items):
        return [_about(found, item, "known", "the ledger has it") for item in found.items]
    why, what = _left_alone(found, held, facts)
    if why is not None:
        return [_about(found, item, what, why) for item in found.items or (None,)]
    decisions = []
    for item in found.items:
        if _is_known(item, found, held):
            decisions.append(_about(found, item, "known", "the ledger has it"))
            continue
        closing = [
            Taking(a.id, a, close_unserved(a, found))
            for a in held
            if a.interface == item.interface and a.serving and a.pod_uid != found.running_uid
        ]
        fresh = fresh_request(found, item, held)
        decision = _of_item(found, item, fresh, facts, claims, new_id)
        notes = (*_notes(found, item, facts), *decision.notes)
        decisions.append(replace(decision, takings=(*closing, *decision.takings), notes=notes))
    return decisions


def _is_known(item: Item, found: Found, held: Sequence[Allocation]) -> bool:
    """Whether an allocation of this name has the ENI, or has the PodENI without it (parked)."""
    return any(
        (a.address is not None and a.address.eni == item.eni)
        or (a.podeni_uid == found.uid and a.interface == item.interface)
        for a in held
    )


def _left_alone(found: Found, held: Sequence[Allocation], facts: Facts) -> tuple[str | None, What]:
    """Why nothing is made of a PodENI, all of its interfaces or none; None where something is."""
    if found.problem is not None:
        return found.problem, "unclear"
    for item in found.items:
        eni = facts.enis.get(item.eni)
        why = eni.foreign(facts.cluster) if eni is not None else None
        if why is not None:
            return f"{item.eni} {why}", "foreign"
        if eni is not None and eni.address.ipv4 != item.ipv4:
            return (
                f"{item.eni} has {eni.address.ipv4} in the cloud, and its PodENI says {item.ipv4}",
                "unclear",
            )
        if eni is not None and eni.status == "Deleting":
            return f"{item.eni} is being deleted: adopt again when it is gone", "unclear"
        for a in held:
            if a.serving and a.interface == item.interface and not _unserved(a):
                return f"allocation {a.id} ({a.phase}) serves {item.interface} already", "unclear"
    if found.serves and found.phase in ("Detaching", "Deleting"):
        return (
            f"its PodENI is in phase {found.phase} while its Pod runs: find out why, then delete the "
            "Pod, or put the PodENI right",
            "unclear",
        )
    return None, "unclear"


def _unserved(a: Allocation) -> bool:
    """Opened by an event of its Pod, and nothing came of it yet."""
    nothing = a.address is None and a.attachment is None and a.intent is None
    return a.phase is Phase.WANTED and nothing and a.podeni_uid is None and not a.parked


def _of_item(
    found: Found,
    item: Item,
    fresh: Allocation | None,
    facts: Facts,
    claims: _Claims,
    new_id: Callable[[], UUID],
) -> Decision:
    """What is made of one interface; `fresh` is the request that its running Pod's own event opened."""
    eni = facts.enis.get(item.eni)
    address = item.address(eni)
    superseded = fresh is not None and not found.serves and found.retention.rule == "none"
    if superseded:
        fresh = None  # an elastic ENI is nobody's inheritance: the later Pod gets one of its own
    id_ = fresh.id if fresh is not None else new_id()
    other = claims.holder(address, id_)
    if other is not None:
        why = f"{address.eni} / {address.ipv4} is held by {other[1]} ({other[0]}) as well"
        entries = taken_as_disputed(found, item, address, fresh, facts.cluster, other[0], why)
        return _taking(found, item, "disputed", why, id_, fresh, entries)
    if eni is None:
        why = f"the cloud does not show {item.eni}"
        entries = taken_as_missing(found, item, address, fresh, facts.cluster)
        return _taking(found, item, "missing", why, id_, fresh, entries)
    claims.take(address, id_, f"{found.namespace}/{found.name} {item.interface}")
    if superseded:
        why = "its Pod was replaced by one that waits: it is detached and released"
        entries = taken_as_superseded(found, item, eni, address, facts.cluster)
        return _taking(found, item, "departing", why, id_, None, entries)
    what, why, entries = _by_phase(found, item, eni, address, fresh, facts)
    due = next((x.ttl_due for x in entries if isinstance(x, e.Adopted)), None)
    notes = ("overdue: it ends as soon as a release may be decided",) if _past(due, facts) else ()
    decision = _taking(found, item, what, why, id_, fresh, entries)
    return replace(decision, due=due, notes=notes)


def _by_phase(
    found: Found,
    item: Item,
    eni: CloudEni,
    address: Address,
    fresh: Allocation | None,
    facts: Facts,
) -> tuple[What, str, tuple[Entry, ...]]:
    cluster = facts.cluster
    if found.serves and found.phase == "Bind":
        if found.agrees(eni):
            entries = taken_as_bound(found, item, eni, address, fresh, cluster)
            if found.deleting:
                why = "its PodENI was deleted while its Pod runs: released when the Pod goes"
                return "releasing", why, entries
            return "bound", "its Pod runs, and PodENI and cloud agree", entries
        why = f"its Pod runs, and the cloud shows {item.eni} {eni.status} {eni.where()}"
        return "lost", why, taken_as_bound(found, item, eni, address, fresh, cluster, lost=why)
    if found.serves:
        why = f"its Pod waits for it (PodENI in phase {found.phase or 'Initial'})"
        return "serving", why, taken_on_the_way(found, item, eni, address, fresh, cluster)
    if fresh is not None:
        why = "a later Pod of its name waits: it is taken off the earlier one and goes to it"
        return "serving", why, taken_on_the_way(found, item, eni, address, fresh, cluster)
    kept = found.phase == "Unbind" and eni.status == "Available" and not found.deleting
    if kept and found.retention.rule != "none":
        entries = taken_as_reserved(found, item, eni, address, cluster, facts.now)
        since = "" if found.last_seen else "; podLastSeen is missing: counted from now on"
        return "reserved", f"its Pod is away, and it is kept for the name{since}", entries
    entries = taken_on_the_way(found, item, eni, address, None, cluster)
    if found.deleting:
        return "releasing", "its PodENI was deleted: it is released", entries
    after = "released" if found.retention.rule == "none" else "reserved, counted from that look on"
    why = f"its Pod is {found.gone}: a live look confirms it, then it is detached and {after}"
    return "departing", why, entries


def _past(due: datetime | None, facts: Facts) -> bool:
    return due is not None and due <= facts.now


def _taking(
    found: Found,
    item: Item,
    what: What,
    why: str,
    id_: UUID,
    before: Allocation | None,
    entries: tuple[Entry, ...],
) -> Decision:
    decision = _about(found, item, what, why)
    return replace(decision, takings=(Taking(id_, before, entries),))


def _about(found: Found, item: Item | None, what: What, why: str) -> Decision:
    if item is None:
        return Decision(found.namespace, found.name, "", "", "", what, why)
    name = (found.namespace, found.name, item.interface)
    return Decision(*name, item.eni, item.ipv4, what, why)


def _notes(found: Found, item: Item, facts: Facts) -> tuple[str, ...]:
    notes = list(found.notes)
    eni = facts.enis.get(item.eni)
    if eni is not None and set(item.security_groups) != set(eni.address.security_group_ids):
        groups = ", ".join(eni.address.security_group_ids)
        notes.append(f"the cloud has it in {groups}: its PodENI will be made to say so")
    record = facts.records.get(item.eni, {})
    phase = record.get("status", {}).get("phase", "")
    if phase in ("Detaching", "Deleting", "Binding") or record.get("metadata", {}).get(
        "deletionTimestamp"
    ):
        doing = phase or "deleting"
        notes.append(f"its NetworkInterface says {doing}: the incumbent was in the middle of it")
    return tuple(notes)


def _orphans(facts: Facts, named: Collection[str]) -> list[Decision]:
    """ENIs of the incumbent that no PodENI names: its garbage, or somebody's loss."""
    why = "no PodENI names it: never touched; if nothing uses it, delete it in the cloud"
    return [
        Decision("", "", "", id_, eni.address.ipv4, "orphan", f"{eni.status}; {why}")
        for id_, eni in sorted(facts.enis.items())
        if id_ not in named and eni.by_incumbent(facts.cluster)
    ]


def _keys(address: Address) -> list[tuple[str, ...]]:
    keys = [("eni", address.eni), ("ipv4", address.vpc, address.ipv4)]
    return keys + ([("ipv6", address.vpc, address.ipv6)] if address.ipv6 else [])


def shortest(decisions: Sequence[Decision], now: datetime) -> timedelta | None:
    """How soon the first reservation ends; None where none does."""
    return min((d.due - now for d in decisions if d.due is not None), default=None)
