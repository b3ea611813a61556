"""Takes what was decided into the book: 0 calls that change the cloud, 0 writes to Kubernetes.

One transaction a PodENI, each after a second look at its Pod (P11): what moved since it was decided
about is left for the next run. Nothing is taken away before `verify --accept`.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from consumers.contract.events import source_of
from consumers.contract.objects import trim
from consumers.kube.port import KubeObject, PodAnswer
from consumers.runtime.errors import OperatorError
from consumers.takeover.facts import list_pods, pod_seen
from consumers.takeover.source import Source
from ledger.rules.found_podenis import PodSeen
from ledger.rules.takeover import LEFT_ALONE, Decision, Facts, Name, Taking
from ledger.store import brakes, incarnations, inputs, work
from ledger.store.book import Story, lock_pods, record
from ledger.store.database import ledger_now
from ledger.store.deciding import decide
from ledger.store.incarnations import ACCEPTABLE
from ledger.store.inputs import ObjectKey, ObservationRow
from ledger.store.places import confirm_cluster
from ledger.store.work import WorkKey

#: With fewer of the named ENIs to be seen than this, the look itself is doubted.
SHOWN_AT_LEAST = 0.5


@dataclass(frozen=True, slots=True)
class Applied:
    """What was recorded: decisions, entries, and why some were not (by PodENI)."""

    decisions: int
    entries: int
    not_recorded: tuple[str, ...]


def doubtful(facts: Facts, decisions: Sequence[Decision]) -> str | None:
    """Why these decisions are not to be recorded at all: the look can't be right."""
    named = {d.eni for d in decisions if d.eni and d.what != "orphan"}
    shown = named & set(facts.enis)
    if len(shown) < SHOWN_AT_LEAST * len(named):
        return (
            f"the cloud shows {len(shown)} of the {len(named)} ENIs that PodENIs name: check region, "
            "account and credentials (ENI_LEDGER_CLOUD__REGION_ID), then try again"
        )
    foreign = [d for d in decisions if d.what == "foreign"]
    taken = [d for d in decisions if d.what not in LEFT_ALONE]
    if foreign and not taken and not any(d.what == "known" for d in decisions):
        return f"every ENI is of another cluster: is the cluster id right? {foreign[0].why}"
    return None


def apply(source: Source, facts: Facts, decisions: Sequence[Decision], reason: str) -> Applied:
    """Record the decisions that take something in, and let a shadow's or a return's brake go.

    Raises WrongCluster, KubeError, OperatorError; what could not be recorded is told, and the rest is.
    """
    taken = [d for d in decisions if d.takings]
    _begin(source, len(taken), reason)
    recorded = entries = 0
    refused: list[str] = []
    groups = {name: list(group) for name, group in groupby(taken, key=_podeni)}
    listed = list_pods(source, [name for name, group in groups.items() if _only_bound(group)])
    for name, group in groups.items():
        answer = _answer(listed[name]) if name in listed else source.kube.look_at_pod(*name)
        said = _record_one(
            source, facts, group, answer, "list" if name in listed else "pod", reason
        )
        if isinstance(said, str):
            refused.append(f"{'/'.join(name)}: {said}")
        else:
            recorded, entries = recorded + len(group), entries + said
    if not refused:
        _go_live(source, reason)
    return Applied(recorded, entries, tuple(refused))


def _begin(source: Source, taken: int, reason: str) -> None:
    uid = source.kube.cluster_uid()
    with source.database.transaction() as connection:
        confirm_cluster(connection, source.cluster, uid)
        incarnations.confirm_incarnation(
            connection,
            source.cluster,
            standby_loses_nothing=source.settings.postgres.synchronous_standby,
        )
        pulled = {b.pulled_by for b in brakes.read_brakes(connection, source.cluster)}
        for brake in brakes.read_brakes(connection, source.cluster):
            # The adoption's own brake would hide behind it, and be let go with it.
            if taken and brake.scope == "destructive" and brake.pulled_by not in ACCEPTABLE:
                raise OperatorError(
                    f"destructive is paused by {brake.pulled_by}: {brake.reason}: "
                    "`eni-ledger resume destructive` first; an adoption pauses it again"
                )
        if taken and incarnations.BY_ADOPTION not in pulled:
            what = f"{taken} interfaces were adopted from the incumbent ({reason})"
            incarnations.begin_by_adoption(connection, source.cluster, source.by, what)


