"""Where the ledger runs, and what follows when that is no longer where it ran before (P11, P2).

A database restored to an earlier moment looks like any other: its newest entries are missing, and
nothing in it says so. But it stands elsewhere: on another server, in another database, or on
another timeline. Then reservations count anew, and nothing is taken away until a person has
accepted what `verify` shows.
"""

from typing import Any

from sqlalchemy import Connection

from ledger.store.absences import restart_every_ttl
from ledger.store.brakes import pull, read_brakes
from ledger.store.database import ledger_now

#: Who pulled the brake, as `verify --accept` looks for it.
BY = "incarnation"
BY_ADOPTION = "adoption"
#: Brakes that a person lets go by accepting what `verify` shows.
ACCEPTABLE = ("sweep", BY, BY_ADOPTION)
#: Brakes that say that this ledger is not the truth here: only an adoption lets them go.
BY_SHADOW, BY_RETURN = "shadow", "handover return"
NOT_THE_TRUTH = (BY_SHADOW, BY_RETURN)

_NEWEST = "SELECT number, home, ledger.home() AS here FROM ledger.incarnation ORDER BY number DESC LIMIT 1"


def unconfirmed(connection: Connection) -> str | None:
    """Why nothing may be taken away before `confirm_incarnation`; None where all is as it was."""
    newest = connection.exec_driver_sql(_NEWEST).one_or_none()
    if newest is None:
        return "where this ledger runs has not been noted yet"
    if newest.home != newest.here:
        return f"the ledger ran on {newest.home}, and runs on {newest.here}"
    return None


def not_the_truth(connection: Connection, cluster: str) -> str | None:
    """Why this ledger may not be acted on in a cluster before an adoption; None where it may."""
    for brake in read_brakes(connection, cluster):
        if brake.scope == "all" and brake.pulled_by in NOT_THE_TRUTH:
            return brake.reason
    return None


def newest_incarnation(connection: Connection) -> int:
    """The number of the newest one that was noted; 0 before the first."""
    number: int = connection.exec_driver_sql(
        "SELECT coalesce(max(number), 0) FROM ledger.incarnation"
    ).scalar_one()
    return number


def confirm_incarnation(
    connection: Connection, cluster: str, *, standby_loses_nothing: bool
) -> str | None:
    """Note where the ledger runs; what was found, where that means a new incarnation.

    Pulls the destructive brake of every known cluster and of `cluster`, and restarts every TTL:
    what was lost may have said that a Pod came back. `standby_loses_nothing` says that a standby
    takes over only with every commit, so that another timeline alone means nothing.
    """
    newest = connection.exec_driver_sql(f"{_NEWEST} FOR UPDATE").one_or_none()
    if newest is not None and newest.home == newest.here:
        return None
    number = newest.number + 1 if newest else 1
    noted = connection.exec_driver_sql(
        "INSERT INTO ledger.incarnation (number, home, began_at) "
        "VALUES (%(number)s, ledger.home(), ledger.now()) ON CONFLICT DO NOTHING",
        {"number": number},
    )
    if newest is None or not noted.rowcount:
        return None  # the first, or another process noted it at the same moment
    if standby_loses_nothing and _but_timeline(newest.home) == _but_timeline(newest.here):
        return None
    what = f"incarnation {number} of the ledger: it ran on {newest.home}, and runs on {newest.here}"
    _stop(connection, cluster, number, what)
    return what


def begin_shadow(connection: Connection, cluster: str) -> str | None:
    """Mark this ledger as a shadow's, which nothing may act on; why not, where it is a live one's."""
    for brake in read_brakes(connection, cluster):
        if brake.pulled_by == BY_SHADOW:
            return None
    live: int = connection.exec_driver_sql(
        "SELECT count(*) FROM ledger.allocation "
        "WHERE cluster = %(cluster)s AND phase <> 'released' AND eni IS NOT NULL",
        {"cluster": cluster},
    ).scalar_one()
    if live:
        return (
            f"this ledger is the truth of cluster {cluster} ({live} ENIs): a shadow needs a database "
            "of its own; set ENI_LEDGER_POSTGRES__DSN"
        )
    reason = "a shadow's ledger is nobody's truth: going live is `eni-ledger adopt --apply`"
    pull(connection, cluster, "all", BY_SHADOW, reason, ledger_now(connection), {"shadow": True})
    return None


def begin_by_adoption(connection: Connection, cluster: str, by: str, what: str) -> None:
    """Begin an incarnation because what stands was taken over from elsewhere (P11).

    Nothing is taken away in this cluster until a person has accepted what `verify` shows. TTLs go on
    as they were found: no observation was lost.
    """
    number = newest_incarnation(connection) + 1
    connection.exec_driver_sql(
        "INSERT INTO ledger.incarnation (number, home, began_at) "
        "VALUES (%(number)s, ledger.home(), ledger.now())",
        {"number": number},
    )
    reason = (
        f"incarnation {number} of the ledger: {what}; look at `eni-ledger verify`, then "
        "`eni-ledger verify --accept`"
    )
    cause = {"command": "adopt --apply", "by": by, "incarnation": number}
    now = ledger_now(connection)
    pull(connection, cluster, "destructive", BY_ADOPTION, reason, now, cause)


def _but_timeline(home: str) -> str:
    return home.rpartition(", timeline ")[0]


def _stop(connection: Connection, cluster: str, number: int, what: str) -> None:
    cause: dict[str, Any] = {"incarnation": number}
    known = connection.exec_driver_sql("SELECT cluster FROM ledger.cluster").scalars()
    clusters = sorted({cluster, *known})
    for each in clusters:  # all before the first brake: allocations are locked in key order
        restart_every_ttl(connection, each, f"incarnation {number}", cause)
    reason = (
        f"{what}; after a restore its newest entries may be missing: look at `eni-ledger verify`, "
        "then `eni-ledger verify --accept`"
    )
    now = ledger_now(connection)
    for each in clusters:
        pull(connection, each, "destructive", BY, reason, now, cause)
