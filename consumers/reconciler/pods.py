"""One Pod's turn: plan a step, take it, record it, until everything waits.

The story of a Pod is told by the plan (`ledger.rules.planning`); this module only gathers what the
plan needs to know and hands each step to whoever can take it.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Connection

from consumers.reconciler.ambiguity import tell_ambiguity
from consumers.reconciler.bind_times import observe_binds
from consumers.reconciler.calls import make_call
from consumers.reconciler.eni_looks import look_at_motion
from consumers.reconciler.instance_types import look_at_instance_type
from consumers.reconciler.missed import look_for_missed
from consumers.reconciler.pod_events import tell_pod, tell_pod_named
from consumers.reconciler.pod_looks import look_at_pod
from consumers.reconciler.podeni_checks import check_podeni
from consumers.reconciler.podenis import write_podeni
from consumers.reconciler.settling import settle
from consumers.reconciler.tools import Pause, StateMoved, Tools
from consumers.reconciler.unlisted import look_where_unlisted
from consumers.reconciler.vswitches import look_at_vswitches
from ledger.rules.allocation import Allocation, Phase
from ledger.rules.nodes import NodeFacts
from ledger.rules.objects import ObjectError
from ledger.rules.placing import carrier_on, outdated
from ledger.rules.planning import (
    Call,
    CheckPodEni,
    LookAtEni,
    LookAtInstanceType,
    LookAtPod,
    LookAtVSwitches,
    Record,
    Settle,
    Step,
    Surroundings,
    Wait,
    WritePodEni,
    plan,
)
from ledger.rules.pod_decisions import decide_pod
from ledger.store import brakes, inputs
from ledger.store.book import read_pod
from ledger.store.database import ledger_now
from ledger.store.deciding import seen_pod
from ledger.store.inputs import ObjectKey
from ledger.store.places import carried_by, read_instance_type, read_vswitches
from ledger.store.work import Claim

_log = structlog.get_logger(__name__)

#: A turn longer than any real story: reached only by a defect, which then can't spin.
STEPS_MAX = 60
#: What waits for somebody else is looked at again after this long even if nothing is heard.
PROBLEM_AGAIN = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended: when the next is due (None: when something is heard), and what is missing."""

    due_at: datetime | None
    waiting_for: str | None = None
    problem: bool = False


@dataclass(slots=True)
class Turn:
    """What has had its chance in this turn."""

    pauses: dict[UUID | str, Pause] = field(default_factory=dict)
    looks: dict[UUID, Pause] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def waits(self) -> list[Pause]:
        """Everything that has to wait."""
        return [*self.pauses.values(), *self.looks.values()]


def work_on_pod(tools: Tools, held: Claim) -> Outcome:
    """Take one Pod as far as it goes now. Raises ClaimLost where another worker has taken over."""
    turn = Turn()
    allocations: list[Allocation] = []
    unlisted = look_where_unlisted(tools, held)
    if unlisted is not None:
        return Outcome(unlisted.until, unlisted.why, problem=True)
    for _ in range(STEPS_MAX):
        allocations, about, brake = surroundings(tools, held, turn)
        if not allocations:
            return _nothing_held(tools, held)
        structlog.contextvars.bind_contextvars(allocations=[str(a.id) for a in allocations])
        if brake is not None:
            return Outcome(about.now + timedelta(seconds=5), f"paused: {brake}", problem=True)
        step = plan(allocations, about)
        if isinstance(step, Wait):
            return _outcome(tools, held, allocations, step, turn, about.now)
        try:
            _take(tools, held, step, about, turn)
        except StateMoved:
            continue
    _log.error("a turn did not end: this is a defect, please report it", pod=held.key)
    return Outcome(tools.now() + PROBLEM_AGAIN, "the plan does not end", problem=True)


def surroundings(
    tools: Tools, held: Claim, turn: Turn
) -> tuple[list[Allocation], Surroundings, str | None]:
    """What is held under the Pod's name, what the plan needs to know, and the brake on everything."""
    key = held.key
    with tools.database.transaction() as connection:
        allocations = read_pod(connection, key.cluster, key.namespace, key.name)
        wanted = [a for a in allocations if a.phase is Phase.WANTED]
        nodes = sorted({ObjectKey(key.cluster, "node", "", a.node) for a in wanted})
        seen = inputs.read_observations(connection, nodes)
        ids = sorted({id_ for a in wanted for id_ in a.terms.vswitch_ids})
        vswitches = read_vswitches(connection, ids)
        pulled = [b.reason for b in brakes.read_brakes(connection, key.cluster) if b.scope == "all"]
        now = ledger_now(connection)
        node: NodeFacts | str | None = None
        for observation in seen.values():
            node = _node_facts(observation.object) if observation.alive else None
        about = Surroundings(
            now=now,
            node=node,
            vswitches=vswitches,
            shuffle=tools.shuffle,
            enable_trunk=tools.settings.policy.enable_trunk,
            paused=set(turn.pauses),
            looked=set(turn.looks),
            asked=set(turn.asked),
        )
        if isinstance(node, NodeFacts) and any(
            a.place is None or outdated(a.place, node) for a in wanted
        ):
            about = _with_room(connection, key.cluster, about, node)
    return allocations, about, pulled[0] if pulled else None


