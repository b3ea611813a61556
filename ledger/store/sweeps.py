"""What comparisons of cloud, PodENIs and ledger found, and when the last whole one was."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from ledger.rules.allocation import Allocation
from ledger.rules.drift import Finding, Suspicion


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An ENI about which cloud and ledger disagree; accepted ones a person has looked at."""

    eni: str
    kind: str
    detail: str
    first_seen: datetime
    accepted_at: datetime | None


def begin_sweeping(connection: Connection, cluster: str) -> None:
    """Make the sweep of a cluster due, unless it is already among the work."""
    connection.exec_driver_sql(
        "INSERT INTO ledger.work (cluster, kind, namespace, name, due_at) "
        "VALUES (%(cluster)s, 'sweep', '', '', ledger.now()) ON CONFLICT DO NOTHING",
        {"cluster": cluster},
    )


def last_sweep(connection: Connection, cluster: str) -> datetime | None:
    """When everything was last compared; None before the first time."""
    found: datetime | None = connection.exec_driver_sql(
        "SELECT finished_at FROM ledger.sweep WHERE cluster = %(cluster)s", {"cluster": cluster}
    ).scalar_one_or_none()
    return found


def live_by_eni(connection: Connection, cluster: str) -> dict[str, Allocation]:
    """Every allocation that holds an ENI."""
    found = connection.exec_driver_sql(
        "SELECT eni, state FROM ledger.allocation "
        "WHERE cluster = %(cluster)s AND phase <> 'released' AND eni IS NOT NULL ORDER BY eni",
        {"cluster": cluster},
    )
    return {row.eni: Allocation.model_validate(row.state) for row in found}


def closed_intents(connection: Connection, cluster: str, intents: Sequence[str]) -> dict[str, bool]:
    """Of these intents (as text), those this ledger wrote, and whether each is settled."""
    found = connection.exec_driver_sql(
        "SELECT intent::text AS intent, settled_at IS NOT NULL AS settled FROM ledger.cloud_call "
        "WHERE cluster = %(cluster)s AND intent::text = ANY(%(intents)s)",
        {"cluster": cluster, "intents": list(intents)},
    )
    return {row.intent: row.settled for row in found}


def suspicions(connection: Connection, cluster: str) -> dict[str, Suspicion]:
    """What earlier sweeps found, by ENI."""
    return {
        each.eni: Suspicion(each.kind, each.first_seen) for each in quarantined(connection, cluster)
    }


def quarantined(connection: Connection, cluster: str) -> list[Quarantined]:
    """Every disagreement that stands."""
    found = connection.exec_driver_sql(
        "SELECT eni, kind, detail, first_seen, accepted_at FROM ledger.quarantine "
        "WHERE cluster = %(cluster)s ORDER BY eni",
        {"cluster": cluster},
    )
    return [Quarantined(*row) for row in found]


def keep_findings(
    connection: Connection,
    cluster: str,
    findings: Sequence[Finding],
    calls: int,
    enis: int,
    now: datetime,
) -> None:
    """Remember a finished sweep: what stands is kept with its first sight, what went is forgotten."""
    connection.exec_driver_sql(
        "DELETE FROM ledger.quarantine WHERE cluster = %(cluster)s AND NOT eni = ANY(%(enis)s)",
        {"cluster": cluster, "enis": [finding.eni for finding in findings]},
    )
    for finding in findings:
        connection.exec_driver_sql(
            """
            INSERT INTO ledger.quarantine AS known (cluster, eni, kind, detail, first_seen, last_seen)
            VALUES (%(cluster)s, %(eni)s, %(kind)s, %(detail)s, %(at)s, %(at)s)
            ON CONFLICT (cluster, eni) DO UPDATE SET detail = excluded.detail, last_seen = excluded.last_seen,
                kind = excluded.kind,
                first_seen = CASE WHEN known.kind = excluded.kind THEN known.first_seen
                                  ELSE excluded.first_seen END,
                accepted_at = CASE WHEN known.kind = excluded.kind THEN known.accepted_at END,
                accepted_by = CASE WHEN known.kind = excluded.kind THEN known.accepted_by END
            """,
            {
                "cluster": cluster,
                "eni": finding.eni,
                "kind": finding.kind,
                "detail": finding.detail,
                "at": now,
            },
        )
    connection.exec_driver_sql(
        "INSERT INTO ledger.sweep (cluster, finished_at, enis, calls) "
        "VALUES (%(cluster)s, %(at)s, %(enis)s, %(calls)s) ON CONFLICT (cluster) DO UPDATE SET "
        "finished_at = excluded.finished_at, enis = excluded.enis, calls = excluded.calls",
        {"cluster": cluster, "at": now, "enis": enis, "calls": calls},
    )


def accept(connection: Connection, cluster: str, by: str, now: datetime) -> int:
    """A person has looked at what stands: it no longer stops anything; returns how many."""
    return connection.exec_driver_sql(
        "UPDATE ledger.quarantine SET accepted_at = %(at)s, accepted_by = %(by)s "
        "WHERE cluster = %(cluster)s AND accepted_at IS NULL",
        {"cluster": cluster, "at": now, "by": by},
    ).rowcount


def order_adoptions(connection: Connection, cluster: str, by: str) -> int:
    """A person wants what a running Pod uses taken into the book; returns how many that may be.

    Kept as `accepted_by` without `accepted_at`: somebody has looked at it, and it still stands.
    """
    return connection.exec_driver_sql(
        "UPDATE ledger.quarantine SET accepted_by = %(by)s "
        "WHERE cluster = %(cluster)s AND kind IN ('unknown-intent', 'unrecorded-bind') "
        "AND accepted_at IS NULL",
        {"cluster": cluster, "by": by},
    ).rowcount


def ordered_adoptions(connection: Connection, cluster: str) -> dict[str, str]:
    """The ENIs to be taken into the book where that is sure, and who ordered it."""
    found = connection.exec_driver_sql(
        "SELECT eni, accepted_by FROM ledger.quarantine WHERE cluster = %(cluster)s "
        "AND kind IN ('unknown-intent', 'unrecorded-bind') "
        "AND accepted_at IS NULL AND accepted_by IS NOT NULL",
        {"cluster": cluster},
    )
    return {row.eni: row.accepted_by for row in found}


def disputed(connection: Connection, cluster: str, eni: str) -> bool:
    """Whether a parked allocation waits for a person to say whose address this ENI has (P1)."""
    return bool(
        connection.exec_driver_sql(
            "SELECT EXISTS (SELECT FROM ledger.allocation a JOIN ledger.entry e ON e.allocation_id = a.id "
            "WHERE a.cluster = %(cluster)s AND a.parked IS NOT NULL AND a.phase <> 'released' "
            # What was parked in entries that are archived now was carried forward.
            "AND (e.kind = 'parked' AND e.data -> 'disputed' ->> 'eni' = %(eni)s "
            "OR e.kind = 'carried-forward' AND e.data -> 'disputed' ? %(eni)s))",
            {"cluster": cluster, "eni": eni},
        ).scalar_one()
    )
