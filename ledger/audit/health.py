"""What a person should look at, and what a repair would do about it.

Calls without an outcome, parked work, brakes, letters, vSwitches that fill, drift of P6, and where
cloud, PodENIs and ledger disagree. The plan of each comes from the rules that carry it out: the
plan equals the repair.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from ledger.audit.capacity import vswitch_capacity
from ledger.rules.allocation import Allocation, Phase
from ledger.rules.drift import Remedy, Suspicion, agrees, remedy
from ledger.rules.podeni_drift import Deleted, Differs, Judgement, Taken, at_rest, judge_podeni
from ledger.store import incarnations
from ledger.store.database import ledger_now
from ledger.store.rebuild import Difference, check
from ledger.store.work import WorkKey


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that isn't as it should be: what, about which object, and the next step.

    `plan` is what a repair does about it, "" where only a person can; `work` is what is then due.
    """

    what: str
    subject: str
    detail: str
    next_step: str
    plan: str = ""
    work: WorkKey | None = None


_OVERDUE = """
SELECT c.api, a.namespace, a.pod, c.deadline::text FROM ledger.cloud_call c
JOIN ledger.allocation a ON a.id = c.allocation_id
WHERE c.cluster = %(cluster)s AND c.settled_at IS NULL AND c.deadline < ledger.now() - interval '1 minute'
ORDER BY c.deadline, c.intent
"""
_PARKED = """
SELECT namespace, pod, interface, parked FROM ledger.allocation
WHERE cluster = %(cluster)s AND parked IS NOT NULL AND phase <> 'released'
ORDER BY namespace, pod, interface
"""
_WAITING = """
SELECT kind, namespace, name, waiting_for FROM ledger.work
WHERE cluster = %(cluster)s AND attempt > 3 ORDER BY kind, namespace, name
"""
_DRIFT = """
SELECT eni, kind, detail, first_seen FROM ledger.quarantine
WHERE cluster = %(cluster)s AND accepted_at IS NULL ORDER BY eni
"""
_PODENIS = """
SELECT a.namespace, a.pod, o.alive, o.object, array_agg(a.state ORDER BY a.interface, a.id) AS states
FROM ledger.allocation a
JOIN ledger.observation o ON o.cluster = a.cluster AND o.entity = 'podeni'
    AND o.namespace = a.namespace AND o.name = a.pod
WHERE a.cluster = %(cluster)s AND a.phase <> 'released'
GROUP BY a.namespace, a.pod, o.alive, o.object ORDER BY a.namespace, a.pod
"""
_BRAKES = (
    "SELECT scope, pulled_by, reason FROM ledger.brake WHERE cluster = %(cluster)s ORDER BY scope"
)
_LETTERS = "SELECT count(*) FROM ledger.dead_letter WHERE redriven_at IS NULL"

_REMEDIES: dict[Remedy, str] = {
    "delete": "delete it: its intent is closed, nothing names or uses it, two looks agree",
    "record-gone": "record that it is gone: its addresses are free, the Pod's next step follows",
    "park": "park it and tell the Pod: no Pod gets its network back, the next one of the name does",
    "look-again": "look again: one look is not enough to act on",
    "adopt-if-sure": "take it into the book if one PodENI in Bind, its running Pod and the cloud "
    "agree on it; else leave it alone",
    "ask-a-person": "",
}


def findings(connection: Connection, cluster: str) -> list[Finding]:
    """Everything worth a look, the most serious first; empty when all is well.

    On a ledger at work it takes a transaction of one snapshot (`Database.snapshot`).
    """
    found = [_difference(difference) for difference in check(connection)]
    found += _calls(connection, cluster)
    for scope, by, reason in connection.exec_driver_sql(_BRAKES, {"cluster": cluster}):
        command = "verify --accept" if by in incarnations.ACCEPTABLE else f"resume {scope}"
        if by in incarnations.NOT_THE_TRUTH:
            command = "adopt --dry-run"
        step = f"look at the cause, then `eni-ledger {command}`"
        found.append(Finding("a brake is pulled", scope, reason, step))
    found += _drift(connection, cluster)
    found += podeni_findings(connection, cluster)
    found += _stuck(connection, cluster)
    found += _filling(connection, cluster)
    letters: int = connection.exec_driver_sql(_LETTERS).scalar_one()
    if letters:
        found.append(
            Finding("dead letters", str(letters), "messages not taken in", "`eni-ledger dlq list`")
        )
    return found


