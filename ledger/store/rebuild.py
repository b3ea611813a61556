"""Current state from the entries alone (P6): compare it with what the tables hold, or restore it.

The fold here is the one that wrote the tables, entry by entry instead of batch by batch; what it
gives has to be identical, row for row.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from ledger.rules.allocation import Allocation, Recorded, evolve
from ledger.rules.entries import read_entry
from ledger.rules.tenures import Turnover
from ledger.store import rows
from ledger.store.named_sql import queries

_ENTRIES = """
SELECT id, allocation_id, version, kind, recorded_at, data FROM ledger.entry
WHERE allocation_id IS NOT NULL ORDER BY allocation_id, version
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that isn't what the entries say: the table, its key, both contents as text."""

    table: str
    key: str
    holds: str | None
    should_hold: str | None


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


def tell(story: list[Recorded]) -> Told:
    """Fold one whole story. Entries of one moment may open one period at most."""
    state: Allocation | None = None
    periods: list[Period] = []
    for at, moment in groupby(story, key=lambda recorded: recorded.recorded_at):
        turnover = Turnover()
        for recorded in moment:
            earlier, state = state, evolve(state, recorded)
            turnover.follow(earlier, state)
        assert state is not None
        if turnover.closed_by is not None:
            last = periods.pop()
            periods.append(Period(last.row, last.since, at, turnover.closed_by))
        if turnover.opened is not None:
            row = rows.tenure_row(state, *turnover.opened)
            periods.append(Period(row, at, None, None))
    assert state is not None, "a story has at least one entry"
    return Told(state, tuple(periods))


def stories(connection: Connection) -> Iterator[Told]:
    """Every allocation's story, folded, in the order of their ids."""
    # For this query alone: set on the connection, it would make cursors of later writes as well.
    found = connection.exec_driver_sql(_ENTRIES, execution_options={"stream_results": True})
    for _, entries in groupby(found, key=lambda row: row.allocation_id):
        yield tell([_recorded(row) for row in entries])


def check(connection: Connection) -> list[Difference]:
    """Every row of allocation and tenure that differs from what the entries tell."""
    differences: list[Difference] = []
    allocations = _held_allocations(connection)
    tenures = _held_tenures(connection)
    for told in stories(connection):
        id_ = told.state.id
        should = _comparable(rows.allocation_row(told.state))
        differences += _compare("allocation", str(id_), allocations.pop(id_, None), should)
        for period in told.periods:
            key = (id_, period.row.version)
            differences += _compare(
                "tenure",
                f"{id_} v{period.row.version}",
                tenures.pop(key, None),
                _period_text(period),
            )
    for id_, holds in allocations.items():
        differences.append(Difference("allocation", str(id_), holds, None))
    for (id_, version), holds in tenures.items():
        differences.append(Difference("tenure", f"{id_} v{version}", holds, None))
    return differences


def rebuild(connection: Connection) -> int:
    """Write allocation and tenure anew from the entries; returns how many allocations.

    One transaction: others wait, and see the old rows or the new ones.
    """
    # Before the entries are read: one committed in between would be missing from what is written.
    connection.exec_driver_sql(
        "LOCK TABLE ledger.allocation, ledger.tenure IN ACCESS EXCLUSIVE MODE"
    )
    told = list(stories(connection))
    connection.exec_driver_sql("DELETE FROM ledger.tenure")
    connection.exec_driver_sql("DELETE FROM ledger.allocation")
    sql = queries("book")
    for one in told:
        row = rows.allocation_row(one.state)
        connection.exec_driver_sql(sql["write_allocations"], rows.columns([row]))
        for period in one.periods:
            bound = {"at": period.since, **rows.columns([period.row])}
            connection.exec_driver_sql(sql["open_tenures"], bound)
            if period.until is not None:
                ending = rows.EndingRow(one.state.id, period.closed_by or 0)
                connection.exec_driver_sql(
                    sql["close_tenures"], {"at": period.until, **rows.columns([ending])}
                )
    return len(told)


def _recorded(row: Any) -> Recorded:
    return Recorded(
        allocation_id=row.allocation_id,
        version=row.version,
        recorded_at=row.recorded_at,
        entry=read_entry(row.kind, row.data),
    )


def _compare(table: str, key: str, holds: str | None, should_hold: str) -> list[Difference]:
    return [] if holds == should_hold else [Difference(table, key, holds, should_hold)]


def _comparable(row: rows.AllocationRow) -> str:
    moments = {
        name: _instant(getattr(row, name)) for name in ("ttl_due", "created_at", "changed_at")
    }
    return _text({**row._asdict(), **moments, "state": json.loads(row.state)})


def _held_allocations(connection: Connection) -> dict[UUID, str]:
    names = ", ".join(
        f"host({name}) AS {name}" if name in ("ipv4", "ipv6") else name
        for name in rows.AllocationRow._fields
    )
    found = connection.exec_driver_sql(f"SELECT {names} FROM ledger.allocation")  # noqa: S608 - our own names
    held = {}
    for row in found.mappings():
        moments = {name: row[name] for name in ("ttl_due", "created_at", "changed_at")}
        held[row["id"]] = _text({**row, **{k: _instant(v) for k, v in moments.items()}})
    return held


def _held_tenures(connection: Connection) -> dict[tuple[UUID, int], str]:
    found = connection.exec_driver_sql(
        "SELECT allocation_id AS id, cluster, namespace, pod, interface, pod_uid, node, kind, vpc, "
        "host(ipv4) AS ipv4, host(ipv6) AS ipv6, eni, mac, vswitch, instance, trunk, vlan, "
        "opened_by AS version, lower(during) AS since, upper(during) AS until, closed_by "
        "FROM ledger.tenure"
    )
    held = {}
    for row in found.mappings():
        told = {**row, "since": _instant(row["since"]), "until": _instant(row["until"])}
        held[row["id"], row["version"]] = _text(told)
    return held


def _period_text(period: Period) -> str:
    told = {
        **period.row._asdict(),
        "since": _instant(period.since),
        "until": _instant(period.until),
        "closed_by": period.closed_by,
    }
    return _text(told)


def _instant(moment: datetime | str | None) -> float | None:
    if moment is None:
        return None
    parsed = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return parsed.timestamp()


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, default=str, sort_keys=True)
