"""Looks whether a PodENI at rest still shows what is held, and writes it back if a hand changed it.

What is restored: a PodENI edited, or deleted whole, while its Pod runs (in place, never out of Bind),
and one edited while its addresses are reserved. What is honoured: one deleted, or gone, while its
addresses are reserved: a user gives them up (P3), and the release's own live look follows.
"""

from datetime import timedelta
from typing import Any

import structlog

from consumers.kube.port import KubeError, PodAnswer
from consumers.reconciler.pod_events import tell_pod
from consumers.reconciler.podenis import not_ours, write_until_done
from consumers.reconciler.tools import Pause, Tools
from consumers.runtime import metrics
from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Phase
from ledger.rules.planning import CheckPodEni
from ledger.rules.pod_decisions import decide_podeni
from ledger.rules.podeni import ForeignPodEni, Object, Write, next_restoring_write
from ledger.rules.podeni_drift import (
    Deleted,
    Differs,
    Taken,
    judge_podeni,
    last_writer,
    restorable_from,
)
from ledger.rules.pods import PodFacts
from ledger.store.work import Claim

_log = structlog.get_logger(__name__)

RESTORED = metrics.counter("podenis_restored", "PodENIs that a hand had changed, written back")


def check_podeni(tools: Tools, held: Claim, step: CheckPodEni) -> Pause | None:
    """Read the PodENI and do what the rules say. None: it is as it should be, or was made so."""
    first = step.allocations[0]
    with tools.database.transaction() as connection:
        tools.keep(connection, held, 2 * tools.kube_budget)
    try:
        live = tools.kube.get_podeni(first.namespace, first.pod)
        judged = judge_podeni(live, step.allocations, tools.now())
        match judged:
            case None:
                return None
            case Deleted():
                _give_up(tools, held, step, judged, live)
                return None
            case Taken(why):
                return not_ours(tools, ForeignPodEni(why))
            case Differs():
                return _restore(tools, held, step, judged, live)
    except ForeignPodEni as foreign:
        return not_ours(tools, foreign)
    except KubeError as failed:
        return Pause(tools.backoff(held.attempt, tools.now(), cap_s=30), str(failed), problem=True)


def _give_up(
    tools: Tools, held: Claim, step: CheckPodEni, deleted: Deleted, live: Object | None
) -> None:
    """Record that a user deleted it. What follows is the release's own look's to decide."""
    writer = last_writer(live)
    by = "a Kubernetes user" + (f" (last written by {writer})" if live is not None else "")
    with tools.fenced(held, step.allocations) as fenced:
        for a in step.allocations:
            for decision in decide_podeni(deleted.uid, True, by, [a], deleted.reason):
                fenced.record(a, [decision.entry], {"look": "podeni"})


def _restore(
    tools: Tools, held: Claim, step: CheckPodEni, differs: Differs, live: Object | None
) -> Pause | None:
    first = step.allocations[0]
    now = tools.now()
    what = ", ".join(differs.paths)
    again = restorable_from(step.allocations)
    if again is not None and now < again:
        return Pause(again, f"the PodENI is edited again and again ({what})", problem=True)
    out_of_bind = first.phase is Phase.RESERVED and _phase(live) == "Bind"
    with tools.database.transaction() as connection:
        why = tools.stands_still(connection, held.key.cluster, destructive=out_of_bind)
    if why is not None:
        return Pause(now + timedelta(seconds=5), why, problem=True)
    if first.phase is Phase.BOUND:
        answer = tools.kube.look_at_pod(first.namespace, first.pod)
        if _running_uid(answer) != first.pod_uid:
            _question(tools, held, step, answer)
            return None
    ours = any(a.podeni_outdated for a in step.allocations)
    by = "eni-ledger: security groups changed on request" if ours else last_writer(live)

    def towards(at: Object | None) -> Write | None:
        return next_restoring_write(
            at,
            step.allocations,
            now,
            pod_runs=first.phase is Phase.BOUND,
            carry_default_route=tools.settings.policy.carry_default_route,
        )

    uid = write_until_done(tools, held, live, first, towards)
    if not ours:
        RESTORED.inc()
        name = f"{first.namespace}/{first.pod}"
        _log.warning("PodENI restored", podeni=name, differed=what, by=by)
    cause: dict[str, Any] = {"look": "podeni", "differed": list(differs.paths), "last_writer": by}
    with tools.fenced(held, step.allocations) as fenced:
        for a in step.allocations:
            entry = e.PodEniRestored(uid=uid, differed=differs.paths, by=by)
            fenced.record(a, [entry], cause)
    note = f"{what}: {by}" if ours else f"restored, {by} had changed {what}"
    tell_pod(tools, first, "UpdatePodENI", note, failed=False)
    return None


def _question(tools: Tools, held: Claim, step: CheckPodEni, answer: PodAnswer) -> None:
    """The holder isn't there: no event told, and a look of its own decides what follows."""
    with tools.fenced(held, step.allocations) as fenced:
        for a in step.allocations:
            entry = e.GoneReported(pod_uid=a.pod_uid, how=_how_gone(a, answer))
            fenced.record(a, [entry], {"look": "pod", "resource_version": answer.resource_version})


def _how_gone(a: Allocation, answer: PodAnswer) -> Any:
    if answer.pod is None:
        return "deleted"
    return "terminal" if PodFacts.from_object(answer.pod).uid == a.pod_uid else "replaced"


def _running_uid(answer: PodAnswer) -> str | None:
    if answer.pod is None:
        return None
    pod = PodFacts.from_object(answer.pod)
    return None if pod.sandbox_exited else pod.uid


def _phase(live: Object | None) -> str:
    return str(((live or {}).get("status") or {}).get("phase", ""))
