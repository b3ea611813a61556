"""What each entry does to an allocation: the only way its state comes about.

`evolve` is total over the entries the rules can produce and raises ImpossibleEntry for any other,
so that a bug stops at the book and not in the cloud.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel

from ledger.rules import entries as e
from ledger.rules.allocation import RESTORED_LATELY, Allocation, ImpossibleEntry, Phase, Recorded
from ledger.rules.under_way import PASSING, VSWITCH_FULL, Attachment, Intent


def evolve(before: Allocation | None, recorded: Recorded) -> Allocation:
    """State after one more entry. Raises ImpossibleEntry where the entry can't follow."""
    entry = recorded.entry
    if isinstance(entry, e.Requested):
        if before is not None:
            raise ImpossibleEntry(f"allocation {before.id}: requested twice")
        return _opened(recorded, entry)
    if before is None and isinstance(entry, e.CarriedForward):
        before = carried_state(recorded.allocation_id, entry)
    if before is None:
        raise ImpossibleEntry(f"allocation {recorded.allocation_id}: begins with {entry.kind}")
    if recorded.version != before.version + 1:
        raise ImpossibleEntry(
            f"allocation {before.id}: version {recorded.version} follows {before.version}"
        )
    if before.phase is Phase.RELEASED:
        raise ImpossibleEntry(f"allocation {before.id}: {entry.kind} after its release")
    changes = _CHANGES[type(entry)](before, entry, recorded.recorded_at)
    return before.model_copy(
        update={"version": recorded.version, "changed_at": recorded.recorded_at, **changes}
    )


def fold(story: Iterable[Recorded]) -> Allocation:
    """The state after a whole story, which must not be empty."""
    state: Allocation | None = None
    for recorded in story:
        state = evolve(state, recorded)
    if state is None:
        raise ImpossibleEntry("a story without entries has no state")
    return state


def carried_state(allocation_id: UUID, entry: e.CarriedForward) -> Allocation:
    """The state that an entry carries. Raises ImpossibleEntry where it is another's."""
    state = Allocation.model_validate(entry.state)
    if state.id != allocation_id:
        raise ImpossibleEntry(f"allocation {allocation_id}: carries {state.id} forward")
    return state


def _opened(recorded: Recorded, entry: e.Requested) -> Allocation:
    if recorded.version != 1:
        raise ImpossibleEntry(f"allocation {recorded.allocation_id}: begins at {recorded.version}")
    told: Changes = {name: value for name, value in entry if name != "kind"}
    at = recorded.recorded_at
    told |= {"id": recorded.allocation_id, "created_at": at, "changed_at": at}
    return Allocation(version=1, phase=Phase.WANTED, **told)


Changes = dict[str, Any]
Change = Callable[[Allocation, Any, datetime], Changes]
Kind = TypeVar("Kind", bound=BaseModel)
_CHANGES: dict[type, Change] = {}


def _on(kind: type[Kind]) -> Callable[[Callable[[Allocation, Kind, datetime], Changes]], Change]:
    def register(change: Callable[[Allocation, Kind, datetime], Changes]) -> Change:
        _CHANGES[kind] = change
        return change

    return register


def _must(holds: bool, state: Allocation, entry: BaseModel) -> None:
    if not holds:
        raise ImpossibleEntry(
            f"allocation {state.id} ({state.namespace}/{state.pod} {state.interface}, "
            f"{state.phase}): {type(entry).__name__} can't follow"
        )


def _open_intent(state: Allocation, entry: BaseModel, intent: UUID) -> Intent:
    if state.intent is None or state.intent.id != intent:
        raise ImpossibleEntry(f"allocation {state.id}: {type(entry).__name__} of a settled call")
    return state.intent


# ------------------------------------------------------------------------------ the Pod


@_on(e.Claimed)
def _claimed(state: Allocation, entry: e.Claimed, at: datetime) -> Changes:
    _must(state.phase in (Phase.LEAVING, Phase.RESERVED), state, entry)
    changes: Changes = {
        "phase": Phase.WANTED,
        "pod_uid": entry.pod_uid,
        "node": entry.node,
        "place": None,
        "absent_since": None,
        "ttl_due": None,
        "awaited_version": None,
        "reported_gone": None,
        "parked": None,
    }
    if entry.lifetime is not None:
        words = entry.lifetime.model_dump(exclude={"retention"})
        changes["terms"] = state.terms.model_copy(update=words)
        changes["retention"] = entry.lifetime.retention
    return changes


