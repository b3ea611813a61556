"""The one order in which everybody reads the entries.

Identity columns are not commit order and xmin watermarks stall behind an idle transaction, so one
sequencer moves entries, once they are visible, from `unfed` into `feed`. Positions have no gaps.
"""

from sqlalchemy import Connection

_SEQUENCER_LOCK = 0x656E6965

_STAMP = """
WITH visible AS (
    DELETE FROM ledger.unfed WHERE entry_id IN (
        SELECT entry_id FROM ledger.unfed ORDER BY entry_id LIMIT %(limit)s)
    RETURNING entry_id
)
INSERT INTO ledger.feed (position, entry_id)
SELECT (SELECT coalesce(max(position), 0) FROM ledger.feed) + row_number() OVER (ORDER BY entry_id), entry_id
FROM visible
"""


def stamp(connection: Connection, limit: int = 5000) -> int:
    """Give positions to entries that have none; returns how many. 0 also while another stamps."""
    mine = connection.exec_driver_sql(
        f"SELECT pg_try_advisory_xact_lock({_SEQUENCER_LOCK})"
    ).scalar_one()
    if not mine:
        return 0
    return connection.exec_driver_sql(_STAMP, {"limit": limit}).rowcount
