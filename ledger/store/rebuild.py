"""Current state from the entries alone (P6): compare it with what the tables hold, or restore it.

The fold here is the one that wrote the tables, entry by entry instead of batch by batch; what it
gives has to be identical, row for row. Both stream: what is held in memory is one story, or one
batch of them.

Where older entries went to an archive, a story begins with the entry that carries it forward, and
rows that were over before are left alone; `with_archive` folds everything from the beginning.
"""

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, CursorResult

from ledger.rules.allocation import Allocation, Recorded
from ledger.rules.carrying import carried_calls
from ledger.rules.cloud_calls import CloudCall, follow
from ledger.rules.entries import CarriedForward, read_entry
from ledger.rules.evolution import evolve
from ledger.rules.tenures import Turnover, holding_of
from ledger.store import rows
from ledger.store.archives import away
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


@dataclass(frozen=True, slots=True)
class Settled:
    """Up to which version, and when, an allocation's rows rest on archives."""

    version: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Story:
    """What the entries at hand tell of one allocation. `told` is None where all are archived."""

    allocation_id: UUID
    told: "Told | BrokenStory | None"
    settled: Settled | None


def tell(story: list[Recorded]) -> Told:
    """Fold one story, from its request or from where it was carried forward.

    Entries of one moment may open one period at most.
    """
    state: Allocation | None = None
    periods: list[Period] = []
    calls: dict[UUID, CloudCall] = {}
    for at, moment in groupby(story, key=lambda recorded: recorded.recorded_at):
        turnover = Turnover()
        for recorded in moment:
            earlier, state = state, evolve(state, recorded)
            if earlier is None and isinstance(recorded.entry, CarriedForward):
                periods, calls = _carried(state, recorded.entry), carried_calls(recorded.entry)
                continue
            turnover.follow(earlier, state)
            call = follow(calls, recorded.entry, at)
            if call is not None:
                calls[call.intent] = call
        assert state is not None
        if turnover.closed_by is not None:
            last = periods.pop()
            # One that was carried within its first moment may end in it: it never lasted.
            if last.since < at:
                periods.append(Period(last.row, last.since, at, turnover.closed_by))
        if turnover.opened is not None:
            row = rows.tenure_row(state, *turnover.opened)
            periods.append(Period(row, at, None, None))
    assert state is not None, "a story has at least one entry"
    return Told(state, tuple(periods), tuple(calls.values()))


def _carried(state: Allocation, entry: CarriedForward) -> list[Period]:
    holding = holding_of(state)
    if holding is None or entry.period is None:
        return []
    row = rows.tenure_row(state, holding, entry.period.opened_by)
    return [Period(row, entry.period.since, None, None)]


def stories(connection: Connection, *, with_archive: bool = False) -> Generator[Story]:
    """Every allocation's story, folded, in the order of their ids.

    `with_archive`: from their beginnings, which takes every archive to be attached.
    """
    with ExitStack() as opened:
        entries = opened.enter_context(
            closing(_stream(connection, "every_story" if with_archive else "stories"))
        )
        resting = opened.enter_context(closing(_stream(connection, "settled")))
        settled = _Lookahead(() if with_archive else resting)
        for allocation_id, found in groupby(entries, key=lambda row: row.allocation_id):
            for each in settled.until(allocation_id):
                yield Story(each.allocation_id, None, Settled(each.version, each.at))
            after: Settled | None = None
            if settled.next is not None and settled.next.allocation_id == allocation_id:
                row = settled.take()
                after = Settled(row.version, row.at)
            story = [each for each in found if after is None or each.version > after.version]
            yield Story(allocation_id, _tell(allocation_id, story) if story else None, after)
        for each in settled.until(None):
            yield Story(each.allocation_id, None, Settled(each.version, each.at))


def _tell(allocation_id: UUID, story: Sequence[Any]) -> Told | BrokenStory:
    try:
        return tell([recorded_of(row) for row in story])
    except Exception as impossible:  # noqa: BLE001 - whatever a hand-written entry does to it
        return BrokenStory(allocation_id, f"{type(impossible).__name__}: {impossible}")


