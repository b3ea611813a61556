"""The local stack's replaceable clock: `ledger.now()` runs ahead of the real one by a set amount.

In production `ledger.now()` reads the plain clock, and start-up refuses anything else outside the
local stack. A custom setting would be simpler, but any role can SET one (reference §9), so the
function itself is replaced, by its owner.
"""

from datetime import timedelta

import psycopg

INSTALL = """
CREATE TABLE IF NOT EXISTS ledger.local_clock (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    ahead interval NOT NULL DEFAULT interval '0'
);
INSERT INTO ledger.local_clock DEFAULT VALUES ON CONFLICT DO NOTHING;
GRANT SELECT ON ledger.local_clock TO PUBLIC;
CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz
    LANGUAGE sql VOLATILE PARALLEL SAFE
    AS $$ SELECT clock_timestamp() + (SELECT ahead FROM ledger.local_clock) $$;
"""


class ClockError(Exception):
    """The local stack's clock can't be moved: says why and what to do."""


def install(dsn: str) -> None:
    """Replace `ledger.now()` in the migrated database of `dsn`, as its owner. Repeatable."""
    with psycopg.connect(dsn) as connection:
        connection.execute(INSTALL)


def advance(dsn: str, by: timedelta) -> timedelta:
    """Move the clock forward by `by` and return how far it now runs ahead.

    Raises ClockError when `by` is negative (time never goes back: periods would overlap) or the
    database is not a local stack's.
    """
    if by < timedelta(0):
        raise ClockError(f"the clock can't go back by {-by}: give a positive amount")
    with psycopg.connect(dsn) as connection:
        try:
            row = connection.execute(
                "UPDATE ledger.local_clock SET ahead = ahead + %s RETURNING ahead", [by]
            ).fetchone()
        except psycopg.errors.UndefinedTable as missing:
            raise ClockError(
                "this database has no local clock: only a stack started by "
                "`eni-ledger local up` has one"
            ) from missing
    if row is None:
        raise ClockError("ledger.local_clock is empty: start the local stack again")
    ahead: timedelta = row[0]
    return ahead
