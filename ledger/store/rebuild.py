"""Current state from the entries alone (P6): compare it with what the tables hold, or restore it.

The fold here is the one that wrote the tables, entry by entry instead of batch by batch; what it
gives has to be identical, row for row. Both stream: what is held in memory is one story, or one
batch of them.
"""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, CursorResult

from ledger.rules.allocation import Allocation, Recorded, evolve
from ledger.rules.cloud_calls import CloudCall, follow
from ledger.rules.entries import read_entry
from ledger.rules.tenures import Turnover
from ledger.store import rows
from ledger.store.named_sql import queries

#: Allocations that are written together.
_BATCH = 500

_MOMENTS = frozenset(
    [
        "ttl_due",
        "created_at",
        "changed_at",
        "since",
        "until",
        "intended_at",
        "deadline",
        "settled_at",
    ]
)
_JSON = frozenset({"state", "parameters"})
#: What a held row is found by, beside its content.
_PLACE = frozenset({"allocation_id", "key"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that isn't what the entries say: the table, its key, both contents as text.

    Where the entries themselves don't tell a story, the table is `entry`, the key the allocation's
    id, and `holds` says why.
    """

    table: str
    key: str
    holds: str | None
    should_hold: str | None


class BrokenStory(Exception):  # noqa: N818 - names what was found
    """Entries of one allocation that can't have followed each other: somebody else wrote there."""

    def __init__(self, allocation_id: UUID, why: str) -> None:
        super().__init__(f"the entries of allocation {allocation_id} tell no story: {why}")
        self.allocation_id = allocation_id
        self.why = why


@dataclass(frozen=True, slots=True)
class Period:
    """A period of holding as the entries tell it."""

    row: rows.TenureRow
    since: datetime
    until: datetime | None
    closed_by: int | None


@dataclass(frozen=True, slots=True)
class Told:
    """What one allocation's story comes to."""

    state: Allocation
    periods: tuple[Period, ...]
    calls: tuple[CloudCall, ...]


def tell(story: list[Recorded]) -> Told:
    """Fold one whole story. Entries of one moment may open one period at most."""
    state: Allocation | None = None
    periods: list[Period] = []
    calls: dict[UUID, CloudCall] = {}
    for at, moment in groupby(story, key=lambda recorded: recorded.recorded_at):
        turnover = Turnover()
        for recorded in moment:
            earlier, state = state, evolve(state, recorded)
            turnover.follow(earlier, state)
            call = follow(calls, recorded.entry, at)
            if call is not None:
                calls[call.intent] = call
        assert state is not None
        if turnover.closed_by is not None:
            last = periods.pop()
            periods.append(Period(last.row, last.since, at, turnover.closed_by))
        if turnover.opened is not None:
            row = rows.tenure_row(state, *turnover.opened)
            periods.append(Period(row, at, None, None))
    assert state is not None, "a story has at least one entry"
    return Told(state, tuple(periods), tuple(calls.values()))


def stories(connection: Connection) -> Generator[tuple[UUID, Told | BrokenStory]]:
    """Every allocation's story, folded, in the order of their ids."""
    with closing(_stream(connection, "stories")) as found:
        for allocation_id, entries in groupby(found, key=lambda row: row.allocation_id):
            story = list(entries)
            try:
                told: Told | BrokenStory = tell([_recorded(row) for row in story])
            except Exception as impossible:  # noqa: BLE001 - whatever a hand-written entry does to it
                told = BrokenStory(allocation_id, f"{type(impossible).__name__}: {impossible}")
            yield allocation_id, told


def check(connection: Connection) -> list[Difference]:
    """Every row of allocation, tenure and cloud_call that differs from what the entries tell.

    On a ledger at work it takes a transaction of one snapshot (`Database.snapshot`).
    """
    differences: list[Difference] = []
    with ExitStack() as opened:
        tables = [
            _Table(name, opened.enter_context(closing(_stream(connection, f"held_{name}"))))
            for name in ("allocation", "tenure", "cloud_call")
        ]
        for allocation_id, told in stories(connection):
            if isinstance(told, BrokenStory):
                differences.append(Difference("entry", str(allocation_id), told.why, None))
            should = None if isinstance(told, BrokenStory) else _should_hold(told)
            for table in tables:
                held = table.take(allocation_id, differences)
                if should is not None:
                    differences += _compare(table.name, held, should[table.name])
        for table in tables:
            table.take(None, differences)
    return differences


def rebuild(connection: Connection) -> int:
    """Write allocation, tenure and cloud_call anew from the entries; returns how many allocations.

    One transaction: others wait, and see the old rows or the new ones. Raises BrokenStory where
    entries tell no story; nothing is written then.
    """
    # Before the entries are read: one committed in between would be missing from what is written.
    connection.exec_driver_sql(
        "LOCK TABLE ledger.allocation, ledger.tenure, ledger.cloud_call IN ACCESS EXCLUSIVE MODE"
    )
    for table in ("tenure", "cloud_call", "allocation"):
        connection.exec_driver_sql(f"DELETE FROM ledger.{table}")  # noqa: S608 - our own names
    count = 0
    with closing(stories(connection)) as told:
        while batch := [_whole(one) for _, one in islice(told, _BATCH)]:
            _write(connection, batch)
            count += len(batch)
    return count


def _whole(told: Told | BrokenStory) -> Told:
    if isinstance(told, BrokenStory):
        raise told
    return told


def _write(connection: Connection, batch: Sequence[Told]) -> None:
    sql = queries("book") | queries("rebuild")
    states = [rows.allocation_row(told.state) for told in batch]
    connection.exec_driver_sql(sql["write_allocations"], rows.columns(states))
    for query, restored in (
        ("restore_tenures", [_period_row(period) for told in batch for period in told.periods]),
        ("restore_calls", [_call_row(told.state, call) for told in batch for call in told.calls]),
    ):
        if restored:
            bound = {name: [row[name] for row in restored] for name in restored[0]}
            connection.exec_driver_sql(sql[query], bound)


def _period_row(period: Period) -> dict[str, Any]:
    return {
        **period.row._asdict(),
        "since": period.since.isoformat(),
        "until": period.until.isoformat() if period.until else None,
        "closed_by": period.closed_by,
    }


def _call_row(state: Allocation, call: CloudCall) -> dict[str, Any]:
    return {
        "intent": call.intent,
        "id": state.id,
        "cluster": state.cluster,
        "api": call.api,
        "client_token": call.client_token,
        "parameters": json.dumps(dict(call.parameters)),
        "intended_at": call.intended_at.isoformat(),
        "deadline": call.deadline.isoformat(),
        "settled_at": call.settled_at.isoformat() if call.settled_at else None,
        "outcome": call.outcome,
        "code": call.code,
        "request_id": call.request_id,
    }


# --- comparing ------------------------------------------------------------------------------------


class _Table:
    """The rows of a table, allocation by allocation, as a stream that is read once."""

    def __init__(self, name: str, found: CursorResult[Any]) -> None:
        self.name = name
        self._rows = iter(found)
        self._next: Any = next(self._rows, None)

    def take(self, allocation_id: UUID | None, differences: list[Difference]) -> dict[str, str]:
        """Key -> content of the rows of this allocation; None: all that are left.

        Rows of allocations before it have no entries: each is a difference.
        """
        held: dict[str, str] = {}
        while self._next is not None:
            row = self._next
            if allocation_id is not None and row.allocation_id > allocation_id:
                break
            content = _text(row._mapping)
            if row.allocation_id == allocation_id:
                held[row.key] = content
            else:
                differences.append(Difference(self.name, row.key, content, None))
            self._next = next(self._rows, None)
        return held


def _compare(table: str, held: Mapping[str, str], should: Mapping[str, str]) -> list[Difference]:
    return [
        Difference(table, key, held.get(key), should.get(key))
        for key in {**should, **held}
        if held.get(key) != should.get(key)
    ]


def _should_hold(told: Told) -> dict[str, dict[str, str]]:
    """Table -> key -> content, as `_Table.take` reads them."""
    id_ = told.state.id
    return {
        "allocation": {str(id_): _text(rows.allocation_row(told.state)._asdict())},
        "tenure": {f"{id_} v{each.row.version}": _text(_period_row(each)) for each in told.periods},
        "cloud_call": {
            f"{id_} intent {each.intent}": _text(_call_row(told.state, each)) for each in told.calls
        },
    }


def _text(content: Mapping[str, Any]) -> str:
    plain = {}
    for name, value in content.items():
        if name in _MOMENTS:
            plain[name] = _instant(value)
        elif name in _JSON and isinstance(value, str):
            plain[name] = json.loads(value)
        elif name not in _PLACE:
            plain[name] = value
    return json.dumps(plain, default=str, sort_keys=True)


def _instant(moment: datetime | str | None) -> float | None:
    if moment is None:
        return None
    parsed = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return parsed.timestamp()


def _recorded(row: Any) -> Recorded:
    return Recorded(
        allocation_id=row.allocation_id,
        version=row.version,
        recorded_at=row.recorded_at,
        entry=read_entry(row.kind, row.data),
    )


def _stream(connection: Connection, query: str) -> CursorResult[Any]:
    # For this query alone: set on the connection, it would make cursors of later writes as well.
    options = {"stream_results": True, "yield_per": 1000}
    return connection.exec_driver_sql(queries("rebuild")[query], execution_options=options)
