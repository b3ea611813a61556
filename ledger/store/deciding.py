"""Decides anew about Pods from their newest observations, and records what follows.

Intake calls it for what just came in, the reconciler for a Pod whose earlier holder it has just
found gone: the rules are level-triggered, so both may, and a second time nothing follows.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from ledger.rules.allocation import Allocation, Phase
from ledger.rules.looks import restart_ttl_after_life
from ledger.rules.pod_decisions import Decision, SeenPod, decide_pod, decide_podeni
from ledger.rules.podeni_drift import at_rest, judge_podeni
from ledger.rules.pods import PodFacts
from ledger.store import inputs
from ledger.store.book import Story, lock_pods, record
from ledger.store.database import ledger_now
from ledger.store.inputs import ObjectKey, Observation

PodName = tuple[str, str, str]
NewId = Callable[[], UUID]


@dataclass(slots=True)
class Decided:
    """What came of it: the entries appended, the Pods with something to do, and since when."""

    at: datetime
    entries: int = 0
    due: set[PodName] = field(default_factory=set)
    problems: dict[PodName, str] = field(default_factory=dict)


def decide(
    connection: Connection,
    news: Collection[ObjectKey],
    new_id: NewId,
    *,
    again: bool = False,
) -> Decided:
    """Decide about the Pods and PodENIs among `news`, whose observations this transaction holds.

    `again`: they were decided about when they were heard. The end of a Pod that came and went was
    counted then, and a TTL that was restarted once more at each look would take a TTL longer.
    """
    named = sorted(key for key in news if key.entity in ("pod", "podeni"))
    pods = {ObjectKey(key.cluster, "pod", key.namespace, key.name) for key in named}
    seen = inputs.read_observations(connection, sorted({*named, *pods}))
    held = lock_pods(
        connection,
        [(p.cluster, p.namespace, p.name, seen[p].uid if p in seen else "") for p in sorted(pods)],
    )
    decided = Decided(ledger_now(connection))
    for entity in ("pod", "podeni"):
        found: list[tuple[PodName, list[Story]]] = []
        for key in named:
            # Of an adopted Pod that was gone already nothing was ever heard: nothing follows from that.
            if key.entity == entity and key in seen:
                name = (key.cluster, key.namespace, key.name)
                stories = _stories_of(seen[key], held.get(name, ()), new_id, decided, again=again)
                found.append((name, stories))
        _record(connection, found, held, decided)
    return decided


def seen_pod(observation: Observation) -> SeenPod:
    """The observation of a Pod as the rules read it."""
    key = observation.key
    pod = PodFacts.from_object(observation.object) if observation.object is not None else None
    return SeenPod(key.cluster, key.namespace, key.name, observation.uid, pod)


def _stories_of(
    observation: Observation,
    allocations: Sequence[Allocation],
    new_id: NewId,
    decided: Decided,
    *,
    again: bool,
) -> list[Story]:
    key = observation.key
    name = (key.cluster, key.namespace, key.name)
    decisions: Sequence[Decision]
    if key.entity == "pod":
        pod = seen_pod(observation)
        outcome = decide_pod(pod, allocations, new_id)
        unseen = () if again else _lives_unseen(pod, allocations, decided.at)
        decisions = (*outcome.decisions, *unseen)
        if outcome.problem is not None:
            decided.problems[name] = outcome.problem
    else:
        deleting = bool((observation.object or {}).get("metadata", {}).get("deletionTimestamp"))
        decisions = decide_podeni(observation.uid, deleting, "a Kubernetes user", allocations)
        shown = at_rest([a for a in allocations if a.phase is not Phase.RELEASED])
        if shown and judge_podeni(observation.object, shown, decided.at) is not None:
            decided.due.add(name)  # what was heard is no more than a reason to look
    if decisions or name in decided.problems or any(a.parked for a in allocations):
        decided.due.add(name)
    return _stories(decisions, allocations, observation.cause)


def _lives_unseen(
    pod: SeenPod, allocations: Sequence[Allocation], now: datetime
) -> Iterator[Decision]:
    """A Pod that is gone and never claimed its reservation: its end is where absence begins anew."""
    if pod.running_uid is not None:
        return
    for a in allocations:
        restarted = restart_ttl_after_life(a, pod.uid, now)
        if restarted is not None:
            yield Decision(a.id, restarted)


def _stories(
    decisions: Sequence[Decision], allocations: Sequence[Allocation], cause: dict[str, Any]
) -> list[Story]:
    before = {a.id: a for a in allocations}
    grouped: dict[UUID, list[Decision]] = {}
    for decision in decisions:
        grouped.setdefault(decision.allocation_id, []).append(decision)
    return [
        Story(id_, before.get(id_), tuple(decision.entry for decision in group), cause)
        for id_, group in grouped.items()
    ]


def _record(
    connection: Connection,
    found: Sequence[tuple[PodName, list[Story]]],
    held: dict[PodName, list[Allocation]],
    decided: Decided,
) -> None:
    """Append all stories at once, and bring `held` to the states they reached."""
    stories = [(name, story) for name, of_name in found for story in of_name]
    reached = record(connection, [story for _, story in stories], decided.at)
    for (name, story), state in zip(stories, reached, strict=True):
        kept = [a for a in held.get(name, []) if a.id != story.allocation_id]
        held[name] = [*kept, state]
        decided.entries += len(story.entries)