def _difference(difference: Difference) -> Finding:
    if difference.table == "entry":
        return Finding(
            "entries tell no story",
            f"allocation {difference.key}",
            difference.holds or "",
            "`eni-ledger verify --seal` says which were changed: bring those back",
        )
    return Finding(
        "the tables differ from the entries",
        f"{difference.table} {difference.key}",
        f"holds {difference.holds}; the entries say {difference.should_hold}",
        "find out who wrote there, then `eni-ledger rebuild`",
    )


def _calls(connection: Connection, cluster: str) -> Iterator[Finding]:
    for api, namespace, pod, deadline in connection.exec_driver_sql(_OVERDUE, {"cluster": cluster}):
        yield Finding(
            "a cloud call is not settled",
            f"{api} of {namespace}/{pod}",
            deadline,
            "see that a reconciler runs: it settles open calls by itself",
            "look in the cloud what became of it, and record that",
            WorkKey(cluster, "pod", namespace, pod),
        )


def _drift(connection: Connection, cluster: str) -> Iterator[Finding]:
    now = ledger_now(connection)
    for eni, kind, detail, first_seen in connection.exec_driver_sql(_DRIFT, {"cluster": cluster}):
        settled = agrees(kind, Suspicion(kind, first_seen), now)
        plan = _REMEDIES[remedy(kind, settled=settled)]
        yield Finding(
            "cloud and ledger disagree",
            f"{kind} {eni}",
            detail,
            "look at it in the cloud; what may stay as it is: `eni-ledger verify --accept`",
            plan,
            WorkKey(cluster, "sweep", "", "") if plan else None,
        )


def podeni_findings(connection: Connection, cluster: str) -> Iterator[Finding]:
    """PodENIs that, as last heard of, do not show what is held. A repair looks for itself."""
    now = ledger_now(connection)
    for namespace, pod, alive, obj, states in connection.exec_driver_sql(
        _PODENIS, {"cluster": cluster}
    ):
        shown = at_rest([Allocation.model_validate(state) for state in states])
        judged = judge_podeni(obj if alive else None, shown, now) if shown else None
        if judged is None:
            continue
        detail, plan = _podeni_plan(judged, shown[0].phase)
        yield Finding(
            "a PodENI does not show what is held",
            f"{namespace}/{pod}",
            detail,
            "its Pod's next turn does what is planned; if it stays, see the Pod's events",
            plan,
            WorkKey(cluster, "pod", namespace, pod) if plan else None,
        )


def _podeni_plan(judged: Judgement, phase: Phase) -> tuple[str, str]:
    match judged:
        case Deleted(_, reason):
            when = "once the Pod is gone" if phase is Phase.BOUND else "after a live look"
            return reason, f"record that a user gave its addresses up, release them {when}"
        case Differs(paths):
            where = "in place, in phase Bind" if phase is Phase.BOUND else "in phase Unbind"
            return f"{', '.join(paths)} differ", f"write it back {where}, after a live look"
        case Taken(why):
            return why, ""


def _filling(connection: Connection, cluster: str) -> Iterator[Finding]:
    for each in vswitch_capacity(connection, cluster, ledger_now(connection)):
        if each.warning is not None:
            yield Finding(
                "a vSwitch is about to fill",
                each.vswitch,
                each.warning,
                "add a vSwitch of its zone to vSwitchOptions, or see `eni-ledger reservations` for what "
                "may go; `eni-ledger audit capacity` has the figures",
            )


def _stuck(connection: Connection, cluster: str) -> Iterator[Finding]:
    bound = {"cluster": cluster}
    for namespace, pod, interface, reason in connection.exec_driver_sql(_PARKED, bound):
        yield Finding(
            "parked",
            f"{namespace}/{pod} {interface}",
            reason,
            "do what it says, then `eni-ledger verify --repair`",
            "unpark it and try again",
            WorkKey(cluster, "pod", namespace, pod),
        )
    for kind, namespace, name, reason in connection.exec_driver_sql(_WAITING, bound):
        subject = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
        yield Finding(
            "keeps failing",
            subject,
            reason or "",
            "see the Pod's events",
            "try again now",
            WorkKey(cluster, kind, namespace, name),
        )
