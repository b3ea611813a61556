"""Periods of holding: never empty, never overlapping, and the same however the entries were batched."""

from datetime import datetime, timedelta
from itertools import groupby, pairwise
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, ImpossibleEntry, Phase, Recorded
from ledger.rules.entries import Entry
from ledger.rules.evolution import evolve
from ledger.rules.tenures import Holding, Turnover, holding_of
from tests.unit.rules.lives import ADDRESS, START, Life, place_on

Period = tuple[datetime, datetime | None, Holding, int, int | None]


def test_nothing_is_held_before_there_is_an_eni_and_after_the_end() -> None:
    assert holding_of(None) is None
    assert holding_of(Life().a) is None
    assert holding_of(Life().placed().a) is None
    assert holding_of(Life().reserved().tell(e.EniGone(expected=False)).a) is None
    assert holding_of(Life().gone().releasing("never-allocated").tell(e.Released()).a) is None


def test_what_a_period_says() -> None:
    made = holding_of(Life().created().a)
    assert made is not None
    assert (made.kind, made.instance_id, made.vlan) == ("preparing", None, None)
    bound = holding_of(Life().bound().a)
    assert bound == Holding(
        kind="bound",
        pod_uid="uid-1",
        node="node-h1",
        address=ADDRESS,
        instance_id="i-node-h1",
        trunk_eni_id="eni-trunk-node-h1",
        vlan=1001,
    )
    kinds = []
    for life in (Life().bound().gone(), Life().reserved(), Life().reserved().releasing()):
        held = holding_of(life.a)
        assert held is not None
        kinds.append(held.kind)
    assert kinds == ["leaving", "reserved", "releasing"]


def test_calls_and_looks_open_no_period_of_their_own() -> None:
    life = Life().created()
    before = holding_of(life.a)
    assert holding_of(life.shown("Initial").attached().a) == before


def test_a_come_and_gone_within_a_moment_leaves_no_trace() -> None:
    life = Life().placed()
    intent = life.intend("CreateNetworkInterface", vswitch_id="vsw-h")
    none = life.a
    turnover = Turnover()
    done = e.CallDone(intent=intent, settled_by="answer", request_id="r", address=ADDRESS)
    made = life.tell(done).a
    turnover.follow(none, made)
    turnover.follow(made, life.tell(e.EniGone(expected=False)).a)
    assert (turnover.closed_by, turnover.opened) == (None, None)


# ---------------------------------------------------------------------------- by brute force


def possible(state: Allocation) -> list[Entry]:
    """Entries that change who holds what, as they may follow."""
    uid = "uid-2" if state.pod_uid == "uid-1" else "uid-1"
    options: list[Entry] = [
        e.Claimed(pod_uid=uid, node="node-h2"),
        e.GoneReported(pod_uid=state.pod_uid, how="deleted"),
        e.AbsenceConfirmed(pod_uid=state.pod_uid, found="absent"),
        e.ReleaseDecided(why="ttl"),
        e.Placed(place=place_on("node-h1")),
        e.PodEniWritten(phase="Bind", uid="pe"),
        e.PodEniWritten(phase="Unbind", uid="pe"),
        e.EniGone(expected=False),
        e.Detached(),
    ]
    if state.intent is None and state.address is None:
        options.append(
            e.CallIntended(
                intent=UUID(int=state.version),
                api="CreateNetworkInterface",
                client_token="t",
                parameters={"vswitch_id": "v"},
                deadline=START,
            )
        )
    if state.intent is not None:
        address = ADDRESS.model_copy(update={"eni": f"eni-{state.version}"})
        options.append(
            e.CallDone(intent=state.intent.id, settled_by="answer", request_id="r", address=address)
        )
    follow = []
    for entry in options:
        try:
            evolve(state, recorded(state, entry, START))
        except ImpossibleEntry:
            continue
        follow.append(entry)
    return follow


def recorded(state: Allocation, entry: Entry, at: datetime) -> Recorded:
    return Recorded(allocation_id=state.id, version=state.version + 1, recorded_at=at, entry=entry)


