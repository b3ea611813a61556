"""What a look at the cloud says about a motion or an open call, describe lag and deadlines included."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consumers.cloud.port import ATTACHING, AVAILABLE, DELETING, DETACHING, IN_USE, Eni
from consumers.reconciler.describing import DESCRIBE_LAG
from consumers.reconciler.eni_looks import NotYet, judge_motion, judge_open_call
from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.rules.under_way import Intent
from tests.unit.rules.lives import Life

HERE, TRUNK = "i-node-h1", "eni-trunk-node-h1"


def eni(status: str, instance: str | None = HERE, trunk: str | None = TRUNK) -> Eni:
    return Eni(
        id="eni-1",
        mac="00:16:3e:00:00:01",
        status=status,
        type="Member",
        vpc_id="vpc-1",
        vswitch_id="vsw-h",
        zone="zone-h",
        ipv4="192.168.0.10",
        ipv6=None,
        security_group_ids=("sg-1",),
        instance_id=instance,
        trunk_eni_id=trunk,
        vlan=1001 if status == IN_USE else None,
        network_card_index=None,
        tags={},
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        resource_group_id="",
    )


def free() -> Eni:
    return eni(AVAILABLE, None, None)


def attaching() -> Allocation:
    return Life().created().shown().attaching().a


def detaching() -> Allocation:
    life = Life().bound().gone().shown("Detaching")
    return life.call("DetachNetworkInterface", eni="eni-1", instance_id=HERE).a


def deleting() -> Allocation:
    life = Life().reserved().releasing().shown("Deleting")
    return life.call("DeleteNetworkInterface", eni="eni-1").a


def since(a: Allocation) -> datetime:
    found = a.attachment.since if a.attachment else a.deleting_since
    assert found is not None
    return found


SOON, LATE = timedelta(seconds=2), DESCRIBE_LAG
ATTACHED = e.Attached(instance_id=HERE, trunk_eni_id=TRUNK, vlan=1001, eni_type="Member")

MOTIONS: dict[str, tuple[Allocation, Eni | None, timedelta, Any]] = {
    "attach: in use where it should be": (attaching(), eni(IN_USE), SOON, ATTACHED),
    "attach: on its way": (attaching(), eni(ATTACHING), LATE, NotYet),
    "attach: still free, perhaps an old picture": (attaching(), free(), SOON, NotYet),
    "attach: fell back": (attaching(), free(), LATE, e.AttachFailed(status=AVAILABLE)),
    "attach: not to be seen yet": (attaching(), None, SOON, NotYet),
    "attach: gone": (attaching(), None, LATE, e.EniGone(expected=False)),
    "attach: in use on another instance": (attaching(), eni(IN_USE, "i-2"), SOON, NotYet),
    "attach: in use under another trunk": (attaching(), eni(IN_USE, HERE, "eni-2"), SOON, NotYet),
    "detach: still in use": (detaching(), eni(IN_USE), LATE, NotYet),
    "detach: on its way": (detaching(), eni(DETACHING), LATE, NotYet),
    "detach: off": (detaching(), free(), SOON, e.Detached()),
    "detach: not to be seen, perhaps for a moment": (detaching(), None, SOON, NotYet),
    "detach: gone with its instance": (detaching(), None, LATE, e.EniGone(expected=False)),
    "delete: still there": (deleting(), free(), LATE, NotYet),
    "delete: on its way": (deleting(), eni(DELETING, None, None), LATE, NotYet),
    "delete: gone": (deleting(), None, SOON, e.EniGone(expected=True)),
}


@pytest.mark.parametrize("situation", MOTIONS)
def test_what_a_look_says_of_a_motion(situation: str) -> None:
    a, seen, after, expected = MOTIONS[situation]
    judged = judge_motion(a, seen, since(a) + after)
    if expected is NotYet:
        assert isinstance(judged, NotYet)
        assert judged.why
    else:
        assert judged == expected


@pytest.mark.parametrize(
    ("seen", "after", "problem"),
    [
        (eni(IN_USE, "i-2"), SOON, False),
        (eni(IN_USE, "i-2"), LATE, True),
        (eni(IN_USE, HERE, "eni-2"), LATE, True),
        (eni(ATTACHING), LATE, False),
        (eni(ATTACHING), timedelta(seconds=61), True),
    ],
)
def test_an_attach_that_goes_nowhere_is_a_problem_and_never_silent(
    seen: Eni, after: timedelta, problem: bool
) -> None:
    a = attaching()
    judged = judge_motion(a, seen, since(a) + after)
    assert isinstance(judged, NotYet)
    assert judged.problem is problem
    if problem and seen.status == IN_USE:
        assert "192.168.0.10" in judged.why


@pytest.mark.parametrize("situation", MOTIONS)
def test_what_is_judged_can_be_recorded(situation: str) -> None:
    for life in (
        Life().created().shown().attaching(),
        Life().bound().gone().shown("Detaching"),
        Life().reserved().releasing().shown("Deleting"),
    ):
        if life.a.attachment and life.a.attachment.motion == "attached":
            life.call("DetachNetworkInterface", eni="eni-1", instance_id=HERE)
        if life.a.attachment is None:
            life.call("DeleteNetworkInterface", eni="eni-1")
        _, seen, after, _ = MOTIONS[situation]
        judged = judge_motion(life.a, seen, since(life.a) + after)
        if not isinstance(judged, NotYet):
            life.tell(judged)


# ---------------------------------------------------------------------------- an open call


def intent(api: str) -> Intent:
    life = Life().bound().gone() if api.startswith("De") else Life().created().shown()
    life.intend(api, eni="eni-1", instance_id=HERE)  # type: ignore[arg-type]
    assert life.a.intent is not None
    return life.a.intent


ATTACH, DETACH, DELETE = (f"{verb}NetworkInterface" for verb in ("Attach", "Detach", "Delete"))
BEFORE, AT = timedelta(seconds=-1), timedelta(0)

OPEN: dict[str, tuple[str, Eni | None, timedelta, str]] = {
    "attach seen under way": (ATTACH, eni(ATTACHING), BEFORE, "done"),
    "attach seen under way without its instance": (ATTACH, eni(ATTACHING, None), BEFORE, "done"),
    "attach seen in use": (ATTACH, eni(IN_USE), BEFORE, "done"),
    "attach not seen, may come": (ATTACH, free(), BEFORE, "not yet"),
    "attach not seen until its deadline": (ATTACH, free(), AT, "undone"),
    "attach of an ENI in use elsewhere": (ATTACH, eni(IN_USE, "i-2"), BEFORE, "not yet"),
    "attach lost to another instance": (ATTACH, eni(IN_USE, "i-2"), AT, "undone"),
    "attach of an ENI not to be seen": (ATTACH, None, BEFORE, "not yet"),
    "attach of an ENI that is gone": (ATTACH, None, AT, "undone"),
    "detach seen under way": (DETACH, eni(DETACHING), BEFORE, "done"),
    "detach seen off": (DETACH, free(), BEFORE, "done"),
    "detach not seen, may come": (DETACH, eni(IN_USE), BEFORE, "not yet"),
    "detach never took effect": (DETACH, eni(IN_USE), AT, "undone"),
    "detach of an ENI not to be seen": (DETACH, None, BEFORE, "not yet"),
    "detach of an ENI that is gone": (DETACH, None, AT, "done and gone"),
    "delete seen under way": (DELETE, eni(DELETING, None, None), BEFORE, "done"),
    "delete not seen, may come": (DELETE, free(), BEFORE, "not yet"),
    "delete never took effect": (DELETE, free(), AT, "undone"),
    "delete: not to be seen, may be lag": (DELETE, None, BEFORE, "not yet"),
    "delete: gone": (DELETE, None, AT, "done and gone as expected"),
}


@pytest.mark.parametrize("situation", OPEN)
def test_p4_what_became_of_a_call_without_an_answer(situation: str) -> None:
    api, seen, when, expected = OPEN[situation]
    call = intent(api)
    judged = judge_open_call(call, seen, call.deadline + when, "r-9")
    done = e.CallDone(intent=call.id, settled_by="look", request_id="r-9")
    answers = {
        "done": (done,),
        "undone": (e.CallUndone(intent=call.id, request_id="r-9"),),
        "done and gone": (done, e.EniGone(expected=False)),
        "done and gone as expected": (done, e.EniGone(expected=True)),
    }
    if expected == "not yet":
        assert isinstance(judged, NotYet)
    else:
        assert judged == answers[expected]


@pytest.mark.parametrize("api", [ATTACH, DETACH, DELETE])
def test_p10_absence_of_evidence_settles_nothing_before_the_deadline(api: str) -> None:
    """A call may still be on its way: only what is seen to have happened counts."""
    call = intent(api)
    no_effect = {ATTACH: free(), DETACH: eni(IN_USE), DELETE: free()}[api]
    moment = call.intended_at
    while moment < call.deadline:
        assert isinstance(judge_open_call(call, no_effect, moment, "r"), NotYet)
        moment += timedelta(seconds=1)
    assert judge_open_call(call, no_effect, call.deadline, "r") == (
        e.CallUndone(intent=call.id, request_id="r"),
    )
