"""Looks at a Pod at the API server itself, and records what the rules make of it.

Everything destructive begins here and nowhere else (P11): an ENI is detached, deleted, or a TTL
started only after such a look found that very uid gone or terminal.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from consumers.contract.objects import trim
from consumers.contract.topics import entity_topic
from consumers.kube.port import KubeError, PodAnswer
from consumers.reconciler.tools import Fenced, Pause, StateMoved, Tools
from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Phase
from ledger.rules.looks import NotYet, PodLook, judge_absence, judge_release
from ledger.rules.nodes import NodeFacts
from ledger.rules.placing import UNSERVED_LOOK, carrier_on, place_for
from ledger.rules.planning import LookAtPod, Surroundings
from ledger.rules.pods import PodFacts
from ledger.store import brakes, inputs, work
from ledger.store.book import read_pod
from ledger.store.brakes import BreakerLimit
from ledger.store.deciding import decide
from ledger.store.inputs import ObjectKey
from ledger.store.places import carried_by, lock_carrier
from ledger.store.work import Claim, WorkKey

_log = structlog.get_logger(__name__)


def look_at_pod(tools: Tools, held: Claim, step: LookAtPod, about: Surroundings) -> Pause | None:
    """Ask the API server, judge, record. None: something was decided, so plan on."""
    first = step.allocations[0]
    with tools.database.transaction() as connection:
        heard = inputs.place_of(connection, _key(first))
        asked = tools.keep(connection, held, tools.kube_budget)
    try:
        answer = tools.kube.look_at_pod(first.namespace, first.pod)
        standing = _standing_podeni(tools, step.allocations)
    except KubeError as failed:
        until = tools.backoff(held.attempt, tools.now(), cap_s=10)
        return Pause(until, f"the live look failed: {failed}", problem=True)
    look = _as_look(answer)
    cause = {
        "look": "pod",
        "resource_version": look.resource_version,
        "found_uid": look.uid,
        "terminal": look.terminal,
    }
    with tools.database.transaction() as connection:
        unchanged = inputs.lock_observation(connection, _key(first)) == heard
        if unchanged and not _may_outrun_a_life(step, answer, heard):
            _believe(connection, first, answer, cause)
        fenced = tools.fence(connection, held, step.allocations)
        if fenced.now - asked > 2 * tools.kube_budget:
            # This process slept over its answer: the Pod may have come back since (P2).
            raise StateMoved(f"{first.namespace}/{first.pod}: the look is too old to decide by")
        if standing is not None:
            _withdraw(fenced, step.allocations, standing, cause)
        pause = _judge(tools, fenced, step, answer, about, cause)
    tools.after_commit(fenced)
    return pause


def _may_outrun_a_life(step: LookAtPod, answer: PodAnswer, heard: tuple[int, int] | None) -> bool:
    """Whether a Pod may have come and gone of which the messages are still on their way (P2).

    Believed at its own version, a look that finds nobody at a reservation's end would make them look
    stale, and the absence that began with that life's end would never begin. What was heard stands,
    unless it claims a version that the cluster has not reached.
    """
    if step.question != "release" or answer.pod is not None:
        return False
    return heard is None or heard[1] <= answer.resource_version


def _judge(
    tools: Tools,
    fenced: Fenced,
    step: LookAtPod,
    answer: PodAnswer,
    about: Surroundings,
    cause: dict[str, Any],
) -> Pause | None:
    """Record what the rules make of the look."""
    first, look = step.allocations[0], _as_look(answer)
    if step.question == "release":
        return _release(tools, fenced, step.allocations, answer, cause)
    if step.question == "holder" and look.running_uid == first.pod_uid:
        return Pause(fenced.now + UNSERVED_LOOK, "its Pod is there")
    if step.question == "presence" and look.running_uid == first.pod_uid:
        assert answer.pod is not None
        on = PodFacts.from_object(answer.pod).node_name
        if on != first.node:
            why = f"an event put the Pod on {first.node}, the API server on {on or 'no node'}"
            return Pause(fenced.now + timedelta(seconds=30), why, problem=True)
        return _place(tools, fenced, first, about, cause)
    return _absence(tools, fenced, step.allocations, look, cause)


def _as_look(answer: PodAnswer) -> PodLook:
    if answer.pod is None:
        return PodLook(None, False, answer.resource_version)
    pod = PodFacts.from_object(answer.pod)
    return PodLook(pod.uid, pod.sandbox_exited, answer.resource_version)


def _place(
    tools: Tools,
    fenced: Fenced,
    a: Allocation,
    about: Surroundings,
    cause: dict[str, Any],
) -> Pause | None:
    """The Pod is there: take the facts of its node into the book, and a slot of its carrier."""
    node = about.node
    assert isinstance(node, NodeFacts), "the plan asks for a look only where the node is known"
    carrier = carrier_on(node, enable_trunk=about.enable_trunk)
    lock_carrier(fenced.connection, carrier)
    placed = place_for(
        a,
        node,
        enable_trunk=about.enable_trunk,
        limits=about.limits,
        carried=carried_by(fenced.connection, a.cluster, node.name, carrier),
    )
    if isinstance(placed, str):
        raise StateMoved(f"{a.namespace}/{a.pod}: somebody else took the place: {placed}")
    fenced.record(a, [placed], cause)
    return None


def _absence(
    tools: Tools,
    fenced: Fenced,
    allocations: Sequence[Allocation],
    look: PodLook,
    cause: dict[str, Any],
) -> Pause | None:
    judged = [(a, judge_absence(fenced.states[a.id], look, fenced.now)) for a in allocations]
    gone = sum(any(isinstance(entry, e.AbsenceConfirmed) for entry in es) for _, es in judged)
    if gone:
        forbidden = _forbidden(tools, fenced, gone)
        if forbidden is not None:
            return forbidden
    for a, entries in judged:
        if entries:
            fenced.record(a, entries, cause)
    _decide_again(tools, fenced, allocations[0])
    return None


def _decide_again(tools: Tools, fenced: Fenced, a: Allocation) -> None:
    """The name may be free for a Pod that was seen before its predecessor was found gone."""
    decided = decide(fenced.connection, [_key(a)], tools.new_id, again=True)
    due = {WorkKey(cluster, "pod", namespace, name) for cluster, namespace, name in decided.due}
    work.signal(fenced.connection, due, decided.at)


def _believe(
    connection: Connection, a: Allocation, answer: PodAnswer, cause: dict[str, Any]
) -> None:
    """Put the API server's own word in place of what was heard before the look began.

    What was heard may claim a version that the cluster has not reached: then it never came from
    this API server, and would make every true event look stale. A message that came in during the
    look is left alone: it may be newer.
    """
    pod = trim("pod", answer.pod) if answer.pod is not None else None
    inputs.believe(
        connection,
        _key(a),
        uid=str(pod["metadata"]["uid"]) if pod else a.pod_uid,
        resource_version=answer.resource_version,
        pod=json.dumps(pod) if pod else None,
        cause=cause,
    )


def _standing_podeni(tools: Tools, allocations: Sequence[Allocation]) -> str | None:
    """The uid of the PodENI that was reported as deleted by a user and stands; None otherwise.

    What was heard of a PodENI is hearsay like anything else, and would end a reservation (P3, P11).
    """
    said = [a for a in allocations if a.podeni_deleted_by_report]
    if not said:
        return None
    live = tools.kube.get_podeni(said[0].namespace, said[0].pod)
    if live is None or live["metadata"].get("deletionTimestamp"):
        return None
    uid: str = live["metadata"]["uid"]
    return uid


def _withdraw(
    fenced: Fenced, allocations: Sequence[Allocation], uid: str, cause: dict[str, Any]
) -> None:
    for a in allocations:
        if a.podeni_deleted_by_report and a.release_podeni == uid:
            fenced.record(a, [e.ReleaseWithdrawn(podeni_uid=uid)], {**cause, "look": "podeni"})


def _release(
    tools: Tools,
    fenced: Fenced,
    allocations: Sequence[Allocation],
    answer: PodAnswer,
    cause: dict[str, Any],
) -> Pause | None:
    first, look = allocations[0], _as_look(answer)
    topic = entity_topic("pod", tools.settings.kafka.topic_prefix)
    watermark = inputs.watermark_of(fenced.connection, topic, first.cluster)
    states = [fenced.states[a.id] for a in allocations]
    others = read_pod(fenced.connection, first.cluster, first.namespace, first.pod)
    served = {a.pod_uid for a in others if a.phase in (Phase.WANTED, Phase.BOUND)}
    if answer.pod is not None and not PodFacts.from_object(answer.pod).takes_part:
        served.add(str(look.uid))  # it is on another network, and asks us for nothing
    judged = judge_release(states, look, watermark, served, fenced.now)
    if isinstance(judged, NotYet):
        for a, entry in judged.remember:
            fenced.record(a, [entry], {**cause, "watermark": watermark})
        _decide_again(tools, fenced, first)
        # What only the Pod's own end can change is heard of; what lags is looked for again soon.
        wait = timedelta(seconds=30 if look.running_uid is not None else 0.5)
        return Pause(fenced.now + wait, judged.why)
    forbidden = _forbidden(tools, fenced, len(judged))
    if forbidden is not None:
        return forbidden
    for a, entry in judged:
        fenced.record(a, [entry], {**cause, "watermark": watermark})
    _decide_again(tools, fenced, first)
    return None


def _forbidden(tools: Tools, fenced: Fenced, decisions: int) -> Pause | None:
    """The brake that forbids this many destructive decisions now, pulled just now or before."""
    limit = tools.settings.reconciler.breaker
    cluster = next(iter(fenced.states.values())).cluster
    why = tools.stands_still(fenced.connection, cluster, destructive=True)
    if why is not None:
        return Pause(fenced.now + timedelta(seconds=5), why, problem=True)
    brake = brakes.check_breaker(
        fenced.connection,
        cluster,
        BreakerLimit(
            timedelta(seconds=limit.interval_s), limit.absolute, limit.share, limit.share_floor
        ),
        decisions,
        fenced.now,
    )
    if brake is None:
        return None
    _log.error("destructive decisions stand still", cause=brake.reason, by=brake.pulled_by)
    return Pause(fenced.now + timedelta(seconds=5), f"paused: {brake.reason}", problem=True)


def _key(a: Allocation) -> ObjectKey:
    return ObjectKey(a.cluster, "pod", a.namespace, a.pod)
