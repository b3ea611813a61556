"""What a live look decides: the only rules that anything destructive follows from (P2, P3, P11)."""

from datetime import timedelta

import pytest

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.rules.entries import Retention
from ledger.rules.looks import (
    NotYet,
    PodLook,
    judge_absence,
    judge_release,
    release_is_due,
    restart_ttl,
)
from tests.unit.rules.lives import NEVER, NONE, START, Life

NOW = START + timedelta(minutes=5)
ABSENT = PodLook(None, False, 100)
TERMINAL = PodLook("uid-1", True, 100)
REPLACED = PodLook("uid-2", False, 100)
REPLACED_AND_TERMINAL = PodLook("uid-2", True, 100)
RUNNING = PodLook("uid-1", False, 100)


# ---------------------------------------------------------------------------- absence


@pytest.mark.parametrize(
    "life", [Life(), Life().created(), Life().bound()], ids=["new", "ENI", "bound"]
)
def test_p11_a_running_pod_refutes_the_report(life: Life) -> None:
    assert judge_absence(life.a, RUNNING, NOW) == (e.GoneRefuted(pod_uid="uid-1"),)


@pytest.mark.parametrize(
    ("look", "found"),
    [
        (ABSENT, "absent"),
        (TERMINAL, "terminal"),
        (REPLACED, "replaced"),
        (REPLACED_AND_TERMINAL, "replaced"),
    ],
)
def test_p2_absence_counts_from_the_look_by_the_ledgers_clock(look: PodLook, found: str) -> None:
    [confirmed] = judge_absence(Life().bound().a, look, NOW)
    assert confirmed == e.AbsenceConfirmed.model_validate(
        {"pod_uid": "uid-1", "found": found, "ttl_due": NOW + timedelta(hours=1)}
    )


def test_p3_never_has_no_due_time() -> None:
    [confirmed] = judge_absence(Life(retention=NEVER).bound().a, ABSENT, NOW)
    assert isinstance(confirmed, e.AbsenceConfirmed)
    assert confirmed.ttl_due is None


@pytest.mark.parametrize(
    ("life", "why"),
    [
        (Life(retention=NONE).bound(), "elastic"),
        (Life(), "never-allocated"),
        (Life(retention=NEVER), "never-allocated"),
        (Life().bound().tell(e.ReleaseRequested(how="command", by="b", reason="r")), "requested"),
        (
            Life(retention=NEVER)
            .bound()
            .tell(e.ReleaseRequested(how="command", by="b", reason="r")),
            "requested",
        ),
    ],
)
def test_nothing_is_reserved_where_there_is_nothing_to_keep(life: Life, why: str) -> None:
    confirmed, decided = judge_absence(life.a, ABSENT, NOW)
    assert isinstance(confirmed, e.AbsenceConfirmed)
    assert isinstance(decided, e.ReleaseDecided)
    assert decided.why == why
    life.tell(confirmed, decided)


@pytest.mark.parametrize("look", [ABSENT, TERMINAL, REPLACED, RUNNING])
def test_who_has_no_holder_is_not_judged(look: PodLook) -> None:
    for life in (Life().bound().gone(), Life().reserved(), Life().reserved().releasing()):
        assert judge_absence(life.a, look, NOW) == ()


def test_a_ttl_of_zero_is_due_at_once_and_not_before() -> None:
    life = Life(retention=Retention(rule="ttl", after_s=0)).bound()
    [confirmed] = judge_absence(life.a, ABSENT, NOW)
    assert isinstance(confirmed, e.AbsenceConfirmed)
    assert confirmed.ttl_due == NOW


def test_the_longest_releaseafter_that_go_can_write_is_a_time() -> None:
    life = Life(retention=Retention(rule="ttl", after_s=292 * 365.25 * 86400)).bound()
    [confirmed] = judge_absence(life.a, ABSENT, NOW)
    assert isinstance(confirmed, e.AbsenceConfirmed)
    assert confirmed.ttl_due is not None
    assert confirmed.ttl_due.year == 2318


# ---------------------------------------------------------------------------- release