def _go_live(source: Source, reason: str) -> None:
    """The ledger of a shadow, or of a cluster that was given back, is the truth from here on."""
    with source.database.transaction() as connection:
        cause = {"command": "adopt --apply", "by": source.by, "reason": reason}
        for brake in brakes.read_brakes(connection, source.cluster):
            if brake.pulled_by in incarnations.NOT_THE_TRUTH:
                now = ledger_now(connection)
                brakes.release(connection, source.cluster, brake.scope, source.by, now, cause)
        work.notify(connection)


def _podeni(decision: Decision) -> Name:
    return decision.namespace, decision.pod


def _only_bound(decisions: Sequence[Decision]) -> bool:
    """Whether all that is recorded is that a Pod runs on what it has: then a list is look enough.

    Nothing ends by it, and the Pod's own end is told like any other's (`_observe`). Whatever says that a
    Pod is gone, or waits, is recorded after a look at that very Pod.
    """
    entries = [entry for d in decisions for taking in d.takings for entry in taking.entries]
    return all(d.what == "bound" for d in decisions) and not any(
        entry.kind == "absence-confirmed" for entry in entries
    )


def _answer(pod: KubeObject | None) -> PodAnswer:
    """A listed Pod as of its own version; an absent one is not recorded, so its version says nothing."""
    return PodAnswer(pod, int(pod["metadata"]["resourceVersion"]) if pod is not None else 0)


def _record_one(
    source: Source,
    facts: Facts,
    decisions: Sequence[Decision],
    answer: PodAnswer,
    looked: str,
    reason: str,
) -> int | str:
    """Record what was decided about one PodENI, all of it or nothing; how many entries, or why not."""
    first = decisions[0]
    now_seen = pod_seen(answer.pod)
    if _running(now_seen) != _running(facts.pods.get((first.namespace, first.pod))):
        return "its Pod came or went since it was looked at: run it again"
    takings = [taking for decision in decisions for taking in decision.takings]
    key = ObjectKey(source.cluster, "pod", first.namespace, first.pod)
    cause = {
        "command": "adopt --apply",
        "by": source.by,
        "reason": reason,
        "look": looked,
        "resource_version": answer.resource_version,
        "found_uid": now_seen.uid if now_seen is not None else None,
    }
    try:
        with source.database.transaction() as connection:
            if inputs.lock_observation(connection, key) is None:
                _observe(connection, key, answer, cause)
            if _moved(connection, key, takings, {a.id for a in facts.held}):
                return "its allocations moved since they were looked at: run it again"
            for stories in _in_turn(takings, decisions, cause):
                record(connection, stories, ledger_now(connection))
            decide(connection, [key], source.new_id)
            due = [WorkKey(source.cluster, "pod", first.namespace, first.pod)]
            work.signal(connection, due, ledger_now(connection))
    except IntegrityError as taken:
        return f"its addresses are claimed by another allocation: {taken.orig}"
    return sum(len(taking.entries) for taking in takings)


def _running(seen: PodSeen | None) -> str | None:
    return seen.uid if seen is not None and seen.runs else None


def _observe(
    connection: Connection, key: ObjectKey, answer: PodAnswer, cause: dict[str, Any]
) -> None:
    """What a running Pod's end is told against: a Pod never heard of would never be said to be gone."""
    if answer.pod is None:
        return
    pod = trim("pod", answer.pod)
    row = ObservationRow(
        *key,
        source=source_of(key.cluster),
        epoch=0,
        resource_version=answer.resource_version,
        uid=str(pod["metadata"]["uid"]),
        alive=True,
        object=json.dumps(pod),
        cause=json.dumps(cause),
    )
    inputs.observe(connection, [row])


def _moved(
    connection: Connection, key: ObjectKey, takings: Sequence[Taking], known: Collection[UUID]
) -> bool:
    """Whether the name holds something else than when it was decided about."""
    held = lock_pods(connection, [(key.cluster, key.namespace, key.name, "")])
    states = {a.id: a for a in held.get((key.cluster, key.namespace, key.name), [])}
    planned = {taking.before.id: taking.before for taking in takings if taking.before is not None}
    return not states.keys() <= set(known) or any(
        id_ not in states or states[id_].version != a.version for id_, a in planned.items()
    )


def _in_turn(
    takings: Sequence[Taking], decisions: Sequence[Decision], cause: dict[str, Any]
) -> Iterator[list[Story]]:
    """What ends before what begins: the slot of an interface has one live allocation."""
    told = {t.allocation_id: d for d in decisions for t in d.takings}
    stories = [
        Story(
            t.allocation_id, t.before, t.entries, {**cause, "decision": told[t.allocation_id].what}
        )
        for t in takings
    ]
    ends = [s for s in stories if s.entries[-1].kind == "released"]
    yield ends
    yield [s for s in stories if s not in ends]
