"""Moves old entries to archives: plan the ranges, carry forward what still holds, move range by range.

Nothing is deleted: an entry leaves `ledger.entry` in the transaction in which it stands in an
archive, byte for byte, with the hash it was sealed with. Run by the schema's owner. A crash at any
point leaves a ledger that is whole; the same command goes on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from ledger.rules.allocation import ImpossibleEntry, Phase
from ledger.rules.carrying import carried_forward
from ledger.rules.seals import FeedRow, Seal, Unsealable, leaf, seal_hash
from ledger.store.book import Story, append_remark, lock_allocations, record
from ledger.store.database import ledger_now
from ledger.store.named_sql import queries
from ledger.store.rebuild import Told, recorded_of, tell

#: Any number; whoever archives holds it for a transaction.
_ARCHIVER_LOCK = 0x656E6961
#: Entries of one archive at most, so that one transaction takes minutes and not hours.
ENTRIES_MAX = 1_000_000
#: Allocations that are carried forward in one transaction: each keeps its Pod's work waiting.
CARRIED_AT_ONCE = 20
#: Younger entries are still counted by the breaker (P11) and belong in one place.
AGE_MIN = timedelta(days=1)


class NotArchivable(Exception):  # noqa: N818 - names what was found
    """Something that must not move, or not yet: the text names it and the next step."""


@dataclass(frozen=True, slots=True)
class Range:
    """Feed positions that become one archive, both inclusive; whole seals."""

    first: int
    last: int

    @property
    def name(self) -> str:
        return f"entry_{self.first}_{self.last}"

    @property
    def entries(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What would move, in order, and which allocations have to be carried forward before.

    `why` says what holds more back than the age, "" where nothing does.
    """

    ranges: tuple[Range, ...]
    to_carry: tuple[UUID, ...]
    why: str

    @property
    def entries(self) -> int:
        return sum(each.entries for each in self.ranges)


def plan(connection: Connection, before: datetime, at_most: int = ENTRIES_MAX) -> Plan:
    """What moves if everything recorded before a moment is to.

    Raises NotArchivable where that is too young, and where this role may not move it.
    """
    if not connection.exec_driver_sql(queries("archive")["is_owner"]).scalar_one():
        raise NotArchivable(
            "only the schema's owner may move entries: set ENI_LEDGER_POSTGRES__DSN to the DSN that "
            "`eni-ledger migrate` is given"
        )
    now = ledger_now(connection)
    if before > now - AGE_MIN:
        raise NotArchivable(
            f"{before.isoformat()} is less than {AGE_MIN.days} day ago: the breaker counts what is "
            "that new. Give an earlier time"
        )
    sql = queries("archive")
    bounds = connection.exec_driver_sql(sql["bounds"]).one()
    # Never the newest one: the next position is counted from it.
    upto, why = min(bounds.sealed, max(bounds.fed - 1, 0)), ""
    if bounds.sealed < bounds.fed - 1:
        why = f"sealed only up to position {bounds.sealed}: see that a reconciler runs"
    if bounds.published is not None and bounds.published < upto:
        upto = bounds.published
        why = f"topic {bounds.topic} was told only up to position {upto}: see that an intake runs"
    oldest_kept = _first_kept(connection, bounds.archived, upto, before)
    if oldest_kept <= upto:
        upto, why = oldest_kept - 1, ""
    ranges = tuple(_ranges(connection, bounds.archived, upto, at_most))
    if not ranges:
        return Plan((), (), why)
    found = connection.exec_driver_sql(sql["to_carry"], {"upto": ranges[-1].last})
    return Plan(ranges, tuple(found.scalars()), why)


def _first_kept(connection: Connection, archived: int, upto: int, before: datetime) -> int:
    """The first position whose entry is no older than a moment, by halving; `upto` + 1 without one."""
    low, high = archived + 1, upto + 1
    while low < high:
        middle = (low + high) // 2
        found = connection.exec_driver_sql(
            queries("archive")["recorded_at"], {"position": middle}
        ).scalar_one_or_none()
        if found is None:
            raise NotArchivable(
                f"position {middle} of the feed has no entry: see `eni-ledger verify --seal`"
            )
        low, high = (middle + 1, high) if found < before else (low, middle)
    return low


def _ranges(connection: Connection, after: int, upto: int, at_most: int) -> Iterator[Range]:
    sql = queries("archive")
    while after < upto:
        within = {"after": after, "position": min(upto, after + at_most)}
        last = connection.exec_driver_sql(sql["last_seal_by"], within).scalar_one_or_none()
        if last is None:  # the next seal alone is larger than asked for
            last = connection.exec_driver_sql(sql["first_seal_after"], within).scalar_one_or_none()
        if last is None or last > upto:
            return
        yield Range(after + 1, last)
        after = last


