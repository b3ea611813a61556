"""Holds the feed against its seals (P7): finds what was edited, deleted or put in, and names it.

Streams: memory does not grow with the ledger. What is below the seal never changes but for its
place: entries may move to an archive meanwhile, so it takes a transaction of one snapshot on a
ledger at work. Of an archive that was moved away only its seals are held against each other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import chain
from typing import Any

from sqlalchemy import Connection, CursorResult

from ledger.rules.seals import (
    CHECKS_BYTES,
    COLUMNS,
    HASH_BYTES,
    FeedRow,
    Head,
    Leaf,
    Seal,
    Unsealable,
    differing_columns,
    leaf,
    seal_hash,
)
from ledger.store.archives import Archive, read_archives
from ledger.store.named_sql import queries
from ledger.store.seal import SEAL_MAX, Tail, read_tail, unsealed

#: Findings after which the search ends: somebody has to look at them first.
FINDINGS_MAX = 1000
#: The unsealed tail is seconds long; older than this, nobody seals.
LATE = timedelta(seconds=60)

_UNLIKE = "its hash is not the sealed one: the entry was changed, or its seal was"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was sealed.

    `what` is one of edited, gone, put in, moved, seal edited, seal missing, chain broken, head
    differs, archive differs, not sealed. `position` is in the feed, `entry` an entry's id; None
    where there is none.
    """

    what: str
    position: int | None
    entry: int | None
    detail: str


@dataclass(slots=True)
class Verdict:
    """What the comparison came to.

    `sealed` is the last seal that was compared, `agreeing` are the heads that this ledger continues,
    `stopped_at` is the position where it ended early, at too many findings. `entries` counts those
    compared; `unseen` those that are only in archives that were moved away (`archives` has all).
    """

    sealed: Seal | None = None
    entries: int = 0
    seals: int = 0
    unseen: int = 0
    archives: Sequence[Archive] = ()
    tail: Tail | None = None
    findings: list[Finding] = field(default_factory=list)
    agreeing: list[Head] = field(default_factory=list)
    stopped_at: int | None = None


class _Enough(Exception):  # noqa: N818 - ends the search
    pass


def examine(connection: Connection, heads: Sequence[Head] = ()) -> Verdict:
    """Compare every sealed row with its seal, the seals with each other, and both with `heads`."""
    return _Examination(connection, heads).run()


@dataclass(slots=True)
class _Run:
    """Neighbours that moved together: told as one finding, at `index` of the list."""

    index: int
    first: Finding
    last: int
    by: int


