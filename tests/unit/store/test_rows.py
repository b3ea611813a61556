"""Rows and stories as the book writes and reads them: pure, and the same either way (P6)."""

import json
from datetime import datetime
from typing import NamedTuple

import pytest
from hypothesis import given, settings

from ledger.rules.allocation import Recorded
from ledger.rules.entries import read_entry
from ledger.rules.tenures import holding_of
from ledger.store.named_sql import queries
from ledger.store.rebuild import tell
from ledger.store.rows import allocation_row, columns, entry_row, tenure_row
from tests.unit.rules.lives import Life
from tests.unit.rules.test_tenures import by_turnover, stories


def test_p6_an_entry_row_is_read_back_as_the_entry() -> None:
    for recorded in Life().reserved().story:
        row = entry_row("c1", recorded, {"why": "test"})
        assert read_entry(row.kind, json.loads(row.data)) == recorded.entry
        assert "kind" not in json.loads(row.data)
        assert json.loads(row.cause) == {"why": "test"}


def test_p1_the_claims_of_a_row_are_those_of_its_state() -> None:
    bound = allocation_row(Life().bound().a)
    assert (bound.vpc, bound.ipv4, bound.eni) == ("vpc-1", "192.168.0.10", "eni-1")
    assert (bound.trunk, bound.vlan) == ("eni-trunk-node-h1", 1001)
    reserved = allocation_row(Life().reserved().a)
    assert (reserved.eni, reserved.trunk, reserved.vlan) == ("eni-1", None, None)
    wanted = allocation_row(Life().a)
    assert (wanted.vpc, wanted.ipv4, wanted.eni, wanted.vlan) == (None, None, None, None)


def test_p1_a_vlan_is_claimed_until_the_eni_is_seen_off() -> None:
    life = Life().bound().gone().shown("Detaching")
    life.call("DetachNetworkInterface", eni="eni-1", instance_id="i-node-h1")
    assert allocation_row(life.a).vlan == 1001


def test_times_of_a_row_keep_their_instant() -> None:
    a = Life().reserved().a
    row = allocation_row(a)
    assert row.ttl_due is not None
    assert datetime.fromisoformat(row.ttl_due) == a.ttl_due
    assert datetime.fromisoformat(row.changed_at) == a.changed_at


def test_rows_become_one_list_a_column() -> None:
    class Row(NamedTuple):
        a: int
        b: str | None

    assert columns([Row(1, "x"), Row(2, None)]) == {"a": [1, 2], "b": ["x", None]}


@settings(max_examples=40)
@given(stories())
def test_p6_a_story_told_again_gives_the_periods_that_were_written(story: list[Recorded]) -> None:
    told = tell(story)
    assert [
        (each.since, each.until, each.row.version, each.closed_by) for each in told.periods
    ] == [(since, until, opened, closed) for since, until, _, opened, closed in by_turnover(story)]
    assert told.state.version == len(story)


def test_p6_a_story_that_holds_something_still_has_an_open_period() -> None:
    life = Life().bound()
    told = tell(life.story)
    holding = holding_of(life.a)
    assert holding is not None
    assert told.periods[-1].until is None
    assert told.periods[-1].row == tenure_row(life.a, holding, told.periods[-1].row.version)


@pytest.mark.parametrize("name", ["book", "inputs", "work"])
def test_named_queries_are_read_whole(name: str) -> None:
    found = queries(name)
    assert found
    assert all(text.strip() for text in found.values())
