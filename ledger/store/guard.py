"""What a process makes sure of before it acts on a database."""

from sqlalchemy import Connection

from ledger.store import migrate


def unsafe(connection: Connection, *, clock_may_be_replaced: bool) -> str | None:
    """Why nothing may be written by this code to this database; None when it may."""
    why = check_schema(connection)
    if why is None and not clock_may_be_replaced:
        why = check_clock(connection)
    return why


def check_schema(connection: Connection) -> str | None:
    """Why the schema is not the one this code knows; None when it is, or newer.

    A newer schema is fine: migrations go up while the code of the revision before still runs.
    """
    found = migrate.current(connection)
    if found == "":
        return "the database has no schema of ours: run `eni-ledger migrate`"
    if found in migrate.revisions() and found != migrate.head():
        return (
            f"the database is at revision {found}, this code needs {migrate.head()}: "
            "run `eni-ledger migrate`"
        )
    return None


def check_clock(connection: Connection) -> str | None:
    """Why `ledger.now()` is not PostgreSQL's own clock; None when it is.

    A replaced clock lets reservations expire early. Only the embedded stack may replace it.
    """
    body = connection.exec_driver_sql(
        "SELECT pg_get_functiondef('ledger.now()'::regprocedure)"
    ).scalar_one()
    if "RETURN clock_timestamp()" in body:
        return None
    return (
        "ledger.now() was replaced and is not clock_timestamp(): reservations could end early; "
        "restore it as the migrations define it, or use another database"
    )