def reserved() -> Allocation:
    return Life().reserved().a


def test_p2_a_reservation_is_due_with_its_ttl_and_not_a_moment_before() -> None:
    a = reserved()
    assert a.ttl_due is not None
    assert not release_is_due(a, a.ttl_due - timedelta(microseconds=1))
    assert release_is_due(a, a.ttl_due)


@pytest.mark.parametrize(
    "life",
    [Life(), Life().bound(), Life().bound().gone(), Life().reserved().releasing()],
    ids=lambda life: life.a.phase,
)
def test_p2_only_a_reservation_comes_to_its_end(life: Life) -> None:
    assert not release_is_due(life.a, START + timedelta(days=9999))


def test_p3_never_is_due_only_by_request() -> None:
    life = Life(retention=NEVER).reserved()
    assert not release_is_due(life.a, START + timedelta(days=9999))
    life.tell(e.ReleaseRequested(how="command", by="ann", reason="r"))
    assert release_is_due(life.a, START)


@pytest.mark.parametrize(
    ("look", "watermark", "ends"),
    [
        (ABSENT, 100, True),
        (ABSENT, 101, True),
        (ABSENT, None, True),  # no producer sends watermarks: the live look alone decides
        (ABSENT, 99, False),  # events up to the look have not all been taken in
        (ABSENT, 0, False),
        (TERMINAL, 100, True),
        (RUNNING, 100, False),
        (REPLACED, 100, False),
        (REPLACED, None, False),
        (REPLACED_AND_TERMINAL, 100, True),
    ],
)
def test_p2_a_ttl_ends_by_due_watermark_and_look_together(
    look: PodLook, watermark: int | None, ends: bool
) -> None:
    a = reserved()
    assert a.ttl_due is not None
    judged = judge_release([a], look, watermark, (), a.ttl_due)
    if ends:
        assert judged == ((a, e.ReleaseDecided(why="ttl", note=f"due {a.ttl_due}")),)
    else:
        assert isinstance(judged, NotYet)
        assert judged.why


def awaiting(version: int, since: timedelta) -> Allocation:
    """Its time has come, and a look that long ago found no Pod at this version."""
    a = reserved()
    assert a.ttl_due is not None
    return a.model_copy(update={"awaited_version": version, "awaited_at": a.ttl_due - since})


@pytest.mark.parametrize(
    ("awaited", "since_s", "watermark", "ends"),
    [
        (90, 1, 90, True),  # what the earlier look saw was taken in; this one is as ever ahead
        (90, 10, 99, True),
        (90, 1, 89, False),
        (90, 10.001, 99, False),  # too long ago: a Pod may have come and gone since
        (110, 1, 100, True),  # versions began anew: what this look saw was taken in
    ],
)
def test_p2_an_earlier_look_says_what_must_have_been_taken_in(
    awaited: int, since_s: float, watermark: int, ends: bool
) -> None:
    a = awaiting(awaited, timedelta(seconds=since_s))
    assert a.ttl_due is not None
    judged = judge_release([a], ABSENT, watermark, (), a.ttl_due)
    if ends:
        assert judged == ((a, e.ReleaseDecided(why="ttl", note=f"due {a.ttl_due}")),)
        for look in (RUNNING, REPLACED):
            assert isinstance(judge_release([a], look, watermark, (), a.ttl_due), NotYet)
    else:
        assert isinstance(judged, NotYet)


def test_p2_the_version_to_wait_for_is_remembered_once_and_anew_when_it_is_old() -> None:
    a = reserved()
    assert a.ttl_due is not None
    remembered = ((a, e.ReleaseAwaited(resource_version=100)),)
    judged = judge_release([a], ABSENT, 99, (), a.ttl_due)
    assert isinstance(judged, NotYet)
    assert judged.remember == remembered
    young, old = (awaiting(90, timedelta(seconds=s)) for s in (5, 11))
    before_the_reset = awaiting(5000, timedelta(seconds=11))
    for each, watermark, anew in (
        (young, 89, False),
        (old, 90, True),
        (old, 89, False),  # the log stands still: nothing is appended again and again
        (before_the_reset, 89, True),
    ):
        again = judge_release([each], ABSENT, watermark, (), a.ttl_due)
        assert isinstance(again, NotYet)
        assert bool(again.remember) is anew
    there = judge_release([a], RUNNING, 99, (), a.ttl_due)
    assert isinstance(there, NotYet)
    assert there.remember == ()


