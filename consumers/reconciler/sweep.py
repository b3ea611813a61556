"""One sweep: compare cloud, PodENIs and ledger whole, and do what needs no question (P4).

A leak is deleted only if its intent is in this ledger and closed, no PodENI names it, nothing uses
it, and two looks agree. An ENI whose intent this ledger never wrote is never touched: it says that
the ledger was restored to an earlier moment, is empty, or that another one uses this cluster id.
Then the destructive brake is pulled, once, until a person has accepted what stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from consumers.cloud.port import Answer, CloudError, Eni, EniQuery
from consumers.kube.port import KubeError, KubeObject
from consumers.reconciler.adopting import adopt_ordered
from consumers.reconciler.calls import CLUSTER_TAG, CREATOR, CREATOR_TAG, INTENT_TAG
from consumers.reconciler.describing import describe, page_interval
from consumers.reconciler.pod_events import tell_pod
from consumers.reconciler.pods import Outcome
from consumers.reconciler.tools import Pause, Tools, about
from consumers.runtime import metrics
from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Phase
from ledger.rules.drift import Finding, SeenEni, cut_off, judge_drift, remedy
from ledger.rules.podeni import why_in_use
from ledger.rules.podeni_drift import at_rest, judge_podeni
from ledger.store import brakes, sweeps, work
from ledger.store.book import Story, append, append_remark, lock_allocations
from ledger.store.database import ledger_now
from ledger.store.work import Claim, WorkKey

_log = structlog.get_logger(__name__)

SWEEP_EVERY = timedelta(seconds=60)

#: Shown by whoever swept last: the next one may be another's.
LAST = metrics.Snapshot(fresh_s=180)
DIFFERENT = LAST.gauge(
    "podenis_different", "PodENIs at rest that did not show what is held, as of the last sweep"
)
PERIOD = LAST.gauge("sweep_period_seconds", "Time between two sweeps")
LASTED = LAST.gauge("sweep_seconds", "How long the last whole sweep took")
COMPARED = LAST.gauge("sweep_enis", "ENIs that the last whole sweep compared")


def work_on_sweep(tools: Tools, held: Claim) -> Outcome:
    """One sweep, to its end; due again after its period."""
    cluster, began = held.key.cluster, tools.now()
    answer = describe(tools, held, EniQuery(tags={CLUSTER_TAG: cluster, CREATOR_TAG: CREATOR}))
    if isinstance(answer, Pause):
        return Outcome(answer.until, answer.why, problem=answer.problem)
    answer = _with_adopted(tools, held, answer)
    if isinstance(answer, Pause):
        return Outcome(answer.until, answer.why, problem=answer.problem)
    try:
        podenis = list(tools.kube.list_podenis())
    except KubeError as failed:
        return Outcome(tools.backoff(held.attempt, tools.now()), str(failed), problem=True)
    shown = {
        item["eni"]["id"]
        for podeni in podenis
        for item in podeni.get("spec", {}).get("allocations", [])
        if item.get("eni", {}).get("id")
    }
    findings, live = _compare(tools, held, answer, podenis, shown)
    different = _look_at_podenis(tools, podenis, live)
    try:
        adopt_ordered(tools, held, answer.value, podenis)
    except KubeError as failed:
        return Outcome(tools.backoff(held.attempt, tools.now()), str(failed), problem=True)
    for finding in findings:
        match remedy(finding.kind, settled=finding.settled):
            case "delete":
                _release_leak(tools, held, finding)
            case "record-gone" | "park":
                _record_lost(tools, live[finding.eni], finding, answer.request_id)
            case "look-again" | "adopt-if-sure" | "ask-a-person":
                pass
    period = max(SWEEP_EVERY, answer.calls * page_interval(tools))
    ended = tools.now()
    with LAST.renewed(fresh_s=3 * period.total_seconds()):
        DIFFERENT.set(different)
        PERIOD.set(period.total_seconds())
        LASTED.set((ended - began).total_seconds())
        COMPARED.set(len(answer.value))
    return Outcome(ended + period)


def _with_adopted(
    tools: Tools, held: Claim, answer: Answer[tuple[Eni, ...]]
) -> Answer[tuple[Eni, ...]] | Pause:
    """The look with those of the ledger's ENIs that our tags don't show: adopted ones keep the
    incumbent's (nothing is retagged), and a hand may have taken a tag off. By their ids, so that
    nobody's else is among them, and none that is there counts as missing."""
    with tools.database.transaction() as connection:
        live = sweeps.live_by_eni(connection, held.key.cluster)
    unseen = tuple(sorted(live.keys() - {eni.id for eni in answer.value}))
    if not unseen:
        return answer
    more = describe(tools, held, EniQuery(eni_ids=unseen))
    if isinstance(more, Pause):
        return more
    return replace(answer, value=answer.value + more.value, calls=answer.calls + more.calls)