def _with_room(
    connection: Connection, cluster: str, about: Surroundings, node: NodeFacts
) -> Surroundings:
    """What the node's instance type carries, and how much of it is taken."""
    carrier = carrier_on(node, enable_trunk=about.enable_trunk)
    return replace(
        about,
        limits=read_instance_type(connection, node.instance_type),
        carried=carried_by(connection, cluster, node.name, carrier),
    )


def _node_facts(obj: dict[str, object] | None) -> NodeFacts | str | None:
    if obj is None:
        return None
    try:
        return NodeFacts.from_object(obj)
    except ObjectError as unusable:
        return str(unusable)


def _take(tools: Tools, held: Claim, step: Step, about: Surroundings, turn: Turn) -> None:
    """Take one step; what has to wait is left aside for the rest of the turn."""
    match step:
        case Settle(allocation):
            _note(turn, allocation.id, settle(tools, held, allocation))
        case LookAtEni(allocation):
            still = look_at_motion(tools, held, allocation)
            if still is not None:
                turn.looks[allocation.id] = still
        case Call(allocation):
            _note(turn, allocation.id, make_call(tools, held, step))
        case LookAtPod(question):
            _note(turn, question, look_at_pod(tools, held, step, about))
        case LookAtVSwitches(ids):
            turn.asked.add("vswitches")
            _note(turn, "vswitches", look_at_vswitches(tools, held, ids))
        case LookAtInstanceType(name):
            turn.asked.add("limits")
            look_at_instance_type(tools, held, name)
        case WritePodEni():
            pause = write_podeni(tools, held, step)
            _note(turn, "podeni", pause)
            turn.asked.add("podeni")
            if pause is None and step.phase == "Bind":
                _tell_bound(tools, step)
                observe_binds(tools, step.allocations)
                tell_ambiguity(tools, step.allocations[0])
        case CheckPodEni():
            turn.asked.add("podeni")
            _note(turn, "podeni", check_podeni(tools, held, step))
        case Record(entries):
            with tools.fenced(held, [a for a, _ in entries]) as fenced:
                for a, entry in entries:
                    fenced.record(a, [entry], {"plan": "follows from the state"})
        case Wait():
            raise AssertionError("a wait is no step to take")


def _note(turn: Turn, what: UUID | str, pause: Pause | None) -> None:
    if pause is not None:
        turn.pauses[what] = pause


def _tell_bound(tools: Tools, step: WritePodEni) -> None:
    enis = ",".join(a.address.eni for a in step.allocations if a.address)
    note = f"attached eni {enis}"
    tell_pod(tools, step.allocations[0], "AttachNetworkInterface", note, failed=False)


def _outcome(
    tools: Tools,
    held: Claim,
    allocations: list[Allocation],
    wait: Wait,
    turn: Turn,
    now: datetime,
) -> Outcome:
    """When to look again, and the event where a person has to do something."""
    times = [pause.until for pause in turn.waits()]
    if wait.until is not None:
        times.append(wait.until)
    problems = [pause.why for pause in turn.waits() if pause.problem]
    if wait.problem:
        problems.append(wait.why)
        times.append(now + PROBLEM_AGAIN)
    whys = [pause.why for pause in turn.waits()]
    why = problems[0] if problems else (whys[0] if whys else wait.why)
    if wait.problem and wait.why != held.waiting_for:
        tell_pod(tools, _holder(allocations), "PodCreate", wait.why, failed=True)
    return Outcome(min(times, default=None), why, problem=bool(problems))


def _holder(allocations: list[Allocation]) -> Allocation:
    return next((a for a in allocations if a.phase is Phase.WANTED), allocations[0])


def _nothing_held(tools: Tools, held: Claim) -> Outcome:
    """No allocation under the name: perhaps because the Pod asked for what can't be given."""
    key = held.key
    pod = ObjectKey(key.cluster, "pod", key.namespace, key.name)
    with tools.database.transaction() as connection:
        observation = inputs.read_observations(connection, [pod]).get(pod)
    if observation is None or not observation.alive or observation.object is None:
        return Outcome(None)
    waits = look_for_missed(tools, held, observation)
    if waits is not None:
        return Outcome(waits.until, waits.why, problem=True)
    problem = decide_pod(seen_pod(observation), [], tools.new_id).problem
    if problem is not None and problem != held.waiting_for:
        tell_pod_named(tools, key.namespace, key.name, observation.uid, problem)
    return Outcome(None, problem)
