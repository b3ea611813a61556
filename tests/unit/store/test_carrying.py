"""P6: a story goes on from where it was carried forward as it would have from its beginning."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.rules import entries as e
from ledger.rules.allocation import ImpossibleEntry, Recorded
from ledger.rules.carrying import carried_forward
from ledger.rules.entries import CarriedForward
from ledger.rules.evolution import evolve
from ledger.store.archiving import open_period
from ledger.store.rebuild import tell
from tests.unit.rules.lives import ADDRESS, START, Life
from tests.unit.rules.test_tenures import stories


def carried(story: list[Recorded]) -> CarriedForward:
    told = tell(story)
    return carried_forward(told.state, open_period(told), told.calls, story)


def next_one(story: list[Recorded], entry: e.Entry, seconds: int = 0) -> Recorded:
    last = story[-1]
    at = last.recorded_at + timedelta(seconds=seconds)
    return Recorded(
        allocation_id=last.allocation_id, version=last.version + 1, recorded_at=at, entry=entry
    )


@settings(max_examples=150)
@given(stories(), st.data())
def test_p6_the_rest_of_a_story_needs_nothing_before_what_was_carried(
    story: list[Recorded], data: st.DataObject
) -> None:
    """Also carried twice, and where the clock stands still around it."""
    whole, rest = list(story[:1]), list(story[1:])
    cut = settled_at = None
    for _ in range(data.draw(st.integers(1, 2))):
        for _ in range(data.draw(st.integers(0, len(rest)))):
            whole.append(next_one(whole, rest[0].entry).model_copy(
                update={"recorded_at": rest.pop(0).recorded_at}))  # fmt: skip
        if isinstance(whole[-1].entry, e.Released):
            break
        begin = cut or 0
        # Carried from what is at hand only: a second time, from the first one on.
        entry = CarriedForward.model_validate_json(carried(whole[begin:]).model_dump_json())
        settled_at = whole[-1].recorded_at
        cut = len(whole)
        whole.append(next_one(whole, entry))
    for each in rest:
        moved = next_one(whole, each.entry).model_copy(update={"recorded_at": each.recorded_at})
        whole.append(moved)
    if cut is None or settled_at is None:
        return
    told, partly = tell(whole), tell(whole[cut:])
    assert partly.state == told.state
    over = [p for p in told.periods if p.closed_by is not None and p.closed_by <= cut]
    assert [*over, *partly.periods] == list(told.periods)
    later = {call.intent: call for call in partly.calls}
    for call in told.calls:
        if call.intent in later:
            assert later.pop(call.intent) == call
        else:
            assert call.settled_at is not None
            assert call.settled_at <= settled_at
    assert later == {}


def test_what_is_carried_must_be_what_was_told() -> None:
    life = Life().bound()
    entry = carried(life.story)
    life.tell(entry)
    assert life.a.model_copy(update={"version": 0, "changed_at": START}) == tell(
        life.story
    ).state.model_copy(update={"version": 0, "changed_at": START})
    lied = entry.model_copy(update={"state": {**entry.state, "node": "node-h2"}})
    with pytest.raises(ImpossibleEntry, match="carries another node"):
        Life().bound().tell(lied)
    other = next_one(life.story, entry).model_copy(update={"allocation_id": UUID(int=999)})
    with pytest.raises(ImpossibleEntry, match=r"carries .* forward"):
        evolve(None, other)


def test_a_field_that_is_newer_than_the_entry_does_not_count_against_it() -> None:
    life = Life().bound()
    entry = carried(life.story)
    older = {name: value for name, value in entry.state.items() if name != "podeni_phase"}
    assert life.a.podeni_phase == "Bind"
    life.tell(entry.model_copy(update={"state": older}))
    assert life.a.podeni_phase == "Bind"


def test_nothing_follows_a_release_and_an_open_call_is_carried() -> None:
    life = Life().placed()
    intent = life.intend("CreateNetworkInterface", vswitch_id="vsw-h")
    entry = carried(life.story)
    assert [call.intent for call in entry.calls] == [intent]
    life.tell(entry, e.CallDone(intent=intent, settled_by="look", request_id="r", address=ADDRESS))
    [call] = tell(life.story[-2:]).calls
    assert (call.intent, call.outcome) == (intent, "done")


def test_p1_what_was_disputed_stays_so_however_often_it_is_carried() -> None:
    """The sweep asks for it before it takes an ENI for a leak."""
    parked = e.Parked(reason="both hold it", next_step="look", disputed=ADDRESS)
    life = Life().bound().tell(parked)
    first = carried(life.story)
    assert first.disputed == ("eni-1",)
    life.tell(first)
    assert carried(life.story[-1:]).disputed == ("eni-1",)