def _compare(
    tools: Tools,
    held: Claim,
    answer: Answer[tuple[Eni, ...]],
    podenis: Sequence[KubeObject],
    shown: set[str],
) -> tuple[list[Finding], dict[str, Allocation]]:
    """Judge one look, keep what it found, and pull the brake where the ledger is behind."""
    cluster = held.key.cluster
    seen = [
        SeenEni(eni.id, eni.status, eni.tags.get(INTENT_TAG, ""), eni.instance_id, eni.trunk_eni_id)
        for eni in answer.value
    ]
    found = {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in podenis}
    with tools.database.transaction() as connection:
        tools.keep(connection, held, tools.answer_budget)
        live = sweeps.live_by_eni(connection, cluster)
        closed = sweeps.closed_intents(connection, cluster, [eni.intent for eni in seen])
        now = ledger_now(connection)
        known = sweeps.suspicions(connection, cluster)
        told = {eni: why_in_use(found.get((a.namespace, a.pod)), a) for eni, a in live.items()}
        unrecorded = {eni: why for eni, why in told.items() if why is not None}
        findings = judge_drift(seen, closed, live, shown, unrecorded, known, now)
        sweeps.keep_findings(connection, cluster, findings, answer.calls, len(seen), now)
        fresh = [
            each.eni
            for each in sweeps.quarantined(connection, cluster)
            if each.kind == "unknown-intent" and each.accepted_at is None
        ]
        if fresh:
            reason = (
                f"{len(fresh)} ENIs carry intents that this ledger never wrote ({', '.join(fresh[:3])}"
                f"{', …' if len(fresh) > 3 else ''}): it was restored, is empty, or shares its cluster "
                "id; look at `eni-ledger verify`, then `eni-ledger verify --accept`"
            )
            cause = {"sweep": answer.request_id}
            if brakes.pull(connection, cluster, "destructive", "sweep", reason, now, cause):
                _log.error("destructive decisions stand still", cause=reason)
    return findings, live


def _look_at_podenis(
    tools: Tools, podenis: Sequence[KubeObject], live: Mapping[str, Allocation]
) -> int:
    """What no event told: a PodENI missing or different. The Pod's own turn looks itself, and acts.

    Returns of how many Pods."""
    found = {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in podenis}
    pods: dict[tuple[str, str], list[Allocation]] = {}
    for a in live.values():
        pods.setdefault((a.namespace, a.pod), []).append(a)
    now = tools.now()
    due = set()
    for name, allocations in sorted(pods.items()):
        resting = at_rest(allocations)
        if resting and judge_podeni(found.get(name), resting, now) is not None:
            due.add(WorkKey(resting[0].cluster, "pod", *name))
    if due:
        with tools.database.transaction() as connection:
            work.signal(connection, due, now)
    return len(due)


def _release_leak(tools: Tools, held: Claim, finding: Finding) -> None:
    """Delete one ENI that nobody knows, intent first."""
    cluster = held.key.cluster
    cause = {"sweep": finding.detail}
    told = {"eni": finding.eni, "detail": finding.detail}
    if tools.permit("DeleteNetworkInterface", held) is not None:
        return  # the next sweep finds it again
    with tools.database.transaction() as connection:
        now = ledger_now(connection)
        if tools.stands_still(connection, cluster, destructive=True) is not None:
            return
        if finding.eni in sweeps.live_by_eni(connection, cluster):
            return
        if sweeps.disputed(connection, cluster, finding.eni):
            return  # its parked claimant tells a person to look at it in the cloud
        append_remark(connection, cluster, "leak-release-intended", told, cause, now)
    try:
        answer = tools.cloud.delete_eni(finding.eni)
    except CloudError as failed:
        _log.warning(
            "a leaked ENI could not be deleted: the next sweep tries again", cause=str(failed)
        )
        return
    _log.warning("a leaked ENI was deleted", eni=finding.eni, detail=finding.detail)
    with tools.database.transaction() as connection:
        told["request_id"] = answer.request_id
        append_remark(connection, cluster, "leak-released", told, cause, ledger_now(connection))


def _record_lost(tools: Tools, a: Allocation, finding: Finding, request_id: str) -> None:
    """An ENI went or was moved behind our back: the book says so, and so does the Pod that used it."""
    entries: list[e.Entry] = [e.EniGone(expected=False)] if finding.kind == "missing" else []
    with tools.database.transaction() as connection:
        locked = lock_allocations(connection, [a.id]).get(a.id)
        if locked is None or locked.version != a.version:
            return
        parked = cut_off(a, finding) if a.phase is Phase.BOUND and not a.parked else None
        entries += [parked] if parked is not None else []
        if not entries:
            return
        now = ledger_now(connection)
        story = Story(a.id, locked, tuple(entries), {"sweep": request_id})
        [(state, ids)] = append(connection, [story], now)
        work.signal(connection, [WorkKey(a.cluster, "pod", a.namespace, a.pod)], now)
    _log.error(
        "an ENI was lost behind our back", **about(state), entries=list(ids), what=finding.detail
    )
    if parked is not None:
        note = f"{parked.reason}. {parked.next_step}"
        tell_pod(tools, a, "AttachNetworkInterface", note, failed=True)
