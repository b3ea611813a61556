"""What a person should look at: calls without an outcome, parked work, brakes, letters, drift of P6."""

from dataclasses import dataclass

from sqlalchemy import Connection

from ledger.store.rebuild import check


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that isn't as it should be: what, about which object, and the next step."""

    what: str
    subject: str
    detail: str
    next_step: str


_OVERDUE = """
SELECT c.api, a.namespace || '/' || a.pod, c.deadline::text FROM ledger.cloud_call c
JOIN ledger.allocation a ON a.id = c.allocation_id
WHERE c.cluster = %(cluster)s AND c.settled_at IS NULL AND c.deadline < ledger.now() - interval '1 minute'
ORDER BY c.deadline, c.intent
"""
_PARKED = """
SELECT namespace || '/' || pod || ' ' || interface, parked FROM ledger.allocation
WHERE cluster = %(cluster)s AND parked IS NOT NULL AND phase <> 'released' ORDER BY 1
"""
_WAITING = """
SELECT kind || ' ' || CASE WHEN namespace = '' THEN name ELSE namespace || '/' || name END, waiting_for
FROM ledger.work WHERE cluster = %(cluster)s AND attempt > 3 ORDER BY 1
"""
_DRIFT = """
SELECT kind || ' ' || eni, detail FROM ledger.quarantine
WHERE cluster = %(cluster)s AND accepted_at IS NULL ORDER BY eni
"""
_BRAKES = "SELECT scope, reason FROM ledger.brake WHERE cluster = %(cluster)s ORDER BY scope"
_LETTERS = "SELECT count(*) FROM ledger.dead_letter WHERE redriven_at IS NULL"


def findings(connection: Connection, cluster: str) -> list[Finding]:
    """Everything worth a look, the most serious first; empty when all is well."""
    bound = {"cluster": cluster}
    found = [
        Finding(
            "the tables differ from the entries",
            f"{difference.table} {difference.key}",
            f"holds {difference.holds}; the entries say {difference.should_hold}",
            "find out who wrote there, then `eni-ledger rebuild`",
        )
        for difference in check(connection)
    ]
    for api, pod, deadline in connection.exec_driver_sql(_OVERDUE, bound):
        step = "see that a reconciler runs: it settles open calls by itself"
        found.append(Finding("a cloud call is not settled", f"{api} of {pod}", deadline, step))
    for scope, reason in connection.exec_driver_sql(_BRAKES, bound):
        step = f"look at the cause, then `eni-ledger resume {scope}`"
        found.append(Finding("a brake is pulled", scope, reason, step))
    for subject, detail in connection.exec_driver_sql(_DRIFT, bound):
        step = "look at it in the cloud; what may stay as it is: `eni-ledger verify --accept`"
        found.append(Finding("cloud and ledger disagree", subject, detail, step))
    for pod, reason in connection.exec_driver_sql(_PARKED, bound):
        found.append(Finding("parked", pod, reason, "do what it says; a new event unparks it"))
    for subject, reason in connection.exec_driver_sql(_WAITING, bound):
        found.append(Finding("keeps failing", subject, reason or "", "see the Pod's events"))
    letters: int = connection.exec_driver_sql(_LETTERS).scalar_one()
    if letters:
        found.append(
            Finding("dead letters", str(letters), "messages not taken in", "`eni-ledger dlq list`")
        )
    return found
