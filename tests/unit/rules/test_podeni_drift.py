"""What a PodENI at rest must show, and what of it belongs to others (P3, P8, P11)."""

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ledger.rules import entries as e
from ledger.rules.drift import remedy
from ledger.rules.podeni import ForeignPodEni, next_restoring_write, next_write
from ledger.rules.podeni_drift import (
    RESTORE_PAUSE_MAX,
    Deleted,
    Differs,
    Taken,
    at_rest,
    judge_podeni,
    last_writer,
    restorable_from,
)
from tests.unit.rules.lives import START, Life

NOW = START + timedelta(minutes=1)
Object = dict[str, Any]


def written(*steps: tuple[str, Life]) -> Object:
    """The PodENI after it was brought through these phases."""
    live: Object | None = None
    for phase, life in steps:
        for _ in range(5):
            write = next_write(live, phase, [life.a], NOW)
            if write is None:
                break
            live = copy.deepcopy(write.obj)
            live["metadata"]["uid"] = "pe-1"
    assert live is not None
    return live


def bound() -> tuple[Object, Life]:
    life = Life().created().shown("Initial").attached()
    live = written(("Bind", life))
    return live, life.shown("Bind")


def reserved() -> tuple[Object, Life]:
    life = Life().created().shown("Initial").attached()
    live = written(("Bind", life))
    life.shown("Bind").gone()
    for phase in ("Detaching", "Unbind"):
        for _ in range(5):
            write = next_write(live, phase, [life.a], NOW)
            if write is None:
                break
            live = copy.deepcopy(write.obj)
        if phase == "Detaching":
            life.shown("Detaching").taken_off()
    return live, life.shown("Unbind")


@pytest.mark.parametrize("made", [bound, reserved])
def test_p8_what_we_wrote_is_no_difference(made: Callable[[], tuple[Object, Life]]) -> None:
    live, life = made()
    shown = at_rest([life.a])
    assert shown == (life.a,)
    assert judge_podeni(live, shown, NOW + timedelta(days=3)) is None


@pytest.mark.parametrize("made", [bound, reserved])
def test_p8_what_others_own_is_no_difference(made: Callable[[], tuple[Object, Life]]) -> None:
    live, life = made()
    live["metadata"]["labels"]["team"] = "shop"
    live["metadata"]["annotations"]["note"] = "x"
    live["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    live["status"]["msg"] = "hello"
    live["status"]["podLastSeen"] = "2020-01-01T00:00:00Z"
    live["status"]["eniInfos"]["eni-1"]["networkCardIndex"] = 1
    item = live["spec"]["allocations"][0]
    item["extraConfig"] = {"a": "b"}
    item["eni"]["attachmentOptions"] = {"trunk": True}
    assert judge_podeni(live, at_rest([life.a]), NOW) is None


def test_each_field_that_is_ours_is_missed() -> None:
    live, life = bound()
    cases: dict[str, Callable[[Object], Any]] = {
        "status.phase": lambda o: o["status"].update(phase="Unbind"),
        "status.eniInfos.eni-1.vid": lambda o: o["status"]["eniInfos"]["eni-1"].update(vid=7),
        "spec.zone": lambda o: o["spec"].update(zone="elsewhere"),
        "spec.allocations": lambda o: o["spec"]["allocations"][0].update(ipv6="2408::1"),
        "metadata.finalizers": lambda o: o["metadata"].update(finalizers=[]),
        "metadata.uid": lambda o: o["metadata"].update(uid="pe-2"),
    }
    for path, change in cases.items():
        edited = copy.deepcopy(live)
        change(edited)
        assert judge_podeni(edited, at_rest([life.a]), NOW) == Differs((path,))


def test_p3_gone_while_reserved_it_was_given_up_and_gone_while_bound_it_is_made_anew() -> None:
    _, away = reserved()
    assert judge_podeni(None, [away.a], NOW) == Deleted("pe-1", "the PodENI is gone")
    _, there = bound()
    assert isinstance(judge_podeni(None, [there.a], NOW), Differs)
    made = next_restoring_write(None, [there.a], NOW)
    assert made is not None
    assert made.verb == "create"


def test_p3_a_deletion_is_asked_for_once() -> None:
    live, life = bound()
    live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    judged = judge_podeni(live, [life.a], NOW)
    assert judged == Deleted("pe-1", "the PodENI was deleted")
    life.tell(e.ReleaseRequested(how="podeni-deleted", by="ann", reason="r", podeni_uid="pe-1"))
    assert judge_podeni(live, at_rest([life.a]), NOW) is None


def test_p11_a_bind_for_another_uid_is_touched_only_after_a_live_look() -> None:
    live, life = bound()
    live["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"] = "later"
    with pytest.raises(ForeignPodEni):
        next_restoring_write(live, [life.a], NOW)
    write = next_restoring_write(live, [life.a], NOW, pod_runs=True)
    assert write is not None
    assert write.obj["status"]["phase"] == "Bind"
    assert write.obj["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"] == "uid-1"


def test_p11_a_reservation_bound_for_somebody_else_is_left_alone() -> None:
    live, life = reserved()
    live["status"]["phase"] = "Bind"
    live["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"] = "later"
    assert isinstance(judge_podeni(live, [life.a], NOW), Taken)


def test_nothing_is_judged_while_something_moves() -> None:
    for life in (
        Life(),
        Life().created(),
        Life().bound().gone(),
        Life().reserved().releasing(),
        Life().reserved().tell(e.ReleaseRequested(how="command", by="ann", reason="r")),
        Life().bound().tell(e.GoneReported(pod_uid="uid-1", how="deleted")),
    ):
        assert at_rest([life.a]) == ()


def test_restoring_grows_rarer_and_is_called_a_quarrel() -> None:
    _, life = bound()
    assert restorable_from([life.a]) is None
    pauses = []
    for _ in range(12):
        life.tell(e.PodEniRestored(uid="pe-1", differed=("status.phase",), by="x"))
        again = restorable_from([life.a])
        assert again is not None
        pauses.append(again - life.now)
    assert pauses == sorted(pauses)
    assert pauses[0] < timedelta(seconds=10)
    assert pauses[-1] == RESTORE_PAUSE_MAX


def test_the_last_writer_is_named_as_far_as_it_is_known() -> None:
    entries = [
        {"manager": "eni-ledger", "time": "2026-01-01T00:00:00Z"},
        {"manager": "kubectl-edit", "time": "2026-01-01T00:05:00Z"},
    ]
    live = {"metadata": {"managedFields": entries}}
    assert last_writer(live) == "kubectl-edit at 2026-01-01T00:05:00Z"
    assert last_writer({"metadata": {}}) == "unknown"


@pytest.mark.parametrize(
    ("kind", "settled", "what"),
    [
        ("leak", True, "delete"),
        ("leak", False, "look-again"),
        ("missing", True, "record-gone"),
        ("missing", False, "look-again"),
        ("leak-in-use", True, "ask-a-person"),
        ("unknown-intent", True, "adopt-if-sure"),
    ],
)
def test_p4_only_what_two_looks_agree_on_is_acted_on(kind: str, settled: bool, what: str) -> None:
    assert remedy(kind, settled=settled) == what