# ------------------------------------------------------------------------------ carrying forward


def batches(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    """As many as are carried forward in one transaction."""
    for begin in range(0, len(ids), CARRIED_AT_ONCE):
        yield ids[begin : begin + CARRIED_AT_ONCE]


def carry(connection: Connection, ids: Sequence[UUID], cause: Mapping[str, Any]) -> int:
    """Append to each of these that lives still what the archive will hold; returns to how many.

    Told by the entries, not by the tables. Raises NotArchivable where the two differ.
    """
    states = lock_allocations(connection, ids)
    living = [state for state in states.values() if state.phase is not Phase.RELEASED]
    if not living:
        return 0
    stories = _stories(connection, [state.id for state in living])
    now = ledger_now(connection)
    told = [Story(state.id, state, stories[state.id], cause) for state in living]
    try:
        record(connection, told, now)
    except ImpossibleEntry as differs:
        raise NotArchivable(
            f"{differs} than the tables hold: `eni-ledger rebuild --check` says which rows differ, and "
            "`eni-ledger verify --seal` whether entries were changed"
        ) from differs
    return len(told)


def _stories(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, tuple[Any, ...]]:
    found = connection.exec_driver_sql(queries("archive")["stories_of"], {"ids": list(ids)})
    carried = {}
    for id_, rows in groupby(found, key=lambda row: row.allocation_id):
        try:
            story = [recorded_of(row) for row in rows]
            told = tell(story)
        except (ImpossibleEntry, ValueError) as impossible:
            raise NotArchivable(
                f"the entries of allocation {id_} tell no story: {impossible}. "
                "`eni-ledger verify --seal` says whose entries were changed"
            ) from impossible
        carried[id_] = (carried_forward(told.state, open_period(told), told.calls, story),)
    return carried


def open_period(told: Told) -> tuple[int, datetime] | None:
    """The version that opened the period that lasts, and when; None where nothing is held."""
    lasting = [period for period in told.periods if period.until is None]
    return (lasting[-1].row.version, lasting[-1].since) if lasting else None


# ------------------------------------------------------------------------------ moving


def move(connection: Connection, cluster: str, range_: Range, by: str) -> None:
    """Move one range to an archive of its own, in the transaction of `connection`.

    Raises NotArchivable, and then nothing has happened: where an entry is not as it was sealed,
    where an allocation was not carried forward, and where the range is not the next one.
    """
    _take_turn(connection, range_)
    _create(connection, range_)
    _execute(connection, "copy_range", range_)
    seal = _hold_against_seals(connection, range_)
    unsettled = _execute(connection, "unsettled_story", range_).scalar_one_or_none()
    if unsettled is not None:
        raise NotArchivable(
            f"allocation {unsettled} lives and was not carried forward: give the command again"
        )
    _register(connection, cluster, range_, seal, by)
    _attach(connection, range_)
    _execute(connection, "leave_feed", range_)
    left = _execute(connection, "leave_entry", range_).rowcount
    if left != range_.entries:
        raise NotArchivable(f"{left} entries would have left for {range_.name}, not all of it")


def _take_turn(connection: Connection, range_: Range) -> None:
    mine = connection.exec_driver_sql(
        f"SELECT pg_try_advisory_xact_lock({_ARCHIVER_LOCK})"
    ).scalar_one()
    if not mine:
        raise NotArchivable("another one archives just now: wait for it")
    # After the lock: what another archiver moved before is seen.
    bounds = connection.exec_driver_sql(queries("archive")["bounds"]).one()
    if range_.first != bounds.archived + 1:
        raise NotArchivable(f"everything up to position {bounds.archived} was archived meanwhile")
    if range_.last >= bounds.fed:
        raise NotArchivable(f"position {bounds.fed} is the newest: the next is counted from it")


def _execute(
    connection: Connection, query: str, range_: Range, bound: Mapping[str, Any] | None = None
) -> Any:
    """A query about one archive; its name is of numbers, so that it can stand in the text."""
    text = queries("archive")[query].format(name=range_.name, first=range_.first, last=range_.last)
    return connection.exec_driver_sql(text, dict(bound or {}))


def _create(connection: Connection, range_: Range) -> None:
    name = range_.name
    for statement in (
        # The condition of the partition it becomes, so that attaching it reads nothing.
        f"CREATE TABLE ledger.{name} (LIKE ledger.archived_entry INCLUDING CONSTRAINTS, "
        f"CHECK (position >= {range_.first} AND position < {range_.last + 1}), "
        f"PRIMARY KEY (position), UNIQUE (id), UNIQUE (allocation_id, version))",
        f"CREATE UNIQUE INDEX {name}_missed_once ON ledger.{name} (cluster, (data ->> 'uid')) "
        "WHERE kind = 'missed-by-admission'",
        f"GRANT SELECT ON ledger.{name} TO eni_ledger_writer, eni_ledger_reconciler",
        f"COMMENT ON TABLE ledger.{name} IS 'Entries of the ledger at feed positions {range_.first} "
        f"to {range_.last}. Keep it: eni-ledger never deletes it, and reads it while it is attached.'",
    ):
        connection.exec_driver_sql(statement)


def _hold_against_seals(connection: Connection, range_: Range) -> bytes:
    """Compare what was copied with its seals; returns the last seal's hash."""
    sql = queries("seal")
    within = {"first": range_.first, "last": range_.last}
    previous: bytes | None = connection.exec_driver_sql(
        sql["seal_ending_at"], {"upto": range_.first - 1}
    ).scalar_one_or_none()
    position = range_.first
    with (
        closing(_streamed(connection, sql["seals_from"], within, 20)) as seals,
        closing(_streamed(connection, _text_of("copied_rows", range_), {}, 2000)) as copied,
    ):
        rows = iter(copied)
        for row in seals:
            seal = Seal(*row)
            if seal.since != position or seal.previous != previous or seal_hash(seal) != seal.hash:
                raise _not_as_sealed(f"seal {seal.since}..{seal.upto}")
            _compare(seal, rows)
            position, previous = seal.upto + 1, seal.hash
        if position != range_.last + 1 or previous is None or next(rows, None) is not None:
            raise _not_as_sealed(f"position {position}")
    return previous


def _text_of(query: str, range_: Range) -> str:
    return queries("archive")[query].format(name=range_.name)


def _streamed(connection: Connection, query: str, bound: Mapping[str, Any], at_once: int) -> Any:
    options = {"stream_results": True, "yield_per": at_once}
    return connection.exec_driver_sql(query, dict(bound), execution_options=options)


def _compare(seal: Seal, rows: Iterator[Any]) -> None:
    for position in range(seal.since, seal.upto + 1):
        row, sealed = next(rows, None), seal.leaf(position)
        if row is None or row.position != position or row.entry_id != sealed.entry_id:
            raise _not_as_sealed(f"position {position} (entry {sealed.entry_id})")
        try:
            same = leaf(FeedRow(*row)).hash == sealed.hash
        except Unsealable:
            same = False
        if not same:
            raise _not_as_sealed(f"entry {row.entry_id}")


def _not_as_sealed(what: str) -> NotArchivable:
    return NotArchivable(
        f"{what} is not as it was sealed, so nothing moves: `eni-ledger verify --seal` says more"
    )


def _register(connection: Connection, cluster: str, range_: Range, seal: bytes, by: str) -> None:
    now = ledger_now(connection)
    told = {
        "archive": range_.name,
        "first_position": range_.first,
        "last_position": range_.last,
        "seal": seal.hex(),
    }
    told_by = append_remark(
        connection, cluster, "archived", told, {"command": "archive", "by": by}, now
    )
    registered = {
        "name": range_.name, "first": range_.first, "last": range_.last,
        "at": now, "by": by, "seal": seal, "told_by": told_by,
    }  # fmt: skip
    _execute(connection, "register", range_, registered)
    _execute(connection, "register_stories", range_, registered)


def _attach(connection: Connection, range_: Range) -> None:
    name = range_.name
    statements = [
        f"ALTER TABLE ledger.archived_entry ATTACH PARTITION ledger.{name} "
        f"FOR VALUES FROM ({range_.first}) TO ({range_.last + 1})"
    ]
    # Its own, not the partitioned table's: those would be gone when it is detached.
    statements += (
        f"CREATE TRIGGER {name}_{what} BEFORE {when} ON ledger.{name} FOR EACH {each} "
        "EXECUTE FUNCTION ledger.refuse_change()"
        for what, when, each in (
            ("is_append_only", "INSERT OR UPDATE OR DELETE", "ROW"),
            ("is_never_truncated", "TRUNCATE", "STATEMENT"),
        )
    )
    statements.append(f"ANALYZE ledger.{name}")
    for statement in statements:
        connection.exec_driver_sql(statement)
