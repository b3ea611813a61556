"""P6: what became of a call, told from entries as the tables have it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from ledger.rules import entries as e
from ledger.rules.cloud_calls import CloudCall, follow
from ledger.rules.entries import Entry

AT = datetime(2026, 1, 1, tzinfo=UTC)
LATER = AT + timedelta(seconds=5)
ID, OTHER = UUID(int=1), UUID(int=2)
INTENDED = e.CallIntended(
    intent=ID,
    api="CreateNetworkInterface",
    client_token="t",
    parameters={"vswitch": "vsw-1"},
    deadline=LATER,
)
OPEN = CloudCall(ID, "CreateNetworkInterface", "t", {"vswitch": "vsw-1"}, AT, LATER)
DONE = e.CallDone(intent=ID, settled_by="answer", request_id="r")
REFUSED = e.CallRefused(intent=ID, code="No", message="m", request_id="r")
UNDONE = e.CallUndone(intent=ID, request_id="r")
REPEATED = e.CallRepeated(intent=ID, deadline=LATER + timedelta(seconds=1))


def test_an_intent_opens_a_call() -> None:
    assert follow({}, INTENDED, AT) == OPEN


@pytest.mark.parametrize(
    ("entry", "outcome", "code"),
    [(DONE, "done", None), (REFUSED, "refused", "No"), (UNDONE, "undone", None)],
)
def test_the_first_outcome_settles_it(entry: Entry, outcome: str, code: str | None) -> None:
    settled = follow({ID: OPEN}, entry, LATER)
    assert settled is not None
    assert (settled.outcome, settled.code, settled.request_id) == (outcome, code, "r")
    assert settled.settled_at == LATER
    for later in (DONE, REFUSED, UNDONE, REPEATED):
        assert follow({ID: settled}, later, LATER + timedelta(seconds=9)) is None


def test_a_repetition_moves_the_deadline() -> None:
    repeated = follow({ID: OPEN}, REPEATED, LATER)
    assert repeated is not None
    assert repeated.deadline == REPEATED.deadline
    assert repeated.settled_at is None


@pytest.mark.parametrize("entry", [DONE, REFUSED, UNDONE, REPEATED])
def test_what_nobody_intended_opens_nothing(entry: Entry) -> None:
    assert follow({OTHER: OPEN}, entry, LATER) is None


def test_other_entries_change_no_call() -> None:
    unknown = e.CallUnknown(intent=ID, code="", message="")
    assert follow({ID: OPEN}, unknown, LATER) is None
    assert follow({ID: OPEN}, e.Detached(), LATER) is None
