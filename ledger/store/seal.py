"""Seals the feed: hashes over every row, chained range to range (P7). Off the hot path.

One holder of an advisory lock seals what the sequencer stamped since the last seal; any reconciler
may be it. What is sealed is never looked at again here: `tampering.py` does.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from ledger.rules.seals import FeedRow, Head, Leaf, Unsealable, close, leaf
from ledger.store.named_sql import queries

_SEALER_LOCK = 0x656E6973

#: Entries of one seal at most: read and hashed in well under a second, however far behind it is.
SEAL_MAX = 2000


@dataclass(frozen=True, slots=True)
class Sealed:
    """A range that was sealed just now: its last position, how many entries, its hash in hex."""

    position: int
    entries: int
    hash: str


@dataclass(frozen=True, slots=True)
class Tail:
    """What no seal protects yet.

    `sealed` and `fed` are feed positions (0: none); `entries` counts those without a position, too;
    `age` is the oldest one's, None where there is none.
    """

    sealed: int
    fed: int
    entries: int
    age: timedelta | None


def seal(connection: Connection, limit: int = SEAL_MAX) -> Sealed | None:
    """Seal up to `limit` entries; None where there is nothing to seal, or another is at it.

    Raises Unsealable where the next entry can't be: the text names it.
    """
    sql = queries("seal")
    mine = connection.exec_driver_sql(
        f"SELECT pg_try_advisory_xact_lock({_SEALER_LOCK})"
    ).scalar_one()
    if not mine:
        return None
    # After the lock: what another sealer committed before is seen.
    last = connection.exec_driver_sql(sql["last_seal"]).one_or_none()
    upto, previous = (0, None) if last is None else last
    leaves = unsealed(connection, upto, limit)
    if not leaves:
        return None
    clock = connection.exec_driver_sql(sql["clock"]).one()
    sealed = close(upto + 1, leaves, previous, clock.microseconds)
    connection.exec_driver_sql(
        sql["append_seal"],
        {
            "upto": sealed.upto,
            "since": sealed.since,
            "sealed_at": clock.at,
            "entry_ids": list(sealed.entry_ids),
            "row_hashes": sealed.row_hashes,
            "column_checks": sealed.column_checks,
            "previous": previous,
            "hash": sealed.hash,
        },
    )
    return Sealed(sealed.upto, len(leaves), sealed.hash.hex())


def unsealed(connection: Connection, upto: int, limit: int) -> list[Leaf]:
    """What would be sealed next, after position `upto`. Raises Unsealable where a row can't be."""
    found = connection.exec_driver_sql(
        queries("seal")["feed_rows"], {"after": upto, "upto": upto + limit, "limit": limit + 1}
    )
    return [_sealable(expected, row) for expected, row in enumerate(found, upto + 1)]


def _sealable(expected: int, row: Any) -> Leaf:
    if row.position != expected:
        raise Unsealable(
            f"the feed goes from position {expected - 1} to {row.position}: somebody wrote there"
        )
    if row.cluster is None:
        raise Unsealable(f"position {expected}: entry {row.entry_id} is gone")
    try:
        return leaf(FeedRow(*row))
    except Unsealable as why:
        raise Unsealable(f"position {expected}: entry {row.entry_id}: {why}") from why


def read_tail(connection: Connection) -> Tail:
    """How far the seal reaches, and what is beyond it."""
    return Tail(*connection.exec_driver_sql(queries("seal")["tail"]).one())


def read_head(connection: Connection, cluster: str) -> Head | None:
    """The newest seal, for keeping elsewhere; None before the first. Reads the public schema only."""
    found = connection.exec_driver_sql(queries("seal")["head"]).one_or_none()
    if found is None:
        return None
    return Head(
        ledger=found.ledger,
        cluster=cluster,
        position=found.last_position,
        entry=found.last_entry,
        hash=found.hash,
        sealed_at=found.sealed_at,
        exported_at=found.exported_at,
    )