@_on(e.GoneReported)
def _gone_reported(state: Allocation, entry: e.GoneReported, at: datetime) -> Changes:
    _must(state.phase in (Phase.WANTED, Phase.BOUND), state, entry)
    _must(state.pod_uid == entry.pod_uid, state, entry)
    return {"reported_gone": entry.how}


@_on(e.GoneRefuted)
def _gone_refuted(state: Allocation, entry: e.GoneRefuted, at: datetime) -> Changes:
    return {"reported_gone": None}


@_on(e.AbsenceConfirmed)
def _absence_confirmed(state: Allocation, entry: e.AbsenceConfirmed, at: datetime) -> Changes:
    _must(state.phase in (Phase.WANTED, Phase.BOUND), state, entry)
    _must(state.pod_uid == entry.pod_uid, state, entry)
    return {
        "phase": Phase.LEAVING,
        "reported_gone": None,
        "absent_since": at,
        "ttl_due": entry.ttl_due,
        "awaited_version": None,
        "parked": None,
        # The PodENI may be bound for it without our record of that write: see podeni.py.
        "found_gone": (*state.found_gone, entry.pod_uid),
    }


@_on(e.TtlRestarted)
def _ttl_restarted(state: Allocation, entry: e.TtlRestarted, at: datetime) -> Changes:
    _must(state.phase in (Phase.LEAVING, Phase.RESERVED), state, entry)
    _must(state.ttl_due is not None, state, entry)
    return {"ttl_due": entry.ttl_due, "gap": entry.gap, "awaited_version": None}


@_on(e.Placed)
def _placed(state: Allocation, entry: e.Placed, at: datetime) -> Changes:
    _must(state.phase is Phase.WANTED, state, entry)
    return {"place": entry.place}


# ------------------------------------------------------------------------------ the release


@_on(e.ReleaseRequested)
def _release_requested(state: Allocation, entry: e.ReleaseRequested, at: datetime) -> Changes:
    _must(state.serving, state, entry)
    return {
        "release_requested": f"{entry.how} by {entry.by}: {entry.reason}",
        "release_podeni": entry.podeni_uid or state.podeni_uid,
    }


@_on(e.ReleaseWithdrawn)
def _release_withdrawn(state: Allocation, entry: e.ReleaseWithdrawn, at: datetime) -> Changes:
    _must(state.serving and state.podeni_deleted_by_report, state, entry)
    return {"release_requested": None, "release_podeni": None}


@_on(e.ReleaseAwaited)
def _release_awaited(state: Allocation, entry: e.ReleaseAwaited, at: datetime) -> Changes:
    _must(state.phase is Phase.RESERVED, state, entry)
    return {"awaited_version": entry.resource_version, "awaited_at": at}


@_on(e.ReleaseDecided)
def _release_decided(state: Allocation, entry: e.ReleaseDecided, at: datetime) -> Changes:
    _must(state.phase in (Phase.LEAVING, Phase.RESERVED), state, entry)
    return {
        "phase": Phase.RELEASING,
        "released_why": entry.why,
        "ttl_due": None,
        "parked": None,
    }


@_on(e.Released)
def _released(state: Allocation, entry: e.Released, at: datetime) -> Changes:
    _must(state.phase is Phase.RELEASING, state, entry)
    _must(state.intent is None and state.attachment is None, state, entry)
    return {"phase": Phase.RELEASED, "deleting_since": None}


@_on(e.Returned)
def _returned(state: Allocation, entry: e.Returned, at: datetime) -> Changes:
    _must(state.intent is None, state, entry)
    gone: Changes = {"phase": Phase.RELEASED, "released_why": "returned", "deleting_since": None}
    return gone | {"ttl_due": None, "attachment": None, "parked": None}