@st.composite
def stories(draw: st.DrawFn) -> list[Recorded]:
    """A story in moments: entries of one transaction, or of two at once, have one time."""
    life = Life()
    story, state, at = list(life.story), life.a, life.now
    for _ in range(draw(st.integers(0, 14))):
        at += timedelta(seconds=draw(st.sampled_from([0, 0, 1])))
        options = possible(state)
        told = recorded(state, draw(st.sampled_from(options)), at)
        story.append(told)
        state = evolve(state, told)
        if state.phase is Phase.RELEASED:
            break
    return story


def by_turnover(story: list[Recorded]) -> list[Period]:
    state: Allocation | None = None
    periods: list[Period] = []
    for at, moment in groupby(story, key=lambda each: each.recorded_at):
        turnover = Turnover()
        for each in moment:
            before, state = state, evolve(state, each)
            turnover.follow(before, state)
        if turnover.closed_by is not None:
            since, _, holding, opened_by, _ = periods.pop()
            periods.append((since, at, holding, opened_by, turnover.closed_by))
        if turnover.opened is not None:
            holding, version = turnover.opened
            periods.append((at, None, holding, version, None))
    return periods


def by_brute_force(story: list[Recorded]) -> list[tuple[datetime, datetime | None, Holding]]:
    """What was held at the end of each moment, joined while nothing changed."""
    state: Allocation | None = None
    held: list[tuple[datetime, Holding | None, bool]] = []
    for at, moment in groupby(story, key=lambda each: each.recorded_at):
        changed = False
        for each in moment:
            before, state = state, evolve(state, each)
            changed = changed or holding_of(before) != holding_of(state)
        held.append((at, holding_of(state), changed))
    periods: list[tuple[datetime, datetime | None, Holding]] = []
    for at, holding, changed in held:
        if changed and periods and periods[-1][1] is None:
            periods[-1] = (periods[-1][0], at, periods[-1][2])
        if changed and holding is not None:
            periods.append((at, None, holding))
    return periods


@settings(max_examples=60)
@given(stories())
def test_p6_periods_equal_brute_force(story: list[Recorded]) -> None:
    told = [(since, until, holding) for since, until, holding, _, _ in by_turnover(story)]
    assert told == by_brute_force(story)


@settings(max_examples=60)
@given(stories())
def test_p1_periods_are_never_empty_and_never_overlap(story: list[Recorded]) -> None:
    periods = by_turnover(story)
    for since, until, _, opened_by, closed_by in periods:
        assert until is None or since < until
        assert closed_by is None or opened_by < closed_by
    for earlier, later in pairwise(periods):
        assert earlier[1] is not None
        assert earlier[1] <= later[0]


@settings(max_examples=60)
@given(stories(), st.data())
def test_p6_periods_are_the_same_however_a_moment_was_batched(
    story: list[Recorded], data: st.DataObject
) -> None:
    """Two transactions of one clock tick: the second closes what the first opened, as never lasted."""
    assert tables(story, data) == [
        (since, until, holding) for since, until, holding, _, _ in by_turnover(story)
    ]


def tables(
    story: list[Recorded], data: st.DataObject
) -> list[tuple[datetime, datetime | None, Holding]]:
    """What the tables hold when each moment is written in one or more transactions."""
    state: Allocation | None = None
    rows: list[tuple[datetime, datetime | None, Holding]] = []
    for at, moment in groupby(story, key=lambda each: each.recorded_at):
        turnover = Turnover()
        for each in moment:
            before, state = state, evolve(state, each)
            turnover.follow(before, state)
            if data.draw(st.booleans()):
                rows, turnover = written(rows, turnover, at), Turnover()
        rows = written(rows, turnover, at)
    return rows


def written(
    rows: list[tuple[datetime, datetime | None, Holding]], turnover: Turnover, at: datetime
) -> list[tuple[datetime, datetime | None, Holding]]:
    """As close_tenures and open_tenures do (ledger/store/sql/book.sql)."""
    kept = list(rows)
    if turnover.closed_by is not None and kept and kept[-1][1] is None:
        since, _, holding = kept.pop()
        if since < at:
            kept.append((since, at, holding))
    if turnover.opened is not None:
        kept.append((at, None, turnover.opened[0]))
    return kept
