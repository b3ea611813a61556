"""What to do next for one Pod name, from the state of its allocations alone.

The plan is one step at a time: the reconciler takes it, records what came of it, and asks again.
So a crash between two steps costs nothing, and what a step assumed is never older than one step.
A Pod is planned as a whole because one PodENI carries all of its interfaces. Three things may be
going on at once under one name, and none waits for another: an old ENI going back, a reservation
running out, and a new Pod being served.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from ledger.rules.allocation import Allocation, Phase
from ledger.rules.entries import Api, Entry, PodEniWritten, Released
from ledger.rules.instance_types import InstanceTypeFacts
from ledger.rules.looks import release_is_due
from ledger.rules.nodes import NodeFacts
from ledger.rules.placing import (
    UNSERVED_LOOK,
    NoVSwitch,
    choose_vswitch,
    outdated,
    place_for,
    vswitches_to_look_at,
)
from ledger.rules.podeni import an_earlier_one_goes, shown_together
from ledger.rules.podeni_drift import at_rest
from ledger.rules.vswitches import Shuffle, VSwitchFacts

# What has not moved for this long is issued again (platform facts: stuck Detaching or Deleting).
STUCK_AFTER = timedelta(seconds=60)

PodEniPhase = Literal["Initial", "Bind", "Detaching", "Unbind", "Deleting", "Gone"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the plan needs to know beside the allocations. Absent facts are asked for by a step.

    `node` is the wanted Pod's node; a text says why it can't be used. `limits` are those of its
    instance type, and `carried` counts the ENIs of ours that take a slot there. `paused` holds what
    has to wait for the rest of this turn: allocations whose call had its chance, "podeni", a question
    put to the API server, a look that failed ("vswitches"). `looked` holds allocations whose ENI was
    looked at in this turn and had not moved; `asked` the looks that were made in it ("vswitches",
    "limits", "podeni").
    """

    now: datetime
    node: NodeFacts | str | None
    vswitches: Mapping[str, VSwitchFacts]
    shuffle: Shuffle
    enable_trunk: bool = True
    limits: InstanceTypeFacts | None = None
    carried: int = 0
    paused: Collection[UUID | str] = ()
    looked: Collection[UUID] = ()
    asked: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Settle:
    """Find out what became of a call whose outcome is open."""

    allocation: Allocation


@dataclass(frozen=True, slots=True)
class LookAtPod:
    """Ask the API server itself whether the holder is there.

    "presence": before anything is allocated for it; "holder": nothing could be for a while;
    "absence": it was said to be gone; "release": its reservation has come to its end.
    """

    question: Literal["presence", "holder", "absence", "release"]
    allocations: tuple[Allocation, ...]


@dataclass(frozen=True, slots=True)
class LookAtEni:
    """Ask the cloud how far an attach, detach or delete has come."""

    allocation: Allocation


@dataclass(frozen=True, slots=True)
class LookAtVSwitches:
    """Ask the cloud about vSwitches that the next create may use."""

    vswitch_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LookAtInstanceType:
    """Ask the cloud how many ENIs an instance type carries."""

    instance_type: str


@dataclass(frozen=True, slots=True)
class Call:
    """Make one cloud call for one allocation, intent first."""

    allocation: Allocation
    api: Api
    parameters: dict[str, str]

    @property
    def destructive(self) -> bool:
        """Whether it takes something away from somebody."""
        return self.api in ("DetachNetworkInterface", "DeleteNetworkInterface")