@_on(e.Adopted)
def _adopted(state: Allocation, entry: e.Adopted, at: datetime) -> Changes:
    _must(state.phase is Phase.WANTED and state.intent is None, state, entry)
    shown: Changes = {"podeni_phase": entry.podeni_phase, "podeni_uid": entry.podeni_uid}
    if entry.stands == "disputed":
        return shown
    same = state.address is not None and state.address.eni == entry.address.eni
    _must(same or state.attachment is None, state, entry)
    pod_uid = entry.attached_for or state.pod_uid
    held: Changes = {"place": entry.place, "address": entry.address, "attachment": None}
    if entry.place is not None and entry.motion:
        on = (entry.place.instance_id, entry.place.trunk_eni_id)
        held["attachment"] = _in_use(entry, *on, pod_uid, at).model_copy(
            update={"motion": entry.motion}
        )
    if entry.attached_for:
        held |= {"found_gone": (*state.found_gone, entry.attached_for), "place": None}
    match entry.stands:
        case "bound":
            _must(held["attachment"] is not None, state, entry)
            held["phase"] = Phase.BOUND
        case "reserved":
            kept = {"phase": Phase.RESERVED, "reported_gone": None, "place": None}
            held |= kept | {"absent_since": entry.absent_since, "ttl_due": entry.ttl_due}
    return shown | held


@_on(e.SecurityGroupsAsked)
def _security_groups_asked(
    state: Allocation, entry: e.SecurityGroupsAsked, at: datetime
) -> Changes:
    _must(state.serving, state, entry)
    groups = entry.security_group_ids
    changes: Changes = {"terms": state.terms.model_copy(update={"security_group_ids": groups})}
    shown = state.address.security_group_ids if state.address else groups
    return changes | {"asked_security_groups": groups if groups != shown else None}


# ------------------------------------------------------------------------------ calls


@_on(e.CallIntended)
def _call_intended(state: Allocation, entry: e.CallIntended, at: datetime) -> Changes:
    _must(state.intent is None, state, entry)
    return {
        "intent": Intent(
            id=entry.intent,
            api=entry.api,
            client_token=entry.client_token,
            parameters=entry.parameters,
            intended_at=at,
            deadline=entry.deadline,
        )
    }


@_on(e.CallDone)
def _call_done(state: Allocation, entry: e.CallDone, at: datetime) -> Changes:
    intent = _open_intent(state, entry, entry.intent)
    settled: Changes = {"intent": None}
    match intent.api:
        case "CreateNetworkInterface":
            _must(entry.address is not None, state, entry)
            return settled | {"address": entry.address, "exhausted_vswitches": {}}
        case "AttachNetworkInterface":
            attachment = Attachment(
                instance_id=intent.parameters["instance_id"],
                trunk_eni_id=intent.parameters.get("trunk_eni_id"),
                pod_uid=state.pod_uid,
                motion="attaching",
                since=at,
            )
            return settled | {"attachment": attachment}
        case "DetachNetworkInterface":
            return settled | _moving_off(state, at)
        case "DeleteNetworkInterface":
            return settled | {"deleting_since": at}
        case "ModifyNetworkInterfaceAttribute":
            return settled | _regrouped(state, intent)


def _regrouped(state: Allocation, intent: Intent) -> Changes:
    """In its new security groups; a later wish for others stays."""
    groups = tuple(intent.parameters["security_group_ids"].split(","))
    still = state.asked_security_groups if state.asked_security_groups != groups else None
    if state.address is None:
        return {"asked_security_groups": None}
    address = state.address.model_copy(update={"security_group_ids": groups})
    return {"address": address, "asked_security_groups": still, "podeni_outdated": True}


def _moving_off(state: Allocation, at: datetime) -> Changes:
    if state.attachment is None:
        return {}
    off = state.attachment.model_copy(update={"motion": "detaching", "since": at})
    return {"attachment": off}


@_on(e.CallRefused)
def _call_refused(state: Allocation, entry: e.CallRefused, at: datetime) -> Changes:
    intent = _open_intent(state, entry, entry.intent)
    changes: Changes = {"intent": None}
    if intent.api == "CreateNetworkInterface" and entry.code in VSWITCH_FULL:
        full = {**state.exhausted_vswitches, intent.parameters["vswitch_id"]: at}
        changes["exhausted_vswitches"] = full
    if intent.api == "ModifyNetworkInterfaceAttribute" and not (
        entry.throttled or entry.code.startswith(PASSING)
    ):
        changes["asked_security_groups"] = None  # a definite no: the wish ends, and is told
    return changes


