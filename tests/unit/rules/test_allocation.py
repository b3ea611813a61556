"""State comes about by entries alone (P6), and an entry that can't follow stops at the book."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from ledger.rules import entries as e
from ledger.rules.allocation import SERVING, Allocation, ImpossibleEntry, Phase, Recorded
from ledger.rules.entries import Entry
from ledger.rules.evolution import evolve, fold
from ledger.rules.under_way import VSWITCH_FULL
from tests.unit.rules.lives import ADDRESS, NEVER, START, Life, place_on

OTHER = UUID(int=999)


def after(life: Life, *entries: Entry) -> Allocation:
    return life.tell(*entries).a


# ---------------------------------------------------------------------------- the whole way


def test_a_fixed_ip_from_request_to_release() -> None:
    life = Life()
    assert life.a.phase is Phase.WANTED
    assert life.created().a.address == ADDRESS
    assert life.shown("Initial").a.podeni_phase == "Initial"
    assert life.attached(vlan=7).a.attachment is not None
    assert life.a.attachment is not None
    assert (life.a.attachment.vlan, life.a.attachment.pod_uid) == (7, "uid-1")
    assert life.shown("Bind").a.phase is Phase.BOUND
    life.gone()
    assert (life.a.phase, life.a.absent_since) == (Phase.LEAVING, life.now)
    assert life.a.ttl_due == life.now + timedelta(hours=1)
    assert life.shown("Detaching").taken_off().shown("Unbind").a.phase is Phase.RESERVED
    assert life.releasing().a.phase is Phase.RELEASING
    assert life.a.ttl_due is None
    assert life.shown("Deleting").call("DeleteNetworkInterface").a.deleting_since == life.now
    gone = after(life, e.EniGone(expected=True))
    assert (gone.address, gone.deleting_since) == (None, None)
    assert life.shown("Gone").a.podeni_uid is None
    assert after(life, e.Released()).phase is Phase.RELEASED


def test_p6_the_state_is_a_function_of_the_entries() -> None:
    life = Life().reserved().tell(e.Claimed(pod_uid="uid-2", node="node-h2")).placed("node-h2")
    assert fold(life.story) == life.a
    read_back = [Recorded.model_validate_json(each.model_dump_json()) for each in life.story]
    assert fold(read_back) == life.a


@pytest.mark.parametrize(
    "life",
    [
        Life(),
        Life().created(),
        Life().bound(),
        Life().reserved(),
        Life(retention=NEVER).bound().gone(),
        Life().reserved().releasing(),
        Life().tell(e.Parked(reason="r", next_step="n", disputed=ADDRESS, with_allocation=OTHER)),
    ],
    ids=lambda life: f"{life.a.phase}-{life.a.version}",
)
def test_p6_a_stored_state_is_read_back_equal(life: Life) -> None:
    assert Allocation.model_validate_json(life.a.model_dump_json()) == life.a


def test_a_claim_serves_a_new_pod_with_the_same_address() -> None:
    claimed = after(Life().reserved(), e.Claimed(pod_uid="uid-2", node="node-h2"))
    assert (claimed.phase, claimed.pod_uid, claimed.node) == (Phase.WANTED, "uid-2", "node-h2")
    assert claimed.address == ADDRESS
    assert (claimed.place, claimed.ttl_due, claimed.absent_since) == (None, None, None)


def test_a_claim_while_leaving_leaves_a_stale_attachment() -> None:
    """The old sandbox may still use the ENI, even on the same node: it has to come off first."""
    claimed = after(Life().bound().gone(), e.Claimed(pod_uid="uid-2", node="node-h1"))
    assert claimed.stale_attachment
    assert not Life().bound().a.stale_attachment


def test_an_attachment_belongs_to_the_pod_it_was_made_for_whenever_it_is_seen() -> None:
    life = Life().created().shown().attaching()
    life.gone().tell(e.Claimed(pod_uid="uid-2", node="node-h1"))
    seen = after(
        life, e.Attached(instance_id="i-node-h1", trunk_eni_id="t", vlan=5, eni_type="Member")
    )
    assert seen.stale_attachment


def test_a_full_vswitch_is_remembered_until_a_create_succeeds() -> None:
    for code in VSWITCH_FULL:
        life = Life().placed()
        intent = life.intend("CreateNetworkInterface", vswitch_id="vsw-h")
        refused = e.CallRefused(intent=intent, code=code, message="full", request_id="r")
        assert after(life, refused).exhausted_vswitches == {"vsw-h": life.now}
        done = life.call("CreateNetworkInterface", ADDRESS, vswitch_id="vsw-g").a
        assert done.exhausted_vswitches == {}


def test_another_refusal_says_nothing_about_the_vswitch() -> None:
    life = Life().placed()
    intent = life.intend("CreateNetworkInterface", vswitch_id="vsw-h")
    refused = e.CallRefused(intent=intent, code="Forbidden.RAM", message="no", request_id="r")
    assert after(life, refused).exhausted_vswitches == {}


def test_p4_an_unknown_outcome_keeps_the_call_open() -> None:
    life = Life().placed()
    intent = life.intend("CreateNetworkInterface", vswitch_id="vsw-h")
    unknown = after(life, e.CallUnknown(intent=intent, code="Timeout", message="none"))
    assert unknown.intent is not None
    assert (unknown.intent.id, unknown.intent.unknown) == (intent, True)
    later = START + timedelta(hours=1)
    repeated = after(life, e.CallRepeated(intent=intent, deadline=later))
    assert repeated.intent is not None
    assert (repeated.intent.client_token, repeated.intent.deadline) == (str(intent), later)
    assert after(life, e.CallUndone(intent=intent, request_id="r")).intent is None


def test_p2_a_restarted_ttl_moves_the_due_time_and_names_its_gap() -> None:
    life = Life().reserved()
    later = START + timedelta(hours=9)
    restarted = after(life, e.TtlRestarted(gap="3 to 9", ttl_due=later))
    assert (restarted.ttl_due, restarted.gap) == (later, "3 to 9")


def test_p3_a_report_of_a_deleted_podeni_can_be_withdrawn_and_a_command_can_not() -> None:
    life = Life().reserved()
    life.tell(e.ReleaseRequested(how="podeni-deleted", by="u", reason="r"))
    assert life.a.podeni_deleted_by_report
    assert after(life, e.ReleaseWithdrawn(podeni_uid="pe-1")).release_requested is None
    life.tell(e.ReleaseRequested(how="command", by="u", reason="r"))
    with pytest.raises(ImpossibleEntry):
        life.tell(e.ReleaseWithdrawn(podeni_uid="pe-1"))


def test_absence_unparks_what_waited_for_a_person() -> None:
    parked = Life().bound().tell(e.Parked(reason="r", next_step="n"))
    assert parked.a.parked == "r. n"
    assert parked.gone().a.parked is None


def test_unparking_lets_work_go_on() -> None:
    life = Life().tell(e.Parked(reason="r", next_step="n"))
    assert after(life, e.Unparked(by="ann")).parked is None


# ---------------------------------------------------------------------------- what can't follow

WANTED, BOUND, LEAVING, RESERVED, RELEASING = (
    Phase.WANTED,
    Phase.BOUND,
    Phase.LEAVING,
    Phase.RESERVED,
    Phase.RELEASING,
)
TOLD: dict[Phase, Any] = {
    WANTED: lambda: Life().created(),
    BOUND: lambda: Life().bound(),
    LEAVING: lambda: Life().bound().gone(),
    RESERVED: lambda: Life().reserved(),
    RELEASING: lambda: Life().reserved().releasing(),
}
ALLOWED: dict[str, tuple[Entry, set[Phase]]] = {
    "a claim": (e.Claimed(pod_uid="uid-2", node="n"), {LEAVING, RESERVED}),
    "a report": (e.GoneReported(pod_uid="uid-1", how="deleted"), {WANTED, BOUND}),
    "an absence": (e.AbsenceConfirmed(pod_uid="uid-1", found="absent"), {WANTED, BOUND}),
    "a restarted TTL": (e.TtlRestarted(gap="g", ttl_due=START), {LEAVING, RESERVED}),
    "a place": (e.Placed(place=place_on()), {WANTED}),
    "a release request": (
        e.ReleaseRequested(how="command", by="b", reason="r"),
        {WANTED, BOUND, LEAVING, RESERVED},
    ),
    "an awaited version": (e.ReleaseAwaited(resource_version=7), {RESERVED}),
    "a release": (e.ReleaseDecided(why="ttl"), {LEAVING, RESERVED}),
    "the end": (e.Released(), {RELEASING}),
    "a bound PodENI": (e.PodEniWritten(phase="Bind", uid="pe-1"), {WANTED}),
}


def test_p2_what_was_awaited_for_one_absence_counts_for_no_other() -> None:
    for entry in (
        e.Claimed(pod_uid="uid-2", node="n"),
        e.TtlRestarted(gap="g", ttl_due=START + timedelta(days=1)),
    ):
        awaiting = Life().reserved().tell(e.ReleaseAwaited(resource_version=7))
        assert awaiting.a.awaited_version == 7
        assert after(awaiting, entry).awaited_version is None


@pytest.mark.parametrize("phase", TOLD)
@pytest.mark.parametrize("what", ALLOWED)
def test_p11_an_entry_follows_only_where_it_can(what: str, phase: Phase) -> None:
    entry, allowed = ALLOWED[what]
    life = TOLD[phase]()
    assert life.a.phase is phase
    if phase in allowed:
        life.tell(entry)
    else:
        with pytest.raises(ImpossibleEntry):
            life.tell(entry)


@pytest.mark.parametrize("what", ALLOWED)
def test_nothing_follows_the_end(what: str) -> None:
    life = Life().gone().releasing("never-allocated").tell(e.Released())
    with pytest.raises(ImpossibleEntry, match="after its release"):
        life.tell(ALLOWED[what][0])


@pytest.mark.parametrize(
    "entry",
    [
        e.GoneReported(pod_uid="uid-9", how="deleted"),
        e.AbsenceConfirmed(pod_uid="uid-9", found="absent"),
    ],
    ids=lambda entry: entry.kind,
)
def test_p11_what_is_said_of_another_pod_is_refused(entry: Entry) -> None:
    with pytest.raises(ImpossibleEntry):
        Life().bound().tell(entry)


@pytest.mark.parametrize(
    "entry",
    [
        e.CallDone(intent=OTHER, settled_by="answer", request_id="r"),
        e.CallRefused(intent=OTHER, code="c", message="m", request_id="r"),
        e.CallUnknown(intent=OTHER, code="c", message="m"),
        e.CallUndone(intent=OTHER, request_id="r"),
        e.CallRepeated(intent=OTHER, deadline=START),
    ],
    ids=lambda entry: entry.kind,
)
def test_p10_a_late_answer_of_a_settled_call_is_refused(entry: Entry) -> None:
    life = Life().placed()
    life.intend("CreateNetworkInterface", vswitch_id="vsw-h")
    with pytest.raises(ImpossibleEntry, match="settled call"):
        life.tell(entry)
    with pytest.raises(ImpossibleEntry, match="settled call"):
        Life().tell(entry)


def test_p10_a_second_call_waits_for_the_first() -> None:
    life = Life().created()
    life.intend("AttachNetworkInterface", eni="eni-1", instance_id="i-1")
    with pytest.raises(ImpossibleEntry):
        life.intend("DetachNetworkInterface", eni="eni-1", instance_id="i-1")


def test_a_create_that_is_done_has_an_address() -> None:
    life = Life().placed()
    intent = life.intend("CreateNetworkInterface", vswitch_id="vsw-h")
    with pytest.raises(ImpossibleEntry):
        life.tell(e.CallDone(intent=intent, settled_by="answer", request_id="r"))


@pytest.mark.parametrize("left", ["an attachment", "an open call"])
def test_p4_nothing_is_released_while_something_is_left(left: str) -> None:
    life = Life().bound().gone()
    if left == "an open call":
        life.taken_off()
        life.intend("DeleteNetworkInterface", eni="eni-1")
    life.releasing()
    with pytest.raises(ImpossibleEntry):
        life.tell(e.Released())


def test_a_story_begins_with_a_request_and_only_once() -> None:
    first = Life().story[0]
    with pytest.raises(ImpossibleEntry, match="requested twice"):
        evolve(evolve(None, first), first.model_copy(update={"version": 2}))
    with pytest.raises(ImpossibleEntry, match="begins at 2"):
        evolve(None, first.model_copy(update={"version": 2}))
    with pytest.raises(ImpossibleEntry, match="begins with detached"):
        evolve(None, first.model_copy(update={"entry": e.Detached()}))
    with pytest.raises(ImpossibleEntry, match="without entries"):
        fold([])


def test_p7_a_missing_entry_is_noticed() -> None:
    story = Life().bound().story
    with pytest.raises(ImpossibleEntry, match="version 4 follows 2"):
        fold(story[:2] + story[3:])


def test_what_serves_the_name_is_what_takes_its_slot() -> None:
    """The same phases as the unique index live_claim_pod_interface excludes."""
    assert set(Phase) - SERVING == {Phase.RELEASING, Phase.RELEASED}
