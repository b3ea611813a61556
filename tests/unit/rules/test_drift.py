"""Where cloud and ledger disagree about ENIs, judged by values (P4, P11)."""

from datetime import timedelta

import pytest

from ledger.rules.allocation import Allocation
from ledger.rules.drift import Finding, SeenEni, Suspicion, cut_off, judge_drift, remedy
from tests.unit.rules.lives import START, Life

HERE = SeenEni("eni-1", "InUse", "known", "i-node-h1", "eni-trunk-node-h1")


def judge(
    seen: list[SeenEni], *held: Allocation, before: str = "", unrecorded: str = ""
) -> list[tuple[str, bool]]:
    now = START + timedelta(hours=1)
    live = {a.address.eni: a for a in held if a.address}
    earlier = {"eni-1": Suspicion(before, now - timedelta(seconds=60))} if before else {}
    told = {"eni-1": unrecorded} if unrecorded else {}
    found = judge_drift(seen, {"known": True}, live, (), told, earlier, now)
    return [(each.kind, each.settled) for each in found]


def bound() -> Allocation:
    return Life().bound().a


def test_what_agrees_is_no_finding() -> None:
    assert judge([HERE], bound()) == []


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (SeenEni("eni-1", "Available", "known"), "elsewhere"),
        (SeenEni("eni-1", "InUse", "known", "i-2", "eni-trunk-node-h1"), "elsewhere"),
        (SeenEni("eni-1", "InUse", "known", "i-node-h1", "eni-other"), "elsewhere"),
    ],
)
def test_a_bound_eni_that_is_not_where_its_pod_is(seen: SeenEni, kind: str) -> None:
    assert judge([seen], bound()) == [(kind, False)]
    assert judge([seen], bound(), before=kind) == [(kind, True)]
    assert judge([seen], bound(), before="leak") == [(kind, False)], (
        "another suspicion proves nothing"
    )


def test_gone_unknown_leaked_and_bound_without_a_record() -> None:
    assert judge([], bound(), before="missing") == [("missing", True)]
    assert judge([SeenEni("eni-9", "InUse", "never-written")]) == [("unknown-intent", False)]
    assert judge([SeenEni("eni-9", "Available", "known")]) == [("leak", False)]
    assert judge([SeenEni("eni-9", "InUse", "known")]) == [("leak-in-use", False)]
    assert judge([HERE], bound(), unrecorded="bound for uid-2") == [("unrecorded-bind", False)]


def test_only_what_is_sure_is_done_without_a_person() -> None:
    assert remedy("elsewhere", settled=False) == "look-again"
    assert remedy("elsewhere", settled=True) == "park"
    assert remedy("unrecorded-bind", settled=True) == "adopt-if-sure"


def test_a_cut_off_pod_is_told_what_to_do() -> None:
    a = bound()
    assert a.address is not None
    moved = cut_off(a, Finding("elsewhere", "eni-1", "Available", settled=True))
    assert f"attached anew with {a.address.ipv4}" in moved.next_step
    gone = cut_off(a, Finding("missing", "eni-1", "not shown", settled=True))
    assert "is gone behind our back" in gone.reason
    assert "attached anew with" not in gone.next_step, "the cloud gave that address up"