def check(connection: Connection, *, with_archive: bool = False) -> list[Difference]:
    """Every row of allocation, tenure and cloud_call that differs from what the entries tell.

    On a ledger at work it takes a transaction of one snapshot (`Database.snapshot`). Raises
    ArchivesAway where the archives are wanted and not all there.
    """
    if with_archive:
        _want_archives(connection)
    differences: list[Difference] = []
    with ExitStack() as opened:
        tables = [
            _Table(name, opened.enter_context(closing(_stream(connection, f"held_{name}"))))
            for name in ("allocation", "tenure", "cloud_call")
        ]
        for story in opened.enter_context(closing(stories(connection, with_archive=with_archive))):
            if isinstance(story.told, BrokenStory):
                key = str(story.allocation_id)
                differences.append(Difference("entry", key, story.told.why, None))
            for table in tables:
                held = table.take(story.allocation_id, differences)
                if not isinstance(story.told, BrokenStory):
                    differences += _compare(table.name, held, story)
        for table in tables:
            table.take(None, differences)
    return differences


class ArchivesAway(Exception):  # noqa: N818 - names what was found
    """Archives that are needed and were moved away: their names."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"moved away: {', '.join(names)}")
        self.names = tuple(names)


def _want_archives(connection: Connection) -> None:
    if missing := away(connection):
        raise ArchivesAway([each.name for each in missing])


def rebuild(connection: Connection, *, with_archive: bool = False) -> int:
    """Write allocation, tenure and cloud_call anew from the entries; returns how many allocations.

    One transaction: others wait, and see the old rows or the new ones. Raises BrokenStory where
    entries tell no story, and ArchivesAway; nothing is written then.
    """
    if with_archive:
        _want_archives(connection)
    # Before the entries are read: one committed in between would be missing from what is written.
    connection.exec_driver_sql(
        "LOCK TABLE ledger.allocation, ledger.tenure, ledger.cloud_call IN ACCESS EXCLUSIVE MODE"
    )
    for table in ("tenure", "cloud_call", "allocation"):
        everything = f"DELETE FROM ledger.{table}"  # noqa: S608 - our own names
        connection.exec_driver_sql(
            everything if with_archive else queries("rebuild")[f"empty_{table}"]
        )
    count = 0
    with closing(stories(connection, with_archive=with_archive)) as found:
        told = (_whole(each.told) for each in found if each.told is not None)
        while batch := list(islice(told, _BATCH)):
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


class _Lookahead:
    """Rows in order, the next one visible before it is taken."""

    def __init__(self, found: Iterable[Any]) -> None:
        self._rows = iter(found)
        self.next: Any = next(self._rows, None)

    def take(self) -> Any:
        taken, self.next = self.next, next(self._rows, None)
        return taken

    def until(self, allocation_id: UUID | None) -> Iterator[Any]:
        """Those of allocations before this one; None: all that are left."""
        while self.next is not None and (
            allocation_id is None or self.next.allocation_id < allocation_id
        ):
            yield self.take()


# --- comparing ------------------------------------------------------------------------------------


class _Table:
    """The rows of a table, allocation by allocation, as a stream that is read once."""

    def __init__(self, name: str, found: CursorResult[Any]) -> None:
        self.name = name
        self._rows = iter(found)
        self._next: Any = next(self._rows, None)

    def take(self, allocation_id: UUID | None, differences: list[Difference]) -> dict[str, Any]:
        """Key -> row of this allocation; None: all that are left.

        Rows of allocations before it have no entries: each is a difference.
        """
        held: dict[str, Any] = {}
        while self._next is not None:
            row = self._next
            if allocation_id is not None and row.allocation_id > allocation_id:
                break
            if row.allocation_id == allocation_id:
                held[row.key] = row
            else:
                differences.append(Difference(self.name, row.key, _text(row._mapping), None))
            self._next = next(self._rows, None)
        return held


def _compare(table: str, rows_: Mapping[str, Any], story: Story) -> list[Difference]:
    should = _should_hold(story.told)[table] if isinstance(story.told, Told) else {}
    held = {
        key: _text(row._mapping)
        for key, row in rows_.items()
        if key in should or not _rests(table, row, story)
    }
    if table == "allocation" and story.told is None and not rows_:
        should = {str(story.allocation_id): "a row that rests on an archive: --with-archive"}
    return [
        Difference(table, key, held.get(key), should.get(key))
        for key in {**should, **held}
        if held.get(key) != should.get(key)
    ]


def _rests(table: str, row: Any, story: Story) -> bool:
    """Whether a row is told by archived entries alone, so that those at hand can't judge it."""
    if story.settled is None:
        return False
    match table:
        case "allocation":
            return story.told is None
        case "tenure":
            return row.closed_by is not None and bool(row.closed_by <= story.settled.version)
        case _:
            return row.settled_at is not None and bool(row.settled_at <= story.settled.at)


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


def recorded_of(row: Any) -> Recorded:
    """An entry as the rules take it, from a row of `entry`."""
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
