"""What stops the system on purpose: pauses by command, and the breaker of P11."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection

from ledger.store.book import append_remark

Scope = Literal["all", "destructive"]


@dataclass(frozen=True, slots=True)
class Brake:
    """A scope that stands still: since when, by whom, why."""

    cluster: str
    scope: Scope
    pulled_at: datetime
    pulled_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerLimit:
    """More destructive decisions than this in the interval trip the breaker.

    `share` is of the live allocations and counts only above `share_floor` decisions, so that a
    small cluster can still be emptied.
    """

    interval: timedelta
    absolute: int
    share: float
    share_floor: int


def read_brakes(connection: Connection, cluster: str) -> list[Brake]:
    """The brakes that are pulled."""
    found = connection.exec_driver_sql(
        "SELECT cluster, scope, pulled_at, pulled_by, reason FROM ledger.brake "
        "WHERE cluster = %(cluster)s ORDER BY scope",
        {"cluster": cluster},
    )
    return [Brake(*row) for row in found]


def pull(
    connection: Connection,
    cluster: str,
    scope: Scope,
    by: str,
    reason: str,
    now: datetime,
    cause: Mapping[str, Any],
) -> bool:
    """Stop a scope, with an entry; False when it already stood still."""
    pulled = connection.exec_driver_sql(
        "INSERT INTO ledger.brake (cluster, scope, pulled_at, pulled_by, reason) "
        "VALUES (%(cluster)s, %(scope)s, %(at)s, %(by)s, %(reason)s) ON CONFLICT DO NOTHING",
        {"cluster": cluster, "scope": scope, "at": now, "by": by, "reason": reason},
    )
    if pulled.rowcount:
        append_remark(
            connection, cluster, "paused", {"scope": scope, "by": by, "reason": reason}, cause, now
        )
    return bool(pulled.rowcount)


def release(
    connection: Connection,
    cluster: str,
    scope: Scope,
    by: str,
    now: datetime,
    cause: Mapping[str, Any],
) -> bool:
    """Let a scope go on, with an entry; False when it was not standing still."""
    released = connection.exec_driver_sql(
        "DELETE FROM ledger.brake WHERE cluster = %(cluster)s AND scope = %(scope)s",
        {"cluster": cluster, "scope": scope},
    )
    if released.rowcount:
        append_remark(connection, cluster, "resumed", {"scope": scope, "by": by}, cause, now)
    return bool(released.rowcount)


def check_breaker(
    connection: Connection, cluster: str, limit: BreakerLimit, more: int, now: datetime
) -> Brake | None:
    """Whether `more` destructive decisions may be taken now: None, or the brake that forbids them.

    Pulls the brake itself when the limit would be passed. Since: the last time it was released, so
    that `resume` gives a fresh interval.
    """
    for brake in read_brakes(connection, cluster):
        return brake
    counts = connection.exec_driver_sql(
        """
        SELECT
            (SELECT count(DISTINCT allocation_id) FROM ledger.entry
             WHERE cluster = %(cluster)s AND kind IN ('absence-confirmed', 'release-decided')
               AND recorded_at > greatest(%(since)s, coalesce(
                   (SELECT max(recorded_at) FROM ledger.entry
                    WHERE cluster = %(cluster)s AND kind = 'resumed' AND recorded_at > %(since)s), %(since)s))
            ) AS decisions,
            (SELECT count(*) FROM ledger.allocation
             WHERE cluster = %(cluster)s AND phase <> 'released') AS live
        """,
        {"cluster": cluster, "since": now - limit.interval},
    ).one()
    decisions = counts.decisions + more
    over_share = decisions > limit.share_floor and decisions > limit.share * counts.live
    if decisions <= limit.absolute and not over_share:
        return None
    reason = (
        f"{decisions} destructive decisions within {limit.interval.total_seconds():.0f} s among "
        f"{counts.live} live allocations: look at them, then `eni-ledger resume destructive`"
    )
    pull(connection, cluster, "destructive", "breaker", reason, now, {"breaker": True})
    return read_brakes(connection, cluster)[0]