@_on(e.CallUnknown)
def _call_unknown(state: Allocation, entry: e.CallUnknown, at: datetime) -> Changes:
    intent = _open_intent(state, entry, entry.intent)
    return {"intent": intent.model_copy(update={"unknown": True})}


@_on(e.CallUndone)
def _call_undone(state: Allocation, entry: e.CallUndone, at: datetime) -> Changes:
    _open_intent(state, entry, entry.intent)
    return {"intent": None}


@_on(e.CallRepeated)
def _call_repeated(state: Allocation, entry: e.CallRepeated, at: datetime) -> Changes:
    intent = _open_intent(state, entry, entry.intent)
    return {"intent": intent.model_copy(update={"deadline": entry.deadline, "unknown": False})}


# ------------------------------------------------------------------------------ looks


@_on(e.Attached)
def _attached(state: Allocation, entry: e.Attached, at: datetime) -> Changes:
    _must(state.attachment is not None and state.address is not None, state, entry)
    pod_uid = state.attachment.pod_uid if state.attachment else state.pod_uid
    return {"attachment": _in_use(entry, entry.instance_id, entry.trunk_eni_id, pod_uid, at)}


def _in_use(
    seen: e.Attached | e.Adopted, instance_id: str, trunk: str | None, pod_uid: str, at: datetime
) -> Attachment:
    return Attachment(
        instance_id=instance_id,
        trunk_eni_id=trunk,
        pod_uid=pod_uid,
        motion="attached",
        since=at,
        vlan=seen.vlan,
        eni_type=seen.eni_type,
    )


@_on(e.AttachFailed)
def _attach_failed(state: Allocation, entry: e.AttachFailed, at: datetime) -> Changes:
    return {"attachment": None}


@_on(e.Detached)
def _detached(state: Allocation, entry: e.Detached, at: datetime) -> Changes:
    return {"attachment": None}


@_on(e.EniGone)
def _eni_gone(state: Allocation, entry: e.EniGone, at: datetime) -> Changes:
    return {"attachment": None, "address": None, "deleting_since": None}


# ------------------------------------------------------------------------------ PodENI and people


@_on(e.PodEniWritten)
def _podeni_written(state: Allocation, entry: e.PodEniWritten, at: datetime) -> Changes:
    changes: Changes = {"podeni_phase": entry.phase, "podeni_uid": entry.uid, "found_gone": ()}
    if entry.phase == "Bind":
        _must(state.phase is Phase.WANTED, state, entry)
        changes |= {"phase": Phase.BOUND, "podeni_outdated": False}
    elif entry.phase == "Unbind" and state.phase is Phase.LEAVING:
        changes["phase"] = Phase.RESERVED
    elif entry.phase == "Gone":
        changes |= {"podeni_phase": None, "podeni_uid": None}
        if state.phase is Phase.LEAVING:
            # The re-created Pod did not ask for it, so no PodENI shows it; it is kept all the same.
            changes["phase"] = Phase.RESERVED
    return changes


@_on(e.PodEniRestored)
def _podeni_restored(state: Allocation, entry: e.PodEniRestored, at: datetime) -> Changes:
    _must(state.phase in (Phase.BOUND, Phase.RESERVED), state, entry)
    lately = state.restored_at is not None and at - state.restored_at < RESTORED_LATELY
    times = state.restorations + 1 if lately else 1
    changes: Changes = {"podeni_uid": entry.uid, "podeni_outdated": False}
    if state.podeni_outdated:
        return changes  # our own doing: nobody edited it
    return changes | {"restored_at": at, "restorations": times}


@_on(e.Parked)
def _parked(state: Allocation, entry: e.Parked, at: datetime) -> Changes:
    return {"parked": f"{entry.reason}. {entry.next_step}"}


@_on(e.Unparked)
def _unparked(state: Allocation, entry: e.Unparked, at: datetime) -> Changes:
    return {"parked": None}


@_on(e.CarriedForward)
def _carried_forward(state: Allocation, entry: e.CarriedForward, at: datetime) -> Changes:
    """Nothing changes: what is carried is what the entries before it tell, in the fields of its time."""
    carried = carried_state(state.id, entry)
    differ = [n for n in carried.model_fields_set if getattr(carried, n) != getattr(state, n)]
    if differ:
        raise ImpossibleEntry(f"allocation {state.id}: carries another {', '.join(sorted(differ))}")
    return {}