def test_p2_a_ttl_that_was_extended_meanwhile_is_not_ended() -> None:
    a = reserved()
    assert a.ttl_due is not None
    assert isinstance(judge_release([a], ABSENT, 100, (), a.ttl_due - timedelta(seconds=1)), NotYet)


def test_p2_each_interface_ends_by_its_own_time() -> None:
    first, second = Life().reserved().a, Life(number=2, interface="eth1").reserved().a
    assert first.ttl_due is not None
    now = first.ttl_due
    later = second.model_copy(update={"ttl_due": now + timedelta(seconds=1)})
    judged = judge_release([first, later], ABSENT, None, (), now)
    assert not isinstance(judged, NotYet)
    assert [a.interface for a, _ in judged] == ["eth0"]
    both = judge_release([first, later], ABSENT, None, (), now + timedelta(seconds=1))
    assert not isinstance(both, NotYet)
    assert [a.interface for a, _ in both] == ["eth0", "eth1"]


def test_p2_an_interface_that_the_pod_did_not_ask_for_again_ends_with_its_ttl() -> None:
    """uid-2 is served by the other interface: it will never claim this one."""
    a = Life(number=2, interface="eth1").reserved().a
    assert a.ttl_due is not None
    assert not isinstance(judge_release([a], REPLACED, 100, {"uid-2"}, a.ttl_due), NotYet)
    assert isinstance(judge_release([a], REPLACED, 99, {"uid-2"}, a.ttl_due), NotYet)
    assert isinstance(judge_release([a], REPLACED, 100, {"uid-3"}, a.ttl_due), NotYet)


def requested() -> Allocation:
    life = Life(retention=NEVER).reserved()
    return life.tell(e.ReleaseRequested(how="command", by="ann@host", reason="moved away")).a


@pytest.mark.parametrize("look", [ABSENT, TERMINAL, REPLACED, REPLACED_AND_TERMINAL])
@pytest.mark.parametrize("watermark", [None, 0, 100])
def test_p3_a_request_ends_a_reservation_and_is_named_in_the_decision(
    look: PodLook, watermark: int | None
) -> None:
    """Also while another Pod of the name runs: what is reserved is off every Pod."""
    a = requested()
    judged = judge_release([a], look, watermark, (), NOW)
    note = "command by ann@host: moved away"
    assert judged == ((a, e.ReleaseDecided(why="requested", note=note)),)


def test_p11_a_request_ends_nothing_where_the_pod_itself_is_there_after_all() -> None:
    assert isinstance(judge_release([requested()], RUNNING, 100, (), NOW), NotYet)


# ---------------------------------------------------------------------------- a gap


def test_p2_a_gap_restarts_the_ttl_once() -> None:
    life = Life().reserved()
    restarted = restart_ttl(life.a, "5 to 9", NOW)
    assert restarted == e.TtlRestarted(gap="5 to 9", ttl_due=NOW + timedelta(hours=1))
    life.tell(restarted)
    assert restart_ttl(life.a, "5 to 9", NOW + timedelta(minutes=1)) is None
    assert restart_ttl(life.a, "9 to 12", NOW) is not None


def test_p2_a_gap_never_shortens() -> None:
    life = Life().reserved()
    restarted = restart_ttl(life.a, "g", START - timedelta(days=1))
    assert restarted is not None
    assert restarted.ttl_due == life.a.ttl_due


@pytest.mark.parametrize(
    "life",
    [Life(), Life().bound(), Life(retention=NEVER).reserved(), Life().reserved().releasing()],
    ids=lambda life: f"{life.a.phase}-{life.a.retention.rule}",
)
def test_p2_a_gap_means_nothing_without_a_running_ttl(life: Life) -> None:
    assert restart_ttl(life.a, "g", NOW) is None
