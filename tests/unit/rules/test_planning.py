"""Each situation and the one step that follows from it."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.rules.placing import UNSERVED_LOOK
from ledger.rules.planning import (
    STUCK_AFTER,
    Call,
    CheckPodEni,
    LookAtEni,
    LookAtPod,
    LookAtVSwitches,
    Record,
    Settle,
    Step,
    Surroundings,
    Wait,
    WritePodEni,
    plan,
)
from tests.unit.rules.lives import (
    ADDRESS,
    NEVER,
    NONE,
    START,
    TERMS,
    Life,
    node,
    unshuffled,
    vswitches,
)

NOW = START + timedelta(minutes=1)
TO = {"eni": "eni-1", "instance_id": "i-node-h1", "trunk_eni_id": "eni-trunk-node-h1"}


def about(**changes: Any) -> Surroundings:
    known = Surroundings(
        now=NOW,
        node=node(),
        vswitches=vswitches(),
        shuffle=unshuffled,
        asked={"limits", "vswitches", "podeni"},
    )
    return replace(known, **changes)


def step(*lives: Life, **changes: Any) -> Step:
    return plan([life.a for life in lives], about(**changes))


def told(*entries: e.Entry) -> Any:
    return lambda life: life.tell(*entries)


def summary(what: Step) -> str:
    """A step as the table writes it."""
    match what:
        case Call(_, api):
            return api.removesuffix("NetworkInterface").lower()
        case WritePodEni(phase):
            return f"podeni {phase}"
        case LookAtPod(question):
            return f"ask {question}"
        case Wait(until, _, problem):
            return ("problem" if problem else "wait") + (" until" if until else "")
        case Record(entries):
            return "record " + ",".join(entry.kind for _, entry in entries)
        case _:
            return type(what).__name__.lower()


def opened(life: Life) -> Life:
    life.intend("AttachNetworkInterface", **TO)
    return life


def claimed(life: Life, on: str = "node-h1") -> Life:
    return life.tell(e.Claimed(pod_uid="uid-2", node=on))


PARKED = e.Parked(reason="r", next_step="n")
REPORT = e.GoneReported(pod_uid="uid-1", how="deleted")
COMMAND = e.ReleaseRequested(how="command", by="b", reason="r")

SITUATIONS: dict[str, tuple[Life, str]] = {
    # a Pod being served
    "just requested": (Life(), "ask presence"),
    "its Pod is there": (Life().placed(), "create"),
    "it has an ENI": (Life().created(), "podeni Initial"),
    "the PodENI names it": (Life().created().shown(), "attach"),
    "the attach was accepted": (Life().created().shown().attaching(), "lookateni"),
    "it is in use": (Life().created().shown().attached(), "podeni Bind"),
    "bound": (Life().bound(), "wait"),
    # an open call comes first
    "an open call": (opened(Life().created().shown()), "settle"),
    "an open call and a report": (opened(Life().created().shown()).tell(REPORT), "settle"),
    # hearsay
    "bound and said to be gone": (Life().bound().tell(REPORT), "ask absence"),
    "wanted and said to be gone": (Life().created().tell(REPORT), "ask absence"),
    "parked and said to be gone": (Life().tell(PARKED, REPORT), "ask absence"),
    # on its way to a reservation
    "found gone": (Life().bound().gone(), "podeni Detaching"),
    "out of Bind": (Life().bound().gone().shown("Detaching"), "detach"),
    "off": (Life().bound().gone().shown("Detaching").taken_off(), "podeni Unbind"),
    "W1: found gone before its ENI was attached": (Life().created().gone(), "podeni Unbind"),
    "W1: with a PodENI already": (Life().created().shown().gone(), "podeni Detaching"),
    "W1: and out of Initial": (Life().created().shown().gone().shown("Detaching"), "podeni Unbind"),
    "found gone while it was being attached": (
        Life().created().shown().attaching().gone().shown("Detaching"),
        "lookateni",
    ),
    # a reservation
    "reserved": (Life().reserved(), "wait until"),
    "reserved for ever": (Life(retention=NEVER).reserved(), "wait"),
    "released by command": (Life(retention=NEVER).reserved().tell(COMMAND), "ask release"),
    "released by command while bound": (Life().bound().tell(COMMAND), "wait"),
    "released by command while leaving": (
        Life().bound().gone().tell(COMMAND),
        "podeni Detaching",
    ),
    # back again
    "claimed": (claimed(Life().reserved()), "ask presence"),
    "claimed while leaving": (claimed(Life().bound().gone()), "podeni Detaching"),
    "claimed while out of Bind, on the same node": (
        claimed(Life().bound().gone().shown("Detaching")),
        "detach",
    ),
    "claimed and placed": (claimed(Life().reserved()).placed(), "attach"),
    "the ENI vanished while reserved": (
        claimed(Life().reserved().tell(e.EniGone(expected=False))).placed(),
        "create",
    ),
    # going back
    "an elastic Pod is gone": (Life(retention=NONE).bound().gone().releasing(), "podeni Deleting"),
    "its PodENI says so": (
        Life(retention=NONE).bound().gone().releasing().shown("Deleting"),
        "detach",
    ),
    "a reservation ended": (Life().reserved().releasing(), "podeni Deleting"),
    "with nothing attached": (Life().reserved().releasing().shown("Deleting"), "delete"),
    "the delete was accepted": (
        Life().reserved().releasing().shown("Deleting").call("DeleteNetworkInterface", eni="eni-1"),
        "lookateni",
    ),
    "the ENI is gone": (
        Life()
        .reserved()
        .releasing()
        .shown("Deleting")
        .call("DeleteNetworkInterface", eni="eni-1")
        .tell(e.EniGone(expected=True)),
        "podeni Gone",
    ),
    "all is gone": (
        Life()
        .reserved()
        .releasing()
        .shown("Deleting")
        .tell(e.EniGone(expected=True))
        .shown("Gone"),
        "record released",
    ),
    "never allocated": (Life().gone().releasing("never-allocated"), "record released"),
    # parked
    "parked": (Life().tell(PARKED), "wait"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_step_that_follows(situation: str) -> None:
    life, expected = SITUATIONS[situation]
    assert summary(step(life)) == expected


@pytest.mark.parametrize("situation", SITUATIONS)
def test_p8_a_step_that_had_its_chance_is_not_repeated_in_the_turn(situation: str) -> None:
    life, _ = SITUATIONS[situation]
    everything: set[Any] = {life.id, "podeni", "presence", "absence", "release", "vswitches"}
    waiting = step(life, paused=everything, looked={life.id})
    assert isinstance(waiting, Wait | Record)


def test_nothing_held_is_nothing_to_do() -> None:
    assert plan([], about()) == Wait(None, "nothing is going on")


def test_calls_name_what_they_are_about() -> None:
    attach = step(Life().created().shown())
    assert isinstance(attach, Call)
    assert (attach.parameters, attach.destructive) == (TO, False)
    detach = step(Life().bound().gone().shown("Detaching"))
    assert isinstance(detach, Call)
    assert (detach.parameters, detach.destructive) == (TO, True)
    delete = step(Life().reserved().releasing().shown("Deleting"))
    assert isinstance(delete, Call)
    assert (delete.parameters, delete.destructive) == ({"eni": "eni-1"}, True)
    create = step(Life().placed())
    assert isinstance(create, Call)
    assert (create.parameters, create.destructive) == ({"vswitch_id": "vsw-h"}, False)


# ---------------------------------------------------------------------------- what is missing


@pytest.mark.parametrize(
    ("on", "why"),
    [
        (None, "has not been seen yet"),
        ("node node-h1 has spec.providerID ''", "providerID"),
        (node(trunk=False), "trunk eni id not found"),
        (node("node-x"), "has not been seen yet"),
    ],
)
def test_w7_a_node_that_can_not_be_used_is_waited_for_and_told(on: Any, why: str) -> None:
    waiting = step(Life(), node=on)
    assert isinstance(waiting, Wait)
    assert waiting.problem
    assert why in waiting.why


@pytest.mark.parametrize("on", [None, "no such node", node(trunk=False), node("node-x")])
def test_p11_what_waits_long_for_a_place_has_its_pod_looked_at_once_a_turn(on: Any) -> None:
    life = Life()
    late = life.a.changed_at + UNSERVED_LOOK
    assert summary(step(life, node=on, now=late)) == "ask holder"
    assert summary(step(life, node=on, now=late, paused={"holder"})) == "problem"
    assert summary(step(life, node=on, now=late - timedelta(seconds=1))) == "problem"


def test_a_node_that_is_to_be_left_alone_is_no_problem() -> None:
    waiting = step(Life(), node=replace(node(), ignored=True))
    assert isinstance(waiting, Wait)
    assert not waiting.problem


def test_a_stale_attachment_comes_off_whatever_the_node_is() -> None:
    life = claimed(Life().bound().gone().shown("Detaching"))
    for on in (None, "no such node", replace(node(), ignored=True)):
        assert summary(step(life, node=on)) == "detach"


def test_unknown_vswitches_are_looked_at_once_and_then_the_others_serve() -> None:
    terms = TERMS.model_copy(update={"vswitch_ids": ("vsw-deleted", "vsw-h")})
    life = Life(terms=terms).placed()
    looking = step(life, asked={"limits", "podeni"})
    assert looking == LookAtVSwitches(("vsw-deleted",))
    create = step(life)
    assert isinstance(create, Call)
    assert create.parameters == {"vswitch_id": "vsw-h"}


def test_no_vswitch_of_the_zone_is_a_problem_that_names_them() -> None:
    waiting = step(Life().placed(), vswitches={})
    assert isinstance(waiting, Wait)
    assert waiting.problem
    assert "vsw-h (not found)" in waiting.why


def test_w4_full_vswitches_are_asked_again_at_a_known_time() -> None:
    life = Life().placed()
    intent = life.intend("CreateNetworkInterface", vswitch_id="vsw-h")
    code = "InvalidVSwitchId.IpNotEnough"
    life.tell(e.CallRefused(intent=intent, code=code, message="m", request_id="r"))
    waiting = step(life)
    assert isinstance(waiting, Wait)
    assert waiting.problem
    assert waiting.until == life.now + timedelta(minutes=2)


# ---------------------------------------------------------------------------- stuck


@pytest.mark.parametrize(
    ("life", "again"),
    [
        (Life().created().shown().attaching().gone().shown("Detaching"), "detach"),
        (
            Life()
            .bound()
            .gone()
            .shown("Detaching")
            .call("DetachNetworkInterface", eni="eni-1", instance_id="i-node-h1"),
            "detach",
        ),
        (
            Life()
            .reserved()
            .releasing()
            .shown("Deleting")
            .call("DeleteNetworkInterface", eni="eni-1"),
            "delete",
        ),
    ],
    ids=["attaching while its Pod is gone", "detaching", "deleting"],
)
def test_what_does_not_move_is_asked_for_again_after_a_minute(life: Life, again: str) -> None:
    since = life.a.attachment.since if life.a.attachment else life.a.deleting_since
    assert since is not None
    assert summary(step(life, now=since + STUCK_AFTER, looked={life.id})) == "wait"
    late = since + STUCK_AFTER + timedelta(seconds=1)
    assert summary(step(life, now=late)) == "lookateni"
    assert summary(step(life, now=late, looked={life.id})) == again


# ---------------------------------------------------------------------------- several at once


def second(**more: Any) -> Life:
    return Life(number=2, interface="eth1", **more)


def test_one_podeni_waits_for_all_interfaces() -> None:
    assert summary(step(Life().created(), second().placed())) == "create"
    together = step(Life().created(), second().created())
    assert isinstance(together, WritePodEni)
    assert [a.interface for a in together.allocations] == ["eth0", "eth1"]


def test_an_interface_that_fails_holds_bind_back_and_not_its_neighbour() -> None:
    """eth1 had its chance: eth0 is made ready, and nothing is bound before both are."""
    failing = second().placed()
    assert summary(step(Life().placed(), failing, paused={failing.id})) == "create"
    assert summary(step(Life().created(), failing, paused={failing.id})) == "wait"
    attached = Life().created().shown().attached()
    slow = second().created().shown().attaching()
    assert summary(step(attached, slow, looked={slow.id})) == "wait"


def test_an_interface_with_an_open_call_holds_bind_back() -> None:
    open_ = second().created().shown()
    open_.intend("AttachNetworkInterface", eni="eni-2", instance_id="i-node-h1")
    assert open_.a.intent is not None
    deadline = open_.a.intent.deadline
    ready = Life().created().shown().attached()
    waiting = step(ready, open_, paused={open_.id}, now=deadline - timedelta(seconds=1))
    assert isinstance(waiting, Wait)
    assert waiting.until == deadline
    # Past it, only the pause says when: a turn due in the past would be due again at once.
    late = step(ready, open_, paused={open_.id}, now=deadline)
    assert isinstance(late, Wait)
    assert late.until is None


def test_a_parked_interface_holds_bind_back() -> None:
    parked = second().created().shown().attached().tell(PARKED)
    assert summary(step(Life().created().shown().attached(), parked)) == "wait"


def test_w5_a_new_pod_is_served_while_the_old_eni_goes_back() -> None:
    going = Life(retention=NONE).bound().gone().releasing("elastic").shown("Deleting")
    new = Life(number=2, uid="uid-2").placed()
    assert summary(step(going, new, paused={going.id})) == "create"


def test_w15_the_new_podeni_waits_until_the_old_one_is_gone() -> None:
    going = Life(retention=NONE).bound().gone().releasing("elastic").shown("Deleting")
    new = Life(number=2, uid="uid-2").created()
    assert summary(step(going, new, paused={going.id})) == "wait"


def test_a_reservation_runs_out_while_a_new_pod_is_served() -> None:
    """An interface that the re-created Pod does not ask for."""
    kept = second().reserved().shown("Gone", "")
    assert kept.a.ttl_due is not None
    bound = claimed(Life().reserved()).placed().attached().shown("Bind")
    waiting = step(bound, kept)
    assert isinstance(waiting, Wait)
    assert waiting.until == kept.a.ttl_due
    assert summary(step(bound, kept, now=kept.a.ttl_due)) == "ask release"


def test_an_eni_going_back_leaves_the_podeni_that_others_share_alone() -> None:
    bound = Life().bound()
    going = second().bound().gone().releasing("requested")
    assert summary(step(bound, going)) == "detach"


def test_p2_a_reservation_is_judged_at_its_due_time_and_not_before() -> None:
    life = Life().reserved()
    assert life.a.ttl_due is not None
    before = step(life, now=life.a.ttl_due - timedelta(microseconds=1))
    assert before == Wait(life.a.ttl_due, "reserved until its TTL is due")
    assert summary(step(life, now=life.a.ttl_due)) == "ask release"


def test_p8_once_a_turn_what_rests_is_compared_with_its_podeni() -> None:
    for life in (Life().bound(), Life().reserved()):
        assert step(life, asked=()) == CheckPodEni((life.a,))


def test_the_order_in_which_allocations_are_given_does_not_matter() -> None:
    lives = [Life().created(), second().placed(), Life(number=3, interface="eth2")]
    states: list[Allocation] = [life.a for life in lives]
    first = plan(states, about())
    for seed in range(6):
        random.Random(seed).shuffle(states)
        assert plan(states, about()) == first


def test_two_interfaces_with_one_address_are_never_planned_into_one() -> None:
    """Each call is about exactly one allocation, and about its own ENI."""
    for life in (Life().created().shown(), second().created().shown()):
        attach = step(life)
        assert isinstance(attach, Call)
        assert life.a.address is not None
        assert attach.parameters["eni"] == life.a.address.eni
    assert Life().created().a.address == ADDRESS


def test_kinds_of_steps_are_told_apart() -> None:
    assert isinstance(step(opened(Life().created())), Settle)
    assert isinstance(step(Life().created().shown().attaching()), LookAtEni)