class _Examination:
    def __init__(self, connection: Connection, heads: Sequence[Head]) -> None:
        self._connection = connection
        self._sql = queries("seal")
        self._heads = sorted(heads, key=lambda head: head.position)
        self._verdict = Verdict()
        self._reported: set[int] = set()
        self._count = 0
        self._run: _Run | None = None
        #: The seal that rows are held against, and the one before: where a displaced entry is
        #: looked for before every seal is.
        self._near: tuple[Seal, ...] = ()
        self._away: tuple[Archive, ...] = ()

    def run(self) -> Verdict:
        verdict = self._verdict
        # Read first: what is sealed meanwhile is of no interest.
        tail = verdict.tail = read_tail(self._connection)
        verdict.archives = read_archives(self._connection)
        self._away = tuple(each for each in verdict.archives if not each.here)
        try:
            self._compare(tail.sealed)
            self._compare_heads_beyond()
            self._compare_archives()
            self._look_outside()
            self._judge_tail(tail)
        except _Enough:
            verdict.stopped_at = verdict.sealed.upto if verdict.sealed else 0
        return verdict

    # ------------------------------------------------------------------ the chain

    def _compare(self, upto: int) -> None:
        bound = {"after": -(2**62), "upto": upto, "limit": None}
        with (
            closing(self._stream("archived_rows", {}, 2000)) as archived,
            closing(self._stream("feed_rows", bound, 2000)) as found,
            closing(self._stream("seals", {}, 20)) as seals,
        ):
            # Archives have the beginning of the feed, in one piece.
            rows = _Lookahead(chain(archived, found))
            for row in seals:
                if row.upto > upto:
                    break
                seal = self._sound(row)
                if seal is None:
                    continue
                before = self._verdict.sealed
                self._follow(before, seal)
                self._compare_range(before.upto + 1 if before else 1, seal, rows)
                self._verdict.sealed = seal
                self._verdict.seals += 1
            for extra in rows:
                self._put_in(extra.position, extra.entry_id, "no seal knows the position")

    def _stream(self, query: str, bound: Mapping[str, Any], at_once: int) -> CursorResult[Any]:
        # For this query alone: set on the connection, it would make cursors of the others as well.
        options = {"stream_results": True, "yield_per": at_once}
        return self._connection.exec_driver_sql(
            self._sql[query], dict(bound), execution_options=options
        )

    def _sound(self, row: Any) -> Seal | None:
        """The seal of a row; None where the row is no seal at all."""
        there = all(value is not None for value in (*row[:6], row.hash))
        count = row.upto - row.since + 1 if there else 0
        if (
            count < 1
            or len(row.entry_ids) != count
            or not all(isinstance(each, int) for each in row.entry_ids)
            or len(row.row_hashes) != HASH_BYTES * count
            or len(row.column_checks) != CHECKS_BYTES * count
        ):
            self._find("seal edited", row.upto, None, f"seal {row.since}..{row.upto} is no seal")
            return None
        return Seal(*row)

    def _follow(self, before: Seal | None, seal: Seal) -> None:
        """Hold a seal against itself, the one before it, and the heads."""
        name = f"seal {seal.since}..{seal.upto}"
        expected = before.upto + 1 if before else 1
        if seal_hash(seal) != seal.hash:
            self._find("seal edited", seal.upto, None, f"{name} does not have its own hash")
        if seal.since > expected:
            told = f"positions {expected}..{seal.since - 1} have no seal"
            self._find("seal missing", expected, None, told)
        elif seal.since < expected:
            told = f"{name} begins before the one before it ends"
            self._find("chain broken", seal.since, None, told)
        elif seal.previous != (before.hash if before else None):
            told = f"{name} does not continue the one before: one of the two was made anew"
            self._find("chain broken", seal.since, None, told)
        for archive in self._verdict.archives:
            if archive.last == seal.upto and archive.seal != seal.hash.hex():
                told = f"archive {archive.name} ended with seal {archive.seal[:16]}…, {name} is another"
                self._find("archive differs", seal.upto, None, told)
        for head in self._heads:
            if before is None:
                self._compare_origin(head, seal)
            if seal.since <= head.position <= seal.upto:
                self._compare_head(head, seal)

    # ------------------------------------------------------------------ rows against their seal

    def _compare_range(self, expected: int, seal: Seal, rows: "_Lookahead") -> None:
        """`expected` is the first position that no seal before this one covers."""
        self._near = (*self._near[-1:], seal)
        while rows.next is not None and expected <= rows.next.position < seal.since:
            rows.take()  # the seal that is missing was told of
        for position in range(max(seal.since, expected), seal.upto + 1):
            while rows.next is not None and rows.next.position < position:
                extra = rows.take()
                told = "the position is taken twice" if extra.position > 0 else "no such position"
                self._put_in(extra.position, extra.entry_id, told)
            sealed = seal.leaf(position)
            if rows.next is None or rows.next.position > position:
                if any(each.first <= position <= each.last for each in self._away):
                    self._verdict.unseen += 1
                    continue
                self._left(position, sealed, "nothing stands at its position")
                continue
            self._compare_row(rows.take(), sealed)
            self._verdict.entries += 1

    def _compare_row(self, row: Any, sealed: Leaf) -> None:
        position = row.position
        if row.entry_id != sealed.entry_id:
            self._left(position, sealed, f"entry {row.entry_id} stands in its place")
            if not self._is_sealed(row.entry_id):
                self._put_in(position, row.entry_id, f"in the place of entry {sealed.entry_id}")
            return
        if row.cluster is None:
            self._find("gone", position, sealed.entry_id, "only its position in the feed is left")
            return
        try:
            if leaf(FeedRow(*row)).hash == sealed.hash:
                return
        except Unsealable as why:
            self._find("edited", position, sealed.entry_id, f"it can't be read: {why}")
            return
        columns = differing_columns(FeedRow(*row), sealed)
        told = f"{_listed(columns)} not what was sealed" if columns else _UNLIKE
        self._find("edited", position, sealed.entry_id, told)

    def _left(self, position: int, sealed: Leaf, what_is_there: str) -> None:
        """An entry is not where it was sealed: find out where it is."""
        place, exists = self._connection.exec_driver_sql(
            self._sql["whereabouts"], {"entry_id": sealed.entry_id}
        ).one()
        if place is not None and exists:
            self._moved(position, sealed, place)
        elif exists:
            told = f"{what_is_there}; the entry is there, its feed row is not"
            self._find("gone", position, sealed.entry_id, told)
        else:
            self._find("gone", position, sealed.entry_id, what_is_there)

    def _moved(self, position: int, sealed: Leaf, place: int) -> None:
        [row] = self._connection.exec_driver_sql(
            self._sql["feed_rows"], {"after": place - 1, "upto": place, "limit": 1}
        ).all() or self._connection.exec_driver_sql(
            self._sql["archived_row"], {"entry_id": sealed.entry_id}
        )
        try:
            columns = differing_columns(FeedRow(*row), sealed)
        except Unsealable:
            columns = COLUMNS
        if columns:
            told = f"it stands at position {place} now; {_listed(columns)} not what was sealed"
            self._find("edited", position, sealed.entry_id, told)
            return
        run, by = self._run, place - position
        if run is not None and run.last == position - 1 and run.by == by:
            self._looked_at()
            run.last = position
            told = f"with it all up to position {position} stand {abs(by)} {_way(by)} than sealed"
            self._verdict.findings[run.index] = replace(run.first, detail=told)
            return
        self._find(
            "moved", position, sealed.entry_id, f"it stands {abs(by)} {_way(by)} than sealed"
        )
        first = self._verdict.findings[-1]
        self._run = _Run(len(self._verdict.findings) - 1, first, position, by)

    def _is_sealed(self, entry_id: int) -> bool:
        if any(entry_id in seal.entry_ids for seal in self._near):
            return True
        found = self._connection.exec_driver_sql(self._sql["is_sealed"], {"entry_id": entry_id})
        return bool(found.scalar_one())

    def _put_in(self, position: int, entry_id: int, where: str) -> None:
        self._find("put in", position, entry_id, f"{where}; it was never sealed there")

    def _compare_archives(self) -> None:
        """The register against the entries that tell of it: a made-up archive would hide what is gone."""
        for name, told_by, position in self._connection.exec_driver_sql(
            self._sql["untold_archives"]
        ).all():
            if position is None or not any(a.first <= position <= a.last for a in self._away):
                told = f"archive {name} is registered, and entry {told_by} does not tell of it"
                self._find("archive differs", None, None, told)

    def _look_outside(self) -> None:
        """Entries that never went through the sequencer, so that no reader of the feed sees them."""
        found = self._connection.exec_driver_sql(
            self._sql["outside_the_feed"], {"limit": FINDINGS_MAX}
        )
        for entry_id, kind in found:
            if entry_id not in self._reported:
                told = f"{kind}: it is in no place of the feed and waits for none"
                self._find("put in", None, entry_id, told)

    # ------------------------------------------------------------------ heads and tail

    def _compare_origin(self, head: Head, first: Seal) -> None:
        if head.ledger != first.hash.hex():
            told = f"{_kept(head)} is of a ledger that begins with seal {head.ledger[:16]}…, this "
            told += (
                f"one with {first.hash.hex()[:16]}…: another ledger, or sealed anew from the start"
            )
            self._find("head differs", None, None, told)

    def _compare_head(self, head: Head, seal: Seal) -> None:
        if head.position == seal.upto and head.hash == seal.hash.hex():
            self._verdict.agreeing.append(head)
            return
        told = f"{_kept(head)} says {head.hash[:16]}…, here it is {seal.hash.hex()[:16]}…: "
        if head.position != seal.upto:
            told = (
                f"{_kept(head)} ends a seal at {head.position}, here one goes on to {seal.upto}: "
            )
        told += "entries up to there, or the seals over them, were written anew since"
        self._find("head differs", head.position, head.entry, told)

    def _compare_heads_beyond(self) -> None:
        reached = self._verdict.sealed.upto if self._verdict.sealed else 0
        for head in self._heads:
            if head.position > reached:
                told = f"{_kept(head)} reaches to {head.position}, "
                told += f"the seals here only to {reached}: cut off, or restored from a backup"
                self._find("head differs", head.position, head.entry, told)

    def _judge_tail(self, tail: Tail) -> None:
        if tail.age is None or tail.age <= LATE:
            return
        told = f"{tail.entries} entries wait, the oldest for {tail.age.total_seconds():.0f} s: "
        try:
            ready = unsealed(self._connection, tail.sealed, SEAL_MAX)
            told += "no reconciler seals" if ready else "no reconciler stamps the feed"
        except Unsealable as why:
            told += f"they can't be sealed, because {why}"
        self._find("not sealed", tail.sealed + 1, None, told)

    def _looked_at(self) -> None:
        self._count += 1
        if self._count >= FINDINGS_MAX:
            raise _Enough

    def _find(self, what: str, position: int | None, entry: int | None, detail: str) -> None:
        if entry is not None:
            self._reported.add(entry)
        self._verdict.findings.append(Finding(what, position, entry, detail))
        self._looked_at()


class _Lookahead:
    """Rows in order, the next one visible before it is taken."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = iter(rows)
        self.next: Any = next(self._rows, None)

    def take(self) -> Any:
        taken = self.next
        self.next = next(self._rows, None)
        return taken

    def __iter__(self) -> Iterator[Any]:
        while self.next is not None:
            yield self.take()


def _listed(columns: Sequence[str]) -> str:
    return f"{', '.join(columns)} {'is' if len(columns) == 1 else 'are'}"


def _way(by: int) -> str:
    return "later" if by > 0 else "earlier"


def _kept(head: Head) -> str:
    return f"the head of {head.exported_at.isoformat()}"