@dataclass(frozen=True, slots=True)
class WritePodEni:
    """Bring the PodENI into a phase that shows these allocations.

    `beside` are the others under the name: a PodENI that still shows one of them is no stranger's.
    """

    phase: PodEniPhase
    allocations: tuple[Allocation, ...]
    beside: tuple[Allocation, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckPodEni:
    """Look whether the PodENI shows these allocations at rest, and write it back if it doesn't."""

    allocations: tuple[Allocation, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """Append entries that follow from the state alone."""

    entries: tuple[tuple[Allocation, Entry], ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (None: before something new is heard)."""

    until: datetime | None
    why: str
    problem: bool = False


Look = LookAtPod | LookAtEni | LookAtVSwitches | LookAtInstanceType
Step = Settle | Look | Call | WritePodEni | CheckPodEni | Record | Wait


def plan(allocations: Sequence[Allocation], about: Surroundings) -> Step:
    """The next step for one Pod name; a Wait when every branch waits.

    `allocations` are those under the name that aren't released, in any order.
    """
    ordered = sorted(allocations, key=lambda a: (a.interface, a.created_at, str(a.id)))
    waits: list[Wait] = []
    for branch in _BRANCHES:
        step = branch(ordered, about)
        if step is not None and not isinstance(step, Wait):
            return step
        if step is not None:
            waits.append(step)
    return _soonest(waits)


def _soonest(waits: Sequence[Wait]) -> Wait:
    if not waits:
        return Wait(None, "nothing is going on")
    problem = next((wait for wait in waits if wait.problem), None)
    timed = [wait for wait in waits if wait.until is not None]
    first = min(timed, key=lambda wait: (wait.until, wait.why), default=waits[0])
    return Wait(first.until, problem.why, problem=True) if problem is not None else first


def _open_calls(ordered: Sequence[Allocation], about: Surroundings) -> Step | None:
    waits: list[Wait] = []
    for a in ordered:
        if a.intent is None:
            continue
        if a.id not in about.paused:
            return Settle(a)
        # A deadline in the past is no time to wait for: the turn would be due again at once.
        until = a.intent.deadline if a.intent.deadline > about.now else None
        waits.append(Wait(until, f"{a.intent.api} is not settled"))
    return _soonest(waits) if waits else None


def _free(ordered: Sequence[Allocation], *phases: Phase) -> tuple[Allocation, ...]:
    """The allocations in these phases that are neither parked nor in the middle of a call."""
    return tuple(a for a in ordered if a.phase in phases and not a.parked and not a.intent)


def _hearsay(ordered: Sequence[Allocation], about: Surroundings) -> Step | None:
    reported = tuple(a for a in ordered if a.reported_gone is not None and a.intent is None)
    if not reported:
        return None
    if "absence" in about.paused:
        return Wait(None, "the live look at the Pod could not be made", problem=True)
    return LookAtPod("absence", reported)


# ------------------------------------------------------------------------------ an ENI going back


def _going_back(ordered: Sequence[Allocation], about: Surroundings) -> Step | None:
    going = _free(ordered, Phase.RELEASING)
    if not going:
        return None
    serving = tuple(a for a in ordered if a.serving)
    shown = tuple(a for a in going if a.podeni_phase is not None and not shown_together(a, serving))
    bound = tuple(a for a in shown if a.podeni_phase != "Deleting")
    if bound:
        return _podeni("Deleting", bound, about, ordered)
    # A PodENI that came to Bind without those who share it now leaves Bind before the ENI goes.
    along = [s for s in serving if s.podeni_phase == "Bind"]
    left = [
        a
        for a in going
        if a.podeni_phase == "Bind" and a not in shown and not shown_together(a, along)
    ]
    if left and "podeni" not in about.paused:
        return _podeni("Detaching", tuple(left), about, ordered)
    # Killed between writing a PodENI and recording it: then one may show this ENI all the same.
    unrecorded = tuple(a for a in going if a.podeni_phase is None and a.address is not None)
    if unrecorded:
        return _podeni("Deleting", unrecorded, about, ordered)
    waits = []
    for a in going:
        step = _take_apart(a, about)
        if step is not None and not isinstance(step, Wait):
            return step
        if step is not None:
            waits.append(step)
    if waits or any(a.phase is Phase.RELEASING and a not in going for a in ordered):
        return _soonest(waits) if waits else None
    if shown:
        return _podeni("Gone", shown, about, ordered)
    return Record(tuple((a, Released()) for a in going))


def _take_apart(a: Allocation, about: Surroundings) -> Step | None:
    """Detach and delete the ENI of a releasing allocation; None when nothing is left of it."""
    if a.address is None:
        return None
    if a.attachment is not None:
        return _take_off(a, about)
    if a.deleting_since is None:
        return _call(a, "DeleteNetworkInterface", {"eni": a.address.eni}, about)
    if a.id not in about.looked:
        return LookAtEni(a)
    if about.now - a.deleting_since > STUCK_AFTER:
        return _call(a, "DeleteNetworkInterface", {"eni": a.address.eni}, about)
    return Wait(None, f"{a.address.eni} is being deleted")


def _take_off(a: Allocation, about: Surroundings) -> Step:
    """Detach an ENI and look until it is off."""
    assert a.address is not None
    assert a.attachment is not None
    if a.attachment.motion != "attached":
        # Detaching while an attach is under way is refused by the cloud: look until it landed.
        if a.id not in about.looked:
            return LookAtEni(a)
        if about.now - a.attachment.since <= STUCK_AFTER:
            return Wait(None, f"{a.address.eni} is still {a.attachment.motion}")
    parameters = {"eni": a.address.eni, "instance_id": a.attachment.instance_id}
    if a.attachment.trunk_eni_id:
        parameters["trunk_eni_id"] = a.attachment.trunk_eni_id
    return _call(a, "DetachNetworkInterface", parameters, about)


# ------------------------------------------------------------------------------ a reservation


def _leaving(ordered: Sequence[Allocation], about: Surroundings) -> Step | None:
    away = {a.pod_uid for a in ordered if a.phase in (Phase.LEAVING, Phase.RESERVED)}
    if any(a.phase in (Phase.WANTED, Phase.BOUND) and a.pod_uid not in away for a in ordered):
        return _left_over(ordered, about)
    leaving = _free(ordered, Phase.LEAVING)
    if not leaving:
        return None
    bound = tuple(a for a in leaving if a.podeni_phase in ("Initial", "Bind"))
    if bound:
        return _podeni("Detaching", bound, about, ordered)
    waits = []
    for a in leaving:
        if a.attachment is None:
            continue
        step = _take_off(a, about)
        if not isinstance(step, Wait):
            return step
        waits.append(step)
    if waits or any(a.phase is Phase.LEAVING and a not in leaving for a in ordered):
        return _soonest(waits) if waits else None
    if an_earlier_one_goes(ordered, leaving):
        return Wait(None, "the earlier PodENI of this name is on its way out")
    return _podeni("Unbind", leaving, about, ordered)


def _left_over(ordered: Sequence[Allocation], about: Surroundings) -> Step | None:
    """Interfaces that the re-created Pod no longer asks for: reserved as long as they were promised.

    The PodENI is the new Pod's now and shows only what it asks for, so theirs is recorded as gone;
    but first it leaves Bind, which it is in for the Pod that is gone.
    """
    bound = tuple(
        a for a in ordered if a.podeni_phase == "Bind" and a.phase in (Phase.LEAVING, Phase.WANTED)
    )
    if any(a.phase is Phase.LEAVING for a in bound):
        return _podeni("Detaching", bound, about, ordered)
    waits = []
    for a in _free(ordered, Phase.LEAVING, Phase.RESERVED):
        if a.phase is Phase.RESERVED and a.podeni_phase is None:
            continue
        if a.attachment is None and shown_together(a, [each for each in ordered if each is not a]):
            return Record(((a, PodEniWritten(phase="Gone", uid="")),))
        if a.attachment is None:  # nobody else's: left behind, it would stand in the new Pod's way
            return _podeni(
                "Gone" if a.podeni_phase == "Deleting" else "Deleting", (a,), about, ordered
            )
        step = _take_off(a, about)
        if not isinstance(step, Wait):
            return step
        waits.append(step)
    return _soonest(waits) if waits else None


def _reserved(ordered: Sequence[Allocation], about: Surroundings) -> Step | None:
    reserved = _free(ordered, Phase.RESERVED)
    due = tuple(a for a in reserved if release_is_due(a, about.now))
    if due:
        if "release" in about.paused:
            return Wait(None, "the reservation's end waits for the live look")
        return LookAtPod("release", due)
    times = [a.ttl_due for a in reserved if a.ttl_due is not None]
    return Wait(min(times), "reserved until its TTL is due") if times else None


def _regrouping(ordered: Sequence[Allocation], about: Surroundings) -> Step | None:
    """Put an existing ENI into the security groups that a person asked for."""
    for a in _free(ordered, Phase.WANTED, Phase.BOUND, Phase.LEAVING, Phase.RESERVED):
        if a.asked_security_groups is None or a.address is None:
            continue
        if a.attachment is not None and a.attachment.motion != "attached":
            continue  # the cloud refuses it in motion; when that has ended it is planned again
        groups = ",".join(a.asked_security_groups)
        told = {"eni": a.address.eni, "security_group_ids": groups}
        return _call(a, "ModifyNetworkInterfaceAttribute", told, about)
    return None


def _resting(ordered: Sequence[Allocation], about: Surroundings) -> Step | None:
    """Once a turn: the PodENI may have been edited or deleted by hand while everything rested."""
    shown = at_rest(ordered)
    if not shown or "podeni" in about.asked or "podeni" in about.paused:
        return None
    return CheckPodEni(shown)


# ------------------------------------------------------------------------------ a Pod being served


def _serving(ordered: Sequence[Allocation], about: Surroundings) -> Step | None:
    everyone = tuple(a for a in ordered if a.phase is Phase.WANTED)
    wanted = tuple(a for a in everyone if not a.parked and not a.intent)
    if not everyone or any(a.reported_gone for a in everyone):
        return None
    if any(a.podeni_phase == "Bind" for a in wanted):
        return _podeni("Detaching", wanted, about, ordered)
    waits = []
    for a in wanted:
        step = _bring_up(a, about)
        if step is not None and not isinstance(step, Wait):
            return step
        if step is not None:
            waits.append(step)
    if waits or len(wanted) < len(everyone):
        return _soonest(waits) if waits else None
    if an_earlier_one_goes(ordered, wanted):
        return Wait(None, "the earlier PodENI of this name is on its way out")
    if any(a.podeni_phase is None for a in wanted):
        return _podeni("Initial", wanted, about, ordered)
    for a in wanted:
        step = _attach(a, about)
        if step is not None and not isinstance(step, Wait):
            return step
        if step is not None:
            waits.append(step)
    if waits:
        return _soonest(waits)
    return _podeni("Bind", wanted, about, ordered)


def _bring_up(a: Allocation, about: Surroundings) -> Step | None:
    """What is missing before the PodENI can name the ENI; None when it is there and free."""
    if a.stale_attachment:
        return _take_off(a, about)
    node = about.node
    if not isinstance(node, NodeFacts):
        return _unserved(a, node or f"node {a.node} has not been seen yet", about)
    if node.ignored:
        # Its Pods are not ours to serve (reference §5.3a): no problem, and no event.
        why = f"node {a.node} is left alone: it is labelled so, or a virtual kubelet"
        return _unserved(a, why, about, problem=False)
    if a.place is None or outdated(a.place, node):
        # On a replaced node: off the instance that is no more, then the new one's facts.
        return _place(a, node, about) if a.attachment is None else _take_off(a, about)
    if a.address is not None:
        return None
    return _create(a, about)


def _unserved(a: Allocation, why: str, about: Surroundings, *, problem: bool = True) -> Step:
    """It waits for a place. For a Pod that never was, or whose end nobody tells, that would be for ever."""
    if about.now - a.changed_at >= UNSERVED_LOOK and "holder" not in about.paused:
        return LookAtPod("holder", (a,))
    return Wait(None, why, problem=problem)


def _place(a: Allocation, node: NodeFacts, about: Surroundings) -> Step:
    """Find the Pod a place on its node; a look at the Pod itself takes it."""
    known = about.limits is not None and not about.limits.stale(about.now)
    if not known and "limits" not in about.asked:
        return LookAtInstanceType(node.instance_type)
    placed = place_for(
        a, node, enable_trunk=about.enable_trunk, limits=about.limits, carried=about.carried
    )
    if isinstance(placed, str):
        return _unserved(a, placed, about)
    if "presence" in about.paused:
        return Wait(None, "the live look at the Pod could not be made", problem=True)
    return LookAtPod("presence", (a,))


def _create(a: Allocation, about: Surroundings) -> Step:
    assert a.place is not None
    asked = "vswitches" in about.asked or "vswitches" in about.paused
    to_look_at = vswitches_to_look_at(a, a.place.zone, about.vswitches, about.now)
    if to_look_at and not asked:
        return LookAtVSwitches(to_look_at)
    choice = choose_vswitch(a, a.place.zone, about.vswitches, about.shuffle, about.now)
    if isinstance(choice, NoVSwitch):
        unknown = [id_ for id_ in a.terms.vswitch_ids if id_ not in about.vswitches]
        if unknown and "vswitches" in about.paused:
            return Wait(None, f"vSwitch {', '.join(unknown)} could not be looked up", problem=True)
        return Wait(choice.again_at, choice.why, problem=True)
    return _call(a, "CreateNetworkInterface", {"vswitch_id": choice.id}, about)


def _attach(a: Allocation, about: Surroundings) -> Step | None:
    """Attach and look until the ENI is in use at its place; None when it is."""
    assert a.address is not None
    assert a.place is not None
    if a.attachment is None:
        parameters = {"eni": a.address.eni, "instance_id": a.place.instance_id}
        if a.place.trunk_eni_id:
            parameters["trunk_eni_id"] = a.place.trunk_eni_id
        return _call(a, "AttachNetworkInterface", parameters, about)
    if a.attachment.motion == "attached":
        return None
    if a.id in about.looked:
        return Wait(None, f"{a.address.eni} is being attached to {a.place.instance_id}")
    return LookAtEni(a)


def _call(a: Allocation, api: Api, parameters: dict[str, str], about: Surroundings) -> Call | Wait:
    if a.id in about.paused:
        return Wait(None, f"{api} has had its chance in this turn")
    return Call(a, api, parameters)


def _podeni(
    phase: PodEniPhase,
    allocations: tuple[Allocation, ...],
    about: Surroundings,
    ordered: Sequence[Allocation],
) -> Step:
    if "podeni" in about.paused:
        return Wait(None, f"the PodENI could not be written into phase {phase}")
    return WritePodEni(phase, allocations, tuple(a for a in ordered if a not in allocations))


# In this order a step is looked for; what one branch waits for holds up no other.
_BRANCHES = (
    _open_calls, _hearsay, _going_back, _leaving, _serving, _reserved, _regrouping, _resting,
)  # fmt: skip
